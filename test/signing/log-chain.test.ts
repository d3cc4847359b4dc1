// The hash chain over the log: through rotation, crashes and dropped segments, and from what the node
// and the master give out of it.
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import t from "tap";
import { LogChain } from "../../agent/log/log-chain.ts";
import { RunLog } from "../../agent/log/run-log.ts";
import { segmentNumbers } from "../../agent/log/segments.ts";
import { Findings } from "../../protocol/json-read.ts";
import { readRecord } from "../../protocol/link-record-decode.ts";
import { gapLine, type LogLine, lineText } from "../../protocol/log.ts";
import { LogChecker } from "../../protocol/signing/check-log.ts";
import type { LogDigest } from "../../protocol/signing/log-chain.ts";
import { logChainPath, runLogDir, segmentPath } from "../../protocol/state-paths.ts";

const run = "r";

class Rig implements Disposable {
  readonly stateDir = mkdtempSync("/tmp/chain-");
  readonly problems: string[] = [];
  limitBytes = 64 * 2 ** 20;
  segmentBytes = 4096;
  isHeld = true;

  open(): RunLog {
    const { stateDir, limitBytes, segmentBytes } = this;
    const opened = RunLog.open({
      stateDir,
      run,
      limitBytes,
      segmentBytes,
      onChunk: () => {},
      isHeld: () => this.isHeld,
      openChain: () =>
        LogChain.open({ stateDir, run, onProblem: (text) => this.problems.push(text) }),
    });
    if (!opened.ok) throw new Error(opened.diagnostics[0]?.message);
    return opened.value;
  }

  /** The lines of the files that are there. */
  lines(): string[] {
    return segmentNumbers(runLogDir(this.stateDir, run)).flatMap((segment) =>
      readFileSync(segmentPath(this.stateDir, run, segment), "utf8")
        .split("\n")
        .slice(0, -1),
    );
  }

  [Symbol.dispose](): void {
    rmSync(this.stateDir, { recursive: true });
  }
}

function fill(log: RunLog, count: number, text = "x".repeat(40)): void {
  const stream = log.stream("task", 1, "stdout");
  for (let i = 0; i < count; i++) {
    stream.write(Buffer.from(`${text} ${i}\n`));
    log.flush();
  }
}

function digestOf(log: RunLog): LogDigest {
  const digest = log.digest();
  if (digest === undefined) throw new Error("no chain");
  return digest;
}

function check(digest: LogDigest, lines: readonly string[]) {
  const checker = new LogChecker(digest);
  for (const line of lines) checker.add(line);
  return checker.end();
}

/** As the master stores it: decoded, checked, and written with its own order of fields. */
function atMaster(lines: readonly string[]): string[] {
  const findings = new Findings("E", "");
  const value = { seq: 1, time: 0, run, type: "log", lines: lines.map((line) => JSON.parse(line)) };
  const record = readRecord(value, 0, findings);
  if (record.type !== "log" || findings.list.length > 0) throw new Error(String(findings.list));
  return record.lines.map((line) => JSON.stringify(line));
}

t.test("a log of many segments is what its digest says, and any change of it is not", async (t) => {
  using rig = new Rig();
  const log = rig.open();
  fill(log, 300);
  log.agent("info", "done", { z: 1, a: [1.5, "é", null] });
  log.close();
  const digest = digestOf(log);
  t.ok(digest.segments.length > 5);
  t.equal(digest.lines, 301);
  const lines = rig.lines();
  t.match(check(digest, lines), { verifiedLines: 301, missing: [], diagnostics: [] });
  t.match(check(digest, atMaster(lines)), { verifiedLines: 301, diagnostics: [] });
  const bad = (change: (lines: string[]) => void, from = lines) => {
    const copy = [...from];
    change(copy);
    const { diagnostics, missing } = check(digest, copy);
    return [...diagnostics.map(({ code }) => code), ...(missing.length > 0 ? ["missing"] : [])];
  };
  const text = (at: number) => lines[at] ?? "";
  t.strictSame(
    bad((l) => l.splice(10, 1, text(10).replace("xx", "xy"))),
    ["E_RECEIPT_LOG"],
  );
  t.strictSame(
    bad((l) => l.splice(10, 1)),
    ["missing"],
  );
  t.strictSame(
    bad((l) => l.splice(0, 1)),
    ["missing"],
    "the first one",
  );
  t.strictSame(
    bad((l) => l.pop()),
    ["missing"],
    "the last one",
  );
  t.strictSame(
    bad((l) => l.splice(10, 0, text(10))),
    ["E_RECEIPT_LOG"],
    "twice",
  );
  t.ok(bad((l) => l.splice(10, 2, text(11), text(10))).includes("E_RECEIPT_LOG"), "swapped");
  t.strictSame(
    bad((l) => l.push(text(300).replace('"seq":301', '"seq":302'))),
    ["E_RECEIPT_LOG"],
  );
  t.strictSame(
    bad((l) => l.splice(3, 0, "no json")),
    ["E_RECEIPT_LOG"],
  );
  t.strictSame(
    bad((l) => l.splice(10, 1, text(10).replace('"time":1', '"time":2'))),
    ["E_RECEIPT_LOG"],
  );
  const extra = text(10).replace("{", '{"note":1,');
  t.strictSame(
    bad((l) => l.splice(10, 1, extra)),
    [],
    "fields that no reader knows are no part",
  );
  const forged = { ...digest, head: "0".repeat(64) };
  t.equal(check(forged, lines).diagnostics.length, 1, "a head of other segments");
});

