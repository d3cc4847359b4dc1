import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import t from "tap";
import { RunLog } from "../../agent/log/run-log.ts";
import { runLogDir, runObjectsDir } from "../../protocol/state-paths.ts";
import { FakeMaster } from "./fake-master.ts";
import { LinkRig } from "./rig.ts";

t.test("says hello with its bounds and token, ships, and trims what is acked", async (t) => {
  const master = await FakeMaster.start();
  const rig = new LinkRig(t.testdir(), master.url);
  rig.record(3);
  await master.until(() => master.records.length === 3);
  rig.record(2);
  await rig.until(() => rig.journal.outboxDepth() === 0);
  t.same(master.violations, []);
  t.match(master.hellos(), [
    {
      node: "n1",
      boot: rig.journal.nodeBoot(),
      runs: ["r"],
      wantsRuns: true,
      labels: { site: "lab" },
    },
  ]);
  t.same(master.authorizations, ["Bearer secret"]);
  t.same(
    master.records.map((r) => r.seq),
    [1, 2, 3, 4, 5],
  );
  t.equal(await rig.end(), 0);
  await master.stop();
});

t.test("starts without a master and delivers when one comes", async (t) => {
  const first = await FakeMaster.start();
  const { port } = first;
  await first.stop();
  const rig = new LinkRig(t.testdir(), `ws://127.0.0.1:${port}/link`);
  rig.record(4);
  await rig.until(() => rig.heard("disconnected").length > 2);
  t.match(rig.heard("disconnected")[0]?.[0], /ECONNREFUSED/);
  const master = await FakeMaster.start({ port });
  await rig.until(() => rig.journal.outboxDepth() === 0);
  t.equal(master.records.length, 4);
  t.same(master.violations, []);
  await rig.end();
  await master.stop();
});

t.test("each record arrives once and in order across twenty cuts", async (t) => {
  let frames = 0;
  const master = await FakeMaster.start({
    onRecords: (_, socket) => {
      frames += 1;
      // Cut with and without an ack: what was stored but not acked is sent again.
      if (frames % 2 === 0 && master.connections <= 20) {
        socket.terminate();
        return false;
      }
      return master.connections % 3 !== 0 || master.connections > 20;
    },
  });
  const rig = new LinkRig(t.testdir(), master.url, {
    window: { minBytes: 4_096, maxBytes: 16_384 },
  });
  let made = 0;
  while (master.connections <= 20) {
    rig.record(20, "x".repeat(500));
    made += 20;
    const { connections } = master;
    const { length } = master.records;
    if (connections <= 20) {
      await Promise.race([
        master.until(() => master.connections > connections || master.records.length > length),
        new Promise((resolve) => setTimeout(resolve, 500)),
      ]);
    }
    if (master.connections % 3 === 0 && master.connections <= 20) {
      master.cut();
    }
  }
  await rig.until(() => rig.journal.outboxDepth() === 0);
  t.ok(master.connections > 20);
  t.same(master.violations, []);
  t.same(
    master.records.map((record) => record.seq),
    Array.from({ length: made }, (_, i) => i + 1),
  );
  t.same(
    master.records.map((record) => (record.type === "progress" ? record.attempt : 0)),
    Array.from({ length: made }, (_, i) => i + 1),
    "each number is still the record that it was given to",
  );
  await rig.end();
  await master.stop();
});

t.test("a restart of the agent goes on where the master is", async (t) => {
  const stateDir = t.testdir();
  const master = await FakeMaster.start({ onRecords: (records) => (records[0]?.seq ?? 0) < 4 });
  const first = new LinkRig(stateDir, master.url);
  first.record(3);
  await first.until(() => first.journal.outboxDepth() === 0);
  first.record(3);
  await master.until(() => master.records.length === 6);
  t.equal(await first.end(), 3, "stored but not acked");
  const second = new LinkRig(stateDir, master.url);
  await second.until(() => second.journal.outboxDepth() === 0);
  t.match(master.hellos()[1], { firstHeldSeq: 4, nextSeq: 7 });
  t.not(master.hellos()[1]?.boot, master.hellos()[0]?.boot);
  t.equal(master.records.length, 6);
  t.same(master.violations, []);
  await second.end();
  await master.stop();
});

t.test("refusals are told with their remedy and tried again slowly", async (t) => {
  const master = await FakeMaster.start({
    onHello: (say, _, connection) =>
      connection === 1
        ? say({ type: "refused", code: "twin", detail: "two of you", remedy: "stop one" })
        : master.welcome(say),
  });
  const rig = new LinkRig(t.testdir(), master.url);
  rig.record(1);
  const at = performance.now();
  await rig.until(() => rig.journal.outboxDepth() === 0);
  t.ok(performance.now() - at >= 290);
  t.match(rig.heard("refused"), [[{ code: "twin", detail: "two of you", remedy: "stop one" }]]);
  await rig.end();
  await master.stop();
});

