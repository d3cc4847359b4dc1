// The store behind a real socket: whatever a client sends, no command is a fault of ours, another
// client is served, the quota holds, and nothing leaks into a reply.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Executor } from "../../../agent/store/execute.ts";
import { KeyspaceServer } from "../../../agent/store/server.ts";
import { mutateBytes } from "../engine/bytes.ts";
import type { Random } from "../engine/random.ts";
import { Broken, must, shown, type Target } from "../target.ts";
import { mustBeInnocent } from "./diagnostics.ts";
import { respWords } from "./resp.ts";

const folderOfCommands = join(import.meta.dirname, "../../../agent/store/commands");

/** Names of the commands, from their table. */
function commandNames(): string[] {
  const names = new Set<string>();
  for (const file of readdirSync(folderOfCommands)) {
    const text = readFileSync(join(folderOfCommands, file), "utf8");
    for (const [, name] of text.matchAll(/\bcommand\(\s*"(\w+)"/g))
      if (name !== undefined) names.add(name);
  }
  return [...names].filter((name) => name !== "shutdown");
}

const words = [
  "a",
  "b",
  "c",
  "",
  "0",
  "1",
  "-1",
  "10",
  "9223372036854775807",
  "1.5",
  "inf",
  "nan",
  "x*",
  "[a",
  "\\",
  "(1",
  "+",
  "-",
  "NX",
  "XX",
  "GET",
  "EX",
  "PX",
  "COUNT",
  "MATCH",
  "LIMIT",
  "LEFT",
  "RIGHT",
  "BEFORE",
  "KEEPTTL",
  "REPLACE",
  "WITHVALUES",
  "0.01",
  "__proto__",
  "constructor",
];

export function encodeCommand(args: readonly string[]): Buffer {
  const parts = [
    `*${args.length}\r\n`,
    ...args.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`),
  ];
  return Buffer.from(parts.join(""));
}

export async function open(): Promise<Target> {
  const names = commandNames();
  const folder = mkdtempSync(join(tmpdir(), "edgedag-st-"));
  const socketPath = join(folder, "s");
  const faults: string[] = [];
  const server = new KeyspaceServer({
    quotaBytes: 2 ** 20,
    subscriptions: new Int32Array(new SharedArrayBuffer(64)),
    executor: new Executor((detail) => faults.push(detail)),
    onPublish: () => undefined,
    isCongested: () => false,
  });
  await server.listen(socketPath);

  const commands = (random: Random): Buffer =>
    Buffer.concat(
      Array.from({ length: 1 + random.small(12) }, () =>
        encodeCommand([
          random.pick(names),
          ...Array.from({ length: random.small(7) }, () => random.pick(words)),
        ]),
      ),
    );

  return {
    covers: /\/agent\/store\//,
    dictionary: [...respWords, ...words, ...names],
    boundMs: 10_000,
    maxBytes: 4096,
    grows: false,
    seeds: () => names.map((name) => encodeCommand([name, "a", "1", "b"])),
    mutate: (input, random, other) => {
      if (random.once(3)) return commands(random);
      if (random.once(2)) return Buffer.concat([input, commands(random)]);
      return mutateBytes(input, random, other, names);
    },
    async run(input) {
      const reply = await exchange(socketPath, input);
      must(faults.length === 0, `a command failed inside: ${faults[0]}`);
      mustBeInnocent(reply.toString("latin1"));
      must(reply.length < 4 * 2 ** 20, `a reply of ${reply.length} bytes`);
    },
    async check() {
      const pong = await exchange(socketPath, encodeCommand(["PING"]));
      must(pong.toString() === "+PONG\r\n", `another client is told ${shown(pong.toString())}`);
      await exchange(socketPath, encodeCommand(["FLUSHALL"]));
    },
    async close() {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** All that comes until the other side has carried out everything. */
function exchange(path: string, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket: Socket = connect(path);
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Broken("the store does not let go of a client that hung up"));
    }, 4000);
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks));
    });
    socket.end(bytes);
  });
}
