// The compiled templates of one task, made once however many attempts and items it has.
import type { TaskAttributes } from "../protocol/dag.ts";
import type { Result } from "../protocol/diagnostic.ts";
import {
  asPath,
  type CompiledTemplate,
  compileShell,
  compileTemplate,
  references,
} from "../protocol/template.ts";
import { type CompiledValue, compileValue } from "../protocol/template-value.ts";
import { escapeRefs } from "./exec/workers/values.ts";
import { needsSandbox } from "./sandbox-plan.ts";

export interface TaskPlan {
  /** Of a command; of `code` the arguments. */
  argv?: CompiledTemplate[];
  script?: CompiledTemplate<"shell">;
  args?: CompiledValue;
  env: [string, CompiledTemplate][];
  stdin?: CompiledTemplate;
  /** Path to content. */
  inputs: [string, CompiledTemplate][];
  when: CompiledTemplate[];
  map?: CompiledTemplate;
  /**
   * Everything that it takes from other tasks can be passed as a reference, or it takes nothing, so
   * that the task can be handed to a worker or to the launcher before they have finished.
   */
  isDeferrable: boolean;
}

export function planTask(task: TaskAttributes): TaskPlan {
  return isBare(task) ? barePlan : makePlan(task);
}

/** Of functions that have no template at all: one for all of them. */
const barePlan: TaskPlan = { env: [], inputs: [], when: [], isDeferrable: true };

function isBare({ run, args, env, stdin, inputs, when, map }: TaskAttributes): boolean {
  if (run.kind !== "python" && run.kind !== "node") return false;
  return (args ?? env ?? stdin ?? inputs ?? when ?? map) === undefined;
}

function makePlan(task: TaskAttributes): TaskPlan {
  const { run } = task;
  const env = Object.entries(task.env ?? {}).map(([name, text]): [string, CompiledTemplate] => [
    name,
    compiled(compileTemplate(text)),
  ]);
  const raw = task.args === undefined ? undefined : compileValue(task.args);
  // Sandboxes are not handed references; what goes into them is escaped there.
  const args = raw === undefined || needsSandbox(task) ? raw : escaped(raw);
  const words = run.kind === "command" ? run.argv : run.kind === "code" ? run.args : undefined;
  const argv = words?.map((word) => compiled(compileTemplate(word)));
  const script = run.kind === "shell" ? compiled(compileShell(run.script)) : undefined;
  const stdin = task.stdin === undefined ? undefined : compiled(compileTemplate(task.stdin));
  const needsNothing = (template: CompiledTemplate<"shell" | "text"> | undefined) =>
    template === undefined || references(template).needs.size === 0;
  return {
    ...(argv === undefined ? {} : { argv }),
    ...(script === undefined ? {} : { script }),
    ...(args === undefined ? {} : { args }),
    env,
    ...(stdin === undefined ? {} : { stdin }),
    inputs: Object.entries(task.inputs ?? {}).map(([path, text]): [string, CompiledTemplate] => [
      path,
      compiled(compileTemplate(text)),
    ]),
    when: (task.when ?? []).map((t) => compiled(compileTemplate(t))),
    ...(typeof task.map === "string" ? { map: compiled(compileTemplate(task.map)) } : {}),
    isDeferrable:
      env.every(([, template]) => needsNothing(template)) &&
      (argv ?? []).every(needsNothing) &&
      needsNothing(script) &&
      needsNothing(stdin) &&
      (args === undefined || isReferable(args)),
  };
}

// What stands in the document is data too, and must not be taken for a reference by a worker.
function escaped(value: CompiledValue): CompiledValue {
  if (value.kind === "constant") return { kind: "constant", value: escapeRefs(value.value) };
  if (value.kind === "template") return value;
  if (value.kind === "list") return { kind: "list", entries: value.entries.map(escaped) };
  const entries = value.entries.map(([name, entry]): [string, CompiledValue] => [
    name,
    escaped(entry),
  ]);
  if (entries.length !== 1 || entries[0]?.[0] !== "$ref") return { kind: "mapping", entries };
  const literal: CompiledValue = { kind: "mapping", entries };
  return mappingOf("$ref", mappingOf("literal", literal));
}

function mappingOf(name: string, value: CompiledValue): CompiledValue {
  return { kind: "mapping", entries: [[name, value]] };
}

// Only whole results and paths into them can be references; everything else is evaluated here.
function isReferable(value: CompiledValue): boolean {
  if (value.kind === "constant") return true;
  if (value.kind === "template") {
    return asPath(value.template) !== undefined || references(value.template).needs.size === 0;
  }
  return value.kind === "list"
    ? value.entries.every(isReferable)
    : value.entries.every(([, entry]) => isReferable(entry));
}

// Documents are validated before they come here: a template that does not compile is our bug.
function compiled<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new Error(`a template passed validation: ${result.diagnostics[0]?.message}`);
}
