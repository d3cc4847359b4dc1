// What is too large is refused by its size, in words, before it is held in memory; and what is right
// goes on. HTTP at every route, the link at both ends, the socket of workers; and readers who do not read.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import t from "tap";
import { WebSocketServer } from "ws";
import { encodeFrame } from "../../agent/exec/workers/channel.ts";
import { WorkerServer } from "../../agent/exec/workers/worker-server.ts";
import type { LinkRecord } from "../../protocol/link.ts";
import { frameLimitBytes } from "../../protocol/link-decode.ts";
import { LinkRig } from "../link/rig.ts";
import {
  artifactOf,
  helloOf,
  runFinished,
  runStarted,
  ScriptedAgent,
  silentLog,
} from "../master/rig.ts";
import { Box } from "../rig/box.ts";
import { doors } from "./doors.ts";
import { adminToken, ask, Fleet, isIn } from "./rig.ts";

const mebibyte = 2 ** 20;

/** Sends a head that announces a body, and only then looks; the answer must not wait for the body. */
async function announce(url: string, path: string, head: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const lines = [
    `POST ${path} HTTP/1.1`,
    `host: ${hostname}`,
    `authorization: Bearer ${adminToken}`,
  ];
  socket.write(`${[...lines, "content-type: application/json", head].join("\r\n")}\r\n\r\n`);
  const [first] = await once(socket, "data");
  socket.destroy();
  return String(first);
}

t.test("every route refuses a body that is announced as too large, at once", async (t) => {
  await using fleet = await Fleet.start(t.testdir(), { snippets: await doors() });
  const { paths } = (await ask(`${fleet.url}/openapi.json`)).value;
  const posts = Object.keys(paths).filter((path) => "post" in paths[path]);
  t.ok(posts.length >= 9, posts.join(" "));
  for (const path of posts) {
    const at = path.replaceAll(/\{\w+\}/g, "nothing");
    const answer = await announce(fleet.url, at, `content-length: ${64 * mebibyte + 1}`);
    // The drop-in speaks the words of what it stands in for.
    t.match(answer, path === "/run" ? /^HTTP\/1\.1 422 / : /^HTTP\/1\.1 413 /, path);
    t.match(answer, /larger than \d+ bytes/, path);
    const wantsBody = paths[path].post.requestBody !== undefined && !path.includes("enroll");
    if (wantsBody) continue;
    t.match(await announce(fleet.url, at, "content-length: 2000"), /^HTTP\/1\.1 413 /, path);
  }
  for (const path of posts) {
    const at = path.replaceAll(/\{\w+\}/g, "nothing");
    const url = `${fleet.url}${at}`;
    const stranger = await ask(url, { method: "POST", body: Buffer.alloc(100_000, 32) });
    t.equal(stranger.status, 401, `${path}: of a stranger nothing is read`);
  }
});

t.test("a body without an announced size is cut where it becomes too large", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const { hostname, port } = new URL(fleet.url);
  for (const [path, most] of [
    ["/api/nodes/n/enroll-token", 1024],
    ["/api/runs", 64 * mebibyte],
  ] as const) {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    const head = ["content-type: application/json", "transfer-encoding: chunked"];
    socket.write(
      [
        `POST ${path} HTTP/1.1`,
        `host: ${hostname}`,
        `authorization: Bearer ${adminToken}`,
        ...head,
        "",
        "",
      ].join("\r\n"),
    );
    let text = "";
    socket.on("data", (data) => {
      text += data;
    });
    const answered = new Promise<void>((resolve) => {
      socket.on("data", () => {
        if (text.includes("\r\n\r\n")) resolve();
      });
      socket.on("close", () => resolve());
    });
    const chunk = Buffer.alloc(Math.min(mebibyte, most), 32);
    let sent = 0;
    while (!text.includes("\r\n\r\n") && !socket.destroyed && sent < most + 64 * mebibyte) {
      sent += chunk.length;
      const taken = new Promise((resolve) => {
        socket.write(`${chunk.length.toString(16)}\r\n`);
        socket.write(chunk);
        socket.write("\r\n", resolve);
      });
      await Promise.race([taken, answered]);
    }
    await answered;
    t.match(text, /^HTTP\/1\.1 413 [\s\S]*E_API_TOO_LARGE/, path);
    t.ok(sent <= most + 16 * mebibyte, `${path}: ${sent} bytes were taken in`);
    socket.destroy();
  }
});

t.test("a head that is too large is refused", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const answer = await ask(`${fleet.url}/api/nodes`, {
    headers: { "x-api-key": "x".repeat(20_000) },
  });
  t.equal(answer.status, 431);
  t.equal((await ask(`${fleet.url}/${"x".repeat(20_000)}`)).status, 431);
});

t.test(
  "an artifact that no node could be sent is refused, the largest that fits arrives",
  async (t) => {
    await using fleet = await Fleet.start(t.testdir(), { heartbeatMs: 10_000 });
    const agent = await fleet.agent("pump-7", { token: adminToken });
    await agent.until(() => isIn(agent));
    const submit = (bytes: number) => {
      const artifact = artifactOf();
      const text = "x".repeat(bytes);
      const file = { path: "a.txt", sha256: createHash("sha256").update(text).digest("hex"), text };
      return fleet.post("/api/runs", { artifact: { ...artifact, files: [file] }, node: "pump-7" });
    };
    const over = await submit(frameLimitBytes);
    t.equal(over.status, 413);
    t.match(over.value.error, {
      code: "E_API_TOO_LARGE",
      message: /a node can be sent 16777216/,
      remedy: /let a task fetch them/,
    });
    t.equal((await submit(frameLimitBytes - 4096)).status, 201);
    await agent.until(() => agent.heard("offered").length > 0);
    t.same(agent.heard("disconnected"), []);
  },
);

