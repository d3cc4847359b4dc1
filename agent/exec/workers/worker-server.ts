// The Unix socket on which warm workers arrive. A connection says hello with the token that its
// process was given; only then does it become a worker's channel. Shared by the pools of an agent.
import { timingSafeEqual } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import { FrameReader, maxFrameBytes } from "./channel.ts";
import { decodeWorkerMessage, type Hello } from "./messages.ts";

export interface Arrival {
  token: string;
  /** `rest`: frames that came in the same chunk as the hello. */
  arrived(socket: Socket, reader: FrameReader, hello: Hello, rest: string[]): void;
}

const helloLimitMs = 30_000;
/** Whoever has not shown a token yet may not send more. */
const helloLimitBytes = 64 * 1024;

export class WorkerServer {
  readonly socketPath: string;
  readonly #server: Server;
  readonly #expected = new Map<number, Arrival>();
  readonly #strangers = new Set<Socket>();
  #lastWorker = 0;

  /** Rejects when the path cannot be bound, for example because it is too long. */
  static async listen(socketPath: string): Promise<WorkerServer> {
    const server = new WorkerServer(socketPath);
    const bound = Promise.withResolvers<void>();
    server.#server.once("error", bound.reject);
    server.#server.listen(socketPath, bound.resolve);
    await bound.promise;
    server.#server.removeListener("error", bound.reject);
    return server;
  }

  private constructor(socketPath: string) {
    this.socketPath = socketPath;
    this.#server = createServer((socket) => this.#greet(socket));
  }

  /** The id of a worker that may now arrive. */
  expect(arrival: Arrival): number {
    this.#lastWorker += 1;
    this.#expected.set(this.#lastWorker, arrival);
    return this.#lastWorker;
  }

  forget(worker: number): void {
    this.#expected.delete(worker);
  }

  async close(): Promise<void> {
    for (const socket of this.#strangers) socket.destroy();
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    await closed.promise;
  }

  #greet(socket: Socket): void {
    const reader = new FrameReader(helloLimitBytes);
    this.#strangers.add(socket);
    const refuse = () => socket.destroy();
    const timer = setTimeout(refuse, helloLimitMs);
    const leave = () => {
      clearTimeout(timer);
      this.#strangers.delete(socket);
    };
    socket.on("error", refuse);
    socket.once("close", leave);
    const onData = (chunk: Buffer) => {
      const { frames, problem } = reader.read(chunk);
      const first = frames.shift();
      if (problem !== undefined) return void refuse();
      if (first === undefined) return;
      const message = decodeWorkerMessage(first);
      if (message?.kind !== "hello") return void refuse();
      const arrival = this.#expected.get(message.hello.worker);
      if (arrival === undefined || !isSameToken(arrival.token, message.hello.token))
        return void refuse();
      this.#expected.delete(message.hello.worker);
      leave();
      reader.limitBytes = maxFrameBytes;
      socket.removeListener("data", onData);
      socket.removeListener("close", leave);
      socket.removeListener("error", refuse);
      arrival.arrived(socket, reader, message.hello, frames);
    };
    socket.on("data", onData);
  }
}

/** Without telling by time how much of it was right. */
export function isSameToken(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
