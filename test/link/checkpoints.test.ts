import { statSync } from "node:fs";
import t from "tap";
import { Journal } from "../../agent/journal/journal.ts";
import { Checkpoints } from "../../agent/link/checkpoints.ts";
import { OutboxReader } from "../../agent/link/outbox-reader.ts";
import { journalPath } from "../../protocol/state-paths.ts";

t.test("the WAL stays small without a checkpoint by the writer", async (t) => {
  const stateDir = t.testdir();
  const opened = Journal.open({ stateDir, durability: "process", ship: true });
  if (!opened.ok) {
    throw new Error(JSON.stringify(opened.diagnostics));
  }
  const journal = opened.value;
  const reader = new OutboxReader(journalPath(stateDir));
  let paused = 0;
  const checkpoints = new Checkpoints(reader, () => {
    paused += 1;
  });
  const walBytes = () => statSync(`${journalPath(stateDir)}-wal`).size;
  journal.beginRun("r", { digest: "d", startedAt: 0 });
  const turns = (count: number) => {
    for (let i = 0; i < count; i++) {
      journal.append("r", ["x".repeat(20_000)]);
      if (!journal.commit().ok) {
        throw new Error("commit");
      }
    }
  };
  turns(300);
  const grown = walBytes();
  t.ok(grown > 5_000_000, "the writer itself never checkpoints");
  checkpoints.round();
  turns(200);
  t.equal(walBytes(), grown, "after a passive checkpoint the WAL is used again from its start");
  for (let i = 0; i < 7; i++) {
    checkpoints.round();
  }
  t.equal(walBytes(), 0, "and cut when it is quiet");
  for (let i = 0; i < 7; i++) checkpoints.round();
  t.ok(paused > 0, "then nobody looks any more, until something is written");
  turns(1);
  t.equal(journal.openRuns()[0]?.events.length, 501);
  reader.close();
  journal.close();
});

t.test("rows are read in order, from the row that holds a number", async (t) => {
  const stateDir = t.testdir();
  const opened = Journal.open({ stateDir, durability: "process", ship: true });
  if (!opened.ok) {
    throw new Error(JSON.stringify(opened.diagnostics));
  }
  const journal = opened.value;
  const reader = new OutboxReader(journalPath(stateDir));
  t.same(reader.bounds(), { firstHeldSeq: 1, nextSeq: 1, acked: 0, isAnew: false });
  const record = { type: "attempt-started", time: 1, run: "r", task: "a", attempt: 1 } as const;
  for (let row = 0; row < 3; row++) {
    journal.record(record);
    journal.record(record);
    journal.commit();
  }
  const firsts = (seq: number, limit = 1e6) => reader.read(seq, limit).map((row) => row.seq);
  t.same(firsts(1), [1, 3, 5]);
  t.same(firsts(4), [3, 5]);
  t.same(firsts(5), [5]);
  t.same(firsts(7), []);
  t.same(firsts(1, 1), [1], "no more than asked for");
  journal.ack(3);
  t.same(reader.bounds(), { firstHeldSeq: 3, nextSeq: 7, acked: 3, isAnew: false });
  t.same(firsts(1), [3, 5], "what is gone is passed over");
  reader.close();
  journal.close();
});
