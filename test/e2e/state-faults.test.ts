// A state folder that cannot be used, is full, or belongs to another agent. Folders are made
// read-only and full by real mounts in a private mount namespace, so root is needed for those.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { root } from "../rig/cli.ts";
import { RealMaster } from "../rig/master.ts";
import { until } from "../rig/until.ts";

const one = 'dag: one\ntasks:\n  a: { shell: "echo ok" }\n';
const needsMounts = canMount() ? {} : { skip: "no right to mount" };

t.test("a state folder that cannot be written", needsMounts, async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", one);
  await mkdir(box.state);
  const mounts = `mount --bind ${box.state} ${box.state}\nmount -o remount,ro,bind ${box.state}`;
  for (const args of [["agent"], ["run", dag, "--state", box.state]]) {
    const { code, stderr } = await box.run(args, { mounts, env: { EDGEDAG_DAG: dag } });
    t.equal(code, exitCodes.state, `${args[0]}: exit code`);
    t.match(stderr, /E_STATE_READONLY.*: .*\n {4}.*EDGEDAG_STATE/, `${args[0]}: error and remedy`);
    t.notMatch(stderr, /\n {4}at /, `${args[0]}: no stack trace`);
  }
  await box.empty();
});

t.test("a state folder below a file", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", one);
  const file = await box.write("file", "");
  for (const args of [["agent"], ["run", dag, "--state", `${file}/state`]]) {
    const env = { EDGEDAG_DAG: dag, EDGEDAG_STATE: `${file}/state` };
    const { code, stderr } = await box.run(args, { env });
    t.equal(code, exitCodes.state, `${args[0]}: exit code`);
    t.match(stderr, /E_STATE_\w+.*: .*\n {4}\S/, `${args[0]}: error and remedy`);
    t.equal(stderr.match(/E_STATE_/g)?.length, 1, `${args[0]}: one error`);
  }
});

t.test("two agents on one state folder", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  const first = box.start(["agent"], { env: master.env });
  await master.connected();
  const dag = await box.write("dag.yaml", one);
  for (const args of [["agent"], ["run", dag, "--state", box.state]]) {
    const { code, stderr } = await box.run(args, { env: master.env });
    t.equal(code, exitCodes.state, `${args[0]}: exit code`);
    t.match(stderr, /E_STATE_LOCKED.*: .*\n {4}\S/, `${args[0]}: error and remedy`);
  }
  const submitted = await box.run(["submit", dag, "--node", "box", "--wait"], { env: master.env });
  t.equal(submitted.code, exitCodes.ok, "the first one is not harmed");
  t.equal((await first.stop("SIGKILL")).signal, "SIGKILL");
  const again = await box.run(["run", dag, "--state", box.state]);
  t.equal(again.code, exitCodes.ok, "an agent that is dead holds nothing");
});

t.test("a journal that is damaged, or of a later release", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", one);
  await mkdir(box.state);
  await writeFile(`${box.state}/journal.db`, Buffer.alloc(8192, "no database "));
  const { code, stderr } = await box.run(["run", dag, "--state", box.state]);
  t.equal(code, exitCodes.ok, "the node comes up by itself");
  t.match(stderr, /E_STATE_CORRUPT: the journal was damaged .* moved to .*quarantine/);
  const [name] = await readdir(`${box.state}/quarantine`);
  t.equal(
    (await readFile(`${box.state}/quarantine/${name}/journal.db`)).toString().slice(0, 11),
    "no database",
    "what was there is kept",
  );
  const database = new DatabaseSync(`${box.state}/journal.db`);
  database.exec("PRAGMA user_version = 99");
  database.close();
  const later = await box.run(["run", dag, "--state", box.state]);
  t.equal(later.code, exitCodes.state);
  t.match(later.stderr, /E_STATE_VERSION.*: .*\n {4}\S/);
});

t.test(
  "a full disk: the run goes on, health is red, and all is delivered later",
  needsMounts,
  async (t) => {
    await using box = await Box.create();
    const master = await RealMaster.start(box);
    await mkdir(box.state);
    const dag = await box.write(
      "dag.yaml",
      `dag: full
tasks:
  fill:
    shell: |
      head -c 100000000 /dev/zero > fill 2>/dev/null
      df -k . | tail -1
  wait:
    needs: [fill]
    shell: "touch ${box.dir}/is-full; for i in $(seq 200); do echo line $i of the full disk; done; while [ ! -e ${box.dir}/go ]; do sleep 0.05; done"
  free: { needs: [wait], shell: "rm fill; echo room" }
  after: { map: [1, 2, 3], needs: [free], shell: "echo item {{ item }}" }
`,
    );
    const agent = box.start(["agent"], {
      env: { ...master.env, EDGEDAG_DAG: dag, EDGEDAG_AFTER: "exit" },
      mounts: `mount -t tmpfs -o size=8m none ${box.state}`,
    });
    await until(
      "the disk is full",
      () => exists(`${box.dir}/is-full`),
      (is) => is,
    );
    // The health file lies in the agent's namespace.
    const inside = (args: string[]) =>
      execFileSync("nsenter", ["-m", "-t", String(agent.pid), ...args], { encoding: "utf8" });
    const red = await until(
      "health is red",
      () => healthOf(inside, box.state),
      (health) => health?.problem !== undefined,
    );
    t.match(red?.problem, /full|no space|ENOSPC/i, "the cause is told");
    t.match(red?.problem, /\(.+\)/, "and the remedy");
    const command = [`${root}/bin/edgedag`, "health", "--state", box.state];
    const env = { PATH: process.env.PATH, EDGEDAG_FROM_SOURCE: "1" };
    const health = spawnSync("nsenter", ["-m", "-t", String(agent.pid), ...command], { env });
    t.equal(health.status, exitCodes.unavailable, "a health check fails");
    t.match(String(health.stderr), /not well: .*full.*\(.+\)/, "and tells why");
    t.notOk(agent.hasEnded, "the run goes on");
    await writeFile(`${box.dir}/go`, "");
    const { code, stderr } = await agent.ended;
    t.equal(code, exitCodes.ok, stderr.slice(-2000));
    const run = await master.finishedRun();
    t.equal(run.outcome?.kind, "succeeded");
    const lines = await master.log(run.id);
    t.same(
      lines.map((line) => line.seq),
      lines.map((_, index) => index + 1),
      "no line is missing",
    );
    t.equal(lines.filter((line) => /of the full disk/.test(line.text ?? "")).length, 200);
    t.same(
      lines
        .filter((l) => /^item/.test(l.text ?? ""))
        .map((l) => l.text)
        .sort(),
      ["item 1", "item 2", "item 3"],
    );
    t.match(stderr, /E_STATE_FULL|full/, "the agent said it");
    t.match(stderr, /can be written again/, "and that it is over");
  },
);

function canMount(): boolean {
  try {
    execFileSync("unshare", ["-m", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false; // not root, or no such program: those tests are skipped and say so
  }
}

async function exists(path: string): Promise<boolean> {
  return readFile(path).then(
    () => true,
    () => false,
  );
}

function healthOf(
  inside: (args: string[]) => string,
  state: string,
): { problem?: string } | undefined {
  const text = inside(["sh", "-c", `cat ${state}/health.json 2>/dev/null || true`]);
  return text === "" ? undefined : JSON.parse(text);
}
