import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { Journal, type JournalOptions } from "../../agent/journal/journal.ts";
import { decodeEntry } from "../../protocol/outbox.ts";
import { journalPath, quarantineDir, runObjectsDir } from "../../protocol/state-paths.ts";

function open(stateDir: string, more: Partial<JournalOptions> = {}): Journal {
  const opened = Journal.open({ stateDir, durability: "process", ship: true, ...more });
  if (!opened.ok) {
    throw new Error(JSON.stringify(opened.diagnostics));
  }
  return opened.value;
}

function rows(stateDir: string, sql: string): Record<string, unknown>[] {
  const database = new DatabaseSync(journalPath(stateDir), { readOnly: true });
  const found = database.prepare(sql).all();
  database.close();
  return found;
}

const start = { digest: "d", startedAt: 1.5 };

t.test("events of an open run come back in order, with its parameters", async (t) => {
  const stateDir = t.testdir();
  const journal = open(stateDir);
  journal.beginRun("r1", { ...start, params: { n: 3 } });
  journal.append("r1", [{ type: "a" }, { type: "b" }]);
  t.ok(journal.commit().ok);
  journal.append("r1", [{ type: "c" }]);
  t.ok(journal.commit().ok);
  journal.append("r1", [{ type: "never committed" }]);
  journal.close();

  const again = open(stateDir);
  const events = [{ type: "a" }, { type: "b" }, { type: "c" }];
  t.same(again.openRuns(), [{ run: "r1", ...start, params: { n: 3 }, events }]);
  again.append("r1", [{ type: "d" }]);
  t.ok(again.commit().ok);
  t.equal(again.openRuns()[0]?.events.length, 4);
  again.close();
});

t.test("a turn writes one row of events and one row of the outbox", async (t) => {
  const stateDir = t.testdir();
  const journal = open(stateDir);
  journal.beginRun("r", start);
  t.ok(journal.commit().ok);
  journal.append("r", [1, 2]);
  journal.append("r", [3]);
  t.equal(journal.record({ type: "attempt-started", time: 1, run: "r", task: "a", attempt: 1 }), 1);
  const log = { run: "r", time: 1, segment: 1, offset: 0, sizeBytes: 9, lines: 1, firstLine: 1 };
  t.equal(journal.recordLogChunk(log), 2);
  const object = { run: "r", time: 1, kind: "result", task: "a", attempt: 1, name: "" } as const;
  const large = { ...object, path: "/x", sizeBytes: 300_000, sha256: "" };
  t.equal(journal.recordObject(large), 3);
  t.equal(journal.nextSeq(), 6, "the object takes a number for each part");
  t.ok(journal.commit().ok);
  t.ok(journal.commit().ok, "nothing to write is written");
  t.same(rows(stateDir, "SELECT data FROM events"), [{ data: "[1,2,3]" }]);
  const [row, ...others] = rows(stateDir, "SELECT * FROM outbox");
  t.same(others, []);
  t.match(row, { seq: 1, last: 5 });
  const kinds = String(row?.data)
    .split("\n")
    .map((text) => decodeEntry(text).kind);
  t.same(kinds, ["record", "log", "object"]);
  journal.close();
});

