// A look at code survives what it looks at: programs that hang or kill the place where they are parsed
// cost their own check and no other, and no input makes a check hang or reject.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { Checker } from "../../master/policy/checker.ts";
import { openCodePolicy } from "../../master/policy/code-policy.ts";
import type { PolicyVerdict } from "../../master/policy/policy.ts";
import { until } from "../rig/until.ts";

const root = join(import.meta.dirname, "../..");
const languages = ["python", "javascript"] as const;
const clean = { python: "def main():\n    return 1\n", javascript: "function main() {}\n" };

/** Processes of this one that parse Python. */
function parsers(): number[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8")
    .trim()
    .split(" ");
  return children
    .filter((pid) => pid !== "")
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("python_policy.py");
      } catch {
        return false; // it ended between the two looks
      }
    });
}

t.test("a parser that is killed while it works fails that check, and is replaced", async (t) => {
  const policy = openCodePolicy({ python: "python3", root, timeLimitMs: 20_000 });
  t.teardown(() => policy.close());
  t.strictSame(await policy.check("python", clean.python), { kind: "clean" });
  const [pid] = parsers();
  if (pid === undefined) throw new Error("there is no parser");
  process.kill(pid, "SIGSTOP");
  const checks = [
    policy.check("python", clean.python),
    policy.check("python", "import os\nos.abort()"),
  ];
  process.kill(pid, "SIGKILL");
  const [first, second] = await Promise.all(checks);
  t.match(first, { kind: "unavailable", detail: /it ended \(SIGKILL\)/ });
  t.match(second, { kind: "unsafe" }, "the one behind it is done by the next");
});

t.test("a parser that hangs is ended when its time is over", async (t) => {
  const policy = openCodePolicy({ python: "python3", root, timeLimitMs: 300 });
  t.teardown(() => policy.close());
  await until("a parser is there", parsers, (pids) => pids.length > 0);
  await policy.check("python", clean.python);
  const [pid] = parsers();
  if (pid === undefined) throw new Error("there is no parser");
  process.kill(pid, "SIGSTOP");
  t.match(await policy.check("python", clean.python), {
    kind: "unavailable",
    detail: "it took longer than 300 ms",
  });
  await until("it is gone", parsers, (pids) => !pids.includes(pid));
  let verdict: PolicyVerdict = { kind: "unavailable", detail: "" };
  for (let i = 0; i < 20 && verdict.kind !== "clean"; i += 1) {
    verdict = await policy.check("python", clean.python);
  }
  t.strictSame(verdict, { kind: "clean" });
});

t.test("a Python that is not there makes checks unavailable, and says so", async (t) => {
  const policy = openCodePolicy({ python: "/nowhere/python3", root });
  t.teardown(() => policy.close());
  t.match(await policy.check("python", clean.python), { kind: "unavailable", detail: /ENOENT/ });
  t.strictSame(await policy.check("javascript", clean.javascript), { kind: "clean" });
});

