// The parsers of submitted code: each text has a verdict in time, and the next one has its own. The
// one for JavaScript also runs in this process, where coverage leads the way.
import { join } from "node:path";
import { openCodePolicy } from "../../../master/policy/code-policy.ts";
import { checkJavaScript } from "../../../master/policy/javascript/check.ts";
import type { PolicyLanguage, PolicyVerdict } from "../../../master/policy/policy.ts";
import { programsOf } from "../../policy/programs.ts";
import { mutateBytes } from "../engine/bytes.ts";
import { must, shown, type Target } from "../target.ts";
import { mustBeInnocent } from "./diagnostics.ts";

const words =
  "import os|from x import y|eval(|exec(|__import__|getattr(|lambda:|def f():|class A:|async |await |yield |f'{x}'|require(|process.|globalThis|new Function(|=>|`${|...|?.|??=|#!|/*|*/|<!--|\n  |\n\t|\\\n|\u2028|match x:|case _:|@|:=|**|//|'''|\"\"\"|0x|1_0|import(|export |static {|#private|get |set |with (|label:|/[/]/u".split(
    "|",
  );

const python = 0;
const javascript = 1;

export function open(): Target {
  const root = join(import.meta.dirname, "../../..");
  const policy = openCodePolicy({ python: "python3", root, timeLimitMs: 20_000 });
  const off: ReadonlySet<string> = new Set();
  const seedsOf = (language: PolicyLanguage, mark: number) =>
    (["accepted", "refused"] as const).flatMap((kind) =>
      programsOf(language, kind)
        .filter((_, i) => i % 12 === 0)
        .map(({ code }) => Buffer.concat([Buffer.from([mark]), Buffer.from(code)])),
    );
  const judge = (verdict: PolicyVerdict) => {
    if (verdict.kind === "clean") return;
    if (verdict.kind === "unsafe") {
      must(
        verdict.findings.length > 0 && verdict.findings.length <= 50,
        "no findings, or too many",
      );
      for (const { rule, line, column, message } of verdict.findings) {
        must(
          rule !== "" && line >= 1 && column >= 1 && message !== "",
          `a finding: ${shown(rule)}`,
        );
        mustBeInnocent(message);
      }
      return;
    }
    must(verdict.kind === "unparsed", `${verdict.kind}: ${verdict.detail}`);
    mustBeInnocent(verdict.detail);
  };
  return {
    covers: /\/master\/policy\/javascript\//,
    dictionary: words,
    boundMs: 30_000,
    maxBytes: 4096,
    grows: false,
    seeds: () => [...seedsOf("python", python), ...seedsOf("javascript", javascript)],
    mutate: (input, random, other) => {
      const mark = input.subarray(0, 1);
      return Buffer.concat([
        mark,
        mutateBytes(input.subarray(1), random, other.subarray(1), words),
      ]);
    },
    async run(input) {
      const language = (input[0] ?? 0) % 2 === javascript ? "javascript" : "python";
      const code = input.subarray(1).toString("utf8");
      if (language === "javascript") judge(checkJavaScript(code, off));
      // A process and a thread: slower, so only a part of them goes there.
      if (language === "python" || input.length % 8 === 0)
        judge(await policy.check(language, code));
    },
    async check() {
      for (const language of ["python", "javascript"] as const) {
        const verdict = await policy.check(language, "x = 1\n");
        must(verdict.kind === "clean", `x = 1 is ${verdict.kind}`);
      }
    },
    close: () => policy.close(),
  };
}
