// zod schemas of the authoring form, what people write in YAML or JSON. Names are in snake_case.
// Only loaded to explain bad input and to print the JSON Schema: good input is read without zod.
import { z } from "zod";
import { dagVersion } from "./dag.ts";
import { parseFunctionRef } from "./function-ref.ts";
import * as part from "./schema-parts.ts";
import {
  durationPattern,
  maxDurationMs,
  maxSizeBytes,
  parseDuration,
  parseSize,
  sizePattern,
} from "./units.ts";

const badDuration = part.own(
  "E_DAG_DURATION",
  "is no duration",
  "Write a number with its unit: 250ms, 10s, 1m30s, 2h or 1d.",
);
const badSize = part.own(
  "E_DAG_SIZE",
  "is no size",
  "Write a number with its unit: 64Ki, 256Mi, 1Gi (binary) or 10k, 5M, 1G (decimal).",
);

function duration(leastMs: 0 | 1) {
  const range = part.own(
    "E_DAG_RANGE",
    leastMs === 0 ? "is not from 0 to 3650d" : "is not more than 0 and at most 3650d",
    leastMs === 0 ? "Write a duration in this range." : "Leave it out for no limit.",
  );
  const isInRange = (value: string | number) => {
    const ms = parseDuration(value) ?? -1;
    return ms >= leastMs && ms <= maxDurationMs;
  };
  return z
    .union([
      z
        .string()
        .refine((text) => parseDuration(text) !== undefined, badDuration)
        .refine(isInRange, range)
        .meta({ pattern: durationPattern.source }),
      z.number().refine(isInRange, range).meta({ description: "Seconds." }),
    ])
    .meta({ examples: ["90s"] });
}

const isSizeInRange = (value: string | number) => {
  const bytes = parseSize(value) ?? -1;
  return bytes >= 1 && bytes <= maxSizeBytes;
};
const sizeRange = part.own("E_DAG_RANGE", "is not from 1 byte to 1024Ti", "Write another size.");
const size = z
  .union([
    z
      .string()
      .refine((text) => parseSize(text) !== undefined, badSize)
      .refine(isSizeInRange, sizeRange)
      .meta({ pattern: sizePattern.source }),
    z.number().refine(isSizeInRange, sizeRange).meta({ description: "Bytes." }),
  ])
  .meta({ examples: ["256Mi"] });

const scalar = z.union([part.plainText, z.number(), z.boolean()]);
const condition = z.union([z.string(), z.boolean()]);
const attempts = part.numberIn("attempts");

const functionRef = z
  .union([
    z
      .string()
      .refine(
        (text) => parseFunctionRef(text) !== undefined,
        part.own(
          "E_DAG_RUN",
          "does not name a file and a function",
          "Write `file.py:function`, with a path relative to the document.",
        ),
      ),
    z.strictObject({
      file: part.path.optional(),
      code: z.string().optional(),
      function: part.functionName.optional(),
    }),
  ])
  .meta({
    description: "A function in a file (`tasks.py:clean`), or code as text.",
    examples: ["tasks.py:clean"],
  });

const code = z
  .strictObject({
    language: part.language,
    file: part.path.optional(),
    code: z.string().optional(),
    args: z.array(scalar).optional(),
  })
  .meta({
    description: "A program in a language of the agent's registry, compiled where that is needed.",
    examples: [{ language: "c", file: "main.c", args: ["{{ item }}"] }],
  });

const secrets = z
  .union([
    z
      .array(
        z
          .string()
          .refine(
            (text) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text),
            part.own(
              "E_DAG_FIELD",
              "is no name of a variable",
              "Name the variable too: secrets: { DB_PASSWORD: db-password }.",
            ),
          ),
      )
      .refine(
        (names) => new Set(names).size === names.length,
        part.own("E_DAG_DUPLICATE", "names a secret twice", "Keep one of them."),
      ),
    z.record(
      part.variable,
      z.union([
        part.secretName,
        z.strictObject({ secret: part.secretName.optional(), file: z.boolean().optional() }),
      ]),
    ),
  ])
  .meta({ description: part.secretsAbout, examples: [["DB_PASSWORD"], { KEY: { file: true } }] });

