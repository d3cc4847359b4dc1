// What many runs leave behind is bounded.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { until } from "../rig/until.ts";
import { AgentRig } from "./agent-rig.ts";

t.test(
  "folders and artifacts of old runs go, descriptors and shared memory with each run",
  async (t) => {
    await using rig = await AgentRig.start();
    const countOf = (folder: string) => readdirSync(folder).length;
    const descriptors = () => countOf("/proc/self/fd");
    const one = async (i: number) => {
      await rig.accept(`run${i}`, `dag: d${i}\ntasks:\n  a: { command: ['true'] }\n`);
      await rig.end(`run${i}`);
    };
    await one(0);
    const before = descriptors();
    for (let i = 1; i < 60; i += 1) await one(i);
    const { stateDir } = rig.config;
    for (const folder of ["runs", "artifacts"]) {
      await until(
        `${folder} are tidied up`,
        () => countOf(join(stateDir, folder)),
        (count) => count <= 51,
      );
    }
    t.ok(descriptors() <= before + 2, `${before} descriptors became ${descriptors()}`);
    t.equal(readdirSync("/dev/shm").filter((name) => name.includes("-run5")).length, 0);
  },
);
