// A real master, and agents over real WebSockets that say what they like: nobody else notices.
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { WebSocket } from "ws";
import type { Logger } from "../../../master/clock.ts";
import { helloOf, idleHeartbeat, ScriptedAgent, testMaster } from "../../master/rig.ts";
import { mutateBytes } from "../engine/bytes.ts";
import { Broken, must, shown, type Target } from "../target.ts";
import { mustBeInnocent } from "./diagnostics.ts";
import { linkWords, mutateLines, sampleMessages } from "./link.ts";

const rawMark = 0xff;
const internalCode = 1011;

export async function open(): Promise<Target> {
  const errors: string[] = [];
  const note = (fields: unknown, text?: unknown) => {
    // Agents that lie of an object are told on, which is no error of the master.
    if (text !== "an object does not match its SHA-256") errors.push(shown([fields, text]));
  };
  const log: Logger = { debug() {}, info() {}, warn() {}, error: note };
  const master = await testMaster({ log, helloTimeoutMs: 300, failureRate: null });
  const port = Number(new URL(master.url).port);
  return {
    covers: /\/(master\/(link|nodes|runs|logs|results|gateway|storage)\/|protocol\/link)/,
    dictionary: linkWords,
    maxBytes: 16 * 1024,
    boundMs: 10_000,
    grows: false,
    seeds: () => [
      sampleMessages("agent").join("\n"),
      [helloOf("n1", { runs: ["r1"] }), idleHeartbeat]
        .map((message) => JSON.stringify(message))
        .join("\n"),
      ...sampleMessages("agent").map((line) => `${JSON.stringify(helloOf("n2"))}\n${line}`),
      Buffer.concat([Buffer.from([rawMark, 0x81, 0x05, 0, 0, 0, 0]), Buffer.from("hello")]),
      Buffer.from([
        rawMark,
        0x01,
        0x81,
        0,
        0,
        0,
        0,
        0x61,
        0x89,
        0x80,
        0,
        0,
        0,
        0,
        0x88,
        0x82,
        0,
        0,
        0,
        0,
        0xff,
        0xff,
      ]),
      Buffer.from([
        rawMark,
        0x81,
        0xff,
        0x7f,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
      ]),
    ],
    mutate: (input, random, other) =>
      input[0] === rawMark
        ? Buffer.concat([
            Buffer.from([rawMark]),
            mutateBytes(input.subarray(1), random, other.subarray(1), ["\x81", "\x88\x82", "\xc1"]),
          ])
        : mutateLines(input, random, other),
    async run(input) {
      if (input[0] === rawMark) await rawFrames(port, input.subarray(1));
      else {
        const lines = input.toString("utf8").split("\n").slice(0, 40);
        await talk(master.url, lines).catch((error: unknown) => {
          throw error instanceof Broken && errors.length > 0
            ? new Broken(`${error.message}; the master says: ${errors[0]}`)
            : error;
        });
      }
      must(errors.length === 0, `the master says: ${errors[0]}`);
    },
    async check() {
      const { agent } = await ScriptedAgent.join(master.url, helloOf("honest"));
      agent.send(idleHeartbeat);
      await agent[Symbol.asyncDispose]();
      for (const path of ["/api/nodes", "/api/runs"]) {
        const response = await master.get(path);
        must(response.status === 200, `${path} answers ${response.status}`);
        mustBeInnocent(await response.text());
      }
    },
    async close() {
      await master[Symbol.asyncDispose]();
      rmSync(master.dataDir, { recursive: true, force: true });
    },
  };
}

/** All lines, then a ping: it is answered, or the connection was ended with a reason. */
function talk(url: string, lines: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/link`);
    const timer = setTimeout(() => {
      socket.terminate();
      reject(new Broken("neither a pong nor a close"));
    }, 5000);
    const done = (problem?: Error) => {
      clearTimeout(timer);
      socket.terminate();
      if (problem === undefined) resolve();
      else reject(problem);
    };
    socket.on("open", () => {
      for (const line of lines) socket.send(line);
      socket.ping();
    });
    socket.on("message", (data: Buffer) => {
      try {
        mustBeInnocent(data.toString());
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    });
    socket.on("pong", () => done());
    socket.on("error", () => undefined);
    socket.on("close", (code) =>
      done(code === internalCode ? new Broken("the session failed inside (1011)") : undefined),
    );
  });
}

function rawFrames(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const timer = setTimeout(() => socket.destroy(), 150);
    socket.on("data", () => undefined);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve();
    });
    socket.write(
      `GET /link HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    socket.end(bytes);
  });
}