t.test("after a crash the chain goes on with what is in the files", async (t) => {
  using rig = new Rig();
  let log = rig.open();
  fill(log, 100);
  log = rig.open();
  fill(log, 100);
  // Torn: a line without its end, as a loss of power leaves it.
  const newest = segmentNumbers(runLogDir(rig.stateDir, run)).at(-1) ?? 0;
  writeFileSync(segmentPath(rig.stateDir, run, newest), '{"time":1,"sou', { flag: "a" });
  const kept = readFileSync(logChainPath(rig.stateDir, run), "utf8");
  writeFileSync(logChainPath(rig.stateDir, run), `${kept}{"segm`);
  log = rig.open();
  fill(log, 100);
  log.close();
  const digest = digestOf(log);
  t.equal(digest.lines, 300);
  t.match(check(digest, rig.lines()), { verifiedLines: 300, missing: [], diagnostics: [] });
  t.strictSame(rig.problems, []);
  rmSync(logChainPath(rig.stateDir, run));
  const again = rig.open();
  t.strictSame(digestOf(again), digest, "as long as the files are there they are enough");
});

t.test("lines that a crash has taken back are not in the chain", async (t) => {
  using rig = new Rig();
  rig.segmentBytes = 2 ** 20;
  const log = rig.open();
  fill(log, 50);
  const path = segmentPath(rig.stateDir, run, 1);
  truncateSync(path, readFileSync(path).indexOf(10, 3000) + 1);
  const after = rig.open();
  const left = rig.lines().length;
  t.ok(left < 50);
  fill(after, 10);
  t.match(check(digestOf(after), rig.lines()), { verifiedLines: left + 10, diagnostics: [] });
});

t.test("segments that were dropped keep their place, and the others can be checked", async (t) => {
  using rig = new Rig();
  rig.limitBytes = 2 ** 20;
  rig.segmentBytes = 16 * 1024;
  rig.isHeld = false;
  let log = rig.open();
  fill(log, 8_000, "y".repeat(100));
  log = rig.open();
  fill(log, 8_000, "z".repeat(100));
  log.close();
  const digest = digestOf(log);
  const lines = rig.lines();
  t.ok(lines.length < 16_000 && lines.length > 1_000, "some are gone");
  const first: LogLine = JSON.parse(lines[0] ?? "");
  const { verifiedLines, missing, diagnostics } = check(digest, lines);
  t.strictSame(
    { verifiedLines, missing, diagnostics },
    {
      verifiedLines: lines.length,
      missing: [[1, first.seq - 1]],
      diagnostics: [],
    },
  );
  t.ok(
    digest.segments.every(({ sha256 }) => sha256 !== undefined),
    "every digest was kept",
  );
});

t.test("a segment that is lost with its digest leaves a place that says so", async (t) => {
  using rig = new Rig();
  fill(rig.open(), 300);
  rmSync(logChainPath(rig.stateDir, run));
  rmSync(segmentPath(rig.stateDir, run, 2));
  const digest = digestOf(rig.open());
  const [one, two, three] = digest.segments;
  t.equal(two?.sha256, undefined);
  t.strictSame(
    [two?.firstLine, two?.lastLine],
    [(one?.lastLine ?? 0) + 1, (three?.firstLine ?? 0) - 1],
  );
  const { missing, diagnostics } = check(digest, rig.lines());
  t.strictSame(
    { missing, diagnostics },
    {
      missing: [[two?.firstLine, two?.lastLine]],
      diagnostics: [],
    },
  );
});

t.test("a line that stands for missing ones is a gap, not a forgery", async (t) => {
  using rig = new Rig();
  const log = rig.open();
  fill(log, 300);
  const digest = digestOf(log);
  const [one, two] = digest.segments;
  if (one === undefined || two === undefined) throw new Error("too few segments");
  const lines = rig.lines();
  const gap = gapLine(two.firstLine, {
    lines: two.lastLine - one.lastLine,
    bytes: 1,
    from: 1,
    to: 2,
    why: "they were dropped",
  });
  const told = [...lines.slice(0, one.lastLine), lineText(gap), ...lines.slice(two.lastLine)];
  t.match(check(digest, atMaster(told)), {
    verifiedLines: 300 - (two.lastLine - one.lastLine),
    missing: [[two.firstLine, two.lastLine]],
    diagnostics: [],
  });
});

t.test("any output has one canonical text, at the node and at the master", async (t) => {
  using rig = new Rig();
  const log = rig.open();
  const stream = log.stream('odd "task"\u2028', 3, "stderr");
  let seed = 42;
  const random = (limit: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % limit;
  };
  for (let i = 0; i < 400; i++) {
    const bytes = Buffer.alloc(random(300));
    for (let at = 0; at < bytes.length; at++) bytes[at] = random(i % 2 === 0 ? 128 : 256);
    stream.write(bytes);
    if (i % 7 === 0) log.flush();
  }
  stream.write(Buffer.from(`\ufeff\u2028\ud83d\ude00 ${"é".repeat(40_000)}\n`));
  log.task({
    task: "a",
    attempt: 1,
    level: "warn",
    text: "\ud800 lone",
    fields: { 2: 1, 1: 2, b: { a: 1e21 } },
  });
  log.agent("info", "x".repeat(20_000), { big: "y".repeat(400_000) });
  stream.write(Buffer.from("no newline"));
  log.close();
  const lines = rig.lines();
  for (const line of lines)
    if (lineText(JSON.parse(line)) !== line) t.equal(lineText(JSON.parse(line)), line);
  t.match(check(digestOf(log), atMaster(lines)), { verifiedLines: lines.length, diagnostics: [] });
});
