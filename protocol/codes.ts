// Every code of a diagnostic about a DAG document or an artifact, with one sentence each.
// docs/dag.md prints this list, and a test fails when a code is not documented or never produced.

export const dagCodes = {
  E_DAG_SYNTAX: "The text is neither well-formed JSON nor well-formed YAML.",
  E_DAG_VERSION: "The document was written for a version of the format that is not known here.",
  E_DAG_FIELD: "A field or name is not known here, or must not be used.",
  E_DAG_TYPE: "A value has the wrong type.",
  E_DAG_REQUIRED: "A field that is needed is missing or empty.",
  E_DAG_ID:
    "A task id, the name of the DAG or the name of a pool has characters that are not allowed.",
  E_DAG_DUPLICATE:
    "A key, a task id, an edge, an input file, a secret or the target of a mount is there twice.",
  E_DAG_UNKNOWN_TASK: "A task that is needed does not exist.",
  E_DAG_SELF_LOOP: "A task needs itself.",
  E_DAG_CYCLE: "Tasks wait for each other in a circle.",
  E_DAG_DURATION: "A duration cannot be read.",
  E_DAG_SIZE: "A size cannot be read.",
  E_DAG_RANGE: "A number is too small or too large.",
  E_DAG_TEMPLATE: "A `{{ }}` template is malformed, or reads what is not known in its place.",
  E_DAG_POOL: "A pool is not declared in `pools`.",
  E_DAG_FILE:
    "A file is missing, unreadable, or outside of the document's folder, or a path must not be used.",
  E_DAG_ISOLATION:
    "An isolation level does not exist, does not hold a field of the task, or is not held by the agent.",
  E_DAG_POLICY: "The agent's policy does not allow what a task asks for.",
  E_DAG_LANGUAGE: "The agent does not know a language, or its host does not have it.",
  E_SECRET_MISSING: "The node does not have a secret that a task names.",
  E_SECRET_VALUE:
    "A secret of the node cannot be used: it cannot be read, is too short or too long, or is no text.",
  E_DAG_RUN: "A task does not say what to run, or says it in two ways.",
  E_DAG_EXIT: "Ordinary tasks and exit handlers need each other.",
  E_DAG_LIMIT: "The document is larger, deeper or more repetitive than is accepted.",
  E_DAG_ARTIFACT: "The file is not an artifact, or its content is not what its digests say.",
} as const;

export type DagCode = keyof typeof dagCodes;

export function isDagCode(value: unknown): value is DagCode {
  return typeof value === "string" && Object.hasOwn(dagCodes, value);
}
