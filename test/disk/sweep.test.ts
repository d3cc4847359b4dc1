// A bad disk under journal, outbox, log, objects and health file: the N-th operation of a real agent
// fails or does silent harm, for N from 1 on until a run without a hit. Here some N of each kind;
// all of them with EDGEDAG_DISK=all (some 20 minutes).
import t from "tap";
import { Box } from "../rig/box.ts";
import { type FaultKind, noFaults } from "../rig/faults/faults.ts";
import { RealMaster } from "../rig/master.ts";
import { findLies, runWithFault, smallDag } from "./small-run.ts";

const isWhole = process.env.EDGEDAG_DISK === "all";
const [only, from = 1] = (process.env.EDGEDAG_DISK_FROM ?? "").split(":");
/** Spread over what a run does: the opening of the state, the run, its end. */
const sample: { [kind in Exclude<FaultKind, "count">]: number[] } = {
  eio: [3, 40, 90, 130],
  enospc: [5, 40, 70],
  short: [10, 50],
  torn: [9, 31, 55],
  flip: [12, 33, 44, 60, 72],
};
const silent: readonly FaultKind[] = ["torn", "flip"];
const atOnce = 2;

for (const [name, some] of Object.entries(sample)) {
  const kind = name as FaultKind; // a key of `sample`
  if (only !== undefined && only !== "" && only !== kind) continue;
  t.test(
    `${kind}: found, told, and nothing that was told is lost or wrong`,
    noFaults,
    async (t) => {
      let hits = 0;
      let isPast = false;
      const batches = isWhole ? batchesFrom(Number(from)) : [some];
      for (const batch of batches) {
        // A master of its own for some points each: a test's processes do not live for ever.
        await using box = await Box.create();
        const master = await RealMaster.start(box);
        const dag = await box.write("dag.yaml", smallDag);
        const queue = batch.values();
        const work = async () => {
          for (const at of queue) {
            const run = { box, master, dag, node: `${kind}-${at}` };
            const told = await runWithFault(run, { kind, at }).catch((error: unknown) => {
              t.fail(`${kind} ${at}: ${String(error)}`);
            });
            if (told === undefined) continue;
            const [hit] = told.report.hits;
            if (hit === undefined) isPast = true;
            else hits += 1;
            const lies = await findLies(run, told, silent.includes(kind));
            t.same(lies, [], `${kind} ${at}: ${hit ?? "no hit"}`);
            if (lies.length > 0) t.comment(told.ends.map(({ stderr }) => stderr).join("----\n"));
          }
        };
        await Promise.all(Array.from({ length: atOnce }, work));
        if (isPast) break;
      }
      t.ok(isWhole ? isPast && hits > 20 : hits >= some.length - 1, `${hits} operations were hit`);
    },
  );
}

function* batchesFrom(start: number): Generator<number[]> {
  for (let first = start; ; first += 10) {
    yield Array.from({ length: 10 }, (_, index) => first + index);
  }
}
