// The outbox has a limit: while the master is away the oldest log lines are dropped, counted and told
// in the log; results and outcomes never are.
import { execFileSync } from "node:child_process";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { Journal } from "../../agent/journal/journal.ts";
import type { GapFields } from "../../protocol/log.ts";
import { decodeEntry, entrySpan } from "../../protocol/outbox.ts";
import { journalPath } from "../../protocol/state-paths.ts";
import { FakeMaster } from "../link/fake-master.ts";
import { LinkRig } from "../link/rig.ts";
import { Box } from "../rig/box.ts";
import { RealMaster } from "../rig/master.ts";
import { until } from "../rig/until.ts";

const limitBytes = 2 * 1024 * 1024;
const lines = 120_000;
const items = 20;

t.test(
  "a flood while the master is away: lines go, results stay, and the gap is told",
  async (t) => {
    await using box = await Box.create();
    const master = await RealMaster.start(box);
    await master.stop();
    const dag = await box.write(
      "dag.yaml",
      `dag: flood
tasks:
  before: { shell: "echo the first; echo 1 > $EDGEDAG_RESULT" }
  flood: { needs: [before], shell: "seq -f 'line %.0f of the flood, which is long enough' ${lines}; echo 2 > $EDGEDAG_RESULT" }
  each: { needs: [flood], map: [${Array.from({ length: items }, (_, n) => n)}], shell: "echo item; echo {{ item }} > $EDGEDAG_RESULT" }
  after: { needs: [each], shell: "echo the last" }
`,
    );
    const agent = box.start(["agent"], {
      env: { ...master.env, EDGEDAG_DAG: dag, EDGEDAG_AFTER: "stay", EDGEDAG_OUTBOX_LIMIT: "2Mi" },
    });
    await agent.says(/run \S+ succeeded/);
    const kilobytes = await until(
      "the state is within its limit",
      () => sizeOf(`${box.state}/runs`) + sizeOf(`${box.state}/journal.db`),
      (size) => size < (limitBytes * 1.5) / 1024,
    );
    t.ok(kilobytes > 200, `${kilobytes} KiB are kept`);
    t.match(
      agent.stderr,
      /E_LOG_LIMIT: \d+ lines \(\d+ bytes\) of the log of run flood-\S+ were dropped/,
    );
    await master.startAgain();
    const { id, outcome } = await master.finishedRun();
    t.equal(outcome?.kind, "succeeded");
    const results = new Map((await master.results(id)).map((result) => [result.task, result]));
    t.same([results.get("before")?.value, results.get("flood")?.value], [1, 2]);
    t.same(
      results.get("each")?.items?.map(({ value }) => value),
      Array.from({ length: items }, (_, n) => n),
    );
    const log = await master.log(id);
    let next = 1;
    let missing = 0;
    const gaps: GapFields[] = [];
    for (const { seq, fields } of log) {
      if (seq !== next) t.fail(`line ${next} is neither there nor told as missing, ${seq} follows`);
      const gap = fields?.gap as GapFields | undefined; // as protocol/log.ts says
      if (gap !== undefined) gaps.push(gap);
      missing += gap?.lines ?? 0;
      next = seq + (gap?.lines ?? 1);
    }
    t.ok(gaps.length > 0 && gaps.length < 40, `${gaps.length} gaps`);
    for (const { lines, bytes, from, to } of gaps) {
      t.ok(lines > 0 && bytes > lines && from > 0 && to >= from, `${lines} lines, ${bytes} bytes`);
    }
    const flood = log.filter(({ task }) => task === "flood");
    t.ok(missing > lines / 4, `${missing} lines are missing`);
    t.equal(
      flood.at(-1)?.text,
      `line ${lines} of the flood, which is long enough`,
      "the newest stay",
    );
    t.ok(log.some(({ text }) => text === "the last"));
    t.equal((await master.node())?.missingRecords, 0, "lines, not records");
    t.equal((await agent.stop()).code, 0);
  },
);

t.test(
  "gaps take the numbers of what they stand for, also where the master has a part",
  async (t) => {
    const stateDir = t.testdir();
    const opened = Journal.open({ stateDir, durability: "process", ship: true });
    if (!opened.ok) throw new Error(JSON.stringify(opened.diagnostics));
    const journal = opened.value;
    journal.beginRun("r", { digest: "d", startedAt: 1 });
    const log = { run: "r", sizeBytes: 100, lines: 2 };
    for (let n = 0; n < 600; n++) {
      // Segments of 300 chunks; a result in the middle of each.
      const segment = n < 300 ? 1 : 2;
      journal.recordLogChunk({
        ...log,
        time: n,
        segment,
        offset: (n % 300) * 100,
        firstLine: 1 + n * 2,
      });
      if (n % 300 === 150) {
        const facts = { outcome: { kind: "succeeded" }, facts: {} } as const;
        journal.record({
          type: "attempt-finished",
          time: n,
          run: "r",
          task: "a",
          attempt: n,
          ...facts,
        });
      }
      journal.commit();
    }
    const dropped: string[] = [];
    journal.onSegmentDropped = (run, segment) => dropped.push(`${run} ${segment}`);
    let lost = 0;
    while (dropped.length === 0) {
      const step = journal.dropOldestLog();
      if (!step.ok) throw new Error(JSON.stringify(step.diagnostics));
      lost += step.value.lines;
    }
    t.same(dropped, ["r 1"], "the oldest one");
    t.equal(lost, 600);
    const entries = entriesOf(stateDir);
    const spans = entries.reduce((sum, entry) => sum + entrySpan(entry), 0);
    t.equal(spans, 602, "all numbers are there");
    const kinds = entries.map(({ kind }) => kind);
    t.same(kinds.slice(0, 5), ["gap", "gap", "record", "gap", "log"], "the result is where it was");
    t.equal(kinds.filter((kind) => kind === "log").length, 300);
    t.equal(journal.outboxBytes > 0, true);
    journal.close();
    // The master has the first ten records already.
    const master = await FakeMaster.start();
    master.acked = 10;
    const rig = new LinkRig(stateDir, master.url);
    await rig.until(() => rig.journal.outboxDepth() === 0);
    t.same(master.violations, []);
    const told = master.records.flatMap((record) => (record.type === "log" ? record.lines : []));
    const gaps = told.flatMap(({ seq, fields }) => {
      const gap = fields?.gap as GapFields | undefined;
      return gap === undefined ? [] : [{ seq, lines: gap.lines, why: gap.why }];
    });
    t.match(gaps[0], { seq: 300, lines: 300, why: /^some of them were dropped/ });
    t.match(gaps[1], { seq: 301, lines: 2, why: /^they were dropped/ });
    t.match(gaps[2], { seq: 303, lines: 298, why: /^they were dropped/ });
    await rig.end();
    await master.stop();
  },
);

function entriesOf(stateDir: string) {
  const database = new DatabaseSync(journalPath(stateDir), { readOnly: true });
  const rows = database.prepare("SELECT data FROM outbox ORDER BY seq").all();
  database.close();
  return rows.flatMap(({ data }) => String(data).split("\n").map(decodeEntry));
}

/** KiB on the disk. */
function sizeOf(path: string): number {
  return Number(execFileSync("du", ["-sk", path], { encoding: "utf8" }).split("\t")[0]);
}
