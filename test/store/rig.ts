// Servers and a plain client for the tests of the store: our store and a real redis-server,
// each on a socket in a folder of its own, and replies as the protocol has them.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunStore, StoreHost } from "../../agent/store/store-host.ts";

export { startRedis } from "../rig/redis.ts";

export const mebibyte = 1024 * 1024;

/** The net under every wait. */
export const patienceMs = 20_000;

export interface TestServer extends AsyncDisposable {
  socketPath: string;
}

export interface TestStore extends TestServer {
  host: StoreHost;
  run: RunStore;
  /** Publications by clients, as the agent got them. */
  published: { channel: string; message: string | Buffer }[];
  faults: string[];
}

export async function startStore(quotaBytes = 64 * mebibyte): Promise<TestStore> {
  const folder = mkdtempSync(join(tmpdir(), "edgedag-st-"));
  const socketPath = join(folder, "s.sock");
  const published: TestStore["published"] = [];
  const faults: string[] = [];
  const host = await StoreHost.start({ onFault: (detail) => faults.push(detail) });
  const run = await host.open("test", {
    socketPath,
    quotaBytes,
    onPublish: (channel, message) => published.push({ channel, message }),
  });
  return {
    socketPath,
    host,
    run,
    published,
    faults,
    async [Symbol.asyncDispose]() {
      await host.close();
      rmSync(folder, { recursive: true });
      if (faults.length > 0) throw new Error(`the store had faults: ${faults.join("\n")}`);
    },
  };
}

/** Reason why a program is missing, or false: the form that tap's `skip` takes. */
export function missing(program: string): string | false {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
    return false;
  } catch {
    return `${program} is not installed: scripts/test-services redis`;
  }
}

/** A Python with the `redis` package, or the reason why there is none. */
export function pythonWithRedis(): { path: string } | { reason: string } {
  const path = join(import.meta.dirname, "../../build/venv/bin/python");
  if (existsSync(path)) return { path };
  return { reason: "no Python with the redis package: scripts/test-services redis" };
}

/** One reply of the protocol, written as one line: what the conformance files hold. */
export type Reply = string;

/** A plain connection: sends requests, reads replies one by one, hides nothing. */
export class PlainClient implements AsyncDisposable {
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  #waiting: (() => void)[] = [];
  isClosed = false;

  static connect(socketPath: string): Promise<PlainClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(socketPath, () => resolve(new PlainClient(socket)));
      socket.once("error", reject);
    });
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  write(text: string): void {
    this.socket.write(text, "latin1");
  }

  send(...args: string[]): void {
    this.write(encode(args));
  }

  async call(...args: string[]): Promise<Reply> {
    this.send(...args);
    return this.reply();
  }

  /** The next reply; fails when the connection ends instead, or after the patience of tests. */
  async reply(): Promise<Reply> {
    for (;;) {
      const read = readReply(this.#bytes.toString("latin1"), 0);
      if (read !== undefined) {
        this.#bytes = this.#bytes.subarray(read.next);
        return read.reply;
      }
      if (this.isClosed) throw new Error(`closed with ${JSON.stringify(this.#bytes.toString())}`);
      await this.#more();
    }
  }

  /** Resolves when the other end has closed. */
  async closed(): Promise<void> {
    while (!this.isClosed) await this.#more();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.closed();
  }

  #more(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no reply came")), patienceMs);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

export function encode(args: readonly string[]): string {
  return `*${args.length}\r\n${args.map((a) => `$${a.length}\r\n${a}\r\n`).join("")}`;
}

function readReply(text: string, from: number): { reply: Reply; next: number } | undefined {
  const end = text.indexOf("\r\n", from);
  if (end < 0) return undefined;
  const type = text[from] ?? "";
  const head = text.slice(from + 1, end);
  const after = end + 2;
  if ("+-:,#(".includes(type)) return { reply: type + head, next: after };
  if (type === "_" || head === "-1") return { reply: type === "*" ? "*nil" : "nil", next: after };
  if (type === "$" || type === "=") {
    const next = after + Number(head) + 2;
    if (next > text.length) return undefined;
    return { reply: JSON.stringify(text.slice(after, next - 2)), next };
  }
  if (!"*~%>".includes(type))
    throw new Error(`unreadable reply ${JSON.stringify(text.slice(from))}`);
  let next = after;
  const items: Reply[] = [];
  for (let left = Number(head) * (type === "%" ? 2 : 1); left > 0; left--) {
    const item = readReply(text, next);
    if (item === undefined) return undefined;
    items.push(item.reply);
    next = item.next;
  }
  return { reply: `${type === "*" ? "" : type}[${items.join(" ")}]`, next };
}

/** Waits until something that no message tells has come true; the deadline is a net. */
export async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + patienceMs;
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
