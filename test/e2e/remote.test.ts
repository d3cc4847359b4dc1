// A master, two nodes and the client commands: submit, wait, cancel, params, logs with filters and
// --follow, results and artifacts, with bytes that must arrive exactly as they were written.
import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import type { LogLine } from "../../protocol/log.ts";
import { Box } from "../rig/box.ts";
import { RealMaster } from "../rig/master.ts";
import { nodeLog } from "../rig/node-log.ts";
import { until } from "../rig/until.ts";

t.test("submit --node, --any and --wait, with params", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  for (const node of ["north", "south"]) {
    box.start(["agent"], {
      env: { ...master.env, EDGEDAG_NODE: node, EDGEDAG_STATE: box.path(node) },
    });
  }
  await Promise.all([master.connected("north"), master.connected("south")]);
  const dag = await box.write(
    "dag.yaml",
    `dag: where
params: { city: Oslo, count: 1, fail: false }
tasks:
  a: { python: "t.py:f", args: { city: "{{ params.city }}", count: "{{ params.count }}" } }
  b: { shell: "[ {{ params.fail }} = false ]", needs: [a] }
`,
  );
  await box.write("t.py", "def f(city, count):\n    print(city)\n    return [city] * count\n");
  const client = (...args: string[]) => box.run(args, { env: master.env });

  for (const node of ["north", "south"]) {
    const submitted = await client("submit", dag, "--node", node, "--wait", "-p", "count=2");
    t.equal(submitted.code, exitCodes.ok, submitted.stderr);
    const id = submitted.stdout.trim();
    t.equal((await master.run(id)).node, node, `it ran on ${node}`);
    const result = await client("results", id, "a");
    t.same(JSON.parse(result.stdout), ["Oslo", "Oslo"], "the params arrived with their types");
    t.strictSame(await master.log(id), await nodeLog(box.path(node), id));
  }
  const any = await client("submit", dag, "--any", "--wait", "--json", "-p", "city=Rome");
  t.equal(any.code, exitCodes.ok, any.stderr);
  t.equal(JSON.parse(any.stdout).outcome.kind, "succeeded");
  const failing = await client("submit", dag, "--any", "--wait", "-p", "fail=true");
  t.equal(failing.code, exitCodes.runFailed, "the exit code is the outcome");

  const runs = await client("runs");
  t.equal(runs.stdout.trim().split("\n").length, 5, "a head and four runs");
  const nodes = await client("nodes");
  t.match(nodes.stdout, /north +alive[\s\S]*south +alive/);
  const shown = await client("runs", failing.stdout.trim());
  t.match(shown.stdout, /b +failed: exit-code \(task\)/);

  const unknown = await client("runs", "where-0");
  t.equal(unknown.code, exitCodes.noInput);
  t.match(unknown.stderr, /there is no run where-0\n {4}\S/);
});

t.test("a run for a node that is not there waits for it", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  const dag = await box.write("dag.yaml", 'dag: later\ntasks:\n  a: { shell: "echo ok" }\n');
  const submitted = box.start(["submit", dag, "--node", "box", "--wait"], { env: master.env });
  await submitted.says(/queued, 0 of 1 tasks: .*box/);
  box.start(["agent"], { env: master.env });
  t.equal((await submitted.ended).code, exitCodes.ok);
});

