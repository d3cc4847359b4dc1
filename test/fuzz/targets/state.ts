// What lies on the disk of a node, damaged: the journal with its outbox, its write-ahead log, and
// the segments of a run's log. Opening, reading and shipping give values with codes; what is shipped
// is numbered without a gap and well-formed; what was opened takes new records and keeps them.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Journal, type JournalOptions } from "../../../agent/journal/journal.ts";
import { DamagedRow, OutboxReader } from "../../../agent/link/outbox-reader.ts";
import { RecordSource } from "../../../agent/link/record-source.ts";
import { formatLine, matches, readLog } from "../../../agent/log/read-log.ts";
import { RunLog } from "../../../agent/log/run-log.ts";
import { decodeAgentToMaster } from "../../../protocol/link-decode.ts";
import { journalPath, runLogDir } from "../../../protocol/state-paths.ts";
import { mutateBytes } from "../engine/bytes.ts";
import { mutateTree } from "../engine/tree.ts";
import { must, shown, type Target } from "../target.ts";
import { mustBeDiagnostics } from "./diagnostics.ts";

const [log, journal, wal] = ["L".charCodeAt(0), "J".charCodeAt(0), "W".charCodeAt(0)];
const record = { type: "attempt-started", time: 1, run: "r", task: "a", attempt: 1 } as const;

const isStateCode = (code: unknown): code is never =>
  typeof code === "string" && /^E_(STATE|LOG|LINK)_[A-Z]+$/.test(code);

function openJournal(stateDir: string): Journal | undefined {
  const options: JournalOptions = { stateDir, durability: "process", ship: true };
  const opened = Journal.open(options);
  if (!opened.ok) {
    mustBeDiagnostics(opened.diagnostics, isStateCode);
    return undefined;
  }
  if (opened.value.recovery !== undefined) mustBeDiagnostics([opened.value.recovery], isStateCode);
  return opened.value;
}

/** Files of a journal as an agent leaves it: `db` after a clean end, `wal` while it still runs. */
function makeBase(folder: string): { db: Buffer; walDb: Buffer; wal: Buffer } {
  const made = openJournal(folder);
  if (made === undefined) throw new Error("the journal cannot be opened");
  made.beginRun("r", { digest: "d", startedAt: 1.5, params: { n: 3 } });
  made.append("r", [{ type: "a" }, { type: "b", list: [1, 2, 3] }]);
  made.record(record);
  made.commit();
  made.beginRun("s", { digest: "e", startedAt: 2 });
  made.append("s", [{ type: "c" }]);
  made.recordLogChunk({
    run: "r",
    time: 1,
    segment: 1,
    offset: 0,
    sizeBytes: 9,
    lines: 1,
    firstLine: 1,
  });
  made.recordObject({
    run: "r",
    time: 1,
    kind: "result",
    task: "a",
    attempt: 1,
    name: "",
    path: join(folder, "none"),
    sizeBytes: 300_000,
    sha256: "x",
  });
  made.commit();
  made.finishRun("s", { kind: "succeeded" });
  made.record(record);
  made.commit();
  made.ack(1);
  const path = journalPath(folder);
  const running = { walDb: readFileSync(path), wal: readFileSync(`${path}-wal`) };
  made.close();
  return { ...running, db: readFileSync(path) };
}

/** Places and values in turn: u32 little-endian, u8. */
function patched(file: Buffer, patches: Buffer): Buffer {
  const copy = Buffer.from(file);
  for (let at = 0; at + 5 <= patches.length; at += 5) {
    copy[patches.readUInt32LE(at) % copy.length] = patches[at + 4] ?? 0;
  }
  return patches.length % 5 === 4
    ? copy.subarray(0, patches.readUInt32LE(patches.length - 4) % copy.length)
    : copy;
}

const lines = [
  '{"time":1,"seq":1,"source":"task","level":"info","task":"a","attempt":1,"stream":"stdout","text":"x"}',
  '{"time":2,"seq":2,"source":"agent","level":"error","text":"y","fields":{"a":[1]}}',
  '{"time":3,"seq":3,"source":"task","level":"warn","task":"m[3]","attempt":2,"stream":"stderr","base64":"/w==","cut":true}',
];
const words = [
  "time",
  "seq",
  "source",
  "task",
  "agent",
  "level",
  "info",
  "stream",
  "stdout",
  "text",
  "base64",
  "fields",
  "cut",
  "null",
  "\n",
  "[]",
  '"x"',
  "\u001b[2J",
];

