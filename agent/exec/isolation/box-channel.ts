// The agent's ends of the streams to launchers in boxes: Unix sockets in a folder that only the
// agent can enter. One box at a time may use a socket, so whoever connects to it is that box's; a
// token is not needed. Listening sockets are kept for the next box, as making one is slow.
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

export interface BoxChannel {
  /** For the launcher: it connects to this before exec. */
  readonly path: string;
  /** The first connection; never rejects, and stays open when none comes. */
  readonly connected: Promise<Socket>;
  /** When the box is over. */
  release(): void;
}

export class BoxChannels {
  readonly #folder: string;
  readonly #free: Listener[] = [];
  readonly #all = new Set<Listener>();
  #lastNumber = 0;

  /** `folder` is made, and only we may enter it. */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
  }

  async take(): Promise<BoxChannel> {
    const listener = this.#free.pop() ?? (await this.#listen());
    const { promise: connected, resolve } = Promise.withResolvers<Socket>();
    let isUsed = false;
    let isReleased = false;
    listener.accept = (socket) => {
      isUsed = true;
      resolve(socket);
    };
    return {
      path: listener.path,
      connected,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        listener.accept = undefined;
        // A connection that is still on its way must not be taken for the next box's.
        if (isUsed) this.#free.push(listener);
        else this.#close(listener);
      },
    };
  }

  close(): void {
    for (const listener of this.#all) this.#close(listener);
    this.#free.length = 0;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #listen(): Promise<Listener> {
    this.#lastNumber += 1;
    const path = join(this.#folder, `c${this.#lastNumber}`);
    const server = createServer();
    const listener: Listener = { path, server, accept: undefined };
    server.on("connection", (socket) => {
      // The box's end tells more than an error of its stream.
      socket.on("error", () => socket.destroy());
      const { accept } = listener;
      listener.accept = undefined;
      if (accept === undefined) socket.destroy();
      else accept(socket);
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen(path, resolve);
    await promise;
    // Boxes keep the process alive where that is wanted; a socket that waits does not.
    server.unref();
    this.#all.add(listener);
    return listener;
  }

  #close(listener: Listener): void {
    this.#all.delete(listener);
    listener.server.close();
  }
}

interface Listener {
  readonly path: string;
  readonly server: Server;
  accept: ((socket: Socket) => void) | undefined;
}
