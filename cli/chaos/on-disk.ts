// What agent and master have on disk when both have ended (or the agent is dead), read without them:
// ends that are on record, what is twice or missing, and where node and master do not agree.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { decodeEntry } from "../../protocol/outbox.ts";
import { journalPath, runLogDir, segmentPath } from "../../protocol/state-paths.ts";

/** `RUN TASK` of all that is on record as ended: with the node's outbox, or at the master. */
export function endedOnRecord(stateDir: string, atMaster: ReadonlySet<string>): Set<string> {
  const ended = new Set(atMaster);
  if (!existsSync(journalPath(stateDir))) return ended;
  using database = open(journalPath(stateDir));
  // Killed before it had made its tables.
  const isMade = "SELECT 1 FROM sqlite_master WHERE name = 'outbox'";
  if (database.prepare(isMade).get() === undefined) return ended;
  for (const { data } of database.prepare("SELECT data FROM outbox").iterate()) {
    for (const text of String(data).split("\n")) {
      const entry = decodeEntry(text);
      if (entry.kind !== "record") continue;
      const record = JSON.parse(entry.text);
      if (record.type === "attempt-finished" && record.final === true) {
        ended.add(`${record.run} ${record.task}`);
      }
    }
  }
  return ended;
}

/** The lines of the combined log as the node keeps them. */
export function nodeLog(stateDir: string, run: string): string[] {
  const segments = readdirSync(runLogDir(stateDir, run)).map((name) => Number.parseInt(name, 10));
  segments.sort((a, b) => a - b);
  const texts = segments.map((segment) =>
    readFileSync(segmentPath(stateDir, run, segment), "utf8"),
  );
  return texts.join("").split("\n").slice(0, -1);
}

/** Both have ended. `runs`: how many were submitted. */
export function problemsOnDisk(
  stateDir: string,
  dataDir: string,
  runs: readonly string[],
): string[] {
  const problems: string[] = [];
  using journal = open(journalPath(stateDir));
  using master = open(`${dataDir}/master.db`);
  const one = (from: DatabaseSync, sql: string) => Number(from.prepare(sql).get()?.n ?? 0);
  const expect = (what: string, have: number, want: number) => {
    if (have !== want) problems.push(`${what}: ${have}, expected ${want}`);
  };
  const acked = one(master, "SELECT acked AS n FROM nodes");
  expect("runs in the node's journal", one(journal, "SELECT count(*) AS n FROM runs"), runs.length);
  expect("runs at the master", one(master, "SELECT count(*) AS n FROM runs"), runs.length);
  expect(
    "runs that the journal has open",
    one(journal, "SELECT count(*) AS n FROM runs WHERE outcome IS NULL"),
    0,
  );
  expect(
    "records that the master does not have",
    one(journal, `SELECT count(*) AS n FROM outbox WHERE last > ${acked}`),
    0,
  );
  expect(
    "records stored at the master beside the last number",
    one(master, "SELECT value AS n FROM counters WHERE name = 'records'"),
    acked,
  );
  expect("missing records", one(master, "SELECT sum(missing_records) AS n FROM nodes"), 0);
  expect(
    "attempts that are not finished",
    one(master, "SELECT count(*) AS n FROM attempts WHERE is_finished = 0"),
    0,
  );
  expect(
    "tasks with more than one final outcome",
    one(
      master,
      "SELECT count(*) AS n FROM (SELECT 1 FROM attempts WHERE is_final = 1 GROUP BY run_no, task HAVING count(*) > 1)",
    ),
    0,
  );
  expect(
    "chunks of the log that overlap",
    one(
      master,
      "SELECT count(*) AS n FROM log_chunks a JOIN log_chunks b ON a.run_no = b.run_no AND a.rowid < b.rowid AND a.first_seq <= b.last_seq AND b.first_seq <= a.last_seq",
    ),
    0,
  );
  expect(
    "objects that are not whole and verified",
    one(master, "SELECT count(*) AS n FROM objects WHERE state <> 'verified'"),
    0,
  );
  return problems;
}

function open(path: string): DatabaseSync {
  return new DatabaseSync(path, { readOnly: true });
}