t.test("a server that accepts and never answers is left", async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const rig = new LinkRig(t.testdir(), `ws://127.0.0.1:${port}/link`, { heartbeatMs: 40 });
  await rig.until(() => rig.heard("disconnected").length >= 2);
  t.match(rig.heard("disconnected")[0]?.[0], /did not answer for 100 ms/);
  t.ok(sockets.length >= 2);
  await rig.end();
  for (const socket of sockets) {
    socket.destroy();
  }
  server.close();
});

t.test("a master that stops reading is not fed without bound", async (t) => {
  const master = await FakeMaster.start({
    heartbeatMs: 10_000,
    onRecords: (_, socket) => {
      socket.pause();
      return false;
    },
  });
  const maxBytes = 128 * 1024;
  const rig = new LinkRig(t.testdir(), master.url, { window: { minBytes: 16_384, maxBytes } });
  for (let i = 0; i < 100; i++) {
    rig.record(10, "x".repeat(5_000));
  }
  await master.until(() => master.records.length > 0);
  // Two rounds of the thread's loop: whatever it would send is sent.
  for (let i = 0; i < 2; i++) {
    rig.record(1);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  for (const socket of master.sockets) {
    socket.resume();
  }
  await new Promise((resolve) => setTimeout(resolve, 60));
  const bytes = JSON.stringify(master.records).length;
  t.ok(bytes <= maxBytes, `${bytes} bytes without an ack`);
  t.equal(rig.journal.outboxDepth(), 1_002, "the rest waits on disk");
  await rig.end();
  await master.stop();
});

t.test("heartbeats go on while the main thread is busy, and say so", async (t) => {
  const worker = new Worker(new URL("../fixtures/heartbeat-listener.ts", import.meta.url), {
    workerData: { heartbeatMs: 200 },
  });
  const [port] = await once(worker, "message");
  const rig = new LinkRig(t.testdir(), `ws://127.0.0.1:${port}/link`);
  await once(worker, "message");
  const end = performance.now() + 1_400;
  while (performance.now() < end) {
    // Busy on purpose.
  }
  worker.postMessage("report");
  const [beats] = await once(worker, "message");
  const late = beats.filter((beat: { loopLagMs: number }) => beat.loopLagMs > 300);
  t.ok(late.length >= 3, `${JSON.stringify(beats)}`);
  const gaps = beats.slice(1).map((beat: { at: number }, i: number) => beat.at - beats[i].at);
  t.ok(Math.max(...gaps) < 450, `largest gap ${Math.max(...gaps)} ms at an interval of 200`);
  await rig.end();
  await worker.terminate();
});

t.test("log chunks and objects are read from their files", async (t) => {
  const stateDir = t.testdir();
  const master = await FakeMaster.start();
  const rig = new LinkRig(stateDir, master.url);
  const opened = RunLog.open({
    stateDir,
    run: "r",
    isHeld: (segment) => rig.journal.holdsSegment("r", segment),
    onChunk: (chunk) => rig.journal.recordLogChunk({ run: "r", time: 1, ...chunk }),
  });
  if (!opened.ok) {
    throw new Error(JSON.stringify(opened.diagnostics));
  }
  const log = opened.value;
  const stream = log.stream("a", 1, "stdout");
  const text = 'he said "größe" \\ and\tleft\n'.repeat(30_000);
  for (let at = 0; at < text.length; at += 50_000) {
    stream.write(Buffer.from(text.slice(at, at + 50_000)));
  }
  stream.end();
  const bytes = randomBytes(300_000);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  mkdirSync(runObjectsDir(stateDir, "r"), { recursive: true });
  const path = `${runObjectsDir(stateDir, "r")}/o`;
  writeFileSync(path, bytes);
  t.ok(log.close().ok);
  const facts = { run: "r", time: 1, task: "a", attempt: 1 } as const;
  const first = rig.journal.recordObject({
    ...facts,
    kind: "artifact",
    name: "o",
    path,
    sizeBytes: bytes.length,
    sha256,
  });
  rig.record(1);
  await rig.until(() => rig.journal.outboxDepth() === 0);
  t.same(master.violations, []);
  const lines = master.records.flatMap((record) => (record.type === "log" ? record.lines : []));
  t.equal(lines.map((line) => `${line.text}\n`).join(""), text);
  t.same(
    lines.map((line) => line.seq),
    lines.map((_, i) => i + 1),
  );
  const parts = master.records.filter((record) => record.type === "object-part");
  t.match(
    parts.map(({ seq, part, parts: of }) => ({ seq, part, of })),
    [1, 2, 3].map((part) => ({ seq: first + part - 1, part, of: 3 })),
  );
  const data = Buffer.concat(parts.map((part) => Buffer.from(part.data, "base64")));
  t.ok(data.equals(bytes));
  await rig.end();
  await master.stop();
});

t.test("a lost or damaged file holds nothing up and is told", async (t) => {
  const stateDir = t.testdir();
  const folder = runLogDir(stateDir, "r");
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/2.ndjson`, Buffer.alloc(50));
  const master = await FakeMaster.start();
  const rig = new LinkRig(stateDir, master.url);
  const log = { run: "r", time: 1, offset: 0, sizeBytes: 50, lines: 3, firstLine: 4 };
  for (const segment of [1, 2]) {
    rig.journal.recordLogChunk({ ...log, segment });
  }
  rig.record(1);
  await rig.until(() => rig.journal.outboxDepth() === 0);
  t.match(master.records, [
    {
      type: "log",
      lines: [{ seq: 4, level: "error", text: /^3 lines .*are missing here.*ENOENT/ }],
    },
    { type: "log", lines: [{ seq: 4, level: "error", text: /damaged/ }] },
    { type: "progress" },
  ]);
  t.equal(rig.heard("problem").length, 2);
  await rig.end();
  await master.stop();
});

t.test("a node that was set up anew gives its records numbers that the master takes", async (t) => {
  const master = await FakeMaster.start();
  master.acked = 40;
  const rig = new LinkRig(t.testdir(), master.url);
  rig.record(3);
  await rig.until(() => rig.journal.outboxDepth() === 0 && rig.heard("ahead").length > 0);
  await master.until(() => master.records.length === 3);
  t.same(
    master.records.map((record) => record.seq),
    [41, 42, 43],
  );
  t.same(master.violations, []);
  await rig.end();
  await master.stop();
});

t.test("a master from an older backup gets what is still held, and the loss is told", async (t) => {
  const stateDir = t.testdir();
  const master = await FakeMaster.start();
  const rig = new LinkRig(stateDir, master.url);
  rig.record(5);
  await rig.until(() => rig.journal.outboxDepth() === 0);
  await rig.end();
  await master.stop();
  const older = await FakeMaster.start({
    onHello: (say, hello) => {
      older.welcome(say, 2);
      older.acked = hello.firstHeldSeq - 1;
    },
  });
  const second = new LinkRig(stateDir, older.url);
  second.record(2);
  await older.until(() => older.records.length === 2);
  await second.until(() => second.heard("behind").length > 0);
  t.same(older.violations, []);
  t.same(
    second.heard("behind"),
    [[2, 6]].map(([acked]) => [acked, second.heard("behind")[0]?.[1]]),
  );
  await second.end();
  await older.stop();
});

t.test("offers, cancels and drains reach the agent, and its answers the master", async (t) => {
  const master = await FakeMaster.start();
  const rig = new LinkRig(t.testdir(), master.url);
  await rig.until(() => rig.heard("connected").length > 0);
  const artifact = {
    artifact: 1,
    dag: {
      options: { type: "directed", multi: false, allowSelfLoops: false },
      attributes: { edgedag: 1, dag: "d" },
      nodes: [],
      edges: [],
    },
    files: [],
  } as const;
  const offer = { ...artifact, dag: { ...artifact.dag, nodes: [], edges: [] }, files: [] };
  master.say({ type: "run-offered", run: "../../etc", artifact: offer });
  master.say({ type: "run-offered", run: "no:folder", artifact: offer });
  master.say({ type: "run-offered", run: "fine", artifact: offer });
  master.say({ type: "cancel-run", run: "fine", by: "user" });
  master.say({ type: "drain" });
  await rig.until(() => rig.heard("drain").length > 0);
  t.match(rig.heard("problem"), [[{ code: "E_LINK_MESSAGE", message: /run/ }]]);
  t.match(rig.heard("offered"), [[{ run: "fine" }]]);
  t.match(rig.heard("cancelled"), [[{ run: "fine", by: "user" }]]);
  rig.link.answer({ type: "run-accepted", run: "fine" });
  await master.until(() => master.messages.some((message) => message.type === "run-accepted"));
  t.match(
    master.messages.filter((message) => message.type === "run-refused"),
    [{ run: "no:folder", code: "E_RUN_ID" }],
    "an id that is no name of a folder is refused",
  );
  rig.status = { state: "draining", runs: {} };
  await master.until(() => master.heartbeats().some((beat) => beat.state === "draining"));
  await rig.end();
  await master.stop();
});

t.test("close waits for what is under way, and not for ever", async (t) => {
  const stateDir = t.testdir();
  const master = await FakeMaster.start();
  const rig = new LinkRig(stateDir, master.url);
  await rig.until(() => rig.heard("connected").length > 0);
  rig.record(500, "x".repeat(1_000));
  t.equal(await rig.end(5_000), 0);
  t.equal(master.records.length, 500);
  await master.stop();
  const alone = new LinkRig(stateDir, "ws://127.0.0.1:9/link");
  alone.record(2);
  t.equal(await alone.end(50), 2);
});
