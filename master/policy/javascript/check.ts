// The check of a JavaScript program from text to verdict. Pure but for the compiler that says whether
// Node.js could read what the parser cannot; runs nothing.
import { type AnyNode, getLineInfo } from "acorn";
import type { CodeFinding, PolicyVerdict } from "../policy.ts";
import { policyRules, type RuleName } from "../rules.ts";
import { collect } from "./collect.ts";
import { OutOfSteps } from "./folding.ts";
import { Judge } from "./judge.ts";
import { parseProgram } from "./parse.ts";

const mostFindings = 50;

export function checkJavaScript(code: string, off: ReadonlySet<string>): PolicyVerdict {
  const findings = new Map<string, { at: number; rule: RuleName; what: string }>();
  const reportAt = (at: number, rule: RuleName, what: string) => {
    const place = `${at} ${rule}`;
    // A second finding of one rule in one place says nothing.
    if (!off.has(rule) && !findings.has(place)) findings.set(place, { at, rule, what });
  };
  const report = (node: AnyNode, rule: RuleName, what: string) => reportAt(node.start, rule, what);

  const parsed = parseProgram(code);
  switch (parsed.kind) {
    case "unparsed":
      return parsed;
    case "unknown":
      reportAt(0, "hidden-text", `Code that the check cannot read (${parsed.detail})`);
      break;
    case "too-deep":
      reportAt(0, "too-complex", "The program");
      break;
    case "parsed":
      for (const at of parsed.htmlComments) reportAt(at, "hidden-text", "An HTML comment");
      try {
        new Judge(collect(parsed.program), report).judge();
      } catch (error) {
        if (!(error instanceof OutOfSteps || error instanceof RangeError)) throw error;
        reportAt(0, "too-complex", "The program");
      }
      break;
    default:
      parsed satisfies never;
  }
  if (findings.size === 0) return { kind: "clean" };
  const inOrder = [...findings.values()].sort((a, b) => a.at - b.at).slice(0, mostFindings);
  return { kind: "unsafe", findings: inOrder.map((finding) => written(code, finding)) };
}

function written(
  code: string,
  { at, rule, what }: { at: number; rule: RuleName; what: string },
): CodeFinding {
  const { line, column } = getLineInfo(code, at);
  return { rule, line, column: column + 1, message: `${what} ${policyRules[rule].reason}.` };
}
