// The programs of the policy's tests: texts under test/policy/programs, each behind a line
// `=== name [rules]`; of a refused one the rules are all that must be found.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { PolicyLanguage } from "../../master/policy/policy.ts";

export interface SampleProgram {
  file: string;
  name: string;
  rules: string[];
  code: string;
  /** The minor version of Python 3 that the program needs; 0: any. */
  needs: number;
}

export function programsOf(
  language: PolicyLanguage,
  kind: "accepted" | "refused",
): SampleProgram[] {
  const folder = join(import.meta.dirname, "programs", language, kind);
  return readdirSync(folder)
    .sort()
    .flatMap((file) => {
      const text = readFileSync(join(folder, file), "utf8");
      return text
        .split(/^=== /m)
        .slice(1)
        .map((part): SampleProgram => {
          const [head = "", ...lines] = part.split("\n");
          const [, name = head, rules = ""] = /^(.*?)(?: \[(.*)\])?$/.exec(head) ?? [];
          return {
            file,
            name,
            needs: Number(/\(Python 3\.(\d+)\)$/.exec(name)?.[1] ?? 0),
            rules: rules.split(/[ ,]+/).filter((rule) => rule !== ""),
            // Blank lines between two programs are no part of either.
            code: unwritten(`${lines.join("\n").trimEnd()}\n`),
          };
        });
    });
}

/** Characters that editors and git would not leave alone are written by name. */
function unwritten(text: string): string {
  const named = { NUL: "\0", BOM: "\ufeff", FF: "\f", CR: "\r" } as const;
  return text.replaceAll(/<(NUL|BOM|FF|CR)>/g, (_, name: keyof typeof named) => named[name]);
}
