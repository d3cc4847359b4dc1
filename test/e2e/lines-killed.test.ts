// The agent is killed while quick commands wait in line at the launcher: none is skipped, none
// overtakes another, and the log has the output of each attempt that counts exactly once.
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { written } from "../reattach/reattach-rig.ts";
import { Box } from "../rig/box.ts";
import { until } from "../rig/until.ts";

const count = 200;

t.setTimeout(110_000);

t.test("three kills in a chain of quick commands", async (t) => {
  await using box = await Box.create();
  const tasks = Array.from({ length: count }, (_, i) => {
    const needs = i === 0 ? "" : `needs: [c${i - 1}], `;
    return `  c${i}: { ${needs}shell: 'echo ${i} >> "$DIR/marks"; echo out ${i}' }`;
  });
  const text = `dag: killed\nenv: { DIR: "${box.dir}" }\ntasks:\n${tasks.join("\n")}\n`;
  const dag = await box.write("dag/dag.yaml", text);
  const start = () => box.start(["agent"], { env: { EDGEDAG_DAG: dag } });
  const marks = () => {
    const path = box.path("marks");
    return existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n").map(Number) : [];
  };
  for (const enough of [30, 80, 130]) {
    const agent = start();
    await until(
      `${enough} have run`,
      () => new Set(marks()).size,
      (n) => n >= enough || agent.hasEnded,
    );
    await agent.stop("SIGKILL");
  }
  const last = await start().ended;
  t.equal(last.code, exitCodes.ok, last.stderr);
  t.same(
    [...new Set(marks())],
    Array.from({ length: count }, (_, i) => i),
    "in their order",
  );
  for (let i = 0; i < count; i += 1) {
    const said = [1, 2, 3, 4].map((attempt) => written(box, `c${i}`, { attempt }));
    const heard = said.filter((text) => text !== "");
    t.ok(heard.length > 0 && heard.every((text) => text === `out ${i}\n`), `c${i}: ${heard}`);
  }
});