t.test("a frame that comes in pieces is measured whole", async (t) => {
  await using fleet = await Fleet.start(t.testdir(), { heartbeatMs: 10_000 });
  await using agent = new ScriptedAgent(fleet.url, { token: adminToken });
  agent.send(helloOf("pump-7"));
  await agent.next("welcome");
  const piece = Buffer.alloc(4 * mebibyte, 120);
  for (let n = 0; n < 9; n++) agent.socket.send(piece, { fin: false, binary: false });
  t.equal(await agent.closed(), 1009);
});

t.test(
  "a master that sends too large a frame is left, with its size, and tried again",
  async (t) => {
    const server = createServer();
    const sockets = new WebSocketServer({ server, path: "/link" });
    let connections = 0;
    sockets.on("connection", (socket) => {
      connections += 1;
      socket.on("error", () => {});
      if (connections === 1) socket.send("x".repeat(frameLimitBytes + 1));
      else {
        const welcome = { type: "welcome", version: 1, acked: 0, heartbeatMs: 200, time: 0 };
        socket.once("message", () => socket.send(JSON.stringify(welcome)));
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/link`;
    const rig = new LinkRig(t.testdir(), url);
    await rig.until(() => isIn(rig));
    t.match(rig.heard("disconnected")[0]?.[0], /larger than 16777216 bytes/);
    await rig.end();
    for (const socket of sockets.clients) socket.terminate();
    server.close();
  },
);

t.test("a stranger at the workers' socket may say a hello, and no more", async (t) => {
  await using box = await Box.create();
  const server = await WorkerServer.listen(box.path("w"));
  let arrivals = 0;
  const worker = server.expect({
    token: "right",
    arrived: (socket) => {
      arrivals += 1;
      socket.destroy();
    },
  });
  const hello = (token: string) => {
    const said = { worker, token, runtime: "node", version: "1", pid: 1 };
    return encodeFrame(JSON.stringify({ hello: said }));
  };
  const head = Buffer.alloc(4);
  head.writeUInt32LE(64 * 1024 + 1);
  for (const bytes of [head, hello("wrong"), hello("righ"), hello("right2"), encodeFrame("[")]) {
    const socket = connect(server.socketPath);
    socket.write(bytes);
    socket.on("error", () => {});
    await once(socket, "close");
  }
  t.equal(arrivals, 0);
  const socket = connect(server.socketPath);
  socket.write(hello("right"));
  await once(socket, "close");
  t.equal(arrivals, 1);
  await server.close();
});

t.test(
  "a reader who takes nothing is given up; one who waits for what is to come is not",
  async (t) => {
    const cut = Promise.withResolvers<void>();
    const warn = (_: object, text: string) => {
      if (text.includes("was given up")) cut.resolve();
    };
    await using fleet = await Fleet.start(t.testdir(), {
      stallMs: 300,
      heartbeatMs: 10_000,
      log: { ...silentLog, warn },
    });
    const { agent } = await ScriptedAgent.join(fleet.url, helloOf("pump-7"), { token: adminToken });
    await using _ = agent;
    const bytes = Buffer.alloc(24 * mebibyte, "artifact ");
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const parts = Array.from({ length: 24 }, (_, n): LinkRecord => {
      const data = bytes.subarray(n * mebibyte, (n + 1) * mebibyte).toString("base64");
      const object = {
        kind: "artifact" as const,
        task: "a",
        attempt: 1,
        name: "big",
        sizeBytes: bytes.length,
      };
      return {
        type: "object-part",
        seq: n + 2,
        time: 1,
        run: "r1",
        ...object,
        part: n + 1,
        parts: 24,
        sha256,
        data,
      };
    });
    agent.records(runStarted(1, "r1"));
    for (const part of parts) agent.records(part);
    await agent.acked(25);
    const address = `${fleet.url}/api/runs/r1/artifacts/a/big`;
    while ((await ask(address, { method: "GET", token: adminToken })).status !== 200);

    const { hostname, port } = new URL(fleet.url);
    const get = (path: string) => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => {});
      socket.write(
        `GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${adminToken}\r\n\r\n`,
      );
      return socket;
    };
    const follower = get("/api/runs/r1/log?follow=true");
    const stalled = get("/api/runs/r1/artifacts/a/big");
    stalled.pause();
    await once(stalled, "connect");
    const quick = await ask(address, { token: adminToken });
    t.equal(quick.text.length, bytes.length, "others have all of it");
    await cut.promise;
    let got = 0;
    stalled.on("data", (data) => {
      got += data.length;
    });
    stalled.resume();
    await once(stalled, "close");
    t.ok(got < bytes.length, `${got} bytes are what was on its way to the one who took nothing`);

    const told = Promise.withResolvers<string>();
    let text = "";
    follower.on("data", (data) => {
      text += data;
      if (text.endsWith("0\r\n\r\n")) told.resolve(text);
    });
    follower.on("close", () => told.resolve(`closed after ${text}`));
    agent.records(runFinished(26, "r1"));
    t.match(await told.promise, /^HTTP\/1\.1 200/, "who waited longer than that hears the end");
    follower.destroy();
  },
);
