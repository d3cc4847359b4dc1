// Quick processes wait in line at the launcher, and nobody can tell: never more at once than there
// are slots, each in its order, with what the one before it has left, and none behind a failure.
import { readFile, writeFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { nodeLog } from "../rig/node-log.ts";
import { runJson } from "../rig/run-json.ts";

const wide = 80;
const long = 24;

t.test("a wide DAG of quick commands: two at once at most, each once", async (t) => {
  await using box = await Box.create();
  const marks = box.path("marks");
  await writeFile(marks, "");
  const text = `dag: wide
env: { MARKS: "${marks}" }
tasks:
  quick: { map: [${Array.from({ length: wide }, (_, i) => i)}], shell: 'echo + {{ index }} >> "$MARKS"; echo out {{ index }}; echo - {{ index }} >> "$MARKS"' }
  slow: { map: [1, 2, 3], shell: 'echo + s{{ item }} >> "$MARKS"; sleep 0.05; echo - s{{ item }} >> "$MARKS"' }
  last: { needs: [quick, slow], shell: 'echo "+ last" >> "$MARKS"' }
`;
  const { code, summary, stderr } = await runJson(box, text, { args: ["--slots", "2"] });
  t.equal(code, exitCodes.ok, stderr);
  let atOnce = 0;
  const begun: string[] = [];
  for (const line of (await readFile(marks, "utf8")).trimEnd().split("\n")) {
    const [sign, name = ""] = line.split(" ");
    atOnce += sign === "+" ? 1 : -1;
    if (sign === "+") begun.push(name);
    t.ok(atOnce <= 2, `${line}: ${atOnce} at once`);
  }
  t.equal(begun.length, wide + 4);
  t.equal(new Set(begun).size, wide + 4, "none twice");
  t.equal(begun.at(-1), "last");
  t.equal(summary.summary.attempts, wide + 4);
  const said = (await nodeLog(box.state, summary.run)).filter(({ stream }) => stream === "stdout");
  t.same(
    said.map(({ task, text }) => `${task} ${text}`).sort(),
    Array.from({ length: wide }, (_, i) => `quick[${i}] out ${i}`).sort(),
  );
});

t.test("a chain of quick commands: results, needs and order", async (t) => {
  await using box = await Box.create();
  const marks = box.path("marks");
  const task = (i: number) => {
    const needs = i === 0 ? "" : `needs: [c${i - 1}], `;
    if (i === 12)
      return `{ ${needs}shell: 'echo 12 >> "$MARKS"; echo "{\\"n\\": 7}" > "$EDGEDAG_RESULT"' }`;
    if (i === 13)
      return `{ ${needs}shell: 'echo {{ needs.c12.result.n }} "$EDGEDAG_INPUTS" >> "$MARKS"' }`;
    return `{ ${needs}shell: 'echo ${i} "$EDGEDAG_INPUTS" >> "$MARKS"' }`;
  };
  const tasks = Array.from({ length: long }, (_, i) => `  c${i}: ${task(i)}`).join("\n");
  const text = `dag: chain\nenv: { MARKS: "${marks}" }\ntasks:\n${tasks}\n`;
  const { code, stderr } = await runJson(box, text);
  t.equal(code, exitCodes.ok, stderr);
  const lines = (await readFile(marks, "utf8")).trimEnd().split("\n");
  t.equal(lines.length, long);
  const inputs = (needs: object) => JSON.stringify({ params: {}, needs });
  const expected = Array.from({ length: long }, (_, i) => {
    if (i === 0) return `0 ${inputs({})}`;
    if (i === 12) return "12";
    const need = i === 13 ? { outcome: "succeeded", result: { n: 7 } } : { outcome: "succeeded" };
    return `${i === 13 ? 7 : i} ${inputs({ [`c${i - 1}`]: need })}`;
  });
  t.same(lines, expected);
});

for (const [name, script, failure] of [
  ["a code", "exit 3", { reason: "exit-code", code: 3 }],
  ["a result that is none", 'echo "no JSON" > "$EDGEDAG_RESULT"', { reason: "bad-result" }],
] as const) {
  t.test(`behind ${name} nothing begins; what is tried again is tried again`, async (t) => {
    await using box = await Box.create();
    const marks = box.path("marks");
    const task = (i: number) => {
      const needs = i === 0 ? "" : `needs: [c${i - 1}], `;
      const end = i === 16 ? `; ${script}` : i === 8 ? '; [ "$EDGEDAG_ATTEMPT" = 3 ]' : "";
      const retries = i === 8 ? ", retries: { limit: 2, backoff: 10ms }" : "";
      return `{ ${needs}shell: 'echo ${i} >> "$MARKS"${end}'${retries} }`;
    };
    const tasks = Array.from({ length: long }, (_, i) => `  c${i}: ${task(i)}`).join("\n");
    const text = `dag: fails\nenv: { MARKS: "${marks}" }\ntasks:\n${tasks}\n`;
    const { code, summary } = await runJson(box, text);
    t.equal(code, exitCodes.runFailed);
    t.match(summary.tasks.c16?.outcome, { kind: "failed", failure });
    t.match(summary.tasks.c8, { outcome: { kind: "succeeded" }, attempts: 3 });
    for (let i = 17; i < long; i += 1) {
      t.match(summary.tasks[`c${i}`]?.outcome, { kind: "skipped" });
    }
    const order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    t.equal(await readFile(marks, "utf8"), `${order.join("\n")}\n`);
  });
}
