// A journal whose bytes were changed on the disk: always found when it is opened, kept aside, and gone on
// from with what is sound in it.
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { findDamage } from "../../agent/journal/examine.ts";
import { Journal, type JournalOptions } from "../../agent/journal/journal.ts";
import { journalPath, quarantineDir } from "../../protocol/state-paths.ts";
import { FakeMaster } from "../link/fake-master.ts";
import { LinkRig } from "../link/rig.ts";

function open(stateDir: string, more: Partial<JournalOptions> = {}): Journal {
  const opened = Journal.open({ stateDir, durability: "process", ship: true, ...more });
  if (!opened.ok) throw new Error(JSON.stringify(opened.diagnostics));
  return opened.value;
}

/** Two open runs and one that has ended, with records of each; `acked` of them are acknowledged. */
function fill(stateDir: string, acked = 2): void {
  const journal = open(stateDir);
  for (const run of ["one", "two", "ended"]) {
    journal.beginRun(run, { digest: `digest of ${run}`, startedAt: 1 });
    for (let n = 1; n <= 3; n++) {
      journal.append(run, [{ type: "event", n, run }]);
      journal.record({ type: "progress", time: n, run, task: "a", attempt: n, fraction: 0 });
      journal.commit();
    }
  }
  journal.finishRun("ended", { kind: "succeeded" });
  journal.commit();
  journal.ack(acked);
  journal.close();
}

function change(stateDir: string, sql: string): void {
  const database = new DatabaseSync(journalPath(stateDir));
  database.exec(sql);
  database.close();
}

function texts(stateDir: string): string[] {
  const database = new DatabaseSync(journalPath(stateDir), { readOnly: true });
  const rows = database.prepare("SELECT data FROM outbox ORDER BY seq").all();
  database.close();
  return rows.flatMap(({ data }) => String(data).split("\n"));
}

t.test("a record that was changed is replaced by one that says so; all else goes on", async (t) => {
  const stateDir = t.testdir();
  fill(stateDir);
  change(stateDir, "UPDATE outbox SET data = replace(data, '\"attempt\":2', '\"attempt\":9')");
  const journal = open(stateDir);
  t.match(journal.recovery, {
    code: "E_STATE_CORRUPT",
    message: /records 5 to 5 .*moved to .*2 open runs and 5 records for the master \(lost: 2\)/,
  });
  t.same(
    journal.openRuns().map(({ run, events }) => [run, events.length]),
    [
      ["one", 3],
      ["two", 3],
    ],
  );
  t.equal(journal.nextSeq(), 10);
  journal.close();
  const kinds = texts(stateDir).map((text) => JSON.parse(text).type);
  const whole = "progress";
  const lost = "records-lost";
  t.same(kinds, [whole, whole, lost, whole, whole, lost, whole]);
  const [folder = ""] = readdirSync(quarantineDir(stateDir));
  const kept = new DatabaseSync(`${quarantineDir(stateDir)}/${folder}/journal.db`);
  t.match(findDamage(kept), /records 5 to 5/, "the damaged one is as it was");
  kept.close();
});

t.test("a run whose events were changed is lost, the others go on", async (t) => {
  const changes = {
    "a changed event":
      "UPDATE events SET data = replace(data, '\"n\":2', '\"n\":7') WHERE data LIKE '%one%'",
    "a missing event": "DELETE FROM events WHERE data LIKE '%one%' AND data LIKE '%\"n\":2%'",
  };
  for (const [what, sql] of Object.entries(changes)) {
    const stateDir = t.testdir();
    fill(stateDir);
    change(stateDir, sql);
    const journal = open(stateDir);
    t.match(journal.recovery?.message, /1 open runs \(lost: one\)/, what);
    t.match(journal.openRuns(), [
      { run: "one", events: [], damage: /damaged/ },
      { run: "two", events: { length: 3 } },
    ]);
    journal.finishRun("one", { kind: "failed", failed: [] });
    t.ok(journal.commit().ok, "it can be closed");
    t.ok(journal.knowsRun("one"), "its name is not used again");
    journal.close();
    t.equal(open(stateDir).recovery, undefined, "and then all is well");
  }
});

t.test("changed numbers, params, outcomes and positions are found", async (t) => {
  for (const sql of [
    "UPDATE meta SET value = value + 1 WHERE key = 'acked'",
    "DELETE FROM outbox WHERE seq = 5",
    "UPDATE outbox SET last = last + 1 WHERE seq = 5",
    "UPDATE runs SET run = 'onf' WHERE run = 'one'",
    "UPDATE runs SET started_at = 2 WHERE run = 'one'",
    "UPDATE runs SET outcome = NULL WHERE run = 'ended'",
    "UPDATE runs SET last_seq = 1 WHERE run = 'ended'",
    "UPDATE runs SET log_end = 99 WHERE run = 'one'",
  ]) {
    const stateDir = t.testdir();
    fill(stateDir);
    open(stateDir).close();
    change(stateDir, sql);
    const journal = open(stateDir);
    t.equal(journal.recovery?.code, "E_STATE_CORRUPT", sql);
    t.ok(
      journal.openRuns().every(({ run }) => run === "one" || run === "two"),
      "nothing made up",
    );
    t.notOk(
      journal.openRuns().some(({ run }) => run === "ended"),
      "no run begins again",
    );
    journal.close();
    const again = open(stateDir);
    t.equal(again.recovery, undefined, "the new one is sound");
    again.close();
  }
});

