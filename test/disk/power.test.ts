// A loss of power at any point of a small run with EDGEDAG_DURABILITY=power: every write and sync of the
// real agent is recorded, the state is built anew as it would be found, and what had been told before
// that point (to an observer, to the master) has to be in it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { crc32 } from "node:zlib";
import t from "tap";
import { Journal } from "../../agent/journal/journal.ts";
import type { LinkRecord } from "../../protocol/link.ts";
import { decodeEntry, entrySpan } from "../../protocol/outbox.ts";
import { segmentPath } from "../../protocol/state-paths.ts";
import { FakeMaster } from "../link/fake-master.ts";
import { Box } from "../rig/box.ts";
import { faultLibrary, noFaults } from "../rig/faults/faults.ts";
import {
  Disk,
  type DiskEvent,
  readRecord,
  type Unsynced,
  writeAfterPowerLoss,
} from "../rig/faults/replay.ts";
import type { JsonSummary } from "../rig/run-json.ts";

const isWhole = process.env.EDGEDAG_DISK === "all";
const seed = Number(process.env.SEED ?? 20261126);
const fixture = fileURLToPath(new URL("../fixtures/power-agent.ts", import.meta.url));
const linesWithinMs = 500;

const dag = (ran: string): string => `dag: power
env: { RAN: "${ran}" }
tasks:
  a: { shell: "echo a >> $RAN; echo from a; echo 41 > $EDGEDAG_RESULT" }
  b: { needs: [a], shell: "echo b >> $RAN; seq 200; sleep 0.3; echo late; echo 42 > $EDGEDAG_RESULT" }
  once: { needs: [a], shell: "echo once >> $RAN; sleep 0.2", retries: { limit: 0, lost: 0 } }
  large: { needs: [b], shell: "echo large >> $RAN; seq -s, 40000 | sed 's/.*/[&]/' > $EDGEDAG_RESULT" }
  c: { needs: [large, once], shell: "echo c >> $RAN; echo artifact > c.txt", outputs: [c.txt] }
`;

interface Recorded {
  events: DiskEvent[];
  state: string;
  ran: string;
}

