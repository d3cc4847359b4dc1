// Conformance of programs: how they end, what they say, what they are given and what they leave.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Test } from "tap";
import { failsWith, isSuccess, python, type Subject, shell } from "./subject.ts";

export async function programs(t: Test, subject: Subject): Promise<void> {
  const { level } = subject;

  await t.test(
    "a program that exits with 0 has succeeded, and facts say when and how",
    async (t) => {
      const before = Date.now();
      const story = await subject.run(shell("exit 0"));
      isSuccess(t, story);
      const { facts } = story.end;
      t.equal(facts.exitCode, 0);
      t.equal(facts.isolation, level, "the level that held is told");
      t.ok((facts.startedAt ?? 0) >= before - 1 && (facts.startedAt ?? 0) <= Date.now() + 1);
      t.ok((facts.wallMs ?? -1) > 0 && (facts.wallMs ?? 1e9) < 30_000);
      t.equal(facts.stdoutBytes, 0);
    },
  );

  await t.test("exit codes and signals are told apart", async (t) => {
    t.equal(failsWith(t, await subject.run(shell("exit 3")), "exit-code")?.code, 3);
    t.equal(failsWith(t, await subject.run(shell("exit 137")), "exit-code")?.code, 137);
    t.equal(failsWith(t, await subject.run(shell("kill -SEGV $$")), "signal")?.signal, "SIGSEGV");
    t.equal(failsWith(t, await subject.run(shell("kill -KILL $$")), "signal")?.signal, "SIGKILL");
  });

  await t.test(
    "a program that is not there cannot be started, and the reason is told",
    async (t) => {
      const failure = failsWith(
        t,
        await subject.run({ kind: "command", argv: ["no-such"] }),
        "spawn",
      );
      t.equal(failure?.errno, "ENOENT");
      t.match(failure?.detail, /no-such/);
    },
  );

  await t.test("stdout and stderr arrive apart, whole and in order", async (t) => {
    const story = await subject.run(
      shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf 'no newline'"),
    );
    isSuccess(t, story);
    t.equal(story.stdout.toString(), "out 1\nout 2\nout 3\nno newline");
    t.equal(story.stderr.toString(), "err 1\nerr 2\nerr 3\n");
  });

  await t.test("output of many megabytes arrives byte by byte", async (t) => {
    const code = `
import hashlib, sys
h = hashlib.sha256()
for i in range(160):
    block = bytes((i * 7 + k) % 256 for k in range(256)) * 256
    h.update(block); sys.stdout.buffer.write(block)
sys.stderr.write(h.hexdigest())`;
    const story = await subject.run(python(code));
    isSuccess(t, story);
    t.equal(story.stdout.length, 160 * 65_536);
    const digest = createHash("sha256").update(story.stdout).digest("hex");
    t.equal(story.stderr.toString(), digest);
  });

  await t.test("text beyond ASCII and bytes beyond text are left as they are", async (t) => {
    const text = "æøå 日本語 🛰 \u0000 \u001b[31m";
    const story = await subject.run(shell("cat; printf '\\377\\376'"), { stdin: text });
    isSuccess(t, story);
    t.same(story.stdout, Buffer.concat([Buffer.from(text), Buffer.from([255, 254])]));
  });

  await t.test("stdin arrives whole, and without one there is its end", async (t) => {
    const bytes = Buffer.alloc(3 * 2 ** 20, "stdin ");
    const story = await subject.run(shell("sha256sum"), { stdin: bytes });
    isSuccess(t, story);
    t.match(story.stdout.toString(), createHash("sha256").update(bytes).digest("hex"));
    const none = await subject.run(shell("wc -c"));
    t.equal(none.stdout.toString().trim(), "0");
    const unread = await subject.run(shell("exit 0"), { stdin: bytes });
    isSuccess(t, unread, "nobody has to read it");
  });

  await t.test("arguments and variables arrive as they were given", async (t) => {
    const words = ["", "two words", "quote'\"", "$HOME", "*", "-n", "日本", "new\nline"];
    const print = "import sys, json, os; print(json.dumps([sys.argv[1:], os.environ.get('ODD')]))";
    const story = await subject.run(
      { kind: "command", argv: ["python3", "-c", print, ...words] },
      { env: { ODD: "a=b\n🛰 '\"$(x)" } },
    );
    isSuccess(t, story);
    t.same(JSON.parse(story.stdout.toString()), [words, "a=b\n🛰 '\"$(x)"]);
  });

  await t.test("the environment is an allow-list", async (t) => {
    process.env.CONFORMANCE_SECRET = "seen";
    const story = await subject.run(shell("env"), { env: { MINE: "1" } });
    delete process.env.CONFORMANCE_SECRET;
    isSuccess(t, story);
    const env = story.stdout.toString();
    t.match(env, /^MINE=1$/m);
    t.match(env, /^PATH=/m);
    t.notMatch(env, /CONFORMANCE_SECRET/);
    t.notMatch(env, /EDGEDAG_TOKEN|NODE_OPTIONS|LD_PRELOAD/);
  });

  await t.test("files are found in the working folder, which is the current one", async (t) => {
    const story = await subject.run(
      shell("cat a.txt deep/er/b.bin | od -An -tx1 | tr -d ' \\n'; ./run.sh; ls; touch new"),
      {
        files: [
          { path: "a.txt", content: "æ" },
          { path: "deep/er/b.bin", content: new Uint8Array([0, 255]) },
          { path: "run.sh", content: "#!/bin/sh\necho ran\n", isExecutable: true },
        ],
      },
    );
    isSuccess(t, story);
    t.equal(story.stdout.toString(), "c3a600ffran\na.txt\ndeep\nrun.sh\n");
  });

  await t.test("nothing of one task is seen by the next", async (t) => {
    isSuccess(t, await subject.run(shell("echo mine >left; echo mine >/tmp/edgedag-left-$$; ls")));
    const next = await subject.run(shell("ls -A"));
    isSuccess(t, next);
    t.equal(next.stdout.toString(), "");
  });

  await t.test("outputs are kept by pattern", async (t) => {
    const story = await subject.run(
      shell("mkdir -p out/deep; echo one >out/1.txt; printf two >out/deep/2.txt; echo no >other"),
      { outputs: { patterns: ["out/**/*.txt"] } },
    );
    isSuccess(t, story);
    const kept = story.end.outputs?.artifacts ?? [];
    const found = kept.map(({ path, keptAt, sizeBytes }) => ({
      path,
      sizeBytes,
      text: readFileSync(keptAt, "utf8"),
    }));
    t.same(
      found.sort((a, b) => a.path.localeCompare(b.path)),
      [
        { path: "out/1.txt", sizeBytes: 4, text: "one\n" },
        { path: "out/deep/2.txt", sizeBytes: 3, text: "two" },
      ],
    );
  });

  await t.test("outputs beyond count and size are refused by name", async (t) => {
    const many = await subject.run(shell("for i in 1 2 3 4 5; do echo $i >f$i; done"), {
      outputs: { patterns: ["f*"], maxCount: 2 },
    });
    t.equal(many.end.outputs?.artifacts.length, 2);
    t.ok((many.end.outputs?.refused.length ?? 0) >= 1);
    const big = await subject.run(shell("head -c 4096 /dev/zero >big; echo x >small"), {
      outputs: { patterns: ["big", "small"], maxBytes: 1024 },
    });
    t.same(
      big.end.outputs?.artifacts.map(({ path }) => path),
      ["small"],
    );
    t.same(
      big.end.outputs?.refused.map(({ path }) => path),
      ["big"],
    );
  });

  await t.test("the result is what stands in the file that EDGEDAG_RESULT names", async (t) => {
    const story = await subject.run(shell(`echo '{"a":[1,2.5,null,"æ"]}' >"$EDGEDAG_RESULT"`));
    isSuccess(t, story);
    t.same(story.end.result, { a: [1, 2.5, null, "æ"] });
    failsWith(t, await subject.run(shell('echo "{" >"$EDGEDAG_RESULT"')), "bad-result");
    const large = await subject.run(
      python(`import os; open(os.environ["EDGEDAG_RESULT"], "w").write('"%s"' % ("x" * 200000))`),
    );
    isSuccess(t, large);
    t.equal(large.end.file?.sizeBytes, 200_002);
    t.equal(JSON.parse(readFileSync(large.end.file?.path ?? "", "utf8")), "x".repeat(200_000));
  });

  await t.test("inputs are told to programs", async (t) => {
    const code = `
import json, os
text = os.environ.get("EDGEDAG_INPUTS") or open(os.environ["EDGEDAG_INPUTS_FILE"]).read()
print(len(json.loads(text)["params"]["long"]))`;
    const short = await subject.run(python(code), { inputs: { params: { long: "x" } } });
    t.equal(short.stdout.toString(), "1\n");
    const long = await subject.run(python(code), {
      inputs: { params: { long: "x".repeat(100_000) } },
    });
    t.equal(long.stdout.toString(), "100000\n");
  });

  await t.test("many at once do not meet", async (t) => {
    const stories = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        subject.run(shell(`echo ${i} >f; sleep 0.05; cat f; ls | wc -l`)),
      ),
    );
    for (const [i, story] of stories.entries()) {
      isSuccess(t, story);
      t.equal(story.stdout.toString().replaceAll(/\s+/g, " "), `${i} 1 `);
    }
  });
}
