// kill -9 of what the agent relies on: the launcher, and a warm worker. The attempts that were in
// flight are lost or ended by the signal, are tried again, and the run succeeds.
import { readFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { nodeLog } from "../rig/node-log.ts";
import type { JsonSummary } from "../rig/run-json.ts";
import { until } from "../rig/until.ts";

const document = (dir: string) => `dag: helpers
defaults: { retries: { limit: 2, lost: 3, backoff: 20ms } }
tasks:
  program: { shell: "echo program >> ${dir}/began; while [ ! -e ${dir}/go ]; do sleep 0.02; done" }
  python: { python: "t.py:f", args: { folder: "${dir}" } }
  after: { shell: "echo done", needs: [program, python] }
`;
const python = `
import os, time
def f(folder):
    with open(os.path.join(folder, "began"), "a") as file: file.write("python\\n")
    while not os.path.exists(os.path.join(folder, "go")): time.sleep(0.02)
    return "well"
`;

for (const { name, pattern, both } of [
  { name: "launcher", pattern: /^(\d+) \S*launcher-/, both: true },
  { name: "python worker", pattern: /^(\d+) \S*python\S* .*runner\.py/, both: false },
]) {
  t.test(`kill -9 of the ${name}`, async (t) => {
    await using box = await Box.create();
    const dag = await box.write("dag.yaml", document(box.dir));
    await box.write("t.py", python);
    const cli = box.start(["run", dag, "--state", box.state, "--json"]);
    await began(box, { program: 1, python: 1 });
    // The launcher has the agent's environment or none: it is found as the agent's child then.
    const processes = [...(await box.processes()), ...(await childrenOf(cli.pid))];
    const victim = processes
      .map((line) => pattern.exec(line)?.[1])
      .find((pid) => pid !== undefined);
    if (victim === undefined) throw new Error(`no ${name} among ${processes.join("\n")}`);
    process.kill(Number(victim), "SIGKILL");
    await began(box, { program: both ? 2 : 1, python: 2 });
    await box.write("go", "");
    const { code, stdout, stderr } = await cli.ended;
    t.equal(code, exitCodes.ok, stderr);
    const summary = JSON.parse(stdout) as JsonSummary;
    t.equal(summary.tasks.python?.result, "well");
    t.equal(summary.tasks.python?.attempts, 2);
    t.equal(summary.tasks.program?.attempts, both ? 2 : 1);
    const lines = await nodeLog(box.state, summary.run);
    const said = lines.map(({ text }) => text).join("\n");
    t.match(
      said,
      /python#1 failed: it was (lost|ended by SIGKILL).*next attempt/,
      "the log tells why",
    );
    await box.empty();
    t.same(await box.shmFolders(), []);
  });
}

async function began(box: Box, wanted: { [task: string]: number }): Promise<void> {
  await until(
    `${JSON.stringify(wanted)} began`,
    () => readFile(`${box.dir}/began`, "utf8").catch(() => ""),
    (text) =>
      Object.entries(wanted).every(([task, count]) => text.split(`${task}\n`).length - 1 >= count),
  );
}

async function childrenOf(pid: number): Promise<string[]> {
  const pids = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).trim().split(" ");
  return Promise.all(
    pids.map(async (child) => {
      const line = await readFile(`/proc/${child}/cmdline`, "utf8");
      return `${child} ${line.replaceAll("\0", " ")}`;
    }),
  );
}
