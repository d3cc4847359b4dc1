// A piece of network that a test can break: connections go through it to a port of this machine until
// they are cut, at once or in the middle of what flows, or until nothing flows any more.
import { connect, createServer, type Server, type Socket } from "node:net";

export class TcpProxy implements AsyncDisposable {
  /** New connections are closed at once. */
  isRefusing = false;
  /** New connections are kept, and nothing comes through. */
  isSilent = false;
  /** New connections, refused ones among them. */
  accepted = 0;
  /** Bytes that came from those that connect: what a node sends. */
  fromNearBytes = 0;
  /** Times that connections were cut. */
  cuts = 0;
  readonly #server: Server;
  readonly #pairs = new Set<{ near: Socket; far: Socket }>();
  #bytesUntilCut = Number.POSITIVE_INFINITY;

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    server.on("connection", (near) => this.#join(near, targetPort));
  }

  static async start(targetPort: number): Promise<TcpProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new TcpProxy(server, targetPort);
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("it does not listen");
    return address.port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  cut(): void {
    this.cuts += 1;
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
    this.#pairs.clear();
  }

  /** Cuts when that many more bytes have come from the other end: in the middle of something. */
  cutAfter(bytes: number): void {
    this.#bytesUntilCut = bytes;
  }

  /** Connections stay open, and nothing comes through; for those that there are now. */
  stall(): void {
    for (const { near, far } of this.#pairs) {
      near.unpipe(far).resume();
      far.unpipe(near).pause();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket, targetPort: number): void {
    this.accepted += 1;
    near.on("error", () => {});
    if (this.isRefusing) {
      near.destroy();
      return;
    }
    const far = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    const pair = { near, far };
    this.#pairs.add(pair);
    far.on("error", () => {});
    near.setNoDelay(true);
    if (!this.isSilent) {
      near.pipe(far);
      far.pipe(near);
    } else {
      // Read, so that its end is seen.
      near.resume();
    }
    near.on("data", (chunk: Buffer) => {
      this.fromNearBytes += chunk.length;
    });
    far.on("data", (chunk: Buffer) => {
      this.#bytesUntilCut -= chunk.length;
      if (this.#bytesUntilCut > 0) return;
      this.#bytesUntilCut = Number.POSITIVE_INFINITY;
      this.cut();
    });
    for (const socket of [near, far]) {
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        this.#pairs.delete(pair);
      });
    }
  }
}
