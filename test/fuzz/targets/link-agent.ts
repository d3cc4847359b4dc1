// A real link of an agent, and a master over a real WebSocket that says what it likes: the link
// thread lives on, connects again, and ships its records once an honest master is there.
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type WebSocket, WebSocketServer } from "ws";
import { LinkRig } from "../../link/rig.ts";
import { Broken, must, type Target } from "../target.ts";
import { linkWords, mutateLines, sampleMessages } from "./link.ts";

const welcome = (acked = 0) =>
  JSON.stringify({ type: "welcome", version: 1, acked, heartbeatMs: 200, time: 1 });

export async function open(): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), "edgedag-la-"));
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", path: "/link" });
  const waiting: ((socket: WebSocket) => void)[] = [];
  const ready: WebSocket[] = [];
  server.on("connection", (socket) => {
    socket.on("error", () => undefined);
    // The first message is the hello.
    socket.once("message", () => {
      const next = waiting.shift();
      if (next === undefined) ready.push(socket);
      else next(socket);
    });
  });
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo; // it listens on TCP
  const rig = new LinkRig(folder, `ws://127.0.0.1:${port}/link`, {
    backoff: { firstMs: 1, maxMs: 5, slowMs: 10 },
  });
  rig.record(3);
  const nextSocket = (): Promise<WebSocket> => {
    const there = ready.shift();
    if (there !== undefined && there.readyState === there.OPEN) return Promise.resolve(there);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Broken("the agent does not connect again")), 8000);
      waiting.push((socket) => {
        clearTimeout(timer);
        resolve(socket);
      });
    });
  };
  return {
    dictionary: linkWords,
    maxBytes: 16 * 1024,
    boundMs: 12_000,
    grows: false,
    seeds: () => [
      sampleMessages("master").join("\n"),
      `${welcome()}\n{"type":"ack","seq":2}`,
      ...sampleMessages("master").map((line) => `${welcome()}\n${line}`),
    ],
    mutate: mutateLines,
    async run(input) {
      const socket = await nextSocket();
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Broken("the agent neither answers nor goes")),
          5000,
        );
        const done = () => {
          clearTimeout(timer);
          socket.terminate();
          resolve();
        };
        socket.on("pong", done);
        socket.on("close", done);
        for (const line of input.toString("utf8").split("\n").slice(0, 30)) socket.send(line);
        socket.ping();
      });
      rig.said.length = 0;
    },
    async check() {
      // An honest master gets what is new, whatever the one before had claimed.
      rig.record(1);
      const socket = await nextSocket();
      const got = new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Broken("no heartbeat and no records for an honest master")),
          8000,
        );
        socket.on("message", () => {
          clearTimeout(timer);
          resolve();
        });
      });
      socket.send(welcome(Math.max(0, rig.journal.nextSeq() - 2)));
      await got;
      socket.terminate();
      must(rig.journal.outboxDepth() >= 0, "a negative depth of the outbox");
    },
    async close() {
      await rig.end();
      server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
