// How many records a second does the master store and acknowledge, from 1, 10 and 100 agents on real
// sockets, beside bare inserts into SQLite? The agents work in this same process, so the figures are
// what master and agents reach together.
// usage: node test/bench/master-ingest.ts [--quick]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { WebSocket } from "ws";
import { startMaster } from "../../master/main.ts";
import type { LinkRecord, MasterToAgent } from "../../protocol/link.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";

const total = sized(30_000, 3000);
const recordsPerFrame = 100;
const framesInFlight = 8;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

function record(seq: number, run: string, kind: "attempts" | "mixed"): LinkRecord {
  const time = Date.now();
  if (kind === "mixed" && seq % 5 === 0) {
    const lines = Array.from({ length: 10 }, (_, index) => ({
      time,
      seq: seq * 10 + index,
      source: "task" as const,
      level: "info" as const,
      task: `t${seq}`,
      attempt: 1,
      stream: "stdout" as const,
      text: "a line of output as a task writes it, some sixty characters",
    }));
    return { type: "log", seq, time, run, lines };
  }
  return {
    type: "attempt-finished",
    seq,
    time,
    run,
    task: `t${seq}`,
    attempt: 1,
    outcome: { kind: "succeeded" },
    facts: { startedAt: time, wallMs: 1.5, cpuUserMs: 1, cpuSystemMs: 0.2, exitCode: 0, pid: 7 },
    result: { rows: seq },
    final: true,
  };
}

async function agent(url: string, node: string, count: number, kind: "attempts" | "mixed") {
  // Frames are made before the clock starts: only the master's share is asked for.
  const frames: { text: string; last: number }[] = [];
  for (let seq = 1; seq <= count; seq += recordsPerFrame) {
    const last = Math.min(count, seq + recordsPerFrame - 1);
    const records = Array.from({ length: last - seq + 1 }, (_, index) =>
      record(seq + index, `run-${node}`, kind),
    );
    frames.push({ text: JSON.stringify({ type: "records", records }), last });
  }
  const socket = new WebSocket(`${url.replace("http", "ws")}/link`);
  await new Promise((resolve) => socket.once("open", resolve));
  const next = () => new Promise<Buffer>((resolve) => socket.once("message", resolve));
  const capabilities = { architecture: "x64", os: "linux", cores: 1, memoryBytes: 1 };
  socket.send(
    JSON.stringify({
      type: "hello",
      version: 1,
      node,
      boot: "b",
      agentVersion: "0",
      capabilities: { ...capabilities, levels: [], languages: {}, launcher: true },
      labels: {},
      firstHeldSeq: 1,
      nextSeq: count + 1,
      runs: [],
      wantsRuns: false,
    }),
  );
  await next();
  return {
    ship: () =>
      new Promise<void>((resolve) => {
        let sent = 0;
        let acked = 0;
        const fill = (): void => {
          while (sent < frames.length && sent - acked < framesInFlight) {
            socket.send(frames[sent++]?.text ?? "");
          }
        };
        socket.on("message", (data: Buffer) => {
          const message: MasterToAgent = JSON.parse(data.toString());
          if (message.type !== "ack") return;
          while (acked < frames.length && (frames[acked]?.last ?? 0) <= message.seq) acked++;
          if (acked === frames.length) {
            socket.terminate();
            resolve();
          } else fill();
        });
        fill();
      }),
  };
}

async function measure(agents: number, kind: "attempts" | "mixed"): Promise<number> {
  const dataDir = mkdtempSync(join(tmpdir(), "edgedag-bench-"));
  const listen = { host: "127.0.0.1", port: 0 };
  const master = await startMaster({ listen, dataDir, log: silent });
  const each = Math.floor(total / agents);
  const ready = await Promise.all(
    Array.from({ length: agents }, (_, index) => agent(master.url, `n${index}`, each, kind)),
  );
  const start = performance.now();
  await Promise.all(ready.map(({ ship }) => ship()));
  const ms = performance.now() - start;
  await master.close();
  rmSync(dataDir, { recursive: true });
  return Math.round((each * agents * 1000) / ms);
}

/** The floor: the same rows by one prepared statement, in transactions of 800. */
function bareInserts(): number {
  const dataDir = mkdtempSync(join(tmpdir(), "edgedag-bench-"));
  const database = new DatabaseSync(join(dataDir, "bare.db"));
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
  database.exec(
    "CREATE TABLE a (run INT, task TEXT, attempt INT, o TEXT, f TEXT, r TEXT, PRIMARY KEY (run, task, attempt)) WITHOUT ROWID",
  );
  const insert = database.prepare("INSERT INTO a VALUES (1, ?, 1, ?, ?, ?)");
  const facts = JSON.stringify({ startedAt: 1.5, wallMs: 1.5, cpuUserMs: 1, cpuSystemMs: 0.2 });
  const start = performance.now();
  for (let seq = 0; seq < total; seq++) {
    if (seq % 800 === 0) database.exec(seq === 0 ? "BEGIN" : "COMMIT; BEGIN");
    insert.run(`t${seq}`, '{"kind":"succeeded"}', facts, '{"rows":1}');
  }
  database.exec("COMMIT");
  const ms = performance.now() - start;
  database.close();
  rmSync(dataDir, { recursive: true });
  return Math.round((total * 1000) / ms);
}

const kinds = { attempts: "ends of attempts", mixed: "one in five with ten lines of log" } as const;
const answers: Answer[] = [];
for (const kind of ["attempts", "mixed"] as const) {
  const contenders = [1, 10, 100].map((agents) => ({
    name: `edgedag, from ${agents} ${agents === 1 ? "agent" : "agents"}`,
    isOurs: true as const,
    round: () => measure(agents, kind),
  }));
  answers.push(
    await ask({
      question: `master: records stored and acknowledged, ${kinds[kind]}`,
      unit: "a second",
      better: "more",
      goal: 50_000,
      rounds: sized(5, 2),
      contenders: [...contenders, { name: "bare inserts into SQLite", round: bareInserts }],
    }),
  );
}
tell(...answers);