t.test("cancel through the master: running, queued, over", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  const agent = box.start(["agent"], { env: master.env });
  await master.connected();
  const dag = await box.write(
    "dag.yaml",
    `dag: long
tasks:
  a: { shell: "touch ${box.dir}/runs; sleep 1000 & sleep 1000", grace: 200ms }
  b: { shell: "touch ${box.dir}/never", needs: [a] }
`,
  );
  const client = (...args: string[]) => box.run(args, { env: master.env });
  const waiting = box.start(["submit", dag, "--node", "box", "--wait"], { env: master.env });
  const [, id = ""] = await waiting.says(/^(r\S+)\n/);
  await until(
    "it runs",
    () => exists(`${box.dir}/runs`),
    (is) => is,
  );
  // Behind it in the queue.
  const second = (await client("submit", dag, "--node", "box")).stdout.trim();
  const early = await client("cancel", second);
  t.equal(early.code, exitCodes.ok, early.stderr);

  const cancelled = await client("cancel", id);
  t.equal(cancelled.code, exitCodes.ok, cancelled.stderr);
  t.match(cancelled.stdout, /will be cancelled by its node/);
  t.equal((await waiting.ended).code, exitCodes.cancelled, "whoever waits hears of it");
  const run = await master.run(id);
  t.equal(run.outcome?.kind, "cancelled");
  t.match(run.tasks.find((task) => task.task === "a")?.outcome, { kind: "cancelled" });
  await until(
    "both are over",
    () => master.runs(),
    (runs) => runs.every((run) => run.outcome !== undefined || run.state === "cancelled"),
  );
  t.notOk(await exists(`${box.dir}/never`));
  const left = await until(
    "the tasks are gone",
    () => box.processes(),
    (all) => !all.some((line) => / sleep 1000/.test(line)),
  );
  t.notOk(left.some((line) => /sleep 1000/.test(line)));

  const over = await client("cancel", id);
  t.not(over.code, exitCodes.ok);
  t.match(over.stderr, /is over already\n {4}\S/);
  t.equal((await agent.stop()).code, exitCodes.ok);
});

