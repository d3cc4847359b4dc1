// Counts what goes over the link's sockets, of those that are open and of those that are closed.
import type { Socket } from "node:net";

export interface WireBytes {
  receivedBytes: number;
  sentBytes: number;
}

export class Wires {
  readonly #open = new Set<Socket>();
  readonly #closed: WireBytes = { receivedBytes: 0, sentBytes: 0 };

  add(socket: Socket): void {
    this.#open.add(socket);
    socket.once("close", () => {
      this.#open.delete(socket);
      this.#closed.receivedBytes += socket.bytesRead;
      this.#closed.sentBytes += socket.bytesWritten;
    });
  }

  total(): WireBytes {
    const total = { ...this.#closed };
    for (const socket of this.#open) {
      total.receivedBytes += socket.bytesRead;
      total.sentBytes += socket.bytesWritten;
    }
    return total;
  }
}
