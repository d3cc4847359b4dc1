// Documents with what is wrong in them: the table behind several tests.

export interface BadDocument {
  name: string;
  text: string;
  /** `code path` of every finding, in order. */
  findings: string[];
}

const retries = { limit: 0, lost: 3, backoffMs: 1, factor: 2, maxBackoffMs: 1, jitter: 0 };
const run = { kind: "shell", script: "x" };
const rest = { graceMs: 0, retries, priority: 0, isolation: "none" };
const graph = (nodes: object[], edges: object[] = [], attributes: object = {}) =>
  JSON.stringify({ attributes: { edgedag: 1, dag: "d", ...attributes }, nodes, edges });
const node = (key: string, attributes: object = {}) => ({
  key,
  attributes: { run, ...rest, ...attributes },
});
const edge = (source: string, target: string) => ({ source, target, attributes: { on: "any" } });
const task = (fields: string, head = "dag: d") => `${head}\ntasks: { a: { ${fields} } }`;

/** Where a task works in a box: nothing else may be put there. */
const taskFolder = "/work";

export const badDocuments: BadDocument[] = [
  { name: "YAML that is broken", text: "a: [", findings: ["E_DAG_SYNTAX "] },
  { name: "JSON that is broken", text: '{"dag": "d",', findings: ["E_DAG_SYNTAX "] },
  { name: "two documents", text: "dag: d\n---\ndag: e", findings: ["E_DAG_SYNTAX "] },
  { name: "an alias without anchor", text: "dag: *d", findings: ["E_DAG_SYNTAX "] },
  {
    name: "an alias within its own anchor",
    text: "dag: d\ntasks: { a: &a { one: *a, two: *a } }",
    findings: ["E_DAG_SYNTAX "],
  },
  { name: "nothing", text: "", findings: ["E_DAG_TYPE "] },
  { name: "a list", text: "[1]", findings: ["E_DAG_TYPE "] },
  {
    name: "an alias bomb",
    text: `a: &a [x,x,x,x,x,x,x,x,x]\n${[..."bcdefgh"]
      .map((c, i) => `${c}: &${c} [${Array(9).fill(`*${"abcdefgh"[i]}`)}]`)
      .join("\n")}`,
    findings: ["E_DAG_LIMIT "],
  },
  {
    name: "nesting without end",
    text: `{"dag":"d","params":{"a":${"[".repeat(100)}${"]".repeat(100)}},"tasks":{"a":{"shell":"x"}}}`,
    findings: [`E_DAG_LIMIT params.a${"[0]".repeat(6)}`],
  },
  {
    name: "another version",
    text: task("shell: x", "dag: d\nedgedag: 7"),
    findings: ["E_DAG_VERSION edgedag"],
  },
  { name: "no name", text: "tasks: { a: { shell: x } }", findings: ["E_DAG_REQUIRED dag"] },
  { name: "no tasks", text: "dag: d", findings: ["E_DAG_REQUIRED tasks"] },
  { name: "empty tasks", text: "dag: d\ntasks: {}", findings: ["E_DAG_REQUIRED tasks"] },
  {
    name: "an unknown field",
    text: task("shell: x, timeot: 1s"),
    findings: ["E_DAG_FIELD tasks.a.timeot"],
  },
  {
    name: "an unknown field of the head",
    text: task("shell: x", "dag: d\nparam: {}"),
    findings: ["E_DAG_FIELD param"],
  },
  {
    name: "a secret in a template",
    text: task('shell: "echo {{ secrets.A }}"'),
    findings: ["E_DAG_TEMPLATE tasks.a.shell"],
  },
  {
    name: "a secret that is no variable",
    text: task("shell: x, secrets: [db-password]"),
    findings: ["E_DAG_FIELD tasks.a.secrets[0]"],
  },
  {
    name: "a secret twice",
    text: task("shell: x, secrets: [A, A]"),
    findings: ["E_DAG_DUPLICATE tasks.a.secrets"],
  },
  {
    name: "a secret that leads elsewhere",
    text: task("shell: x, secrets: { A: ../shadow }"),
    findings: ["E_DAG_FIELD tasks.a.secrets.A"],
  },
  {
    name: "a secret in the place of a variable",
    text: task("shell: x, env: { A: b }, secrets: [C, A]"),
    findings: ["E_DAG_DUPLICATE tasks.a.secrets[1]"],
  },
  {
    name: "a secret in the place of a variable of the agent",
    text: task("shell: x, secrets: { EDGEDAG_STORE: a, PATH: b }"),
    findings: ["E_DAG_FIELD tasks.a.secrets.EDGEDAG_STORE", "E_DAG_FIELD tasks.a.secrets.PATH"],
  },
  {
    name: "secrets for all tasks",
    text: task("shell: x", "dag: d\ndefaults: { secrets: [A] }"),
    findings: ["E_DAG_FIELD defaults.secrets"],
  },
  {
    name: "a secret of the serialized form",
    text: graph([node("a", { secrets: { A: { secret: ".hidden" } } })]),
    findings: ["E_DAG_FIELD nodes[0].attributes.secrets.A.secret"],
  },
  {
    name: "__proto__ as field",
    text: task('shell: x, args: {"__proto__": 1}'),
    findings: ["E_DAG_FIELD tasks.a.args.__proto__"],
  },
  {
    name: "__proto__ as task",
    text: '{"dag":"d","tasks":{"a":{"shell":"x"},"__proto__":{"shell":"x"}}}',
    findings: ["E_DAG_FIELD tasks.__proto__"],
  },
  {
    name: "a bad variable",
    text: task("shell: x, env: {A-B: 1}"),
    findings: ["E_DAG_FIELD tasks.a.env.A-B"],
  },
  {
    name: "a command as text",
    text: task("command: echo hello"),
    findings: ["E_DAG_TYPE tasks.a.command"],
  },
  {
    name: "an empty command",
    text: task("command: []"),
    findings: ["E_DAG_REQUIRED tasks.a.command"],
  },
  { name: "an empty script", text: task('shell: ""'), findings: ["E_DAG_REQUIRED tasks.a.shell"] },
  {
    name: "a task that is text",
    text: "dag: d\ntasks: { a: x }",
    findings: ["E_DAG_TYPE tasks.a"],
  },
  {
    name: "tasks as a list",
    text: "dag: d\ntasks: [x]",
    findings: ["E_DAG_TYPE tasks", "E_DAG_REQUIRED tasks"],
  },
  {
    name: "bad needs",
    text: task("shell: x, needs: [5]"),
    findings: ["E_DAG_TYPE tasks.a.needs[0]"],
  },
  {
    name: "an unknown condition",
    text: task("shell: x, needs: [{task: b, on: fail}]"),
    findings: ["E_DAG_TYPE tasks.a.needs[0].on"],
  },
  {
    name: "an infinite number",
    text: task("shell: x, args: {x: .inf}"),
    findings: ["E_DAG_TYPE tasks.a.args.x"],
  },
  {
    name: "a bad id",
    text: "dag: d\ntasks: { a b: { shell: x } }",
    findings: ['E_DAG_ID tasks["a b"]'],
  },
  { name: "a bad name", text: task("shell: x", "dag: a/b"), findings: ["E_DAG_ID dag"] },
  {
    name: "a task twice in YAML",
    text: "dag: d\ntasks:\n  a: { shell: x }\n  a: { shell: y }",
    findings: ["E_DAG_DUPLICATE tasks.a"],
  },
  {
    name: "a task twice in JSON",
    text: '{"dag":"d","tasks":{"a":{"shell":"\\"{"},"a":{"shell":"y"}}}',
    findings: ["E_DAG_DUPLICATE tasks.a"],
  },
  {
    name: "a task also as exit handler",
    text: "dag: d\ntasks: { a: { shell: x } }\nexit: { a: { shell: x } }",
    findings: ["E_DAG_DUPLICATE exit.a"],
  },
  {
    name: "an edge twice",
    text: "dag: d\ntasks: { a: { shell: x }, b: { shell: x, needs: [a, {task: a, on: any}] } }",
    findings: ["E_DAG_DUPLICATE tasks.b.needs[1]"],
  },
  {
    name: "an unknown task",
    text: "dag: d\ntasks: { fetch: { shell: x }, b: { shell: x, needs: fetsh } }",
    findings: ["E_DAG_UNKNOWN_TASK tasks.b.needs"],
  },
  {
    name: "a self-loop",
    text: task("shell: x, needs: [a]"),
    findings: ["E_DAG_SELF_LOOP tasks.a.needs[0]"],
  },
  {
    name: "two cycles",
    text: "dag: d\ntasks: { a: {shell: x, needs: c}, b: {shell: x, needs: a}, c: {shell: x, needs: b}, d: {shell: x, needs: [e, a]}, e: {shell: x, needs: d} }",
    findings: ["E_DAG_CYCLE tasks.a.needs", "E_DAG_CYCLE tasks.d.needs[0]"],
  },
  {
    name: "durations",
    text: task("shell: x, timeout: 5 minutes, grace: '60'"),
    findings: ["E_DAG_DURATION tasks.a.timeout", "E_DAG_DURATION tasks.a.grace"],
  },
  {
    name: "sizes",
    text: task("shell: x, limits: {memory: 256MB, output: 1g}"),
    findings: ["E_DAG_SIZE tasks.a.limits.memory", "E_DAG_SIZE tasks.a.limits.output"],
  },
  {
    name: "ranges",
    text: task("shell: x, timeout: 0, retries: {limit: -1, jitter: 2}, priority: 1.5"),
    findings: [
      "E_DAG_RANGE tasks.a.timeout",
      "E_DAG_RANGE tasks.a.retries.limit",
      "E_DAG_RANGE tasks.a.retries.jitter",
      "E_DAG_TYPE tasks.a.priority",
    ],
  },
  {
    name: "a malformed template",
    text: task('shell: "echo {{ params.x"'),
    findings: ["E_DAG_TEMPLATE tasks.a.shell"],
  },
  {
    name: "an unknown filter",
    text: task('command: [x, "{{ task.id | uper }}"]'),
    findings: ["E_DAG_TEMPLATE tasks.a.command[1]"],
  },
  {
    name: "an unknown parameter",
    text: task('command: [x], args: {l: ["{{ params.b }}"]}', "dag: d\nparams: {a: 1}"),
    findings: ["E_DAG_TEMPLATE tasks.a.args.l[0]"],
  },
  {
    name: "a task that is not needed",
    text: 'dag: d\ntasks: { a: {shell: x}, b: {command: ["{{ needs.a.result }}"]} }',
    findings: ["E_DAG_TEMPLATE tasks.b.command[0]"],
  },
  {
    name: "item without map",
    text: task('command: [x, "{{ item }}"], when: "{{ index }}"'),
    findings: ["E_DAG_TEMPLATE tasks.a.command[1]", "E_DAG_TEMPLATE tasks.a.when"],
  },
  {
    name: "item before the fan-out",
    text: task('command: [x], map: [1], when: ["{{ item }}"]'),
    findings: ["E_DAG_TEMPLATE tasks.a.when[0]"],
  },
  {
    name: "map with text around",
    text: task('command: [x], map: "x{{ env.X }}"'),
    findings: ["E_DAG_TEMPLATE tasks.a.map"],
  },
  {
    name: "map as text",
    text: task("command: [x], map: x"),
    findings: ["E_DAG_TEMPLATE tasks.a.map"],
  },
  {
    name: "a template that is not evaluated",
    text: task('command: [x], outputs: ["{{ env.X }}"]'),
    findings: ["E_DAG_TEMPLATE tasks.a.outputs[0]"],
  },
  {
    name: "the run's outcome too early",
    text: task('command: ["{{ run.outcome }}"]'),
    findings: ["E_DAG_TEMPLATE tasks.a.command[0]"],
  },
  {
    name: "a template in quotes",
    text: task(`shell: 'echo "{{ task.id }}"'`),
    findings: ["E_DAG_TEMPLATE tasks.a.shell"],
  },
  {
    name: "a template in the environment of all",
    text: task("shell: x", 'dag: d\nenv: {A: "{{ params.q }}"}'),
    findings: ["E_DAG_TEMPLATE env.A"],
  },
  {
    name: "an unknown pool",
    text: task("shell: x, pool: dsk", "dag: d\npools: {disk: 1}"),
    findings: ["E_DAG_POOL tasks.a.pool"],
  },
  {
    name: "an unknown pool in defaults",
    text: task("shell: x", "dag: d\ndefaults: {pool: q}"),
    findings: ["E_DAG_POOL defaults.pool"],
  },
  {
    name: "paths that lead out",
    text: task("python: '../a.py:f', outputs: [/etc/x]"),
    findings: ["E_DAG_RUN tasks.a.python", "E_DAG_FILE tasks.a.outputs[0]"],
  },
  {
    name: "an unknown level",
    text: task("shell: x, isolation: dockr"),
    findings: ["E_DAG_ISOLATION tasks.a.isolation"],
  },
  { name: "nothing to run", text: "dag: d\ntasks: { a: {} }", findings: ["E_DAG_RUN tasks.a"] },
  {
    name: "two things to run",
    text: task("shell: x, python: 'a.py:f'"),
    findings: ["E_DAG_RUN tasks.a"],
  },
  {
    name: "a file without function",
    text: task("node: chart.ts"),
    findings: ["E_DAG_RUN tasks.a.node"],
  },
  {
    name: "file and code",
    text: task("node: {file: a.ts, code: x}"),
    findings: ["E_DAG_RUN tasks.a.node"],
  },
  {
    name: "exit handlers and tasks that need each other",
    text: "dag: d\ntasks: { a: {shell: x, needs: z}, b: {shell: x} }\nexit: { z: {shell: x}, y: {shell: x, needs: b} }",
    findings: ["E_DAG_EXIT tasks.a.needs", "E_DAG_EXIT exit.y.needs"],
  },
  {
    name: "serialized: version and field",
    text: graph([node("a")], [], { edgedag: 2, param: {} }),
    findings: ["E_DAG_VERSION attributes.edgedag", "E_DAG_FIELD attributes.param"],
  },
  {
    name: "serialized: types",
    text: graph([node("a", { timeoutMs: "5s", retries: { ...retries, on: ["x"] } })]),
    findings: [
      "E_DAG_TYPE nodes[0].attributes.timeoutMs",
      "E_DAG_TYPE nodes[0].attributes.retries.on[0]",
    ],
  },
  {
    name: "serialized: unknown field",
    text: graph([node("a"), node("b", { timeoutMS: 5 })]),
    findings: ["E_DAG_FIELD nodes[1].attributes.timeoutMS"],
  },
  {
    name: "serialized: no run",
    text: graph([{ key: "a", attributes: rest }]),
    findings: ["E_DAG_REQUIRED nodes[0].attributes.run"],
  },
  {
    name: "serialized: file and code",
    text: graph([node("a", { run: { kind: "python", file: "a.py", code: "x", function: "f" } })]),
    findings: ["E_DAG_RUN nodes[0].attributes.run"],
  },
  {
    name: "serialized: twice",
    text: graph([node("a"), node("a"), node("b")], [edge("a", "b"), edge("a", "b")]),
    findings: ["E_DAG_DUPLICATE nodes[1]", "E_DAG_DUPLICATE edges[1]"],
  },
  {
    name: "serialized: edges",
    text: graph(
      [node("a"), node("b")],
      [edge("a", "a"), edge("a", "c"), edge("a", "b"), edge("b", "a")],
    ),
    findings: ["E_DAG_SELF_LOOP edges[0]", "E_DAG_UNKNOWN_TASK edges[1]", "E_DAG_CYCLE edges[3]"],
  },
  {
    name: "serialized: an undirected edge",
    text: graph([node("a"), node("b")], [{ ...edge("a", "b"), undirected: true }]),
    findings: ["E_DAG_TYPE edges[0].undirected"],
  },
  { name: "serialized: no nodes", text: graph([]), findings: ["E_DAG_REQUIRED nodes"] },
  {
    name: "serialized: a template",
    text: graph([node("a", { run: { kind: "command", argv: ["x", "{{ item }}"] } })]),
    findings: ["E_DAG_TEMPLATE nodes[0].attributes.run.argv[1]"],
  },
  {
    name: "everything at once",
    text: "dag: d\ncolour: red\ntasks:\n  a: { shell: x, needs: [b, q], timeout: soon }\n  b: { shell: x, needs: a, limits: { memory: much } }\n  c: { command: x, pool: p }",
    findings: [
      "E_DAG_FIELD colour",
      "E_DAG_DURATION tasks.a.timeout",
      "E_DAG_SIZE tasks.b.limits.memory",
      "E_DAG_TYPE tasks.c.command",
      "E_DAG_UNKNOWN_TASK tasks.a.needs[1]",
      "E_DAG_CYCLE tasks.a.needs[0]",
      "E_DAG_POOL tasks.c.pool",
    ],
  },
  {
    name: "code without language, code with too much, and code that is text",
    text: `dag: d
tasks:
  a: { code: { file: main.c } }
  b: { code: { language: c, file: main.c, code: x } }
  c: { code: { language: c } }
  d: { code: main.c }
  e: { code: { language: "c c", code: x } }
  f: { code: { language: c, code: x, args: x, arg: 1 } }
  g: { code: { language: c, file: ../main.c, args: ["{{ params.x }}"] } }`,
    findings: [
      "E_DAG_REQUIRED tasks.a.code.language",
      "E_DAG_RUN tasks.b.code",
      "E_DAG_RUN tasks.c.code",
      "E_DAG_TYPE tasks.d.code",
      "E_DAG_RUN tasks.e.code.language",
      "E_DAG_TYPE tasks.f.code.args",
      "E_DAG_FIELD tasks.f.code.arg",
      "E_DAG_FILE tasks.g.code.file",
    ],
  },
  {
    name: "templates of code, stdin and inputs that read what is not there",
    text: task(
      'code: { language: c, code: x, args: [a, "{{ params.x }}"] }, isolation: gvisor, stdin: "{{ item }}", inputs: { a: "{{ needs.b.result }}" }',
    ),
    findings: [
      "E_DAG_TEMPLATE tasks.a.code.args[1]",
      "E_DAG_TEMPLATE tasks.a.stdin",
      "E_DAG_TEMPLATE tasks.a.inputs.a",
    ],
  },
  {
    name: "code of both kinds in the serialized form",
    text: graph([
      node("a", { run: { kind: "code", language: "c", file: "a.c", code: "x", args: [] } }),
      node("b", { run: { kind: "code", language: "c", args: [] } }),
    ]),
    findings: ["E_DAG_RUN nodes[0].attributes.run", "E_DAG_RUN nodes[1].attributes.run"],
  },
  {
    name: "inputs outside of the working folder or in each other",
    text: task(
      "shell: x, isolation: subprocess, inputs: { ../a: x, /b: x, a//b: x, c: 5, ./d: x }",
    ),
    findings: [
      'E_DAG_FILE tasks.a.inputs["../a"]',
      'E_DAG_FILE tasks.a.inputs["/b"]',
      'E_DAG_FILE tasks.a.inputs["a//b"]',
      "E_DAG_TYPE tasks.a.inputs.c",
      'E_DAG_FILE tasks.a.inputs["./d"]',
    ],
  },
  {
    name: "an input that is a folder of another",
    text: task("shell: x, isolation: subprocess, inputs: { a: x, a/b: x }"),
    findings: ['E_DAG_DUPLICATE tasks.a.inputs["a/b"]'],
  },
  {
    name: "fields that its level does not hold",
    text: `dag: d
defaults: { limits: { disk: 1Mi } }
tasks:
  a: { python: "a.py:f", stdin: x, inputs: { a: x }, limits: { cpus: 1, pids: 9 }, sandbox: { network: true } }
  b: { shell: x, isolation: subprocess, sandbox: { syscalls: [bpf] } }
  c: { shell: x, isolation: seccomp, stdin: x, sandbox: { network: true } }`,
    findings: [
      "E_DAG_ISOLATION tasks.a.stdin",
      "E_DAG_ISOLATION tasks.a.inputs",
      "E_DAG_ISOLATION tasks.a.limits.cpus",
      "E_DAG_ISOLATION tasks.a.limits.pids",
      "E_DAG_ISOLATION defaults.limits.disk",
      "E_DAG_ISOLATION tasks.a.sandbox",
      "E_DAG_ISOLATION tasks.b.sandbox",
    ],
  },
  {
    name: "the same in the serialized form",
    text: graph([
      node("a", { limits: { diskBytes: 5 } }),
      node("b", { isolation: "nonsense", sandbox: { network: true } }),
    ]),
    findings: [
      "E_DAG_ISOLATION nodes[1].attributes.isolation",
      "E_DAG_ISOLATION nodes[0].attributes.limits.diskBytes",
    ],
  },
  {
    name: "mounts that must not be",
    text: `dag: d
tasks:
  a:
    shell: x
    isolation: docker
    sandbox:
      network: 1
      syscalls: [Mount]
      mounts:
        - { source: data, target: /data }
        - { source: /data/../etc, target: /etc/x }
        - { source: /, target: / }
        - { source: /data, target: ${taskFolder}/data }
        - { source: /data, target: /proc }
        - { source: /data }
        - { source: /data, target: /data, write: true }`,
    findings: [
      "E_DAG_TYPE tasks.a.sandbox.network",
      "E_DAG_FILE tasks.a.sandbox.mounts[0].source",
      "E_DAG_FILE tasks.a.sandbox.mounts[1].source",
      "E_DAG_FILE tasks.a.sandbox.mounts[2].source",
      "E_DAG_FILE tasks.a.sandbox.mounts[2].target",
      "E_DAG_FILE tasks.a.sandbox.mounts[3].target",
      "E_DAG_FILE tasks.a.sandbox.mounts[4].target",
      "E_DAG_REQUIRED tasks.a.sandbox.mounts[5].target",
      "E_DAG_FIELD tasks.a.sandbox.mounts[6].write",
      "E_DAG_FIELD tasks.a.sandbox.syscalls[0]",
    ],
  },
  {
    name: "two mounts in one place",
    text: task(
      "shell: x, isolation: gvisor, sandbox: { mounts: [{ source: /a, target: /m }, { source: /b, target: /m }] }",
    ),
    findings: ["E_DAG_DUPLICATE tasks.a.sandbox.mounts[1].target"],
  },
  {
    name: "limits out of range",
    text: task(
      "shell: x, isolation: gvisor, limits: { cpus: 0, pids: 1.5, disk: 5X, artifacts: 0, artifact_size: 0 }",
    ),
    findings: [
      "E_DAG_RANGE tasks.a.limits.cpus",
      "E_DAG_TYPE tasks.a.limits.pids",
      "E_DAG_SIZE tasks.a.limits.disk",
      "E_DAG_RANGE tasks.a.limits.artifacts",
      "E_DAG_RANGE tasks.a.limits.artifact_size",
    ],
  },
];
