import t from "tap";
import { formatLine, readLog } from "../../agent/log/read-log.ts";
import { RunLog } from "../../agent/log/run-log.ts";
import { type LogsOptions, logs } from "../../cli/logs.ts";
import type { LogLine } from "../../protocol/log.ts";
import { runLogDir } from "../../protocol/state-paths.ts";

function open(stateDir: string, run: string, segmentBytes?: number): RunLog {
  const options = { stateDir, run, onChunk: () => undefined, isHeld: () => false };
  const opened = RunLog.open(segmentBytes === undefined ? options : { ...options, segmentBytes });
  if (!opened.ok) {
    throw new Error(JSON.stringify(opened.diagnostics));
  }
  return opened.value;
}

function sample(stateDir: string, run: string): void {
  const log = open(stateDir, run);
  log.stream("m[3]", 1, "stdout").write(Buffer.from("out three\n"));
  log.stream("m[4]", 2, "stderr").write(Buffer.from("err \u001b[2Jfour\n"));
  log.agent("error", "agent line", { a: 1 });
  log.task({ task: "other", attempt: 1, level: "debug", text: "sdk" });
  log.close();
}

async function show(options: LogsOptions) {
  let out = "";
  let err = "";
  const io = {
    stdout: { write: (text: string) => (out += text) },
    stderr: { write: (text: string) => (err += text) },
  };
  const code = await logs(options, io);
  const texts = out.split("\n").slice(0, -1);
  return { code, err, texts, bare: texts.map((text) => text.slice(text.indexOf(" ") + 1)) };
}

t.test("a log reads well, and filters leave the rest out", async (t) => {
  const stateDir = t.testdir();
  sample(stateDir, "r");
  const base = { stateDir, run: "r" };
  const all = [
    "m[3]#1 out | out three",
    "m[4]#2 err | err \\x1b[2Jfour",
    'agent error | agent line {"a":1}',
    "other#1 log | sdk",
  ];
  t.same((await show(base)).bare, all);
  t.match((await show(base)).texts[0], /^\d\d:\d\d:\d\d\.\d{3} /);
  t.same((await show({ ...base, task: "m" })).bare, all.slice(0, 2));
  t.same((await show({ ...base, task: "m[4]" })).bare, all.slice(1, 2));
  t.same((await show({ ...base, task: "agent" })).bare, all.slice(2, 3));
  t.same((await show({ ...base, stream: "err" })).bare, all.slice(1, 2));
  t.same((await show({ ...base, level: "warn" })).bare, all.slice(1, 3));
  t.same((await show({ ...base, since: Date.now() + 60_000 })).bare, []);
  const json = await show({ ...base, json: true });
  t.same(
    json.texts.map((text) => JSON.parse(text).seq),
    [1, 2, 3, 4],
  );
});

t.test("without a name it is the run that was written to last", async (t) => {
  const stateDir = t.testdir();
  sample(stateDir, "old");
  await new Promise((resolve) => setTimeout(resolve, 20));
  const log = open(stateDir, "new");
  log.agent("info", "newest");
  log.close();
  t.same((await show({ stateDir })).bare, ["agent info | newest"]);
});

t.test("what is not there or not known is one clear error", async (t) => {
  const stateDir = t.testdir();
  t.match(await show({ stateDir }), { code: 66, err: /no run has a log/ });
  t.match(await show({ stateDir, run: "x" }), { code: 66, err: /no log of run x/ });
  t.match(await show({ stateDir, run: "../.." }), { code: 66 });
  t.match(await show({ stateDir, level: "loud" }), { code: 64, err: /--level loud/ });
  t.match(await show({ stateDir, stream: "x" }), { code: 64 });
});

t.test(
  "follow sees every line once across rotations, and a half line only when it is whole",
  async (t) => {
    const stateDir = t.testdir();
    const log = open(stateDir, "r", 2_000);
    const stop = new AbortController();
    const seen: number[] = [];
    const total = 300;
    const reading = (async () => {
      const folder = runLogDir(stateDir, "r");
      for await (const lines of readLog({ folder, follow: true, signal: stop.signal })) {
        seen.push(...lines.map((line) => line.seq));
        if (seen.length >= total) {
          stop.abort();
        }
      }
    })();
    for (let i = 0; i < total; i++) {
      log.agent("info", "x".repeat(50));
      log.flush();
      if (i % 10 === 0) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await reading;
    log.close();
    t.same(
      seen,
      Array.from({ length: total }, (_, i) => i + 1),
    );
  },
);

t.test("colours follow the level, bytes that are no text stay base64", async (t) => {
  const line: LogLine = {
    time: 0,
    seq: 1,
    source: "task",
    level: "warn",
    task: "a",
    attempt: 1,
    stream: "stderr",
  };
  t.ok(formatLine({ ...line, text: "x" }, true).endsWith("\u001b[33mx\u001b[0m"));
  t.match(formatLine({ ...line, base64: "/w==" }, false), /a#1 err \| \(base64\) \/w==$/);
  t.match(formatLine({ ...line, text: "x", cut: true }, false), /x …$/);
});
