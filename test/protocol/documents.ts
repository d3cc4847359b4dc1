// Random documents for property tests.
import fc from "fast-check";

const duration = fc.constantFrom("250ms", "10s", "1m30s", "2h", "1d", 5, 0.5);
const size = fc.constantFrom("64Ki", "256Mi", "1Gi", "10k", "5M", "12B", 4096);
const text = fc.string({ unit: "grapheme", maxLength: 12 }).map((s) => s.replace(/\{\{|\0/g, "x"));
const json = fc
  .jsonValue({ maxDepth: 2 })
  .map((v): unknown => JSON.parse(clean(JSON.stringify(v))));

function clean(value: string): string {
  return value.replaceAll("{{", "xx").replaceAll("__proto__", "proto");
}

const run = fc.oneof(
  fc.record({
    command: fc.array(fc.oneof(text, fc.integer(), fc.boolean()), { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ shell: fc.constantFrom("true", "echo {{ task.id }}", "cat <<E\nx\nE\n") }),
  fc.record({ python: fc.constantFrom("a.py:f", "lib/b.py:g") }),
  fc.record({ node: fc.record({ code: text }) }),
  fc.record({ node: fc.record({ file: fc.constant("c.ts"), function: fc.constant("h") }) }),
  fc.record({ code: fc.record({ language: fc.constantFrom("c", "c++"), code: text }) }),
  fc.record({
    code: fc.record({
      language: fc.constant("go"),
      file: fc.constant("src/main.go"),
      args: fc.array(fc.oneof(text, fc.integer(), fc.constant("{{ task.id }}")), { maxLength: 2 }),
    }),
  }),
);

const options = fc.record(
  {
    args: fc.dictionary(fc.constantFrom("x", "y"), json),
    env: fc.dictionary(fc.constantFrom("A", "B_1"), fc.oneof(text, fc.integer())),
    outputs: fc.array(fc.constantFrom("*.csv", "out/a"), { maxLength: 2 }),
    when: fc.oneof(fc.boolean(), fc.constant("{{ env.X }}"), fc.constant(["{{ run.id }}", true])),
    map: fc.oneof(fc.array(json, { maxLength: 2 }), fc.constant("{{ env.LIST }}")),
    map_concurrency: fc.integer({ min: 1, max: 5 }),
    wait_for: fc.oneof(
      fc.constant("go"),
      fc.record({ event: fc.constant("go"), timeout: duration }),
    ),
    timeout: duration,
    grace: duration,
    retries: fc.oneof(
      fc.integer({ min: 0, max: 9 }),
      fc.record(
        {
          limit: fc.integer({ min: 0, max: 9 }),
          backoff: duration,
          max_backoff: duration,
          factor: fc.constantFrom(1, 1.5),
          jitter: fc.constantFrom(0, 0.5),
          on: fc.constant(["timeout", "task"]),
        },
        { requiredKeys: [] },
      ),
    ),
    priority: fc.integer({ min: -5, max: 5 }),
    pool: fc.constant("disk"),
    resources: fc.record({ cpu: fc.constantFrom(0.5, 2), memory: size }, { requiredKeys: [] }),
    limits: fc.record(
      {
        memory: size,
        cpu_time: duration,
        output: size,
        open_files: fc.constant(64),
        file_size: size,
        artifacts: fc.constant(9),
        artifact_size: size,
      },
      { requiredKeys: [] },
    ),
    isolation: fc.constantFrom("none", "subprocess", "seccomp"),
    allow_failure: fc.boolean(),
    description: text,
  },
  { requiredKeys: [] },
);

/** Fields that need a level above `none`, with one. */
const isolated = fc.oneof(
  fc.constant({}),
  fc.record(
    {
      isolation: fc.constantFrom("seccomp", "docker", "gvisor"),
      stdin: fc.constantFrom("x", "{{ task.id }}", "a\0b"),
      inputs: fc.dictionary(fc.constantFrom("a.txt", "in/b.csv"), text),
      limits: fc.record(
        { cpus: fc.constantFrom(0.5, 2), pids: fc.constant(50), disk: size },
        { requiredKeys: [] },
      ),
      sandbox: fc.record(
        {
          network: fc.boolean(),
          mounts: fc.constantFrom(
            [{ source: "/data", target: "/data" }],
            [{ source: "/a", target: "/mnt/a", writable: true }],
          ),
          syscalls: fc.constant(["personality"]),
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: ["isolation"] },
  ),
);

const secrets = fc.oneof(
  fc.constantFrom([], ["S_A"], ["S_A", "S_B"]),
  fc.dictionary(
    fc.constantFrom("S_A", "S_B"),
    fc.constantFrom("db-password", "tls.key", {}, { secret: "x" }, { file: true }, { file: false }),
  ),
);

/** Valid documents in the authoring form: needs lead only to earlier tasks. */
export const authoring = fc
  .record({
    tasks: fc.array(
      fc.tuple(run, options, fc.array(fc.nat(), { maxLength: 3 }), isolated, secrets),
      {
        minLength: 1,
        maxLength: 8,
      },
    ),
    exits: fc.array(fc.tuple(run, options), { maxLength: 2 }),
    defaults: options,
    head: fc.record(
      {
        description: text,
        concurrency: fc.integer({ min: 1, max: 9 }),
        timeout: duration,
        files: fc.constant(["*.py"]),
      },
      { requiredKeys: [] },
    ),
  })
  .map(({ tasks, exits, defaults, head }) => ({
    dag: "random",
    pools: { disk: 2 },
    ...head,
    defaults,
    tasks: Object.fromEntries(
      tasks.map(([run, options, needs, above, secrets], i) => {
        const sources = i === 0 ? [] : [...new Set(needs.map((n) => n % i))];
        const list = sources.map((n) => (n % 2 === 0 ? `t${n}` : { task: `t${n}`, on: "any" }));
        const own = { ...run, ...options, ...above, secrets };
        return [`t${i}`, { ...own, ...(list.length > 0 ? { needs: list } : {}) }];
      }),
    ),
    ...(exits.length === 0
      ? {}
      : {
          exit: Object.fromEntries(
            exits.map(([r, o], i) => [`e${i}`, { ...r, ...o, on: "failure" }]),
          ),
        }),
  }));

export const strange: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(
    null,
    "",
    "x",
    "{{",
    "{{ item }}",
    -1,
    0,
    1.5,
    1e12,
    true,
    "10",
    "10s",
    [],
    {},
    [5],
    {
      a: 1,
    },
  ),
  fc.constantFrom(
    undefined,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    10n,
    new Date(0),
    new Map(),
    "\0",
    "../x",
  ),
);

/** The value with one place in it replaced, removed or added, chosen by `choices`. */
export function mutate(value: unknown, choices: readonly number[], replacement: unknown): unknown {
  const [choice = 0, ...rest] = choices;
  if (value === null || typeof value !== "object" || choices.length === 0) return replacement;
  if (Array.isArray(value)) {
    const at = choice % (value.length + 1);
    return value.toSpliced(at, 1, mutate(value[at], rest, replacement));
  }
  const entries = Object.entries(value);
  const [key, member] = entries[choice % (entries.length + 1)] ?? [
    "__proto__x".slice(0, 9 + (choice % 2)),
    {},
  ];
  const copy: { [key: string]: unknown } = { ...value };
  Object.defineProperty(copy, key, {
    value: mutate(member, rest, replacement),
    enumerable: true,
    configurable: true,
    writable: true,
  });
  return copy;
}
