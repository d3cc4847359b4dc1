// The launcher dies between a function's answer and its output: the answer alone is no success, since
// what the function has printed is gone. Found by `edgedag chaos`.
import { readFile } from "node:fs/promises";
import t from "tap";
import { outsideTag } from "../../agent/outside.ts";
import { processesOf } from "../../cli/chaos/processes.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { nodeLog } from "../rig/node-log.ts";
import type { JsonSummary } from "../rig/run-json.ts";
import { until } from "../rig/until.ts";

const document = (dir: string) => `dag: answered
defaults: { retries: { limit: 2, lost: 3, backoff: 20ms } }
tasks:
  first: { python: "t.py:first", args: { folder: "${dir}" } }
  second: { python: "t.py:second", args: { folder: "${dir}" }, needs: [first] }
`;
const python = `
import os, time
def wait(folder, name):
    with open(os.path.join(folder, "began"), "a") as file: file.write(name + "\\n")
    while not os.path.exists(os.path.join(folder, "go-" + name)): time.sleep(0.005)
def first(folder):
    wait(folder, "first")
    print("what first has to say")
    return os.environ["PATH"]
def second(folder):
    wait(folder, "second")
    print("what second has to say")
    return 2
`;

t.test("an answer whose output died with the launcher is not taken for a success", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", document(box.dir));
  await box.write("t.py", python);
  const began = (line: string) =>
    until(
      `${line} began`,
      () => readFile(box.path("began"), "utf8").catch(() => ""),
      (text) => text.includes(`${line}\n`),
    );
  const cli = box.start(["run", dag, "--state", box.state, "--json", "--slots", "1"]);
  await began("first");
  const launcher = await until(
    "the launcher is there",
    () => processesOf("none=", outsideTag(box.state, false)).find((p) => p.role === "launcher"),
    (found) => found !== undefined,
  );
  if (launcher === undefined) throw new Error("no launcher");
  process.kill(launcher.pid, "SIGSTOP");
  await box.write("go-first", "");
  // The second one was handed over ahead: it begins when the worker has answered the first.
  await began("second");
  process.kill(launcher.pid, "SIGKILL");
  await box.write("go-second", "");
  const { code, stdout, stderr } = await cli.ended;
  t.equal(code, exitCodes.ok, stderr);
  const { run, tasks } = JSON.parse(stdout) as JsonSummary;
  const lines = await nodeLog(box.state, run);
  for (const task of ["first", "second"]) {
    const said = lines.filter((line) => line.task === task && line.stream === "stdout");
    const final = said.filter((line) => line.attempt === tasks[task]?.attempts);
    t.same(
      final.map(({ text }) => text),
      [`what ${task} has to say`],
      `${task}: the attempt that counts has all of its output`,
    );
  }
  t.equal(tasks.first?.attempts, 2, "and it is another one than that which died");
  t.equal(tasks.first?.result, `${process.env.PATH}:${box.state}/runs/${run}/work`, "with a PATH");
});