const options = {
  args: part.args.optional(),
  env: z
    .record(part.variable, scalar)
    .meta({ examples: [{ TZ: "UTC" }] })
    .optional(),
  stdin: part.stdin.optional(),
  inputs: part.inputs.optional(),
  outputs: part.outputs.optional(),
  when: z
    .union([z.string(), z.boolean(), z.array(condition)])
    .meta({
      description: "All must be true, else the task is skipped.",
      examples: ["{{ params.full }}"],
    })
    .optional(),
  map: z
    .union([z.string(), z.array(part.json)])
    .meta({
      description: "Fan-out: one template that gives a list, or a list.",
      examples: ["{{ needs.list.result }}"],
    })
    .optional(),
  map_concurrency: part.mapConcurrency.optional(),
  wait_for: z
    .union([
      part.someText,
      z.strictObject({ event: part.someText, timeout: duration(1).optional() }),
    ])
    .meta({
      description: "An event that must have been published before the task starts.",
      examples: [{ event: "ready", timeout: "1m" }],
    })
    .optional(),
  timeout: duration(1).meta({ description: "Longest wall-clock time of an attempt." }).optional(),
  grace: duration(0)
    .meta({ description: "From TERM to KILL.", examples: ["5s"] })
    .optional(),
  retries: z
    .union([
      attempts,
      z.strictObject({
        limit: attempts.optional(),
        lost: attempts.optional(),
        backoff: duration(0).optional(),
        factor: part.numberIn("factor").optional(),
        max_backoff: duration(0).optional(),
        jitter: part.numberIn("jitter").optional(),
        on: part.retryOn.optional(),
      }),
    ])
    .meta({ description: "Further attempts.", examples: [{ limit: 2, backoff: "1s" }] })
    .optional(),
  priority: part.priority.optional(),
  pool: part.pool.optional(),
  resources: z
    .strictObject({
      cpu: part.numberIn("cpu").optional(),
      memory: size.optional(),
      gpu: part.numberIn("gpu").optional(),
    })
    .meta({ description: "Must be free before the task starts.", examples: [{ cpu: 1 }] })
    .optional(),
  limits: z
    .strictObject({
      memory: size.optional(),
      cpu_time: duration(1).optional(),
      output: size.optional(),
      open_files: part.numberIn("openFiles").optional(),
      file_size: size.optional(),
      cpus: part.numberIn("cpus").optional(),
      pids: part.numberIn("pids").optional(),
      disk: size.optional(),
      artifacts: part.numberIn("artifacts").optional(),
      artifact_size: size.optional(),
    })
    .meta({ description: "Beyond them the attempt is ended.", examples: [{ memory: "256Mi" }] })
    .optional(),
  isolation: part.isolation.optional(),
  sandbox: z
    .strictObject({
      network: z.boolean().optional(),
      mounts: z
        .array(
          z.strictObject({
            source: part.mountSource,
            target: part.mountTarget,
            writable: z.boolean().optional(),
          }),
        )
        .meta({ examples: [[{ source: "/data", target: "/data" }]] })
        .optional(),
      syscalls: part.syscalls.optional(),
    })
    .meta({ description: part.sandboxAbout, examples: [{ network: true }] })
    .optional(),
  allow_failure: part.allowFailure.optional(),
  description: part.description.optional(),
};

const need = z.union([
  z.string(),
  z.strictObject({ task: z.string(), on: part.condition.optional() }),
]);

const taskFields = {
  command: z
    .array(scalar)
    .min(1)
    .meta({
      description: "A program and its arguments.",
      examples: [["curl", "-sf", "{{ env.URL }}"]],
    })
    .optional(),
  shell: part.someText
    .meta({ description: "A script for /bin/sh.", examples: ["sort -u in.txt > out.txt"] })
    .optional(),
  python: functionRef.optional(),
  node: functionRef.meta({ examples: ["chart.ts:render"] }).optional(),
  code: code.optional(),
  needs: z
    .union([z.string(), z.array(need)])
    .meta({
      description: "Tasks that must have ended before this one starts.",
      examples: [["fetch", { task: "clean", on: "any" }]],
    })
    .optional(),
  secrets: secrets.optional(),
  ...options,
};

const oneRun = {
  oneOf: ["command", "shell", "python", "node", "code"].map((kind) => ({ required: [kind] })),
};
export const authoringDefaults = z.strictObject(options).meta({
  description: "What tasks have when they do not say otherwise.",
  examples: [{ timeout: "60s" }],
});
export const authoringTask = z.strictObject(taskFields).meta(oneRun);
export const authoringExit = z
  .strictObject({
    ...taskFields,
    on: part.condition.meta({ description: "How the run must have ended." }).optional(),
  })
  .meta(oneRun);

const head = {
  edgedag: z
    .literal(dagVersion)
    .meta({ examples: [dagVersion] })
    .optional(),
  dag: part.id.meta({ description: "The name of the DAG.", examples: ["weather"] }),
  description: part.description.optional(),
  params: part.params.optional(),
  pools: part.pools.optional(),
  concurrency: part.concurrency.optional(),
  timeout: duration(1).meta({ description: "Longest time of a run." }).optional(),
  files: part.files.optional(),
  env: z
    .record(part.variable, scalar)
    .meta({ description: "Environment of all tasks.", examples: [{ TZ: "UTC" }] })
    .optional(),
};
/** Everything but the tasks: those are explained one by one. */
export const authoringHead = z.strictObject({
  ...head,
  defaults: z.unknown().optional(),
  tasks: z.unknown().optional(),
  exit: z.unknown().optional(),
});
export const authoringDocument = z.strictObject({
  ...head,
  defaults: authoringDefaults.optional(),
  tasks: z.record(part.id, authoringTask).meta({
    description: "The tasks by id.",
    examples: [{ hello: { command: ["echo", "hello"] } }],
  }),
  exit: z
    .record(part.id, authoringExit)
    .meta({
      description: "Exit handlers by id: they start when all tasks have finished.",
      examples: [{ report: { shell: "notify.sh", on: "failure" } }],
    })
    .optional(),
});
