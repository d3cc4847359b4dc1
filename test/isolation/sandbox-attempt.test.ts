import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { isRoot } from "./isolation-rig.ts";
import { leftOf } from "./level-rig.ts";
import { failureOf, hasProgram, levels, SandboxRig } from "./sandbox-rig.ts";

const MiB = 2 ** 20;
const limits = { memoryBytes: 128 * MiB, pids: 32, diskBytes: 16 * MiB };

for (const level of levels) {
  t.test(`an attempt at level ${level}`, async (t) => {
    await using rig = await SandboxRig.start(t, level);

    await t.test("a Python function gets its arguments and gives its result", async (t) => {
      const code = "import os\ndef main(x):\n  print('said')\n  return [x, os.getcwd()]";
      const { end, stdout, stderr, starts } = await rig.python(code, {}, { x: "1" });
      t.match(end, { outcome: { kind: "succeeded" }, facts: { isolation: level } });
      t.equal((end.result as string[])[0], "1");
      t.strictSame([stdout, stderr, starts], ["said\n", "", 1]);
      t.ok(end.facts.startedAt && end.facts.wallMs !== undefined && end.facts.peakMemoryBytes);
    });

    await t.test("a JavaScript function is found in code that names none", async (t) => {
      const code = "import fs from 'node:fs';\nfunction main() { return process.env.A; }";
      const { end } = await rig.run(
        { kind: "function", runtime: "node", code },
        { env: { A: "set" } },
      );
      t.match(end, { outcome: { kind: "succeeded" }, result: "set" });
    });

    await t.test("what looks like a reference in the data stays data", async (t) => {
      const code = "import edgedag\ndef main(x):\n  return [x, edgedag.params['p']]";
      const ref = { $ref: { file: "/etc/hostname" } };
      const { end } = await rig.run(
        { kind: "function", runtime: "python", code, args: { x: ref } },
        { inputs: { params: { p: ref } } },
      );
      t.strictSame(end.result, [ref, ref]);
    });

    await t.test("a syntax error comes with its place", async (t) => {
      const told = await rig.python("def main():\n  return 1 +\n");
      t.match(failureOf(told), { reason: "bad-result", line: 2, detail: /SyntaxError/ });
    });

    await t.test("a function of a file imports the file beside it", async (t) => {
      const { end } = await rig.run(
        { kind: "function", runtime: "python", file: "pkg/a.py", function: "f" },
        {
          files: [
            { path: "pkg/a.py", content: "import b\ndef f():\n  return b.x" },
            { path: "pkg/b.py", content: "x = 7" },
          ],
        },
      );
      t.equal(end.result, 7);
    });

    await t.test("a large result is kept outside of the box", async (t) => {
      const { end } = await rig.python("def main():\n  return list(range(50000))");
      t.match(end.outcome, { kind: "succeeded" });
      const path = end.file?.path ?? "";
      t.ok(path.startsWith(join(rig.folder, "kept")));
      t.equal(JSON.parse(readFileSync(path, "utf8")).length, 50_000);
    });

    await t.test("a command finds files, stdin and inputs, and leaves a result", async (t) => {
      const { end, stdout } = await rig.shell(
        'cat; cat in/a.txt; echo "$EDGEDAG_INPUTS $EDGEDAG_TASK"; ./in/run; echo [1] > $EDGEDAG_RESULT',
        {
          stdin: "stdin\n",
          task: "cmd",
          inputs: { params: {} },
          files: [
            { path: "in/a.txt", content: "text\n" },
            { path: "in/run", content: "#!/bin/sh\necho ran\n", isExecutable: true },
          ],
        },
      );
      t.match(end, { outcome: { kind: "succeeded" }, result: [1], facts: { exitCode: 0 } });
      t.equal(stdout, 'stdin\ntext\n{"params":{}} cmd\nran\n');
    });

    await t.test("large inputs come as a file", async (t) => {
      const inputs = { params: { text: "x".repeat(40_000) } };
      const { stdout } = await rig.shell('wc -c < "$EDGEDAG_INPUTS_FILE"', { inputs });
      t.equal(Number(stdout), JSON.stringify(inputs).length);
    });

    await t.test("a result file that is none is a bad result", async (t) => {
      for (const script of [
        "ln -s /etc/passwd $EDGEDAG_RESULT",
        "mkfifo $EDGEDAG_RESULT",
        "mkdir $EDGEDAG_RESULT",
        "echo 1 > x; ln x $EDGEDAG_RESULT || cp -r . $EDGEDAG_RESULT",
        "echo {no > $EDGEDAG_RESULT",
        "head -c 3000 /dev/zero | tr '\\0' '[' > $EDGEDAG_RESULT",
      ]) {
        const told = await rig.shell(script);
        t.equal(failureOf(told)?.reason, "bad-result", script);
      }
    });

    await t.test("each limit is told from the others, with its figure", async (t) => {
      const eat = "x = bytearray(300 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1";
      const cases = [
        [{ reason: "timeout", limitMs: 200 }, "sleep 60", { timeoutMs: 200 }],
        [{ reason: "output-limit", limitBytes: 5000 }, "yes", { outputLimitBytes: 5000 }],
        [{ reason: "out-of-memory", limitBytes: limits.memoryBytes }, `python3 -c '${eat}'`, {}],
        [{ reason: "disk-limit", limitBytes: limits.diskBytes }, "cat /dev/zero > f", {}],
        [
          { reason: "cpu-time", limitMs: 200 },
          "while :; do :; done",
          { limits: { ...limits, cpuTimeMs: 200 } },
        ],
        [
          { reason: "disk-limit", limitBytes: 4096 },
          "exec head -c 9000 /dev/zero > f",
          { limits: { ...limits, fileSizeBytes: 4096 } },
        ],
        [
          { reason: "pids-limit", limit: 8 },
          "i=0; while [ $i -lt 20 ]; do sleep 3 & i=$((i+1)); done; wait",
          { limits: { ...limits, pids: 8 } },
        ],
        [{ reason: "exit-code", code: 7 }, "exit 7", {}],
        [{ reason: "signal", signal: "SIGSEGV" }, "kill -SEGV $$", {}],
      ] as const;
      for (const [failure, script, more] of cases) {
        const told = await rig.shell(script, { limits, ...more });
        t.match(failureOf(told), failure, script);
        t.ok(told.end !== "returned" && told.end.facts.wallMs !== undefined, "wall is known");
      }
    });

    await t.test("so are the limits of functions that waited before", async (t) => {
      const eat = "def main():\n  x = bytearray(300 << 20)\n  return len(bytes(x))";
      const cases = [
        [{ reason: "out-of-memory" }, eat, {}],
        [
          { reason: "timeout", limitMs: 200 },
          "import time\ndef main():\n  time.sleep(60)",
          { timeoutMs: 200 },
        ],
        [
          { reason: "output-limit", limitBytes: 5000 },
          "def main():\n  while True: print('x' * 99)",
          { outputLimitBytes: 5000 },
        ],
        [{ reason: "exit-code", code: 3 }, "import sys\ndef main():\n  sys.exit(3)", {}],
        [{ reason: "exit-code", code: 4 }, "import os\ndef main():\n  os._exit(4)", {}],
        [
          { reason: "signal", signal: "SIGKILL" },
          "import os\ndef main():\n  os.kill(os.getpid(), 9)",
          {},
        ],
      ] as const;
      for (const [failure, code, more] of cases) {
        const told = await rig.python(code, { limits, ...more });
        t.match(failureOf(told), failure, code);
      }
    });

    const needsGcc = { skip: hasProgram("gcc") ? false : "gcc is missing here" };
    await t.test("a compiler's failure says that it was one", needsGcc, async (t) => {
      const run = (code: string) => rig.run({ kind: "code", language: "c", code, args: ["a b"] });
      const bad = await run("int main( {");
      t.match(bad.end, {
        outcome: { failure: { reason: "exit-code", code: 1 } },
        facts: { phase: "compile", stdoutBytes: 0 },
      });
      t.match(bad.stderr, /main\.c:1:/);
      t.equal(bad.stdout, "");
      const good = await run("#include <stdio.h>\nint main(int n, char **v) { puts(v[1]); }");
      t.match(good.end.outcome, { kind: "succeeded" });
      t.equal(good.stdout, "a b\n");
      t.equal(good.starts, 1);
      t.notOk("phase" in good.end.facts);
    });

    await t.test("a language that nobody knows is the sandbox's failure", async (t) => {
      const told = await rig.run({ kind: "code", language: "klingon", code: "x", args: [] });
      t.match(failureOf(told), { reason: "sandbox", level, detail: /klingon/ });
    });

    await t.test("a bad input path starts nothing", async (t) => {
      const told = await rig.shell("true", { files: [{ path: "../x", content: "" }] });
      t.match(failureOf(told), { reason: "sandbox", detail: /upwards/ });
      t.equal(told.starts, 0);
    });

    const needsRoot = { skip: isRoot ? false : "folders have a size only for root" };
    await t.test("inputs that do not fit are a disk limit", needsRoot, async (t) => {
      const files = [{ path: "big", content: Buffer.alloc(20 * MiB) }];
      const told = await rig.shell("true", { limits, files });
      t.match(failureOf(told), { reason: "disk-limit", limitBytes: limits.diskBytes });
    });

    await t.test("what is stopped is cancelled, with all that it started", async (t) => {
      const script = "trap '' TERM; setsid sleep 1000 & echo up; while :; do sleep 1; done";
      const { attempt, told, output } = rig.start({ kind: "command", argv: ["sh", "-c", script] });
      await output;
      attempt.stop(100);
      t.match((await told).end, { outcome: { kind: "cancelled", by: "user" } });
    });

    await t.test("a running function is stopped too", async (t) => {
      const code = "import time\ndef main():\n  print('up', flush=True)\n  time.sleep(60)";
      const { attempt, told, output } = rig.start({ kind: "function", runtime: "python", code });
      await output;
      attempt.stop(100);
      t.match((await told).end, { outcome: { kind: "cancelled", by: "user" } });
    });

    await t.test("what is stopped before it began is given back", async (t) => {
      const { attempt, told } = rig.start({ kind: "command", argv: ["true"] });
      attempt.stop(0);
      t.equal((await told).end, "returned");
    });

    await t.test("the outputs are kept, and those that are refused are told", async (t) => {
      const { end } = await rig.shell(
        "mkdir o; echo 1 > o/a.csv; echo 2 > o/b.txt; ln -s /etc/passwd o/l.csv; mkfifo o/f.csv",
        { outputs: { patterns: ["o/*.csv"], maxCount: 5, maxBytes: 1000 } },
      );
      t.match(end.outcome, { kind: "succeeded" });
      t.strictSame(
        end.outputs?.artifacts.map(({ path }) => path),
        ["o/a.csv"],
      );
      t.equal(readFileSync(end.outputs?.artifacts[0]?.keptAt ?? "", "utf8"), "1\n");
      t.strictSame(end.outputs?.refused, [
        { path: "o/f.csv", why: "it is not a regular file" },
        { path: "o/l.csv", why: "it is a symbolic link" },
      ]);
    });

    await t.test("a running attempt has samples", async (t) => {
      const script = "i=0; while [ $i -lt 8 ]; do sleep 0.1; i=$((i+1)); done; echo up; sleep 60";
      const { attempt, told, output } = rig.start(
        { kind: "command", argv: ["sh", "-c", script] },
        { task: "sampled" },
      );
      await output;
      const samples = rig.sandboxes.samples("r1", "sampled") ?? [];
      t.ok(samples.length >= 3, `${samples.length} samples`);
      t.ok(samples.every(({ memoryBytes }) => memoryBytes !== undefined));
      attempt.stop(0);
      await told;
    });

    await t.test("at the end nothing is left", async (t) => {
      await rig[Symbol.asyncDispose]();
      t.strictSame(rig.sandboxes.metrics().running, 0);
      t.strictSame(leftOf(rig.folder, `t${process.pid}`), []);
    });
  });
}