t.test("logs: filters and --follow, at the master and on the node", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  box.start(["agent"], { env: master.env });
  await master.connected();
  const dag = await box.write(
    "dag.yaml",
    `dag: logs
tasks:
  a: { shell: "echo a out; echo a err >&2" }
  b: { python: "t.py:f", needs: [a], map: [1, 2] }
  c: { shell: "echo before; while [ ! -e ${box.dir}/go ]; do sleep 0.02; done; echo after", needs: [b] }
`,
  );
  await box.write(
    "t.py",
    'from edgedag import log\ndef f():\n    print("b out")\n    log.warn("b log", size=3)\n',
  );
  const id = (await box.run(["submit", dag, "--node", "box"], { env: master.env })).stdout.trim();
  const remote = box.start(["logs", id, "--follow"], { env: master.env });
  const local = box.start(["logs", id, "--state", box.state, "--follow"]);
  for (const follower of [remote, local]) {
    await follower.says(/c#1 out \| before/);
    t.notMatch(follower.stdout, /after/);
  }
  await box.write("go", "");
  const [atMaster] = await Promise.all([remote.ended, local.says(/run \S+ succeeded/)]);
  t.equal(atMaster.code, exitCodes.ok, "at the master it ends with the run");
  t.match(atMaster.stdout, /c#1 out \| after\n[\s\S]*succeeded/);
  await local.stop("SIGINT");

  const filters: { args: string[]; texts: string[] }[] = [
    { args: ["--task", "a"], texts: ["a out", "a err"] },
    { args: ["--task", "b", "--stream", "stdout"], texts: ["b out", "b out"] },
    { args: ["--task", "b[1]", "--stream", "log"], texts: ["b log"] },
    { args: ["--stream", "stderr"], texts: ["a err"] },
    { args: ["--level", "warn", "--task", "b"], texts: ["b log", "b log"] },
    { args: ["--task", "nobody"], texts: [] },
  ];
  for (const { args, texts } of filters) {
    for (const where of [["--state", box.state], []]) {
      const name = `${args.join(" ")} ${where.length > 0 ? "on the node" : "at the master"}`;
      const { stdout, code } = await box.run(["logs", id, ...args, ...where, "--json"], {
        env: master.env,
      });
      t.equal(code, exitCodes.ok, name);
      const lines = stdout.split("\n").filter((line) => line !== "");
      t.same(
        lines.map((line) => JSON.parse(line).text),
        texts,
        name,
      );
    }
  }
  const missing = await box.run(["logs", "logs-0", "--state", box.state]);
  t.equal(missing.code, exitCodes.noInput);
  t.match(missing.stderr, /no log of run logs-0.*\n {4}\S/);
  const absent = await box.run(["logs", "logs-0"], { env: master.env });
  t.equal(absent.code, exitCodes.noInput);
});

t.test("large and binary output, results and files arrive byte for byte", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  box.start(["agent"], { env: master.env });
  await master.connected();
  await box.write("t.py", python);
  const dag = await box.write(
    "dag.yaml",
    `dag: bytes
tasks:
  binary: { python: "t.py:binary" }
  long: { shell: "head -c 3000000 /dev/zero | tr '\\\\0' x; echo; printf 'no newline'" }
  both: { shell: "seq 20000; seq 20000 >&2" }
  large: { python: "t.py:large" }
  item: { python: "t.py:item", map: [1, 2, 3] }
  file: { python: "t.py:file", outputs: ["out/*.bin"] }
`,
  );
  const submitted = await box.run(["submit", dag, "--node", "box", "--wait"], { env: master.env });
  t.equal(submitted.code, exitCodes.ok, submitted.stderr);
  const id = submitted.stdout.trim();
  const lines = await master.log(id);
  t.strictSame(lines, await nodeLog(box.state, id), "the log is the node's");
  t.strictSame(
    lines.map((line) => line.seq),
    lines.map((_, index) => index + 1),
  );

  const all = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7 + (i >> 8)) & 255));
  t.ok(bytesOf(lines, "binary", "stdout").equals(all), "binary output");
  t.equal(bytesOf(lines, "long", "stdout").toString(), `${"x".repeat(3_000_000)}\nno newline`);
  const seq = Array.from({ length: 20_000 }, (_, index) => `${index + 1}\n`).join("");
  t.equal(bytesOf(lines, "both", "stdout").toString(), seq);
  t.equal(bytesOf(lines, "both", "stderr").toString(), seq);

  const large = await until(
    "the large result is whole",
    () => box.run(["results", id, "large"], { env: master.env }),
    ({ code }) => code === exitCodes.ok,
  );
  t.same(
    JSON.parse(large.stdout),
    Array.from({ length: 30_000 }, (_, i) => `value ${i} é`),
  );
  const items = (await master.results(id)).find((result) => result.task === "item")?.items;
  t.same(
    items?.map((item) => item.value),
    [{ n: 1 }, { n: 2 }, { n: 3 }],
  );

  await until(
    "the files are checked",
    () => master.artifacts(id),
    (found) => found.length === 2 && found.every(({ state }) => state === "verified"),
  );
  await mkdir(box.path("got"));
  const fetched = await box.run(["artifacts", id, "--out", box.path("got")], { env: master.env });
  t.equal(fetched.code, exitCodes.ok, fetched.stderr);
  const [a, b] = await Promise.all(
    ["a", "b"].map((name) => readFile(box.path(`got/file/out/${name}.bin`))),
  );
  t.ok(a?.equals(all), "a file");
  t.equal(
    createHash("sha256")
      .update(b ?? "")
      .digest("hex"),
    sha256OfZeros(5_000_000),
    "a large file",
  );
});

const python = `
import os, sys
def data():
    return bytes((i * 7 + (i >> 8)) & 255 for i in range(100000))
def binary():
    sys.stdout.buffer.write(data())
def large():
    return [f"value {i} \\u00e9" for i in range(30000)]
def item(n=None):
    from edgedag import inputs
    return {"n": inputs()["item"]} if callable(inputs) else {"n": inputs["item"]}
def file():
    os.mkdir("out")
    open("out/a.bin", "wb").write(data())
    open("out/b.bin", "wb").write(bytes(5000000))
`;

/** What a task wrote to a stream, put together again from the lines of the log. */
function bytesOf(lines: readonly LogLine[], task: string, stream: string): Buffer {
  return Buffer.concat(
    lines
      .filter((line) => line.task === task && line.stream === stream)
      .flatMap(({ text, base64, cut, open }) => [
        base64 === undefined ? Buffer.from(text ?? "") : Buffer.from(base64, "base64"),
        Buffer.from(cut || open ? "" : "\n"),
      ]),
  );
}

function sha256OfZeros(count: number): string {
  return createHash("sha256").update(Buffer.alloc(count)).digest("hex");
}

async function exists(path: string): Promise<boolean> {
  return readFile(path).then(
    () => true,
    () => false,
  );
}
