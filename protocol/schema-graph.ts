// zod schemas of the serialized form: graphology's export with our attributes (`dag.ts`).
// What programs may leave out is filled in here. Only loaded to explain or to complete input.
import { z } from "zod";
import { dagVersion } from "./dag.ts";
import { retryDefaults, taskDefaults } from "./defaults.ts";
import * as part from "./schema-parts.ts";
import { maxDurationMs, maxSizeBytes } from "./units.ts";

const durationMs = z.number().min(0).max(maxDurationMs);
const timeoutMs = z
  .number()
  .gt(0)
  .max(maxDurationMs)
  .meta({ examples: [60_000] });
const sizeBytes = z.int().min(1).max(maxSizeBytes);
const attempts = part.numberIn("attempts");

const run = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("command"), argv: z.array(part.plainText).min(1) }),
    z.strictObject({ kind: z.literal("shell"), script: part.someText }),
    z.strictObject({
      kind: z.enum(["python", "node"]),
      file: part.path.optional(),
      code: z.string().optional(),
      function: part.functionName,
    }),
    z.strictObject({
      kind: z.literal("code"),
      language: part.language,
      file: part.path.optional(),
      code: z.string().optional(),
      args: z.array(part.plainText).default(() => []),
    }),
  ])
  .meta({
    description: "What the task runs.",
    examples: [{ kind: "python", file: "tasks.py", function: "main" }],
  });

const retries = z
  .strictObject({
    limit: attempts.default(retryDefaults.limit),
    lost: attempts.default(retryDefaults.lost),
    backoffMs: durationMs.default(retryDefaults.backoffMs),
    factor: part.numberIn("factor").default(retryDefaults.factor),
    maxBackoffMs: durationMs.default(retryDefaults.maxBackoffMs),
    jitter: part.numberIn("jitter").default(retryDefaults.jitter),
    on: part.retryOn.optional(),
  })
  .meta({ examples: [{ limit: 2, backoffMs: 1000 }] });

export const graphTask = z.strictObject({
  run,
  args: part.args.optional(),
  env: z
    .record(part.variable, part.plainText)
    .meta({ examples: [{ TZ: "UTC" }] })
    .optional(),
  secrets: z
    .record(
      part.variable,
      z.strictObject({ secret: part.secretName, isFile: z.literal(true).optional() }),
    )
    .meta({ description: part.secretsAbout, examples: [{ PGPASSWORD: { secret: "db" } }] })
    .optional(),
  stdin: part.stdin.optional(),
  inputs: part.inputs.optional(),
  outputs: part.outputs.optional(),
  when: z
    .array(z.string())
    .meta({ examples: [["{{ params.full }}"]] })
    .optional(),
  map: z
    .union([z.string(), z.array(part.json)])
    .meta({ examples: ["{{ needs.list.result }}"] })
    .optional(),
  mapConcurrency: part.mapConcurrency.optional(),
  waitFor: z
    .strictObject({ event: part.someText, timeoutMs: timeoutMs.optional() })
    .meta({ examples: [{ event: "ready" }] })
    .optional(),
  timeoutMs: timeoutMs.optional(),
  graceMs: durationMs.meta({ examples: [5000] }).default(taskDefaults.graceMs),
  retries: retries.default(() => ({ ...retryDefaults })),
  priority: part.priority.default(taskDefaults.priority),
  pool: part.pool.optional(),
  resources: z
    .strictObject({
      cpu: part.numberIn("cpu").optional(),
      memoryBytes: sizeBytes.optional(),
      gpu: part.numberIn("gpu").optional(),
    })
    .meta({ examples: [{ cpu: 1 }] })
    .optional(),
  limits: z
    .strictObject({
      memoryBytes: sizeBytes.optional(),
      cpuMs: timeoutMs.optional(),
      outputBytes: sizeBytes.optional(),
      openFiles: part.numberIn("openFiles").optional(),
      fileSizeBytes: sizeBytes.optional(),
      cpus: part.numberIn("cpus").optional(),
      pids: part.numberIn("pids").optional(),
      diskBytes: sizeBytes.optional(),
      artifacts: part.numberIn("artifacts").optional(),
      artifactBytes: sizeBytes.optional(),
    })
    .meta({ examples: [{ memoryBytes: 268_435_456 }] })
    .optional(),
  isolation: part.isolation.default(taskDefaults.isolation),
  sandbox: z
    .strictObject({
      network: z.literal(true).optional(),
      mounts: z
        .array(
          z.strictObject({
            source: part.mountSource,
            target: part.mountTarget,
            isWritable: z.boolean().default(false),
          }),
        )
        .meta({ examples: [[{ source: "/data", target: "/data", isWritable: false }]] })
        .optional(),
      syscalls: part.syscalls.optional(),
    })
    .meta({ description: part.sandboxAbout, examples: [{ network: true }] })
    .optional(),
  allowFailure: part.allowFailure.optional(),
  exit: part.condition.meta({ description: "Makes the task an exit handler." }).optional(),
  description: part.description.optional(),
});

export const graphAttributes = z.strictObject({
  edgedag: z.literal(dagVersion).meta({ examples: [dagVersion] }),
  dag: part.id.meta({ description: "The name of the DAG.", examples: ["weather"] }),
  description: part.description.optional(),
  params: part.params.optional(),
  pools: part.pools.optional(),
  concurrency: part.concurrency.optional(),
  timeoutMs: timeoutMs.optional(),
  files: part.files.optional(),
});

export const graphNode = z.strictObject({ key: part.id, attributes: z.unknown() });

/** An edge key, as graphology writes it, is read and forgotten. */
export const graphEdge = z.strictObject({
  key: z.string().optional(),
  source: z.string(),
  target: z.string(),
  attributes: z
    .strictObject({ on: part.condition.default("success") })
    .default(() => ({ on: "success" as const })),
  undirected: z.literal(false).optional(),
});

export const graphOptions = z
  .strictObject({
    type: z.enum(["directed", "mixed"]).optional(),
    multi: z.boolean().optional(),
    allowSelfLoops: z.boolean().optional(),
  })
  .meta({ examples: [{ type: "directed", multi: false, allowSelfLoops: false }] });

export const graphHead = z.strictObject({
  options: graphOptions.optional(),
  attributes: graphAttributes,
  nodes: z.unknown(),
  edges: z.unknown(),
});

export const graphDocument = z.strictObject({
  options: graphOptions.optional(),
  attributes: graphAttributes,
  nodes: z.array(z.strictObject({ key: part.id, attributes: graphTask })).min(1),
  edges: z.array(graphEdge),
});
