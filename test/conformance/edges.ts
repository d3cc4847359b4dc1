// Conformance at the edges: the compile step, stops before there is a box, names and sizes at their
// limits, and two attempts that call themselves the same.
import { readFileSync } from "node:fs";
import type { Test } from "tap";
import { until } from "../rig/until.ts";
import { call, failsWith, isSuccess, type Subject, shell } from "./subject.ts";

/** Takes a compiler longer than anyone waits, without a word and without memory. */
const endless = {
  path: "endless.h",
  content:
    '#if __INCLUDE_LEVEL__ < 60\n#include "endless.h"\n#include "endless.h"\n#else\nint f();\n#endif\n',
};
/** The same with one line of complaint each time. */
const chatty = {
  path: "chatty.h",
  content:
    '#if __INCLUDE_LEVEL__ < 60\n#include "chatty.h"\n#include "chatty.h"\n#else\n#warning again\n#endif\n',
};

export async function edges(t: Test, subject: Subject): Promise<void> {
  const c = (code: string) => ({ kind: "code", language: "c", code, args: [] }) as const;

  await t.test("a stop before there is a box returns the attempt", async (t) => {
    const started = subject.start(shell("echo up"));
    started.attempt.stop(1_000);
    await t.rejects(started.story, /returned/);
    isSuccess(t, await subject.run(shell("exit 0")), "the next task does not feel it");
  });

  await t.test("a stop in the compile step ends it", async (t) => {
    const started = subject.start(c('#include "endless.h"\nint main() {}'), { files: [endless] });
    await started.begun;
    started.attempt.stop(200);
    const { end } = await started.story;
    t.equal(end.outcome.kind, "cancelled");
    t.equal(end.facts.phase, "compile");
    t.ok((end.facts.wallMs ?? 1e9) < 10_000);
  });

  await t.test("the compile step has a time of its own", async (t) => {
    const told = { files: [endless], compileTimeoutMs: 500, graceMs: 100 };
    const story = await subject.run(c('#include "endless.h"\nint main() {}'), told);
    t.equal(failsWith(t, story, "timeout")?.limitMs, 500);
    t.equal(story.end.facts.phase, "compile");
  });

  await t.test("what a compiler says counts as output", async (t) => {
    const warned = await subject.run(
      c('#include <stdio.h>\n#warning beware\nint main() { fputs("ran\\n", stderr); return 0; }'),
    );
    isSuccess(t, warned);
    t.match(warned.stderr.toString(), /beware[\s\S]*ran\n$/);
    t.equal(warned.end.facts.stderrBytes, warned.stderr.length);
    t.equal(warned.end.facts.stdoutBytes, 0);
    const told = { files: [chatty], outputLimitBytes: 50_000, graceMs: 0 };
    const story = await subject.run(c('#include "chatty.h"\nint main() {}'), told);
    t.equal(failsWith(t, story, "output-limit")?.limitBytes, 50_000);
    t.equal(story.stderr.length, 50_000);
    t.equal(story.end.facts.phase, "compile");
    const both = await subject.run(
      c(
        '#include <stdio.h>\n#warning beware\nint main() { for (int i = 0; i < 10000; i++) puts("123456789"); return 0; }',
      ),
      { outputLimitBytes: 40_000, graceMs: 0 },
    );
    t.equal(failsWith(t, both, "output-limit")?.limitBytes, 40_000);
    t.equal(both.stdout.length + both.stderr.length, 40_000);
    t.equal(both.end.facts.phase, undefined);
  });

  await t.test("functions have the task's stdin", async (t) => {
    const python = "import sys\ndef main(): return sys.stdin.read()";
    const node =
      "import { readFileSync } from 'node:fs';\nexport function main() { return readFileSync(0, 'utf8'); }";
    for (const [runtime, code] of [
      ["python", python],
      ["node", node],
    ] as const) {
      const story = await subject.run(call(runtime, code), { stdin: "æ\nline" });
      isSuccess(t, story, runtime);
      t.equal(story.end.result, "æ\nline", runtime);
      const none = await subject.run(call(runtime, code));
      isSuccess(t, none, runtime);
      t.equal(none.end.result, "", `${runtime} without one`);
    }
  });

  await t.test("names of outputs may hold anything", async (t) => {
    const names = ["æ 日本 🛰.txt", "e\u0301.txt", "new\nline.txt", "-n.txt", "*.txt", "'\"$x.txt"];
    const story = await subject.run(
      { kind: "command", argv: ["sh", "-c", 'for f; do echo "$f" >"./$f"; done', "sh", ...names] },
      { outputs: { patterns: ["*.txt"] } },
    );
    isSuccess(t, story);
    const kept = story.end.outputs?.artifacts ?? [];
    t.same(kept.map(({ path }) => path).sort(), [...names].sort());
    for (const { path, keptAt } of kept) t.equal(readFileSync(keptAt, "utf8"), `${path}\n`);
  });

  await t.test("nothing to start is a failure to start", async (t) => {
    t.match(failsWith(t, await subject.run({ kind: "command", argv: [] }), "spawn")?.detail, /./);
    failsWith(t, await subject.run({ kind: "command", argv: [""] }), "spawn");
  });

  await t.test("an environment above what the system takes is told as that", async (t) => {
    const env: Record<string, string> = {};
    for (let i = 0; i < 64; i += 1) env[`BIG_${i}`] = "x".repeat(65_536);
    const story = await subject.run(shell("exit 0"), { env });
    // gVisor's kernel has another name for it.
    const errno = subject.level === "gvisor" ? "ENAMETOOLONG" : "E2BIG";
    t.equal(failsWith(t, story, "spawn")?.errno, errno);
    const code =
      "import os\ndef main(): return sum(len(v) for k, v in os.environ.items() if k[:4] == 'BIG_')";
    const called = await subject.run(call("python", code), { env });
    isSuccess(t, called, "a function gets it by its call");
    t.equal(called.end.result, 64 * 65_536);
  });

  await t.test("a thousand small files arrive", async (t) => {
    const files = Array.from({ length: 1_000 }, (_, i) => ({
      path: `d${i % 10}/f${i}`,
      content: `${i}`,
    }));
    const story = await subject.run(shell("find . -type f | wc -l; cat d*/f*"), { files });
    isSuccess(t, story);
    const [count, ...rest] = story.stdout.toString().trim().split("\n");
    t.equal(Number(count), 1_000);
    t.equal(
      rest.join("").length,
      files.reduce((sum, { content }) => sum + content.length, 0),
    );
  });

  await t.test("two attempts of one name do not meet", async (t) => {
    const told = { task: "same" };
    const first = subject.start(shell("echo up >f; echo up; sleep 0.3; cat f; ls"), told);
    const second = subject.start(shell("echo up; sleep 1.5; ls"), told);
    await Promise.all([first.said("up"), second.said("up")]);
    const one = await first.story;
    isSuccess(t, one);
    t.equal(one.stdout.toString(), "up\nup\nf\n");
    t.not(second.samples(), undefined, "the end of one does not hide the other");
    const two = await second.story;
    isSuccess(t, two);
    t.equal(two.stdout.toString(), "up\n");
    await until("no samples of what has ended", second.samples, (list) => list === undefined);
  });
}
