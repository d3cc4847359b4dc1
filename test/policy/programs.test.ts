// What the policy refuses and what it lets pass, program by program, in both languages.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { openCodePolicy } from "../../master/policy/code-policy.ts";
import { isRuleName } from "../../master/policy/rules.ts";
import { programsOf, type SampleProgram } from "./programs.ts";

const root = join(import.meta.dirname, "../..");
const print = "import sys; print(sys.version_info[1])";
const minor = Number(execFileSync("python3", ["-c", print], { encoding: "utf8" }));
/** Programs in a newer Python than the one that is here are not known to it. */
const isReadHere = ({ needs }: SampleProgram) => needs <= minor;

for (const language of ["python", "javascript"] as const) {
  void t.test(
    `${language}: refuses what reaches for the operating system, by its rule`,
    async (t) => {
      const policy = openCodePolicy({ python: "python3", root, timeLimitMs: 20_000 });
      t.teardown(() => policy.close());
      const programs = programsOf(language, "refused").filter(isReadHere);
      t.ok(programs.length >= 100, `${programs.length} programs`);
      for (const { file, name, rules, code } of programs) {
        const verdict = await policy.check(language, code);
        const found = verdict.kind === "unsafe" ? verdict.findings : [];
        const names = new Set(found.map(({ rule }) => rule));
        t.strictSame([...names].sort(), rules.toSorted(), `${file}: ${name}`);
        const lines = code.split("\n");
        for (const { rule, line, column, message } of found) {
          t.ok(isRuleName(rule) && message.endsWith("."), message);
          const text = lines[line - 1];
          t.ok(text !== undefined && column >= 1 && column <= text.length + 1, `${line}:${column}`);
        }
      }
    },
  );

  void t.test(`${language}: lets ordinary code pass`, async (t) => {
    const policy = openCodePolicy({ python: "python3", root, timeLimitMs: 20_000 });
    t.teardown(() => policy.close());
    const programs = programsOf(language, "accepted").filter(isReadHere);
    t.ok(programs.length >= 100, `${programs.length} programs`);
    for (const { file, name, code } of programs) {
      t.strictSame(await policy.check(language, code), { kind: "clean" }, `${file}: ${name}`);
    }
  });
}