t.test(
  "monstrous programs are refused or fail by themselves, and the next one is fine",
  async (t) => {
    const policy = openCodePolicy({ python: "python3", root, timeLimitMs: 10_000 });
    t.teardown(() => policy.close());
    const monsters = {
      python: [
        `x = ${"(".repeat(10_000)}1${")".repeat(10_000)}`,
        `x = ${"-".repeat(50_000)}1`,
        `x = ${"[".repeat(200)}${"]".repeat(200)}`,
        `x = "a" * 10 ** 10\ny = ("b" * 10 ** 9) * 10 ** 9\n`,
        `x = 10 ** 10 ** 10`,
        `getattr(x, "a" * 10 ** 9)`,
        "a\0b",
        "# coding: utf-7\n+AGEAYg-",
        `${"x = 1\n".repeat(170_000)}`,
        `x = ${"1+".repeat(200_000)}1`,
        "\ud800",
        "def f():\n".repeat(1) + "  ".repeat(100_000),
      ],
      javascript: [
        `x = ${"(".repeat(10_000)}1${")".repeat(10_000)}`,
        `x = ${"[".repeat(100_000)}`,
        `x = ${"!".repeat(100_000)}1`,
        `x = ${"1+".repeat(200_000)}1`,
        `x = ${"a?b:".repeat(50_000)}1`,
        `x = "a".repeat(1e9) + "b".padEnd(1e9)`,
        `x = \`${`\${1}`.repeat(100_000)}\``,
        "a\0b",
        "\ud800",
        `x = /${"(a*)*".repeat(1000)}b/`,
        `${"var x = 1;\n".repeat(90_000)}`,
        `${"{".repeat(50_000)}${"}".repeat(50_000)}`,
      ],
    };
    for (const language of languages) {
      for (const code of monsters[language]) {
        const { kind } = await policy.check(language, code);
        t.ok(
          ["clean", "unsafe", "unparsed", "unavailable"].includes(kind),
          `${kind}: ${code.slice(0, 20)}`,
        );
        t.strictSame(await policy.check(language, clean[language]), { kind: "clean" });
      }
      const large = `"${"x".repeat(2 ** 20)}"`;
      t.match(await policy.check(language, large), { findings: [{ rule: "too-complex" }] });
    }
  },
);

t.test("many checks at once are all answered, each with its own verdict", async (t) => {
  const policy = openCodePolicy({ python: "python3", root, size: 2, timeLimitMs: 20_000 });
  t.teardown(() => policy.close());
  for (const language of languages) {
    const bad = language === "python" ? "import subprocess" : 'require("child_process")';
    const verdicts = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        policy.check(language, i % 3 === 0 ? bad : clean[language]),
      ),
    );
    const kinds = verdicts.map(({ kind }) => kind);
    t.strictSame(
      kinds,
      kinds.map((_, i) => (i % 3 === 0 ? "unsafe" : "clean")),
    );
  }
});

t.test("no text makes a check hang or reject", async (t) => {
  const policy = openCodePolicy({ python: "python3", root, timeLimitMs: 20_000 });
  t.teardown(() => policy.close());
  const word = fc.constantFrom(
    ..."import os eval ( ) [ ] { } . , : = => def class lambda \n \t getattr __class__ 'a' \"b\" `c` + * 1 require process async await yield ? ! # // /* */ <!-- if else for in of while with return".split(
      " ",
    ),
    "\n    ",
    "\u2028",
    "\ud800",
    "\0",
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...languages),
      fc.oneof(
        fc.array(word, { maxLength: 40 }).map((words) => words.join(" ")),
        fc.string(),
      ),
      async (language, code) => {
        const { kind } = await policy.check(language, code);
        return ["clean", "unsafe", "unparsed"].includes(kind);
      },
    ),
    { numRuns: 1500 },
  );
  t.pass("1,500 texts");
});

t.test("close ends what waits, and leaves no process", async (t) => {
  const policy = openCodePolicy({ python: "python3", root });
  const checks = Array.from({ length: 5 }, () => policy.check("python", clean.python));
  await policy.close();
  for (const verdict of await Promise.all(checks)) t.equal(verdict.kind, "unavailable");
  t.equal((await policy.check("python", clean.python)).kind, "unavailable");
  await until("no parser is left", parsers, (pids) => pids.length === 0);
  t.ok(readdirSync("/proc/self/fd").length < 200);
});

t.test("a line of programs that is too long is told so at once", async (t) => {
  const checker = new Checker({
    timeLimitMs: 20_000,
    mostWaiting: 2,
    open: () => ({ check: () => {}, end: () => {} }),
  });
  const waiting = [checker.check("a"), checker.check("b"), checker.check("c")];
  t.match(await checker.check("d"), { kind: "unavailable", detail: /2 programs wait/ });
  checker.close();
  t.equal((await Promise.all(waiting)).length, 3);
});