t.test("any flipped bit of the file is found, or changes nothing", async (t) => {
  const stateDir = t.testdir();
  fill(stateDir);
  const path = journalPath(stateDir);
  const good = readFileSync(path);
  const before = snapshot(stateDir);
  let found = 0;
  for (let at = 7; at < good.length; at += 97) {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    writeFileSync(path, bytes);
    for (const part of ["-wal", "-shm"]) rmSync(`${path}${part}`, { force: true });
    const opened = Journal.open({ stateDir, durability: "process", ship: true });
    if (!opened.ok) {
      t.match(opened.diagnostics[0]?.code, /E_STATE_/, `byte ${at}: refused and told`);
      found += 1;
      continue;
    }
    const journal = opened.value;
    if (journal.recovery === undefined) {
      journal.close();
      const after = snapshot(stateDir);
      if (after !== before) t.fail(`byte ${at}: something else is believed`, { before, after });
      continue;
    }
    found += 1;
    const strange = journal.openRuns().filter(({ run }) => run !== "one" && run !== "two");
    if (strange.length > 0) t.fail(`byte ${at}: ${JSON.stringify(strange)} was made up`);
    journal.close();
  }
  t.ok(found > 10, `${found} were found`);
});

t.test("damage in the middle of the write-ahead log does not hide commits silently", async (t) => {
  const dir = t.testdir({ first: {}, killed: {} });
  const stateDir = `${dir}/first`;
  const journal = open(stateDir);
  journal.beginRun("one", { digest: "d", startedAt: 1 });
  for (let n = 1; n <= 5; n++) {
    journal.record({ type: "progress", time: n, run: "one", task: "a", attempt: n, fraction: 0 });
    journal.commit();
  }
  // As a kill leaves it: the log and its index are there.
  const to = `${dir}/killed`;
  for (const part of ["", "-wal", "-shm"]) {
    copyFileSync(`${journalPath(stateDir)}${part}`, `${journalPath(to)}${part}`);
  }
  journal.close();
  const wal = readFileSync(`${journalPath(to)}-wal`);
  const at = wal.length - 5 * 4120 + 300;
  wal[at] = (wal[at] ?? 0) ^ 1;
  writeFileSync(`${journalPath(to)}-wal`, wal);
  const opened = open(to);
  t.match(opened.recovery?.message, /the last \d+ pages of commits are lost.*copied to/);
  t.ok(opened.nextSeq() < 6, "SQLite has cut them off");
  opened.close();
});

t.test("numbers that were used before the damage are not used for other records", async (t) => {
  const stateDir = t.testdir();
  const master = await FakeMaster.start();
  fill(stateDir, 0);
  // The master has more than this journal knows of: what told of it is lost.
  master.acked = 4;
  change(stateDir, "UPDATE outbox SET data = data || ' ' WHERE seq > 6");
  const rig = new LinkRig(stateDir, master.url);
  rig.record(1);
  await rig.until(() => rig.journal.outboxDepth() === 0);
  t.same(
    master.records.map(({ seq }) => seq),
    Array.from({ length: 10 }, (_, index) => index + 5),
    "all that is held comes with new numbers",
  );
  t.same(master.violations, []);
  await rig.end();
  await master.stop();
});

t.test(
  "a row that is damaged while the agent runs is replaced, and all else is sent",
  async (t) => {
    const stateDir = t.testdir();
    const master = await FakeMaster.start();
    const rig = new LinkRig(stateDir, master.url);
    rig.record(1);
    await rig.until(() => rig.journal.outboxDepth() === 0);
    // In the transaction that writes it: the thread may look at any moment.
    const damage = "UPDATE outbox SET data = replace(data, 'progress', 'regress') WHERE seq = 3";
    change(
      stateDir,
      `CREATE TRIGGER bad AFTER INSERT ON outbox WHEN NEW.seq = 3 BEGIN ${damage}; END`,
    );
    for (const n of [2, 3, 4]) {
      rig.journal.record({
        type: "progress",
        time: n,
        run: "r",
        task: "a",
        attempt: n,
        fraction: 0,
      });
      rig.journal.commit();
    }
    rig.link.notify(rig.journal.outboxDepth());
    await rig.until(() => rig.journal.outboxDepth() === 0);
    t.equal(rig.heard("damaged").length, 1);
    t.same(
      master.records.map(({ type }) => type),
      ["progress", "progress", "records-lost", "progress"],
    );
    t.equal(readdirSync(quarantineDir(stateDir)).length, 1, "the damaged journal is kept");
    await rig.end();
    await master.stop();
  },
);

function snapshot(stateDir: string): string {
  const database = new DatabaseSync(journalPath(stateDir), { readOnly: true });
  // Events of runs that have ended are read by nobody.
  const all = ["meta", "runs", "events WHERE id < 3 * (1 << 32)", "outbox"].map((table) =>
    database.prepare(`SELECT * FROM ${table}`).all(),
  );
  database.close();
  return JSON.stringify(all);
}
