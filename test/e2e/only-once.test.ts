// Tasks that must not be begun twice (`retries: { lost: 0 }`): the process is killed at random
// moments, and whatever was in flight then is lost, not begun again.
import { readdir, readFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import type { JsonSummary } from "../rig/run-json.ts";

const rounds = 8;
const length = 30;

t.test(`${rounds} kills: no task begins twice`, async (t) => {
  for (let round = 0; round < rounds; round += 1) {
    await using box = await Box.create();
    await box.write("marks/.keep", "");
    const dag = await box.write("dag.yaml", document(box.path("marks")));
    await box.write("t.py", python);
    const args = ["run", dag, "--state", box.state, "--json"];
    const cli = box.start(args);
    await cli.says(/tasks/);
    // The moment of the kill: any is right, none is waited for.
    await new Promise((resolve) => setTimeout(resolve, 60 + round * 45));
    await cli.stop("SIGKILL");
    const { code, stdout, stderr } = await box.run(args);
    t.equal(code, exitCodes.ok, `round ${round}: ${stderr.slice(-500)}`);
    const summary = JSON.parse(stdout) as JsonSummary;
    const marks = await readdir(box.path("marks"));
    for (const name of marks.filter((name) => name !== ".keep")) {
      const text = await readFile(box.path(`marks/${name}`), "utf8");
      t.equal(text, "begun\n", `round ${round}: ${name} began once`);
    }
    const lost = Object.entries(summary.tasks).filter(
      ([, { outcome }]) => outcome.kind === "failed",
    );
    for (const [task, { outcome, attempts }] of lost) {
      t.match(outcome, { failure: { reason: "lost" } }, `round ${round}: ${task} was lost`);
      t.equal(attempts, 1, `round ${round}: ${task} had one attempt`);
    }
    for (const [task, { outcome }] of Object.entries(summary.tasks)) {
      if (outcome.kind === "succeeded") t.ok(marks.includes(task), `round ${round}: ${task} ran`);
    }
  }
});

/** Two chains, of functions and of programs; a lost task does not stop those behind it. */
function document(marks: string): string {
  const tasks = Array.from({ length }, (_, index) => {
    const needs = (name: string) =>
      index === 0 ? "" : `, needs: [{ task: ${name}${index - 1}, on: any }]`;
    return `  p${index}: { python: "t.py:f"${needs("p")} }
  s${index}: { shell: 'echo begun >> "$MARKS/$EDGEDAG_TASK"; sleep 0.01'${needs("s")} }`;
  });
  return `dag: once
env: { MARKS: "${marks}" }
defaults: { retries: { limit: 0, lost: 0 }, allow_failure: true }
tasks:
${tasks.join("\n")}
`;
}

const python = `
import os, time
def f():
    with open(os.path.join(os.environ["MARKS"], os.environ["EDGEDAG_TASK"]), "a") as file:
        file.write("begun\\n")
    time.sleep(0.01)
`;
