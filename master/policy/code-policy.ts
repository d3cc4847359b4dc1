// The policy as the doors ask for it: checkers for both languages, started when they are first needed,
// with bounds on the size of a program, on time and on memory.
import { policyCheckerPath } from "../../protocol/install-paths.ts";
import { Checker } from "./checker.ts";
import { openJavaScriptCell } from "./javascript-cell.ts";
import type { CodePolicy, PolicyLanguage, PolicyVerdict } from "./policy.ts";
import { openPythonCell } from "./python-cell.ts";
import { policyRules, type RuleName, rulesOff } from "./rules.ts";

export interface CodePolicyOptions {
  /** Path or name of the Python that parses. */
  python: string;
  /** The folder of the installation. */
  root: string;
  /** Of one check, its checker's start included; 2,000 when absent. */
  timeLimitMs?: number;
  /** A larger program is refused without being parsed; 1 MiB when absent. */
  mostCodeBytes?: number;
  memoryBytes?: number;
  /** Rules that are to be applied, or not, against what is usual. */
  rules?: { readonly [name in RuleName]?: boolean };
  /** Checkers of each language. */
  size?: number;
}

const mostWaiting = 1000;

export function openCodePolicy(options: CodePolicyOptions): CodePolicy {
  const { timeLimitMs = 2000, mostCodeBytes = 2 ** 20, memoryBytes = 512 * 2 ** 20 } = options;
  const { python, root, rules = {}, size = 1 } = options;
  const off = rulesOff(rules);
  const make = (open: ConstructorParameters<typeof Checker>[0]["open"]) =>
    Array.from({ length: size }, () => new Checker({ timeLimitMs, mostWaiting, open }));
  const script = policyCheckerPath(root);
  const pythonCell = { python, script, memoryBytes, timeLimitMs, off };
  const checkers: { readonly [language in PolicyLanguage]: readonly Checker[] } = {
    python: make((listener) => openPythonCell(pythonCell, listener)),
    javascript: make((listener) => openJavaScriptCell({ memoryBytes, off }, listener)),
  };
  for (const [first] of Object.values(checkers)) first?.warm();
  return {
    check: async (language, code) => {
      if (Buffer.byteLength(code) > mostCodeBytes) return tooLarge(off);
      const [first, ...others] = checkers[language];
      const least = others.reduce(
        (a, b) => (a === undefined || b.length < a.length ? b : a),
        first,
      );
      return (await least?.check(code)) ?? { kind: "unavailable", detail: "there is no checker" };
    },
    close: async () => {
      for (const checker of [...checkers.python, ...checkers.javascript]) checker.close();
    },
  };
}

function tooLarge(off: readonly RuleName[]): PolicyVerdict {
  const rule: RuleName = "too-complex";
  if (off.includes(rule)) return { kind: "clean" };
  const message = `The program ${policyRules[rule].reason}.`;
  return { kind: "unsafe", findings: [{ rule, line: 1, column: 1, message }] };
}
