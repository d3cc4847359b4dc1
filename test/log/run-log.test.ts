import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import t from "tap";
import { type LogChunk, RunLog, type RunLogOptions } from "../../agent/log/run-log.ts";
import type { LogLine } from "../../protocol/log.ts";
import { runLogDir } from "../../protocol/state-paths.ts";

function open(stateDir: string, more: Partial<RunLogOptions> = {}): RunLog {
  const options = {
    stateDir,
    run: "r",
    onChunk: () => undefined,
    isHeld: () => false,
    now: () => 7,
  };
  const opened = RunLog.open({ ...options, ...more });
  if (!opened.ok) {
    throw new Error(JSON.stringify(opened.diagnostics));
  }
  return opened.value;
}

function read(stateDir: string): LogLine[] {
  const folder = runLogDir(stateDir, "r");
  const names = readdirSync(folder).sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  const text = names.map((name) => readFileSync(`${folder}/${name}`, "utf8")).join("");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** The bytes that a stream wrote, from its lines. */
function bytesOf(lines: readonly LogLine[]): Buffer {
  return Buffer.concat(
    lines.map((line) => {
      const body =
        line.base64 === undefined
          ? Buffer.from(line.text ?? "")
          : Buffer.from(line.base64, "base64");
      return line.cut || line.open ? body : Buffer.concat([body, Buffer.from("\n")]);
    }),
  );
}

t.test("lines of several streams and of the agent have one order", async (t) => {
  const dir = t.testdir();
  const log = open(dir);
  const out = log.stream("months[3]", 1, "stdout");
  const err = log.stream("months[3]", 1, "stderr");
  out.write(Buffer.from("one\ntw"));
  err.write(Buffer.from("oh\n"));
  log.agent("info", "hello", { a: 1 });
  log.task({ task: "b", attempt: 2, level: "debug", text: "sdk" });
  out.write(Buffer.from("o\nend"));
  out.end();
  err.end();
  t.ok(log.close().ok);
  const task = { time: 7, source: "task", task: "months[3]", attempt: 1 };
  t.same(read(dir), [
    { ...task, level: "info", stream: "stdout", seq: 1, text: "one" },
    { ...task, level: "warn", stream: "stderr", seq: 2, text: "oh" },
    { time: 7, seq: 3, source: "agent", level: "info", text: "hello", fields: { a: 1 } },
    {
      time: 7,
      seq: 4,
      source: "task",
      stream: "log",
      task: "b",
      attempt: 2,
      level: "debug",
      text: "sdk",
    },
    { ...task, level: "info", stream: "stdout", seq: 5, text: "two" },
    { ...task, level: "info", stream: "stdout", seq: 6, text: "end", open: true },
  ]);
});

t.test("every byte can be had back, however the chunks fall", async (t) => {
  const alphabets = [
    () => Math.floor(Math.random() * 256),
    () => (Math.random() < 0.02 ? 10 : 97),
    () => [10, 13, 27, 34, 92, 0, 127, 65][Math.floor(Math.random() * 8)] as number,
  ];
  const texts = [
    Buffer.from("größe 日本語 🙂\n".repeat(3000)),
    Buffer.from("日".repeat(30_000)),
    Buffer.alloc(16 * 1024, "x"),
    Buffer.from(`${"x".repeat(16 * 1024)}\n${"y".repeat(16 * 1024 + 1)}\n\n`),
    Buffer.from("\n\n\n"),
  ];
  for (const make of alphabets) {
    texts.push(Buffer.from(Array.from({ length: 120_000 }, make)));
  }
  for (const [n, bytes] of texts.entries()) {
    for (const largest of [3, 700, 70_000]) {
      const dir = t.testdir();
      const log = open(dir);
      const stream = log.stream("a", 1, "stdout");
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + Math.floor(Math.random() * largest);
        stream.write(bytes.subarray(at, at + size));
        at += size;
        if (Math.random() < 0.001) {
          stream.flushPartial();
        }
      }
      stream.end();
      t.ok(log.close().ok);
      const lines = read(dir);
      t.ok(bytesOf(lines).equals(bytes), `input ${n} in chunks of up to ${largest}`);
      t.same(
        lines.map((line) => line.seq),
        lines.map((_, i) => i + 1),
      );
      t.ok(lines.every((line) => Buffer.byteLength(line.text ?? "") <= 16 * 1024));
    }
  }
});

t.test("valid UTF-8 is never torn, not by a long line and not by a prompt", async (t) => {
  const dir = t.testdir();
  const log = open(dir);
  const stream = log.stream("a", 1, "stdout");
  stream.write(Buffer.from(`x${"🙂".repeat(10_000)}\n`));
  const euro = Buffer.from("price? €");
  stream.write(euro.subarray(0, -1));
  stream.flushPartial();
  stream.write(euro.subarray(-1));
  stream.flushPartial();
  stream.write(Buffer.from("\n"));
  stream.end();
  t.ok(log.close().ok);
  const lines = read(dir);
  t.ok(lines.every((line) => line.base64 === undefined));
  t.same(
    lines.slice(-3).map(({ text, cut }) => ({ text, cut })),
    [
      { text: "price? ", cut: true },
      { text: "€", cut: true },
      { text: "", cut: undefined },
    ],
  );
});

