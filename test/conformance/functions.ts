// Conformance of functions and of programs in every language.
import { readFileSync } from "node:fs";
import type { Test } from "tap";
import type { SandboxRun } from "../../agent/exec/isolation/sandbox-spec.ts";
import { failsWith, isSuccess, type Subject } from "./subject.ts";

type FunctionRun = SandboxRun & { kind: "function" };

const json = { text: "æ 日本 🛰\n", list: [1, -2.5, 1e300, true, null], deep: { a: { b: [] } } };

const runtimes = [
  {
    runtime: "python",
    echo: "def main(value, **rest):\n    print('called')\n    return value",
    fails:
      "def main():\n    print('before')\n    return inner()\ndef inner():\n    raise ValueError('broken')",
    trace: /ValueError: broken/,
    async: "import asyncio\nasync def main():\n    await asyncio.sleep(0.01)\n    return 7",
    exits: "import sys\ndef main(): sys.exit(3)",
    syntax: "import os\ndef main():\n    return (1 +\n",
    line: 3,
    large: "def main(): return 'x' * 300000",
    imports: "from helper import value\ndef main(): return value",
    helper: { path: "helper.py", content: "value = 42\n" },
    chatty: "import sys\ndef main():\n    print('out')\n    print('err', file=sys.stderr)",
    named: "def _hidden(): return 0\ndef only(): return 'only'",
    missing: "def other(): return 1\ndef another(): return 2",
  },
  {
    runtime: "node",
    echo: "export function main({ value }) { console.log('called'); return value; }",
    fails:
      "export function main() { console.log('before'); return inner(); }\nfunction inner() { throw new TypeError('broken'); }",
    trace: /TypeError: broken/,
    async:
      "export async function main() { await new Promise((r) => setTimeout(r, 10)); return 7; }",
    exits: "export function main() { process.exit(3); }",
    syntax: "const a = 1;\nexport function main() {\n  return (1 +;\n}\n",
    line: 3,
    large: "export function main() { return 'x'.repeat(300000); }",
    imports: "import { value } from './helper.js';\nexport function main() { return value; }",
    helper: { path: "helper.js", content: "export const value = 42;\n" },
    chatty: "export function main() { console.log('out'); console.error('err'); }",
    named: "export function only() { return 'only'; }",
    missing: "export function other() {}\nexport function another() {}",
  },
] as const;

export async function functions(t: Test, subject: Subject): Promise<void> {
  for (const subjects of runtimes) {
    const { runtime } = subjects;
    const of = (code: string, more: Partial<FunctionRun> = {}): SandboxRun => ({
      kind: "function",
      runtime,
      code,
      ...more,
    });
    await t.test(`a ${runtime} function`, async (t) => {
      await t.test("gets its arguments and gives its result as JSON", async (t) => {
        const story = await subject.run(of(subjects.echo, { args: { value: json } }));
        isSuccess(t, story);
        t.same(story.end.result, json);
        t.equal(story.stdout.toString(), "called\n");
        t.equal(story.end.facts.isolation, subject.level);
        t.ok((story.end.facts.wallMs ?? -1) >= 0);
      });

      await t.test("that throws has failed, and what it said before is there", async (t) => {
        const story = await subject.run(of(subjects.fails));
        const failure = failsWith(t, story, "bad-result");
        t.match(`${failure?.detail}\n${failure?.trace}`, subjects.trace);
        t.equal(story.stdout.toString(), "before\n");
      });

      await t.test("may be asynchronous, and may end the process", async (t) => {
        const story = await subject.run(of(subjects.async));
        isSuccess(t, story);
        t.equal(story.end.result, 7);
        t.equal(failsWith(t, await subject.run(of(subjects.exits)), "exit-code")?.code, 3);
      });

      await t.test("with a syntax error fails with line and column", async (t) => {
        const failure = failsWith(t, await subject.run(of(subjects.syntax)), "bad-result");
        t.equal(failure?.line, subjects.line);
        t.ok((failure?.column ?? 0) >= 1);
        t.match(failure?.detail, /SyntaxError|syntax/i);
      });

      await t.test("is found by name, as main, or as the only one", async (t) => {
        t.equal((await subject.run(of(subjects.named))).end.result, "only");
        t.equal((await subject.run(of(subjects.named, { function: "only" }))).end.result, "only");
        const failure = failsWith(t, await subject.run(of(subjects.missing)), "bad-result");
        t.match(failure?.detail, /main/);
      });

      await t.test("imports what lies in its working folder", async (t) => {
        const files = [subjects.helper];
        const story = await subject.run(of(subjects.imports), { files });
        isSuccess(t, story);
        t.equal(story.end.result, 42);
      });

      await t.test("writes to both streams, and large results travel as files", async (t) => {
        const story = await subject.run(of(subjects.chatty));
        t.equal(story.stdout.toString(), "out\n");
        t.equal(story.stderr.toString(), "err\n");
        const large = await subject.run(of(subjects.large));
        isSuccess(t, large);
        const text =
          large.end.file === undefined
            ? large.end.result
            : JSON.parse(readFileSync(large.end.file.path, "utf8"));
        t.equal(text, "x".repeat(300_000));
      });

      await t.test("that never returns is ended by its timeout", async (t) => {
        const loop =
          runtime === "python"
            ? "def main():\n    while True: pass"
            : "export function main() { for (;;); }";
        const story = await subject.run(of(loop), { timeoutMs: 500, graceMs: 100 });
        t.equal(failsWith(t, story, "timeout")?.limitMs, 500);
      });
    });
  }
}

