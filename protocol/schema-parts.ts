// The zod schemas that the authoring form and the serialized form share. zod is heavy to load:
// only `explain.ts` and `json-schema.ts` import these, and those only dynamically.
// A check of our own carries its diagnostic code and remedy in `params`.
import { z } from "zod";
import type { DagCode } from "./codes.ts";
import { languagePattern, secretPattern, syscallPattern, taskIdPattern } from "./dag.ts";
import { functionPattern } from "./function-ref.ts";
import { mountPathProblem, mountTargetProblem } from "./mount-path.ts";
import { type FailureReason, type Fault, faultOf, sandboxLevels } from "./outcome.ts";
import { ranges } from "./ranges.ts";
import { artifactPathProblem, pathProblem } from "./safe-path.ts";

export const conditions = ["success", "failure", "any"] as const;
export const condition = z.enum(conditions).meta({
  description: "Which end of the task that is needed lets this one start.",
  examples: ["failure"],
});

const reasons = Object.keys(faultOf) as FailureReason[];
const faults = [...new Set<Fault>(Object.values(faultOf))];
export const retryOn = z.array(z.enum([...faults, ...reasons])).meta({
  description: "Only these faults or reasons are retried.",
  examples: [["limit", "signal"]],
});

/** A refinement whose failure has a code of ours. `abort`: later checks are then not run. */
export function own(code: DagCode, message: string, remedy: string) {
  return { error: message, params: { code, remedy }, abort: true };
}

export function numberIn(name: keyof typeof ranges) {
  const [least, most, isInteger] = ranges[name];
  const number = isInteger ? z.int() : z.number();
  return number.min(least).max(most);
}

export const plainText = z
  .string()
  .refine((text) => !text.includes("\0"), own("E_DAG_TYPE", "holds a NUL character", "Remove it."));

export const someText = plainText.refine(
  (text) => text !== "",
  own("E_DAG_REQUIRED", "is empty", "Write something, or leave the field out."),
);

export const id = z
  .string()
  .refine(
    (text) => taskIdPattern.test(text) && text.length <= 200,
    own(
      "E_DAG_ID",
      "may hold only letters, digits, `.`, `_` and `-`, begins with a letter or digit, and has at most 200 characters",
      "Rename it, for example to `fetch-data`.",
    ),
  )
  .meta({ pattern: taskIdPattern.source, maxLength: 200 });

export const path = plainText.refine(
  (text) => pathProblem(text) === undefined,
  own(
    "E_DAG_FILE",
    "is no path inside of the document's folder",
    "Write a path relative to the document, with `/`, without `..`.",
  ),
);

export const stdin = z.string().meta({
  description: "What the program reads from its standard input.",
  examples: ["{{ needs.list.result | json }}"],
});
export const sandboxAbout = "What the sandbox opens; for the levels from seccomp on.";
export const inputPath = z
  .string()
  .refine(
    (text) => artifactPathProblem(text) === undefined,
    own(
      "E_DAG_FILE",
      "is no path inside of the working folder",
      "Write a relative path with `/`, without `.`, `..` and empty segments.",
    ),
  );
export const inputs = z.record(inputPath, z.string()).meta({
  description: "Files that the task finds in its working folder: path and content.",
  examples: [{ "in/list.txt": "{{ needs.list.result }}" }],
});
export const language = z
  .string()
  .refine(
    (text) => languagePattern.test(text),
    own("E_DAG_RUN", "is no name of a language", "Write for example `c`, `go` or `python`."),
  )
  .meta({ pattern: languagePattern.source });

const absolute = "Write an absolute path without `.`, `..` and empty segments.";
/** The reason is told by the check that found it, so one refinement serves all of them. */
function mountText(problem: (text: string) => string | undefined, remedy: string) {
  return z.string().superRefine((text, context) => {
    const message = problem(text);
    if (message === undefined) return;
    const params = { code: "E_DAG_FILE" satisfies DagCode, remedy };
    context.addIssue({ code: "custom", message, params });
  });
}
export const mountSource = mountText(mountPathProblem, absolute);
export const mountTarget = mountText(mountTargetProblem, `${absolute} \`/mnt/data\` is free.`);
export const syscalls = z
  .array(
    z
      .string()
      .refine(
        (text) => syscallPattern.test(text),
        own("E_DAG_FIELD", "is no name of a system call", "Write its name in small letters."),
      )
      .meta({ pattern: syscallPattern.source }),
  )
  .meta({
    description: "System calls that are allowed in addition.",
    examples: [["personality"]],
  });

export const outputs = z.array(path).meta({
  description: "Artifact patterns, relative to the run's working folder.",
  examples: [["out/*.csv"]],
});
export const files = z.array(path).meta({
  description: "Further files that tasks need: glob patterns relative to the document.",
  examples: [["data/*.csv", "lib/**"]],
});
export const isolation = z.enum(sandboxLevels).meta({
  description: "How tightly the task is held.",
  examples: ["seccomp"],
});
export const functionName = z
  .string()
  .refine(
    (text) => functionPattern.test(text),
    own("E_DAG_RUN", "is no name of a function", "Write the function's name, for example `main`."),
  )
  .meta({ pattern: functionPattern.source });

/** Names of environment variables. */
export const variable = z
  .string()
  .refine(
    (text) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text),
    own("E_DAG_FIELD", "is no name of a variable", "Use letters, digits and `_`."),
  );
export const secretName = z
  .string()
  .refine(
    (text) => secretPattern.test(text),
    own(
      "E_DAG_FIELD",
      "is no name of a secret",
      "Use letters, digits, `.`, `_` and `-`, at most 128, and no `.` or `-` first.",
    ),
  )
  .meta({ pattern: secretPattern.source });
export const secretsAbout =
  "Secrets of the node that the task is given: variables that hold them, or the path of a file.";
export const description = z
  .string()
  .meta({ description: "For people.", examples: ["Daily table"] });
export const json = z.unknown();
export const args = z.record(z.string(), json).meta({
  description: "Arguments of a function; strings may hold templates.",
  examples: [{ month: "{{ item }}" }],
});
export const params = z.record(z.string(), json).meta({
  description: "Values that a run may be given, with their defaults.",
  examples: [{ city: "Oslo" }],
});
export const pools = z.record(id, numberIn("pool")).meta({
  description: "Names of pools and how many tasks may hold each at once.",
  examples: [{ disk: 2 }],
});
export const concurrency = numberIn("concurrency").meta({
  description: "Most tasks of this DAG that run at once; without it: what the agent allows.",
  examples: [4],
});
export const mapConcurrency = numberIn("concurrency").meta({
  description: "Most items of the fan-out that run at once.",
  examples: [4],
});
export const priority = numberIn("priority").meta({
  description: "Of tasks that are ready, those with the highest number start first.",
  examples: [10],
});
export const allowFailure = z.boolean().meta({
  description: "A failure of this task does not fail the run.",
  examples: [true],
});
export const pool = id.meta({ description: "The pool that the task holds.", examples: ["disk"] });
