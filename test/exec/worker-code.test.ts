// Functions of code that names none, and where a syntax error stands, in both runtimes.
import t from "tap";
import { resultOf, WorkerRig } from "./worker-rig.ts";

const found: Record<"python" | "node", [code: string, name: string, result: unknown][]> = {
  python: [
    ["def main():\n  return 1\ndef other(): pass", "", 1],
    ["import os\nfrom math import sqrt\ndef _x(): pass\ndef only(): return 2", "", 2],
    ["async def only():\n  return 3", "", 3],
  ],
  node: [
    ["function main() { return 1 }\nfunction other() {}", "", 1],
    ["module.exports = () => 2", "", 2],
    ["function only(x: number) { return 3 }", "", 3],
    ["import fs from 'node:fs';\nfunction main() { return 4 }", "", 4],
    ["import fs from 'node:fs';\nfunction inner() { return 5 }", "inner", 5],
    ["export default () => 6", "", 6],
    ["export const only = async () => 7", "", 7],
  ],
};

const failing: Record<"python" | "node", [code: string, name: string, failure: object][]> = {
  python: [
    [
      "def a(): pass\ndef b(): pass",
      "",
      { detail: /exactly one public function; it has `a`, `b`/ },
    ],
    ["x = 1", "", { detail: /it has none/ }],
    ["def f():\n  return 1 +\n", "f", { line: 2, column: 13 }],
    ["def f():\n  eval('1+')", "f", { line: undefined, detail: /SyntaxError/ }],
  ],
  node: [
    ["export function a() {}\nexport function b() {}", "", { detail: /it exports a, b/ }],
    ["const x = 1", "", { detail: /it exports none/ }],
    ["const a = 1;\nfunction f() {\n  return a +;\n}", "f", { line: 3, column: 13 }],
    ["import 'node:fs';\nfunction f() {\n  return 1 +;\n}", "f", { line: 3, column: 13 }],
    ["let a = 1;\nlet a = 2;", "", { line: 2, column: 5 }],
    ["function f() { eval('1+'); }", "f", { line: undefined, detail: /SyntaxError/ }],
  ],
};

for (const runtime of ["python", "node"] as const) {
  t.test(`code in ${runtime}`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    for (const [code, name, result] of found[runtime]) {
      t.equal(resultOf(await rig.call({ code, function: name })), result, code);
    }
    for (const [code, name, failure] of failing[runtime]) {
      const { end } = await rig.call({ code, function: name });
      t.match(end, { kind: "failed", failure: { reason: "bad-result", ...failure } }, code);
    }
  });
}
