// Every example runs through the real command on real data and gives what expected.py worked out.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Json } from "../../protocol/json.ts";
import { edgedag, root, run } from "./command.ts";
import { differences } from "./matches.ts";

interface Expected {
  outcome: string;
  tasks: {
    [id: string]: { outcome: string; reason?: string; attempts?: number; result?: Json };
  };
  /** Fan-out tasks and how many items they have. */
  fanOut?: { [id: string]: number };
  artifacts: string[];
}

/** What `edgedag run --json` prints. */
interface Summary {
  outcome: { kind: string };
  tasks: {
    [id: string]: {
      outcome: { kind: string; failure?: { reason: string } };
      attempts: number;
      result?: Json;
    };
  };
  artifacts: { task: string; name: string; path: string; sizeBytes: number }[];
}

const lessons: { lesson: string; document: string; code: number; slots?: string }[] = [
  { lesson: "weather", document: "dag.yaml", code: 0 },
  { lesson: "flights", document: "dag.yaml", code: 0 },
  { lesson: "flaky", document: "dag.yaml", code: 0 },
  { lesson: "flaky", document: "broken.yaml", code: 1 },
  { lesson: "market", document: "dag.yaml", code: 0, slots: "5" },
  { lesson: "bulk", document: "dag.yaml", code: 0 },
];

const fetched = await run(`${root}/scripts/fetch-example-data`, []);
t.equal(fetched.code, 0, `the tables are there ${fetched.stderr}`);

t.test("the expected results are what the tables give", async (t) => {
  const made = await mkdtemp(join(tmpdir(), "edgedag-"));
  t.teardown(() => rm(made, { recursive: true, force: true }));
  const worked = await run("python3", [`${root}/dag-examples/expected.py`, made]);
  t.equal(worked.code, 0, worked.stderr);
  for (const lesson of new Set(lessons.map((entry) => entry.lesson))) {
    const read = async (folder: string) =>
      JSON.parse(await readFile(`${folder}/${lesson}/expected.json`, "utf8"));
    t.same(await read(`${root}/dag-examples`), await read(made), lesson);
  }
});

for (const { lesson, document, code, slots } of lessons) {
  t.test(`${lesson}/${document} gives the expected results`, async (t) => {
    const folder = `${root}/dag-examples/${lesson}`;
    const expected = JSON.parse(await readFile(`${folder}/expected.json`, "utf8"))[
      document
    ] as Expected;
    const state = await mkdtemp(join(tmpdir(), "edgedag-"));
    t.teardown(() => rm(state, { recursive: true, force: true }));

    const args = ["run", `${folder}/${document}`, "--state", state, "--json"];
    if (slots !== undefined) args.push("--slots", slots);
    const ended = await run(edgedag, args);
    t.equal(ended.code, code, `exit code; stderr: ${ended.stderr.slice(-2000)}`);
    const summary = JSON.parse(ended.stdout) as Summary;

    t.equal(summary.outcome.kind, expected.outcome, "outcome of the run");
    for (const [id, task] of Object.entries(expected.tasks)) {
      const actual = summary.tasks[id];
      if (actual === undefined) {
        t.fail(`${id} is missing from the summary`);
        continue;
      }
      t.equal(actual.outcome.kind, task.outcome, `outcome of ${id}`);
      if (task.reason) t.equal(actual.outcome.failure?.reason, task.reason, `reason of ${id}`);
      if (task.attempts) t.equal(actual.attempts, task.attempts, `attempts of ${id}`);
      if (task.result !== undefined) {
        t.same(differences(actual.result, task.result), [], `result of ${id}`);
      }
    }
    for (const [id, items] of Object.entries(expected.fanOut ?? {})) {
      const result = summary.tasks[id]?.result;
      t.equal(Array.isArray(result) && result.length, items, `items of ${id}`);
    }

    t.same(summary.artifacts.map((artifact) => artifact.name).sort(), expected.artifacts);
    for (const { name, path, sizeBytes } of summary.artifacts) {
      const content = await readFile(path);
      t.equal(content.length, sizeBytes, `size of ${name}`);
      checkContent(t, name, content.toString("utf8"));
    }
  });
}

/** Each kind of file is whole: it ends as it must. */
function checkContent(t: Test, name: string, content: string): void {
  if (name.endsWith(".svg")) t.match(content, /^<svg [\s\S]*<\/svg>\n$/, `${name} is a drawing`);
  else if (name.endsWith("json")) t.ok(JSON.parse(content), `${name} is JSON`);
  else t.match(content, /\n$/, `${name} ends with a line`);
}