t.test("a prompt without a newline shows up by itself", async (t) => {
  const dir = t.testdir();
  const log = open(dir, { partialMs: 1 });
  const stream = log.stream("a", 1, "stdout");
  stream.write(Buffer.from("password: "));
  while (log.seq === 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  t.ok(log.close().ok);
  t.match(read(dir), [{ text: "password: ", cut: true }]);
});

t.test("chunks tell where whole lines are, and memory stays bounded by a flood", async (t) => {
  const dir = t.testdir();
  const chunks: LogChunk[] = [];
  const log = open(dir, { onChunk: (chunk) => chunks.push(chunk), segmentBytes: 400_000 });
  const stream = log.stream("a", 1, "stdout");
  for (let i = 0; i < 40; i++) {
    stream.write(Buffer.from(`${"z".repeat(80)}\n`.repeat(500)));
  }
  stream.end();
  t.ok(log.close().ok);
  t.ok(chunks.length > 5);
  t.ok(new Set(chunks.map((chunk) => chunk.segment)).size > 2);
  let seq = 0;
  for (const chunk of chunks) {
    const file = readFileSync(`${runLogDir(dir, "r")}/${chunk.segment}.ndjson`);
    const bytes = file.subarray(chunk.offset, chunk.offset + chunk.sizeBytes);
    const lines = bytes.toString().split("\n").slice(0, -1);
    t.equal(lines.length, chunk.lines);
    t.ok(chunk.sizeBytes <= 256 * 1024);
    t.equal(JSON.parse(lines[0] ?? "").seq, seq + 1);
    t.equal(chunk.firstLine, seq + 1);
    seq += lines.length;
  }
  t.equal(seq, 20_000);
});

t.test(
  "a log goes on after a restart: numbers, torn last line, lines not yet recorded",
  async (t) => {
    const dir = t.testdir();
    const chunks: LogChunk[] = [];
    const first = open(dir, { onChunk: (chunk) => chunks.push(chunk) });
    first.agent("info", "1");
    first.flush();
    first.agent("info", "2");
    first.agent("info", "3");
    t.ok(first.close().ok);
    appendFileSync(`${runLogDir(dir, "r")}/1.ndjson`, '{"time":7,"seq":4,"te');
    const [recorded, lost] = chunks;
    const again: LogChunk[] = [];
    const second = open(dir, {
      onChunk: (chunk) => again.push(chunk),
      recordedUpTo: { segment: 1, end: (recorded?.offset ?? 0) + (recorded?.sizeBytes ?? 0) },
    });
    t.same(again, [lost], "what the journal did not learn of is recorded now");
    second.agent("info", "4");
    t.ok(second.close().ok);
    t.same(
      read(dir).map(({ seq, text }) => `${seq}:${text}`),
      ["1:1", "2:2", "3:3", "4:4"],
    );
  },
);

t.test("the bound drops shipped segments first, and says when others had to go", async (t) => {
  const dir = t.testdir();
  const problems: string[] = [];
  const held = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  const log = open(dir, {
    limitBytes: 200_000,
    segmentBytes: 40_000,
    isHeld: (segment) => held.has(segment),
    onProblem: (problem) => problems.push(problem.code),
  });
  const write = () => {
    log.task({ task: "a", attempt: 1, level: "info", text: "x".repeat(10_000) });
    t.ok(log.flush().ok);
  };
  held.delete(2);
  while (!readdirSync(runLogDir(dir, "r")).includes("5.ndjson")) {
    write();
  }
  t.same(readdirSync(runLogDir(dir, "r")).sort(), ["1.ndjson", "3.ndjson", "4.ndjson", "5.ndjson"]);
  t.same(problems, []);
  while (!readdirSync(runLogDir(dir, "r")).includes("6.ndjson")) {
    write();
  }
  t.same(readdirSync(runLogDir(dir, "r")).sort(), ["3.ndjson", "4.ndjson", "5.ndjson", "6.ndjson"]);
  t.same(problems, ["E_LOG_LIMIT"]);
  t.ok(log.close().ok);
  t.ok(read(dir).some((line) => /segment 1 of the log was dropped/.test(line.text ?? "")));
});

t.test("a full disk costs lines, not memory, and is said once", async (t) => {
  const dir = t.testdir();
  mkdirSync(runLogDir(dir, "r"), { recursive: true });
  symlinkSync("/dev/full", `${runLogDir(dir, "r")}/1.ndjson`);
  const problems: string[] = [];
  const log = open(dir, { onProblem: (problem) => problems.push(problem.code) });
  const stream = log.stream("a", 1, "stdout");
  const chunk = Buffer.from(`${"x".repeat(99)}\n`.repeat(500));
  const seqs = new Set<number>();
  for (let i = 0; i < 40; i++) {
    stream.write(chunk);
    if (i > 20) {
      seqs.add(log.seq);
    }
  }
  t.same(problems, ["E_STATE_FULL"]);
  t.equal(seqs.size, 1, "a dropped line takes no number");
  t.match(log.flush(), {
    ok: false,
    diagnostics: [{ code: "E_STATE_FULL", remedy: /EDGEDAG_LOG_LIMIT/ }],
  });
  t.notOk(log.close().ok);
});

t.test("a folder that cannot be made is a value", async (t) => {
  const dir = t.testdir();
  mkdirSync(`${dir}/runs/r`, { recursive: true });
  writeFileSync(`${dir}/runs/r/log`, "in the way");
  const opened = RunLog.open({
    stateDir: dir,
    run: "r",
    onChunk: () => undefined,
    isHeld: () => false,
  });
  t.match(opened, { ok: false, diagnostics: [{ code: "E_STATE_IO" }] });
});
