// A bad disk under the master's database while a run comes in: what it acknowledges is there after its
// next start, whatever failed; the node sends the rest again.
import { rmSync, writeFileSync } from "node:fs";
import t from "tap";
import { Box } from "../rig/box.ts";
import { type FaultKind, faultEnv, noFaults, readReport } from "../rig/faults/faults.ts";
import { RealMaster } from "../rig/master.ts";
import { until } from "../rig/until.ts";
import { findLies, smallDag } from "./small-run.ts";

const points: [kind: FaultKind, at: number, times: number][] = [
  ["eio", 3, 2],
  ["enospc", 1, 0],
  ["short", 4, 2],
];

for (const [kind, at, times] of points) {
  const what = times === 0 ? "as long as it lasts" : `${times} times`;
  t.test(
    `${kind} from operation ${at} on, ${what}: nothing acknowledged is lost`,
    noFaults,
    async (t) => {
      await using box = await Box.create();
      const dag = await box.write("dag.yaml", smallDag);
      const broken = box.path("broken");
      const report = box.path("report");
      const plan = { under: box.path("master"), kind, at, times, while: broken, report };
      const master = await RealMaster.start(box, undefined, faultEnv(plan));
      writeFileSync(broken, "");
      const env = { ...master.env, EDGEDAG_FROM_SOURCE: undefined, EDGEDAG_DRAIN: "1s" };
      const first = await box.run(["agent"], {
        env: { ...env, EDGEDAG_DAG: dag, EDGEDAG_AFTER: "exit" },
      });
      rmSync(broken);
      await master.stop();
      await master.startAgain();
      const second = box.start(["agent"], { env: { ...env, EDGEDAG_AFTER: "stay" } });
      await until(
        "the master has everything",
        () => master.node(),
        (view) => view?.connected === true && view.outbox === 0 && view.activity === "idle",
        { describe: (view) => `${JSON.stringify(view)} ${second.stderr}` },
      );
      const told = { report: readReport(report), ends: [first, await second.stop()] };
      t.ok(told.report.hits.length > 0, told.report.hits[0] ?? "no hit");
      t.same(await findLies({ box, master, dag, node: "box" }, told, false), []);
      t.equal((await master.node())?.missingRecords, 0);
    },
  );
}