t.test("acked rows go, numbers go on after a restart, shipped objects are removed", async (t) => {
  const stateDir = t.testdir();
  const objects = runObjectsDir(stateDir, "r");
  mkdirSync(objects, { recursive: true });
  const copy = `${objects}/copy`;
  const own = `${stateDir}/runs/r/work-file`;
  writeFileSync(copy, "x");
  writeFileSync(own, "x");
  const journal = open(stateDir);
  journal.beginRun("r", start);
  const facts = { run: "r", time: 1, kind: "artifact", task: "a", attempt: 1, name: "" } as const;
  for (const path of [copy, own]) {
    journal.recordObject({ ...facts, path, sizeBytes: 1, sha256: "" });
    t.ok(journal.commit().ok);
  }
  journal.record({ type: "attempt-started", time: 1, run: "r", task: "a", attempt: 1 });
  t.ok(journal.commit().ok);
  t.equal(journal.outboxDepth(), 3);
  t.ok(journal.ack(2).ok);
  t.equal(journal.outboxDepth(), 1);
  t.same(rows(stateDir, "SELECT seq FROM outbox"), [{ seq: 3 }]);
  t.ok(journal.ack(99).ok, "an ack of what was never sent goes no further than the last number");
  t.same(rows(stateDir, "SELECT seq FROM outbox"), []);
  while (existsSync(copy)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(existsSync(own), "a file in the working folder is not the journal's");
  journal.close();
  const again = open(stateDir);
  t.equal(again.nextSeq(), 4);
  again.close();
});

t.test("an ack of many rows is carried out in bounded steps", async (t) => {
  const stateDir = t.testdir();
  const journal = open(stateDir);
  journal.beginRun("r", start);
  for (let i = 0; i < 700; i++) {
    journal.record({ type: "attempt-started", time: 1, run: "r", task: "a", attempt: i + 1 });
    journal.commit();
  }
  t.ok(journal.ack(700).ok);
  t.same(rows(stateDir, "SELECT count(*) AS n FROM outbox"), [{ n: 444 }]);
  t.equal(journal.outboxDepth(), 0);
  let steps = 1;
  for (let left = true; left; steps++) {
    const step = journal.maintain();
    left = step.ok && step.value.more;
  }
  t.same(rows(stateDir, "SELECT count(*) AS n FROM outbox"), [{ n: 0 }]);
  t.ok(steps < 6);
  journal.close();
});

t.test("a finished run is no longer open and its events are deleted step by step", async (t) => {
  const stateDir = t.testdir();
  const journal = open(stateDir, { keepRuns: 1 });
  for (const run of ["a", "b"]) {
    journal.beginRun(run, start);
    journal.append(run, [1]);
    journal.finishRun(run, { kind: "succeeded" });
    t.ok(journal.commit().ok);
  }
  t.throws(() => journal.append("a", [2]), /not open/);
  t.same(journal.openRuns(), []);
  t.same(journal.expiredRuns(), [], "not before it is tidy");
  for (let left = true; left; ) {
    const step = journal.maintain();
    left = step.ok && step.value.more;
  }
  t.same(rows(stateDir, "SELECT * FROM events"), []);
  t.same(journal.expiredRuns(), [{ run: "a", folder: `${stateDir}/runs/a` }]);
  t.ok(journal.forgetRun("a").ok);
  t.same(journal.expiredRuns(), []);
  journal.close();
});

t.test("without a master nothing goes to the outbox", async (t) => {
  const stateDir = t.testdir();
  const journal = open(stateDir, { ship: false });
  journal.beginRun("r", start);
  t.equal(journal.record({ type: "attempt-started", time: 1, run: "r", task: "a", attempt: 1 }), 0);
  t.ok(journal.commit().ok);
  t.equal(journal.outboxDepth(), 0);
  t.same(rows(stateDir, "SELECT * FROM outbox"), []);
  journal.close();
});

t.test("what cannot be written stays buffered and is written later", async (t) => {
  const stateDir = t.testdir();
  const journal = open(stateDir, { limitBytes: 160 * 1024 });
  journal.beginRun("r", start);
  const big = "x".repeat(30_000);
  let failed = false;
  let written = 0;
  while (!failed) {
    journal.record({
      type: "progress",
      time: 1,
      run: "r",
      task: "a",
      attempt: 1,
      fraction: 0,
      text: big,
    });
    const result = journal.commit();
    failed = !result.ok;
    if (!result.ok) {
      t.equal(result.diagnostics[0]?.code, "E_STATE_FULL");
      t.match(result.diagnostics[0]?.remedy, /Free space/);
    } else {
      written += 1;
    }
  }
  t.ok(written > 0);
  journal.append("r", ["later"]);
  t.notOk(journal.commit().ok, "still full");
  t.ok(journal.ack(written).ok);
  t.ok(journal.commit().ok, "the ack made room");
  t.equal(journal.outboxDepth(), 1);
  t.same(rows(stateDir, "SELECT seq, last FROM outbox"), [{ seq: written + 1, last: written + 1 }]);
  t.same(journal.openRuns()[0]?.events, ["later"]);
  journal.close();
});

t.test("records get new numbers when the master is ahead of them", async (t) => {
  const stateDir = t.testdir();
  const journal = open(stateDir);
  journal.beginRun("r", start);
  for (const attempt of [1, 2, 3]) {
    journal.record({ type: "attempt-started", time: 1, run: "r", task: "a", attempt });
    t.ok(journal.commit().ok);
  }
  t.ok(journal.ack(1).ok);
  t.ok(journal.renumber(50).ok);
  t.same(rows(stateDir, "SELECT seq, last FROM outbox"), [
    { seq: 51, last: 51 },
    { seq: 52, last: 52 },
  ]);
  t.equal(journal.nextSeq(), 53);
  t.equal(journal.outboxDepth(), 2);
  t.ok(journal.renumber(51).ok, "a number that was given away needs nothing");
  t.equal(journal.nextSeq(), 53);
  journal.close();
  const again = open(stateDir);
  t.equal(again.nextSeq(), 53);
  again.close();
});

t.test("a segment is held until its last line is acked, also after a restart", async (t) => {
  const stateDir = t.testdir();
  let journal = open(stateDir);
  journal.beginRun("r", start);
  const log = { run: "r", time: 1, offset: 0, sizeBytes: 9, lines: 1, firstLine: 1 };
  for (const segment of [1, 1, 2]) {
    journal.recordLogChunk({ ...log, segment });
    t.ok(journal.commit().ok);
  }
  journal.close();
  journal = open(stateDir);
  t.same(journal.logPosition("r"), { segment: 2, end: 9 });
  t.ok(journal.ack(1).ok);
  t.ok(journal.holdsSegment("r", 1));
  t.ok(journal.ack(2).ok);
  t.notOk(journal.holdsSegment("r", 1));
  t.ok(journal.holdsSegment("r", 2));
  t.ok(journal.ack(3).ok);
  journal.close();
  journal = open(stateDir);
  t.same(journal.logPosition("r"), { segment: 2, end: 9 }, "known when all rows are gone");
  journal.recordLogChunk({ ...log, segment: 2, offset: 9 });
  t.ok(journal.commit().ok);
  journal.recordLogChunk({ ...log, segment: 2, offset: 18 });
  t.ok(journal.ack(4).ok);
  journal.close();
  journal = open(stateDir);
  t.same(
    journal.logPosition("r"),
    { segment: 2, end: 18 },
    "what was not committed does not count",
  );
  journal.close();
});

t.test("a state directory that cannot be used is one clear error", async (t) => {
  const bad = (stateDir: string) => {
    const opened = Journal.open({ stateDir, durability: "process", ship: false });
    return opened.ok ? undefined : opened.diagnostics[0];
  };
  t.test("a file in its place", async (t) => {
    const dir = t.testdir({ state: "a file" });
    t.match(bad(`${dir}/state`), { code: "E_STATE_READONLY", remedy: /EDGEDAG_STATE/ });
  });
  t.test("a journal that is no database", async (t) => {
    const text = "this is no database, but long enough to be taken for one".repeat(99);
    const dir = t.testdir({ "journal.db": text });
    const journal = open(dir);
    t.match(journal.recovery, { code: "E_STATE_CORRUPT", message: /moved to .*quarantine/ });
    journal.close();
    const [name = ""] = readdirSync(quarantineDir(dir));
    t.equal(readFileSync(`${quarantineDir(dir)}/${name}/journal.db`, "utf8"), text, "it is kept");
    const again = open(dir);
    t.equal(again.recovery, undefined, "the new one is sound");
    again.close();
  });
  t.test("a later release wrote it", async (t) => {
    const dir = t.testdir();
    open(dir).close();
    const database = new DatabaseSync(journalPath(dir));
    database.exec("PRAGMA user_version = 99");
    database.close();
    t.match(bad(dir), { code: "E_STATE_VERSION" });
  });
});