async function recordRun(box: Box): Promise<Recorded> {
  const record = box.path("record");
  const ran = box.path("ran");
  const path = await box.write("dag.yaml", dag(ran));
  const master = await FakeMaster.start({
    onRecords: (records: LinkRecord[]) => {
      const marks = records.map(
        (told) => `${JSON.stringify({ op: "mark", mark: "record", told })}\n`,
      );
      appendFileSync(record, marks.join(""));
      return true;
    },
  });
  const child = spawn(process.execPath, [fixture, path, record], {
    env: {
      PATH: process.env.PATH,
      EDGEDAG_STATE: box.state,
      EDGEDAG_RUNTIME: box.runtime,
      EDGEDAG_NODE: "power",
      EDGEDAG_LEVELS: "none",
      EDGEDAG_MASTER: `http://127.0.0.1:${master.port}`,
      EDGEDAG_DURABILITY: "power",
      LD_PRELOAD: faultLibrary(),
      UV_USE_IO_URING: "0",
      FAULTS_UNDER: box.state,
      FAULTS_KIND: "none",
      FAULTS_RECORD: record,
    },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const [code] = await once(child, "exit");
  await master.stop();
  if (code !== 0) throw new Error(`the agent ended with ${code}`);
  return { events: readRecord(record), state: box.state, ran };
}

interface Told {
  mark: string;
  task?: string;
  attempt?: number;
  outcome?: string;
  told?: LinkRecord;
}

/** What is wrong with the state after a loss of power behind the first `count` events. */
function wrongAfter(
  { events, state }: Recorded,
  count: number,
  { disk, to, unsynced }: { disk: Disk; to: string; unsynced: Unsynced },
): string[] {
  rmSync(to, { recursive: true, force: true });
  writeAfterPowerLoss(disk, { under: state, to, unsynced });
  const marks = events.slice(0, count).filter(({ op }) => op === "mark") as unknown as Told[];
  const opened = Journal.open({ stateDir: to, durability: "process", ship: true });
  if (!opened.ok) return [JSON.stringify(opened.diagnostics)];
  const journal = opened.value;
  const wrong: string[] = [];
  if (journal.recovery !== undefined) wrong.push(journal.recovery.message);
  const isKnown = journal.knowsRun("power");
  if (marks.some(({ mark }) => mark === "accepted") && !isKnown) wrong.push("the run is not there");
  const [open] = journal.openRuns();
  const hasEnded = isKnown && open === undefined;
  const kept = (open?.events ?? []) as { type: string; attempt?: number; outcome?: object }[];
  const finished = kept.filter(({ type }) => type === "attempt-finished").length;
  const told = marks.filter(({ mark }) => mark === "attempt").length;
  if (!hasEnded && finished < told) wrong.push(`${told} attempts were told, ${finished} are there`);
  if (marks.some(({ mark }) => mark === "run") && !hasEnded) wrong.push("the run has not ended");
  const rows = outboxOf(to);
  const nextSeq = journal.nextSeq();
  for (const { told: record } of marks) {
    if (record === undefined) continue;
    if (record.seq >= nextSeq) wrong.push(`record ${record.seq} was told, ${nextSeq} is next`);
    const row = rows.get(record.seq);
    if (row?.kind !== "record") continue;
    const { seq: _, ...rest } = record;
    if (!isDeepStrictEqual(rest, JSON.parse(row.text))) wrong.push(`${record.seq} was ${row.text}`);
  }
  // Objects are synced before they are on record, lines some time after they were written.
  if (unsynced === "lost") {
    const now = Math.max(...events.slice(0, count).map(({ ms }) => ms ?? 0));
    for (const [seq, entry] of rows) {
      if (entry.kind === "log") {
        const { run, segment, offset, sizeBytes, crc } = entry.log;
        const name = segmentPath("", run, segment);
        const written = events.find(
          (event) => event.op === "write" && event.path.endsWith(name) && event.at === offset,
        );
        if (written === undefined || now - written.ms < linesWithinMs) continue;
        const path = to + name;
        const bytes = existsSync(path)
          ? readFileSync(path).subarray(offset, offset + sizeBytes)
          : "";
        if (crc32(bytes) !== crc) wrong.push(`the lines of record ${seq} are not there`);
      } else if (entry.kind === "object") {
        const path = entry.object.path.replace(state, to);
        const size = existsSync(path) ? readFileSync(path).length : -1;
        if (size !== entry.object.sizeBytes) wrong.push(`the object of record ${seq} is not there`);
      }
    }
  }
  journal.close();
  return wrong;
}

/** Looked at in a copy: SQLite tidies up when it closes. */
function hasEnded(state: string): boolean {
  const names = ["journal.db", "journal.db-wal"].filter((name) => existsSync(`${state}/${name}`));
  if (names[0] !== "journal.db") return false;
  const copy = mkdtempSync(`${state}-copy-`);
  for (const name of names) copyFileSync(`${state}/${name}`, `${copy}/${name}`);
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  const database = new DatabaseSync(`${copy}/journal.db`);
  try {
    const row = database.prepare("SELECT outcome FROM runs WHERE run = 'power'").get();
    return row !== undefined && row.outcome !== null;
  } catch {
    return false; // no tables yet
  } finally {
    database.close();
    rmSync(copy, { recursive: true });
  }
}

function outboxOf(state: string) {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  const database = new DatabaseSync(`${state}/journal.db`, { readOnly: true });
  const entries = new Map<number, ReturnType<typeof decodeEntry>>();
  for (const row of database.prepare("SELECT seq, data FROM outbox ORDER BY seq").all()) {
    let seq = Number(row.seq);
    for (const text of String(row.data).split("\n")) {
      const entry = decodeEntry(text);
      entries.set(seq, entry);
      seq += entrySpan(entry);
    }
  }
  database.close();
  return entries;
}

t.test(
  "power: after a loss of power at any point all that was told is there",
  noFaults,
  async (t) => {
    await using box = await Box.create();
    const recorded = await recordRun(box);
    const { events } = recorded;
    const syncs = events.filter(({ op }) => op === "sync").length;
    t.ok(events.length > 200 && syncs > 20, `${events.length} events, ${syncs} syncs`);
    const marks = events.filter(({ op }) => op === "mark").map(({ mark }) => mark);
    for (const mark of ["accepted", "attempt", "record", "run"]) t.ok(marks.includes(mark), mark);
    // In memory where there is such a folder: hundreds of journals are opened, each with its syncs.
    const fast = mkdtempSync(existsSync("/dev/shm") ? "/dev/shm/edgedag-test-" : `${box.dir}/`);
    t.teardown(() => rmSync(fast, { recursive: true, force: true }));
    const to = `${fast}/after`;
    const step = isWhole ? 1 : 5;
    let points = 0;
    const disk = new Disk();
    for (const [index, event] of events.entries()) {
      disk.apply(event);
      const count = index + 1;
      if ((count + seed) % step !== 0) continue;
      const seeds = isWhole ? [seed + count, seed - count] : [seed + count];
      for (const unsynced of ["lost", "kept", ...seeds] as const) {
        const wrong = wrongAfter(recorded, count, { disk, to, unsynced });
        points += 1;
        if (wrong.length > 0) t.same(wrong, [], `after ${count} events, unsynced ${unsynced}`);
      }
    }
    t.ok(points > 100, `${points} states were looked at`);
  },
);

t.test("power: tasks do not wait for a disk that takes 200 ms for a sync", noFaults, async (t) => {
  await using box = await Box.create();
  const count = 30;
  const needs = (n: number) => (n === 0 ? "" : `, needs: [t${n - 1}]`);
  const tasks = Array.from({ length: count }, (_, n) => `  t${n}: { shell: "true"${needs(n)} }`);
  const path = await box.write("dag.yaml", `dag: chain\ntasks:\n${tasks.join("\n")}\n`);
  const { code, stdout } = await box.run(["run", path, "--state", box.state, "--json"], {
    env: {
      EDGEDAG_DURABILITY: "power",
      LD_PRELOAD: faultLibrary(),
      UV_USE_IO_URING: "0",
      FAULTS_UNDER: box.state,
      FAULTS_KIND: "count",
      FAULTS_REPORT: box.path("report"),
      FAULTS_DELAY_US: "200000",
    },
  });
  t.equal(code, 0);
  const { summary } = JSON.parse(stdout) as JsonSummary;
  const p99 = summary.interTaskP99Ms ?? 200;
  t.ok(p99 < 200, `${p99} ms from one task to the next, run in ${summary.wallMs} ms`);
});

t.test("power: lines of the log are on the disk within 500 ms", noFaults, async (t) => {
  await using box = await Box.create();
  const { events } = await recordRun(box);
  let longest = 0;
  const begun = new Map<string, number[]>();
  const waiting = new Map<string, { index: number; ms: number }[]>();
  for (const [index, { op, path, ms }] of events.entries()) {
    if (!/\/log\/\d+\.ndjson$/.test(path ?? "")) continue;
    if (op === "write") waiting.set(path, [...(waiting.get(path) ?? []), { index, ms }]);
    if (op === "sync-begins") begun.set(path, [...(begun.get(path) ?? []), index]);
    if (op !== "sync") continue;
    const [from = 0, ...later] = begun.get(path) ?? [];
    begun.set(path, later);
    const all = waiting.get(path) ?? [];
    for (const write of all.filter((write) => write.index < from)) {
      longest = Math.max(longest, ms - write.ms);
    }
    waiting.set(
      path,
      all.filter((write) => write.index > from),
    );
  }
  t.same([...waiting.values()].flat(), [], "all lines are on the disk in the end");
  t.ok(longest > 0 && longest < linesWithinMs, `the longest wait was ${Math.round(longest)} ms`);
});

t.test(
  "power: an agent on the state goes on, and runs nothing again that was told",
  noFaults,
  async (t) => {
    await using box = await Box.create();
    const recorded = await recordRun(box);
    const { events, ran, state } = recorded;
    const path = box.path("dag.yaml");
    const told = events.flatMap(({ op, mark }, index) =>
      op === "mark" && mark === "attempt" ? index : [],
    );
    const points = isWhole ? events.map((_, index) => index + 1) : told.map((index) => index + 1);
    let goneOn = 0;
    for (const [turn, count] of points.entries()) {
      const unsynced = turn % 2 === 0 ? "lost" : seed + turn;
      rmSync(ran, { force: true });
      rmSync(state, { recursive: true, force: true });
      const disk = new Disk();
      for (const event of events.slice(0, count)) disk.apply(event);
      writeAfterPowerLoss(disk, { under: state, to: state, unsynced });
      const marks = events.slice(0, count).filter(({ op }) => op === "mark") as unknown as Told[];
      // With its end on the disk, told or not, the DAG is run anew.
      if (marks.some(({ mark }) => mark === "run") || hasEnded(state)) continue;
      const end = await box.run(["agent"], {
        env: {
          EDGEDAG_FROM_SOURCE: undefined,
          EDGEDAG_DAG: path,
          EDGEDAG_AFTER: "exit",
          EDGEDAG_MASTER: "http://127.0.0.1:1",
          EDGEDAG_DRAIN: "0s",
          EDGEDAG_DURABILITY: "power",
        },
      });
      const again = existsSync(ran) ? readFileSync(ran, "utf8").split("\n") : [];
      const finished = marks.filter(
        ({ mark, outcome }) => mark === "attempt" && outcome === "succeeded",
      );
      for (const { task = "" } of finished) {
        t.notOk(
          again.includes(task),
          `after ${count} events: ${task} was told and is not run again`,
        );
      }
      const onceBegan = marks.some(({ mark, task }) => mark === "started" && task === "once");
      if (onceBegan) t.notOk(again.includes("once"), `after ${count}: once is begun once`);
      const isOnceTold = finished.some(({ task }) => task === "once");
      // In flight it is lost with the power; its end may be on the disk without having been told.
      const codes = isOnceTold ? [0] : [0, 1];
      t.ok(codes.includes(end.code ?? -1), `after ${count}: ${end.code} ${end.stderr.slice(-300)}`);
      if (end.code === 1) t.notOk(again.includes("once"), "what is lost is not begun again");
      t.notMatch(end.stderr, /E_STATE_CORRUPT|a bug of edgedag/);
      goneOn += 1;
    }
    t.ok(goneOn > 2, `${goneOn} agents went on`);
  },
);
