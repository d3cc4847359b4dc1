// Templates: whatever the text, a value or a sentence; and data never becomes code of a shell.
import { spawnSync } from "node:child_process";
import type { Json } from "../../../protocol/json.ts";
import {
  asPath,
  compileShell,
  compileTemplate,
  evaluate,
  evaluateShell,
  evaluateText,
  isConstant,
  isWholeExpression,
  references,
} from "../../../protocol/template.ts";
import { templateFilters } from "../../../protocol/template-filters.ts";
import { must, shown, type Target } from "../target.ts";
import { mustBeDiagnostics, mustBeInnocent } from "./diagnostics.ts";

const hostile = "'; touch /tmp/owned; $(id) `id` \"\\\n#";
const scope = {
  need: (task: string) =>
    task === "a"
      ? { outcome: "succeeded", result: { x: [1, "b", { y: null }], s: hostile } as Json }
      : undefined,
  env: { A: "b", B: hostile },
  params: { x: 1, y: { z: [3, 2, 1] }, s: hostile, n: null } as { [name: string]: Json },
  item: { q: "é😀", list: ["b", "a", "a"], __proto__x: 1, n: -1.5 } as Json,
  index: 3,
  run: { id: "r", outcome: "failed", failed: ["a"] },
  task: { id: "t", attempt: 1 },
  dag: { name: "d" },
};

const words = [
  "{{ ",
  " }}",
  "{{",
  "needs.a.result",
  "needs.a.result.x[0]",
  "needs['a'].outcome",
  "env.A",
  "env.B",
  "params.s",
  "item.q",
  "item.list",
  "run.failed",
  "item.__proto__",
  "item.constructor.prototype",
  '["x"]',
  "[0]",
  "[-1]",
  '"a"',
  "'b'",
  "1e3",
  "null",
  "true",
  "$(",
  "`",
  "<<EOF\n",
  "\u0024{x:-",
  "((",
  "case x in",
  "#",
  "\\",
  ...[...templateFilters].map(([name, { args }]) => ` | ${name}${args[1] > 0 ? '("a")' : ""}`),
];

let shellsTried = 0;

export function open(): Target {
  return {
    covers: /\/protocol\/(template|shell-context).*\.ts$/,
    dictionary: words,
    maxBytes: 4096,
    seeds: () => [
      "{{ needs.a.result.x[0] }}",
      "a {{ params.y.z | sort | join('-') }} b {{ item.q | upper }}",
      '{{ item.list | unique | reverse | get(0) | default("x") }}',
      "echo {{ params.s }} \"$HOME\" '{' ; cat {{ env.B }}",
      "cat <<EOF\nx\nEOF\necho {{ item.q }}",
      "if [ {{ index }} -gt 1 ]; then echo $(date) $A; fi # {{ item }}",
      ...[...templateFilters.values()].map(({ example }) => `{{ ${example} }}`),
    ],
    run(input) {
      const text = input.toString("utf8");
      const compiled = compileTemplate(text);
      if (compiled.ok) {
        const template = compiled.value;
        for (const result of [
          evaluate(template, scope),
          evaluate(template, {}),
          evaluateText(template, scope),
        ]) {
          if (result.ok)
            must(JSON.stringify(result.value) !== undefined, "a value that is no JSON");
          else {
            must(result.detail.length > 3 && result.detail.length <= 4000, "no sentence");
            mustBeInnocent(result.detail);
          }
        }
        references(template);
        asPath(template);
        isWholeExpression(template);
        if (isConstant(template)) {
          const told = evaluateText(template, {});
          must(told.ok, `a constant has no value: ${shown(told)}`);
        }
      } else {
        mustBeDiagnostics(compiled.diagnostics);
      }
      const script = compileShell(text);
      if (!script.ok) {
        mustBeDiagnostics(script.diagnostics);
        return;
      }
      must(compiled.ok, "a script is accepted whose template is not");
      const made = evaluateShell(script.value, scope);
      if (!made.ok) mustBeInnocent(made.detail);
      else if (!isConstant(script.value)) mustBeWords(script.value, made.value);
    },
  };
}

/**
 * The structure of a script does not depend on its data: where the shell takes the script with
 * harmless words, it takes it with hostile ones too. Asked of a real shell for a few of them.
 */
function mustBeWords(script: Parameters<typeof evaluateShell>[0], hostileText: string): void {
  if (shellsTried++ % 40 !== 0 || hostileText.length > 4000) return;
  const harmless = evaluateShell(script, {
    ...scope,
    env: { A: "b", B: "b" },
    params: { ...scope.params, s: "b" },
    need: (task) =>
      task === "a"
        ? { outcome: "succeeded", result: { x: [1, "b", { y: null }], s: "b" } }
        : undefined,
  });
  if (!harmless.ok || harmless.value.includes("\0")) return;
  const first = accepts(harmless.value);
  const second = accepts(hostileText);
  must(first === second, `data changes what the shell reads: ${shown(hostileText)}`);
}

function accepts(script: string): boolean {
  // Read only, never run.
  return spawnSync("/bin/sh", ["-n"], { input: script, timeout: 5000 }).status === 0;
}
