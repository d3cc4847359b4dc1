// Signals to the command line: SIGTERM drains the agent and the next start goes on, SIGINT cancels
// `edgedag run`, a second one ends it at once. No process of a task is left in any case.
import { readdir, readFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { RealMaster } from "../rig/master.ts";
import { nodeLog } from "../rig/node-log.ts";
import type { JsonSummary } from "../rig/run-json.ts";
import { until } from "../rig/until.ts";

/** A chain whose second task ends when the file `go` is there. */
const chain = (dir: string) => `dag: chain
tasks:
  first: { shell: "echo first >> ${dir}/ran" }
  second:
    needs: [first]
    grace: 300ms
    shell: |
      echo second >> ${dir}/ran
      while [ ! -e ${dir}/go ]; do sleep 0.02; done
  third: { needs: [second], shell: "echo third >> ${dir}/ran" }
`;

t.test(
  "SIGTERM drains: what runs may end, nothing new starts, the next start goes on",
  async (t) => {
    await using box = await Box.create();
    const dag = await box.write("dag.yaml", chain(box.dir));
    const agent = box.start(["agent"], { env: { EDGEDAG_DAG: dag } });
    await ran(box, ["first", "second"]);
    agent.kill("SIGTERM");
    await agent.says(/draining/);
    await box.write("go", "");
    const { code } = await agent.ended;
    t.equal(code, exitCodes.unfinished);
    t.same(await ran(box, ["first", "second"]), ["first", "second"], "the third did not start");
    await box.empty();
    t.same(await readdir(box.runtime), [], "no socket is left");

    const again = await box.run(["agent"], { env: { EDGEDAG_DAG: dag } });
    t.equal(again.code, exitCodes.ok);
    t.same(await ran(box, ["third"]), ["first", "second", "third"], "each task ran once");
    t.equal((await readdir(`${box.state}/runs`)).length, 1, "it is the same run");
    t.same(await box.shmFolders(), []);
  },
);

t.test("a task that does not end within EDGEDAG_DRAIN is killed and settled as lost", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", chain(box.dir));
  const env = { EDGEDAG_DAG: dag, EDGEDAG_DRAIN: "200ms" };
  const agent = box.start(["agent"], { env });
  await ran(box, ["first", "second"]);
  t.equal((await agent.stop("SIGTERM")).code, exitCodes.unfinished);
  await box.empty();
  await box.write("go", "");
  const again = await box.run(["agent"], { env });
  t.equal(again.code, exitCodes.ok);
  t.same(await ran(box, ["third"]), ["first", "second", "second", "third"], "the second ran again");
  const [run = ""] = await readdir(`${box.state}/runs`);
  const lines = (await nodeLog(box.state, run)).map((line) => line.text);
  t.ok(
    lines.some((text) => /second#1 was lost with the agent/.test(text ?? "")),
    "the log says so",
  );
});

t.test("SIGTERM of an agent with a master: what is unsent goes out before the end", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", chain(box.dir));
  const master = await RealMaster.start(box);
  const agent = box.start(["agent"], { env: { ...master.env, EDGEDAG_DAG: dag } });
  await ran(box, ["first", "second"]);
  await master.connected();
  agent.kill("SIGTERM");
  await agent.says(/draining/);
  await box.write("go", "");
  const { code } = await agent.ended;
  t.equal(code, exitCodes.unfinished);
  const [run] = await master.runs();
  t.equal(run?.state, "running");
  const { tasks } = await master.run(run?.id ?? "");
  t.equal(tasks.find((task) => task.task === "second")?.outcome?.kind, "succeeded");
  const again = box.start(["agent"], { env: { ...master.env, EDGEDAG_DAG: dag } });
  t.equal((await master.finishedRun()).outcome?.kind, "succeeded");
  t.equal((await again.stop()).code, exitCodes.ok, "nothing is unfinished now");
});

t.test("an idle agent ends with 0", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const agent = box.start(["agent"], { env: master.env });
    await master.connected();
    t.equal((await agent.stop(signal)).code, exitCodes.ok, signal);
    await until(
      "it is gone",
      () => master.node(),
      (node) => node?.connected === false,
    );
  }
});

