// The commands on one machine, without a master or with `edgedag up`: run with its summary and its
// log, health, a packed artifact, and what a person sees.
import { readFile, writeFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { nodeLog } from "../rig/node-log.ts";
import { runJson } from "../rig/run-json.ts";
import { until } from "../rig/until.ts";

// Both items collect what matches, so a file must be whole as soon as it has its name.
const mixed = `dag: mixed
params: { name: Ada }
tasks:
  py: { python: "t.py:f", args: { name: "{{ params.name }}" } }
  js: { node: "t.ts:g", needs: [py], args: { py: "{{ needs.py.result }}" } }
  each: { map: "{{ needs.js.result.list }}", needs: [js], shell: "echo {{ item }} | tee new-{{ index }} && mv new-{{ index }} out-{{ index }}.txt", outputs: ["out-*.txt"] }
  bad: { shell: "exit 3", needs: [each], allow_failure: true }
  skipped: { shell: "echo no", needs: [bad] }
`;
const python = "def f(name):\n    print('hello', name)\n    return {'name': name}\n";
const nodeJs =
  "export function g({ py }: { py: { name: string } }) {\n  console.error(py.name);\n  return { list: [py.name, 2] };\n}\n";

t.test("run --json: results, outcomes, artifacts, folders; nothing else on stdout", async (t) => {
  await using box = await Box.create();
  await box.write("dag/t.py", python);
  await box.write("dag/t.ts", nodeJs);
  const { code, summary, stderr } = await runJson(box, mixed, { args: ["-p", "name=Grace"] });
  t.equal(code, exitCodes.ok, stderr);
  t.same(summary.outcome, { kind: "succeeded" });
  t.same(summary.tasks.py?.result, { name: "Grace" });
  t.same(summary.tasks.js?.result, { list: ["Grace", 2] });
  t.match(summary.tasks.bad?.outcome, {
    kind: "failed",
    failure: { reason: "exit-code", code: 3 },
  });
  t.equal(summary.tasks.skipped?.outcome.kind, "skipped");
  t.match(summary.summary, { failed: 1, skipped: 1, cancelled: 0 });
  const names = [...new Set(summary.artifacts.map((artifact) => artifact.name))].sort();
  t.same(names, ["out-0.txt", "out-1.txt"]);
  for (const { path, sizeBytes } of summary.artifacts) {
    t.equal((await readFile(path)).length, sizeBytes, path);
  }
  t.match(
    stderr,
    /✓ py[\s\S]*✓ js[\s\S]*✗ bad .*: it ended with exit code 3/,
    "progress on stderr",
  );
  const lines = await nodeLog(box.state, summary.run);
  t.same(
    lines.map((line) => line.seq),
    lines.map((_, index) => index + 1),
  );
  t.match(
    lines.find((line) => line.task === "js"),
    { stream: "stderr", text: "Grace", level: "warn" },
  );
  await box.empty();
  t.same(await box.shmFolders(), []);
});

t.test("run for a person: plain lines without a terminal, where the log is, --quiet", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", 'dag: plain\ntasks:\n  a: { shell: "echo from a" }\n');
  const { code, stdout } = await box.run(["run", dag]);
  t.equal(code, exitCodes.ok);
  t.notMatch(stdout, "\x1b", "no colours and no redraws");
  t.match(stdout, /plain: 1 tasks\n✓ a .*\n✓ run succeeded: 1 of 1 tasks/);
  const [, run = "", state = ""] = /log: edgedag logs (\S+) --state (\S+)/.exec(stdout) ?? [];
  const told = await box.run(["logs", run, "--state", state]);
  t.match(told.stdout, /a#1 out \| from a/, "the command that it names prints the log");
  const newest = await box.run(["logs"], { env: { EDGEDAG_STATE: undefined } });
  t.equal(newest.stdout, told.stdout, "without a name: the newest run");
  const quiet = await box.run(["run", dag, "--quiet"]);
  t.same([quiet.code, quiet.stdout, quiet.stderr], [exitCodes.ok, "", ""]);
});

t.test("a packed artifact runs without the folder it came from", async (t) => {
  await using box = await Box.create();
  await box.write("src/t.py", python);
  await box.write("src/t.ts", nodeJs);
  const dag = await box.write("src/dag.yaml", mixed);
  t.equal((await box.run(["pack", dag, "--out", box.path("packed.json")])).code, exitCodes.ok);
  const { rm } = await import("node:fs/promises");
  await rm(box.path("src"), { recursive: true });
  const ended = await box.run(["run", "packed.json", "--json", "--state", box.state]);
  t.equal(ended.code, exitCodes.ok, ended.stderr);
  t.same(JSON.parse(ended.stdout).tasks.py.result, { name: "Ada" });
});

t.test("health: no agent, a working one, a dead one", async (t) => {
  await using box = await Box.create();
  const none = await box.run(["health"]);
  t.equal(none.code, exitCodes.unavailable);
  t.match(none.stderr, /health\.json cannot be read/);
  const dag = await box.write(
    "dag.yaml",
    `dag: h\ntasks:\n  a: { shell: "while [ ! -e ${box.dir}/go ]; do sleep 0.02; done" }\n`,
  );
  const agent = box.start(["agent"], { env: { EDGEDAG_DAG: dag } });
  const health = () => box.run(["health"]);
  await until("it is healthy", health, ({ stdout }) => /the agent is running/.test(stdout));
  await agent.stop("SIGKILL");
  const dead = await until("its death is seen", health, ({ code }) => code !== exitCodes.ok);
  t.equal(dead.code, exitCodes.unavailable);
  t.match(dead.stderr, /no sign of life for \d+ s/);
  await writeFile(`${box.state}/health.json`, "{");
  t.equal((await health()).code, exitCodes.unavailable, "a damaged file is not healthy");
});

t.test("edgedag up: master and agent in one process", async (t) => {
  await using box = await Box.create();
  const up = box.start(["up", "--dir", box.path("up")], {
    env: { EDGEDAG_LISTEN: "127.0.0.1:0", EDGEDAG_STATE: undefined },
  });
  const [, url = ""] = await up.says(/master and agent are up: (\S+)/);
  const dag = await box.write("dag.yaml", 'dag: up\ntasks:\n  a: { shell: "echo hello" }\n');
  const env = { EDGEDAG_MASTER: url };
  const submitted = await box.run(["submit", dag, "--any", "--wait"], { env });
  t.equal(submitted.code, exitCodes.ok, submitted.stderr);
  const logs = await box.run(["logs", submitted.stdout.trim()], { env });
  t.match(logs.stdout, /a#1 out \| hello/);
  const { code, stderr } = await up.stop("SIGTERM");
  t.equal(code, exitCodes.ok, stderr);
  await box.empty();
});

t.test("edgedag up with what cannot be", async (t) => {
  await using box = await Box.create();
  const first = box.start(["master"], {
    env: { EDGEDAG_LISTEN: "127.0.0.1:0", EDGEDAG_DATA: box.path("one") },
  });
  const [, address = ""] = await first.says(/master listens on http:\/\/([^"]+)"/);
  for (const args of [["up", "--dir", box.path("up")], ["master"]]) {
    const env = { EDGEDAG_LISTEN: address, EDGEDAG_DATA: box.path("two") };
    const { code, stderr } = await box.run(args, { env });
    t.equal(code, exitCodes.config, `${args[0]}: the port is taken`);
    t.match(stderr, /E_MASTER_LISTEN: .*\n {4}\S/, `${args[0]}: error and remedy`);
  }
  const open = await box.run(["master"], {
    env: { EDGEDAG_LISTEN: "0.0.0.0:0", EDGEDAG_DATA: box.path("two") },
  });
  t.equal(open.code, exitCodes.config, "without a token only this machine is served");
  t.match(open.stderr, /E_MASTER_AUTH: .*\n {4}.*EDGEDAG_TOKEN/);
  const busy = await box.run(["up", "--dir", box.path("three")], {
    env: { EDGEDAG_LISTEN: "127.0.0.1:0", EDGEDAG_RUNTIME: box.path("none") },
  });
  t.equal(busy.code, exitCodes.config, "an agent that cannot start ends the master, too");
  t.match(busy.stderr, /E_RUNTIME_DIR/);
});
