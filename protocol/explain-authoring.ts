// Explains an authoring document that is not surely valid, and repairs it so far that the later
// checks (edges, templates, pools) can run too: all findings at once.

import { AuthoringPlaces, type Collected, collect } from "./authoring.ts";
import { isDagAttributes, isId, isMapping, type Mapping, makeDocument } from "./check-graph.ts";
import { type DagAttributes, dagVersion } from "./dag.ts";
import type { Draft } from "./draft.ts";
import { explain } from "./explain.ts";
import { knownNames, placeholderTask } from "./explain-graph.ts";
import { type Findings, type PathSegment, pathText } from "./findings.ts";
import {
  type Need,
  readHead,
  readNeeds,
  readTask,
  runKinds,
  type Shared,
  type TaskReading,
} from "./read-authoring.ts";
import { authoringDefaults, authoringExit, authoringHead, authoringTask } from "./schema.ts";

/** `value` must be sanitized. */
export function explainAuthoring(value: Mapping, findings: Findings): Draft {
  const head = explain(authoringHead, value, [], findings);
  const shared: Shared = {
    env: isMapping(value.env) && !head.bad.has("env") ? value.env : {},
    defaults: explainDefaults(value.defaults, findings),
  };
  const collected: Collected = { nodes: [], edges: [], origins: [] };
  explainTasks(value.tasks, "tasks");
  if (value.exit !== undefined) explainTasks(value.exit, "exit");

  const read = readHead(value);
  const isFine = isDagAttributes(read);
  if (!isFine && findings.isEmpty)
    throw new Error("the reader and the schema disagree on the head");
  const attributes: DagAttributes = isFine
    ? read
    : { edgedag: dagVersion, dag: "unknown", ...knownNames(value) };
  const document = makeDocument(attributes, collected.nodes, collected.edges);
  return { document, places: new AuthoringPlaces(value, collected.origins) };

  function explainTasks(tasks: unknown, section: "tasks" | "exit"): void {
    if (!isMapping(tasks)) {
      const remedy = 'Write `tasks: { hello: { command: ["echo", "hello"] } }`.';
      if (tasks === undefined) {
        findings.add("E_DAG_REQUIRED", section, "The document has no tasks.", remedy);
      } else findings.add("E_DAG_TYPE", section, `\`${section}\` must be a mapping.`, remedy);
      return;
    }
    for (const [id, raw] of Object.entries(tasks)) {
      if (!isId(id)) {
        findings.add(
          "E_DAG_ID",
          pathText([section, id]),
          `The task id ${JSON.stringify(id.slice(0, 80))} is not allowed: letters, digits, \`.\`, \`_\` and \`-\` only, a letter or digit first, at most 200 characters.`,
          "Rename the task, for example to `fetch-data`.",
        );
      }
      collect(collected, { section, id, raw }, explainTask(raw, section, id));
    }
  }

  function explainTask(raw: unknown, section: "tasks" | "exit", id: string): TaskReading {
    const exit = section === "exit" ? section : undefined;
    const reading = readTask(raw, shared, exit);
    if (reading !== undefined) return reading;
    const place = [section, id];
    const schema = section === "exit" ? authoringExit : authoringTask;
    const { bad } = explain(schema, raw, place, findings);
    if (!isMapping(raw)) return { attributes: placeholderTask, needs: [] };
    const badRuns = explainRun(raw, place, findings);
    if (bad.size === 0 && badRuns.size === 0) {
      throw new Error(`the reader and the schema disagree on ${pathText(place)}`);
    }
    const kept = Object.entries(raw).filter(([name]) => !bad.has(name) && !badRuns.has(name));
    const repaired = Object.fromEntries(kept);
    if (runKinds.every((kind) => repaired[kind] === undefined)) repaired.command = ["true"];
    // The tightest stands in for one that cannot be read: nothing is then refused because of it.
    if (bad.has("isolation")) repaired.isolation = "gvisor";
    const needs = goodNeeds(raw.needs);
    const again = readTask({ ...repaired, needs: undefined }, shared, exit);
    return { attributes: again?.attributes ?? placeholderTask, needs };
  }
}

/** Of a bad list of needs the entries that can be read, at their places. */
function goodNeeds(raw: unknown): Need[] {
  const needs = readNeeds(raw);
  if (needs !== undefined || !Array.isArray(raw)) return needs ?? [];
  return raw.map((entry) => readNeeds([entry])?.[0] ?? { task: "", on: "success" });
}

function explainDefaults(raw: unknown, findings: Findings): Mapping {
  if (raw === undefined) return {};
  const { bad } = explain(authoringDefaults, raw, ["defaults"], findings);
  if (!isMapping(raw)) return {};
  return Object.fromEntries(Object.entries(raw).filter(([name]) => !bad.has(name)));
}

/** Exactly one way to run, and of a function exactly one of file and code. Gives the bad fields. */
function explainRun(raw: Mapping, place: PathSegment[], findings: Findings): Set<string> {
  const kinds = runKinds.filter((kind) => raw[kind] !== undefined);
  const bad = new Set<string>();
  if (kinds.length !== 1) {
    for (const kind of kinds) bad.add(kind);
    bad.add("command");
    findings.add(
      "E_DAG_RUN",
      pathText(place),
      kinds.length === 0
        ? "The task does not say what to run."
        : `The task says what to run in ${kinds.length} ways: ${kinds.join(", ")}.`,
      'Give exactly one of `command: ["echo", "hello"]`, `shell: ...`, `python: file.py:function`, `node: file.ts:function` and `code: {language, file}`.',
    );
  }
  for (const kind of ["python", "node", "code"] as const) {
    const value = raw[kind];
    if (!isMapping(value) || (value.file === undefined) !== (value.code === undefined)) continue;
    bad.add(kind);
    findings.add(
      "E_DAG_RUN",
      pathText([...place, kind]),
      value.file === undefined ? "The task names no code." : "The task has both a file and code.",
      "Give either `file` or `code`.",
    );
  }
  return bad;
}