t.test("SIGINT cancels `edgedag run`; tasks get their grace, exit handlers run", async (t) => {
  await using box = await Box.create();
  const dag = await box.write(
    "dag.yaml",
    `dag: cancelled
tasks:
  polite:
    shell: |
      trap 'echo cleaned > ${box.dir}/cleaned; exit 3' TERM
      echo polite >> ${box.dir}/ran
      while true; do sleep 0.02; done
  never: { needs: [polite], shell: "echo never >> ${box.dir}/ran" }
exit:
  last: { shell: "echo last >> ${box.dir}/ran" }
`,
  );
  const cli = box.start(["run", dag, "--json", "--state", box.state]);
  await ran(box, ["polite"]);
  const { code, stdout } = await cli.stop("SIGINT");
  t.equal(code, exitCodes.cancelled);
  t.equal(await readFile(`${box.dir}/cleaned`, "utf8"), "cleaned\n", "it had its grace");
  const summary = JSON.parse(stdout) as JsonSummary;
  t.same(summary.outcome, { kind: "cancelled", by: "user" });
  t.match(summary.tasks.polite?.outcome, { kind: "cancelled", by: "user" });
  t.same(await ran(box, ["last"]), ["polite", "last"], "the exit handler ran, nothing else began");
  await box.empty();
  t.same(await box.shmFolders(), []);
});

t.test("a second SIGINT ends it at once, and leaves no process", async (t) => {
  await using box = await Box.create();
  const dag = await box.write(
    "dag.yaml",
    `dag: stubborn
tasks:
  a: { shell: "trap '' TERM INT; echo a >> ${box.dir}/ran; while true; do sleep 0.02; done", grace: 1h }
`,
  );
  const cli = box.start(["run", dag, "--state", box.state]);
  await ran(box, ["a"]);
  cli.kill("SIGINT");
  const log = () => box.run(["logs", "--state", box.state]);
  await until("the first one is taken", log, ({ stdout }) => /cancelled by user/.test(stdout));
  const { code } = await cli.stop("SIGINT");
  t.equal(code, exitCodes.cancelled);
  await box.empty();
  t.same(await readdir(box.runtime), [], "no socket is left");
});

t.test("kill -9 of `edgedag run`: no process is left, and the same state goes on", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", chain(box.dir));
  const cli = box.start(["run", dag, "--state", box.state]);
  await ran(box, ["first", "second"]);
  await cli.stop("SIGKILL");
  await box.empty();
  await box.write("go", "");
  const again = await box.run(["run", dag, "--state", box.state]);
  t.equal(again.code, exitCodes.ok, again.stderr);
  t.match(again.stdout, /goes on/, "it says that it is the same run");
  t.same(await ran(box, ["third"]), ["first", "second", "second", "third"]);
  t.same(await box.shmFolders(), []);
});

t.test(
  "a second SIGTERM ends the agent at once; its run goes on with the next start",
  async (t) => {
    await using box = await Box.create();
    const dag = await box.write("dag.yaml", chain(box.dir));
    const env = { EDGEDAG_DAG: dag, EDGEDAG_DRAIN: "1h" };
    const agent = box.start(["agent"], { env });
    await ran(box, ["first", "second"]);
    agent.kill("SIGTERM");
    await agent.says(/draining/);
    t.equal((await agent.stop("SIGTERM")).code, exitCodes.unfinished);
    await box.empty();
    await box.write("go", "");
    t.equal((await box.run(["agent"], { env })).code, exitCodes.ok);
    t.same(await ran(box, ["third"]), ["first", "second", "second", "third"]);
  },
);

t.test(
  "another DAG on a state whose run has not ended: run refuses, the agent runs both",
  async (t) => {
    await using box = await Box.create();
    const dag = await box.write("dag.yaml", chain(box.dir));
    const other = await box.write(
      "other.yaml",
      `dag: other\ntasks:\n  a: { shell: "echo other >> ${box.dir}/ran" }\n`,
    );
    const cli = box.start(["run", dag, "--state", box.state]);
    await ran(box, ["first", "second"]);
    await cli.stop("SIGKILL");
    const refused = await box.run(["run", other, "--state", box.state]);
    t.equal(refused.code, exitCodes.state);
    t.match(refused.stderr, /E_STATE_OTHER.*chain-\S+ of another DAG.*\n {4}\S/);
    await box.write("go", "");
    const agent = await box.run(["agent"], { env: { EDGEDAG_DAG: other } });
    t.equal(agent.code, exitCodes.ok);
    t.same((await ran(box, ["other"])).slice(-2), ["third", "other"], "one after the other");
  },
);

t.test("a signal before anything has begun", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", chain(box.dir));
  const cli = box.start(["run", dag, "--state", box.state]);
  cli.kill("SIGTERM");
  const { code, signal } = await cli.ended;
  t.ok(signal === "SIGTERM" || code === exitCodes.cancelled, `${code} ${signal}`);
  await box.empty();
});

/** The tasks that said that they ran, once those that are wanted are among them. */
function ran(box: Box, wanted: string[]): Promise<string[]> {
  const read = () => readFile(`${box.dir}/ran`, "utf8").catch(() => "");
  return until(
    `${wanted.join()} ran`,
    async () => (await read()).split("\n").filter((line) => line !== ""),
    (lines) => wanted.every((task) => lines.includes(task)),
  );
}