export function open(): Target {
  const home = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const root = mkdtempSync(join(home, "edgedag-fuzz-state-"));
  const base = makeBase(join(root, "base"));
  let count = 0;
  return {
    covers: /\/agent\/(journal|log|link\/(record-source|outbox-reader|piece-reader))/,
    dictionary: words,
    boundMs: 15_000,
    grows: false,
    seeds: () => [
      `L${lines.join("\n")}\n`,
      `L${lines[0]}\n{"half`,
      "Lnull\n5\n[]\n\n",
      Buffer.from([journal]),
      Buffer.from([wal]),
      Buffer.from([journal, 24, 0, 0, 0, 7, 0, 16, 0, 0, 1]),
      Buffer.from([wal, 0, 0, 0, 0, 0, 60, 0, 0, 0, 9]),
    ],
    mutate: (input, random, other) => {
      if (input[0] === log) {
        const text = input.subarray(1).toString("utf8").split("\n");
        const at = random.below(text.length);
        const line = Buffer.from(text[at] ?? "");
        const donor = Buffer.from(other.subarray(1).toString("utf8").split("\n")[0] ?? "");
        const made =
          mutateTree(line, random, donor, words) ?? mutateBytes(line, random, donor, words);
        text[at] = made.toString("utf8");
        return Buffer.from(`L${text.join("\n")}`);
      }
      const patches = Array.from({ length: 1 + random.small(8) }, () => {
        const patch = Buffer.alloc(5);
        // Headers of pages and cells are where it matters.
        patch.writeUInt32LE(
          random.once(2) ? random.below(2 ** 32) : random.below(200) + 4096 * random.below(12),
        );
        patch[4] = random.below(256);
        return patch;
      });
      const kept = random.once(2) ? input.subarray(1) : Buffer.alloc(0);
      const torn = random.once(5) ? Buffer.from([0, random.below(256), 0, 0]) : Buffer.alloc(0);
      const whole = kept.subarray(0, kept.length - (kept.length % 5));
      return Buffer.concat([Buffer.from([random.pick([journal, wal])]), whole, ...patches, torn]);
    },
    async run(input) {
      count += 1;
      const stateDir = join(root, String(count));
      mkdirSync(stateDir);
      try {
        if (input[0] === log) await readDamagedLog(stateDir, input.subarray(1));
        else openDamagedJournal(stateDir, input[0] === wal ? "wal" : "db", input.subarray(1));
      } finally {
        rmSync(stateDir, { recursive: true, force: true });
      }
    },
    close: () => rmSync(root, { recursive: true, force: true }),
  };

  function openDamagedJournal(stateDir: string, what: "db" | "wal", patches: Buffer): void {
    const path = journalPath(stateDir);
    writeFileSync(path, what === "db" ? patched(base.db, patches) : base.walDb);
    if (what === "wal") writeFileSync(`${path}-wal`, patched(base.wal, patches));
    const opened = openJournal(stateDir);
    if (opened === undefined) return;
    let kept = 0;
    try {
      for (const { run, events } of opened.openRuns()) {
        must(typeof run === "string" && Array.isArray(events), `an open run: ${shown(run)}`);
      }
      const added = opened.record(record);
      const committed = opened.commit();
      // A header can say that the file is read-only: then nothing is promised, and it is told.
      if (committed.ok) kept = added;
      else mustBeDiagnostics(committed.diagnostics, isStateCode);
      opened.maintain();
      if (committed.ok) ship(stateDir, added);
    } finally {
      opened.close();
    }
    const again = openJournal(stateDir);
    if (again === undefined) return;
    must(again.nextSeq() > kept || again.recovery !== undefined, `record ${kept} is forgotten`);
    again.close();
  }
}

/** As the link thread does it: every number from the first one held. */
function ship(stateDir: string, last: number): void {
  const reader = new OutboxReader(journalPath(stateDir));
  const { firstHeldSeq } = reader.bounds();
  const source = new RecordSource(
    { stateDir, read: (seq, limit) => reader.read(seq, limit), onProblem: () => undefined },
    firstHeldSeq,
  );
  try {
    for (let seq = firstHeldSeq, sent = 0; seq <= last && sent < 200; seq++, sent++) {
      const next = source.peek();
      must(next !== undefined, `record ${seq} of ${last} is not there`);
      must(next.seq === seq, `record ${next.seq} comes instead of ${seq}`);
      const decoded = decodeAgentToMaster(`{"type":"records","records":[${next.text}]}`);
      must(decoded.ok, `the master would refuse ${shown(next.text)}: ${shown(decoded)}`);
      source.take();
    }
  } catch (error) {
    // The main thread is told, and puts a record in the row's place that says so.
    if (!(error instanceof DamagedRow)) throw error;
  } finally {
    source.close();
    reader.close();
  }
}

async function readDamagedLog(stateDir: string, segment: Buffer): Promise<void> {
  const folder = runLogDir(stateDir, "r");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "1.ndjson"), segment);
  await readAll(folder);
  const opened = RunLog.open({ stateDir, run: "r", onChunk: () => undefined, isHeld: () => false });
  if (!opened.ok) {
    mustBeDiagnostics(opened.diagnostics, isStateCode);
    return;
  }
  opened.value.agent("info", "after the damage");
  opened.value.close();
  const last = (await readAll(folder)).at(-1) ?? "";
  must(last.endsWith("after the damage"), `the last line is ${shown(last)}`);
}

async function readAll(folder: string): Promise<string[]> {
  const shownLines: string[] = [];
  for await (const batch of readLog({ folder, follow: false })) {
    for (const line of batch) {
      matches(line, { task: "a", level: "warn", since: 2 });
      matches(line, { task: "agent", stream: "stdout" });
      const text = formatLine(line, false);
      must(
        ![...text].some((char) => isControl(char.codePointAt(0) ?? 0)),
        `control characters: ${shown(text)}`,
      );
      shownLines.push(text);
    }
  }
  return shownLines;
}

function isControl(code: number): boolean {
  return (code < 32 && code !== 9 && code !== 10) || (code >= 127 && code < 160);
}