/** Hello, arguments, stdin, and an exit code, in every language. */
export const languagePrograms: { [language: string]: { code: string; broken?: string } } = {
  bash: { code: 'read -r line; echo "hello $1 $line"; exit 7' },
  python: {
    code: "import sys\nprint('hello', sys.argv[1], sys.stdin.readline().strip())\nsys.exit(7)",
  },
  javascript: {
    code: "const line = require('fs').readFileSync(0, 'utf8').trim();\nconsole.log('hello', process.argv[2], line);\nprocess.exit(7);",
  },
  c: {
    code: '#include <stdio.h>\nint main(int c, char **v) { char l[99]; scanf("%98s", l); printf("hello %s %s\\n", v[1], l); return 7; }',
    broken: "int main() { return nothing; }",
  },
  cpp: {
    code: '#include <iostream>\n#include <string>\nint main(int c, char **v) { std::string l; std::cin >> l; std::cout << "hello " << v[1] << " " << l << std::endl; return 7; }',
    broken: "int main() { return nothing; }",
  },
  go: {
    code: 'package main\nimport ("fmt"; "os")\nfunc main() { var l string; fmt.Scan(&l); fmt.Println("hello", os.Args[1], l); os.Exit(7) }',
    broken: "package main\nfunc main() { nothing() }",
  },
  java: {
    code: 'import java.util.Scanner;\npublic class Main { public static void main(String[] a) { System.out.println("hello " + a[0] + " " + new Scanner(System.in).nextLine()); System.exit(7); } }',
    broken: "public class Main { public static void main(String[] a) { nothing(); } }",
  },
  rust: {
    code: 'use std::io;\nfn main() { let mut l = String::new(); io::stdin().read_line(&mut l).unwrap(); println!("hello {} {}", std::env::args().nth(1).unwrap(), l.trim()); std::process::exit(7); }',
    broken: "fn main() { nothing(); }",
  },
};

export async function languages(
  t: Test,
  subject: Subject,
  /** Why a language cannot be had at this level; undefined: it can. */
  lacking: (language: string) => string | undefined,
): Promise<void> {
  const roomy = { memoryBytes: 2 ** 31, pids: 256, diskBytes: 2 ** 29 };
  for (const [language, { code, broken }] of Object.entries(languagePrograms)) {
    const reason = lacking(language);
    await t.test(`a program in ${language}`, { skip: reason ?? false }, async (t) => {
      const run = { kind: "code", language, code, args: ["wörld"] } as const;
      const story = await subject.run(run, { stdin: "line\n", limits: roomy });
      t.equal(story.stdout.toString(), "hello wörld line\n", story.stderr.toString().slice(-1000));
      t.equal(failsWith(t, story, "exit-code")?.code, 7);
      t.equal(story.end.facts.phase, undefined);
      if (broken === undefined) return;
      const bad = await subject.run({ ...run, code: broken }, { limits: roomy });
      failsWith(t, bad, "exit-code");
      t.equal(bad.end.facts.phase, "compile", "it failed in the compile step");
      t.match(bad.stderr.toString(), /nothing/, "the compiler's words are in the log");
    });
  }
}
