// What the agent takes: each run once, and nothing that it could not write down.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { AgentRig, artifactOf } from "./agent-rig.ts";

const short = "dag: short\ntasks:\n  a: { command: ['true'] }\n";

t.test("the name of a run that has ended is refused, and the journal stays sound", async (t) => {
  await using rig = await AgentRig.start();
  await rig.accept("once", short);
  await rig.end("once");
  const again = await rig.agent.accept("once", await artifactOf(short), {}, "cli");
  t.match(again, { ok: false, diagnostics: [{ code: "E_RUN_ID" }] });
  await rig.accept("next", short);
  await rig.end("next");
  await rig.stop();
  await rig.begin();
  t.strictSame(rig.agent.openRuns(), []);
  t.match(await rig.agent.accept("once", await artifactOf(short), {}, "cli"), { ok: false });
  t.notMatch(rig.said.join("\n"), /E_STATE/);
});

t.test(
  "a run whose artifact is gone after a restart ends as failed, and the master is told",
  async (t) => {
    await using rig = await AgentRig.start({ master: "http://127.0.0.1:1" });
    await rig.accept("first", "dag: a\ntasks:\n  a: { command: [sleep, '60'] }\n");
    await rig.accept("second", short);
    await rig.stop();
    rmSync(join(rig.config.stateDir, "artifacts"), { recursive: true });
    await rig.begin();
    t.strictSame(rig.agent.openRuns(), []);
    const ends = rig.outbox().filter(({ type }) => type === "run-finished");
    t.strictSame(
      ends.map(({ run, outcome }) => [run, outcome]),
      [
        ["first", { kind: "failed", failed: [] }],
        ["second", { kind: "failed", failed: [] }],
      ],
    );
  },
);

t.test("a run that cannot be opened is told once, tried again, and then runs", async (t) => {
  await using rig = await AgentRig.start();
  const blocked = join(rig.config.stateDir, "runs");
  rmSync(blocked, { recursive: true, force: true });
  writeFileSync(blocked, "a file in the place of a folder");
  await rig.accept("blocked", short);
  // Two more tries come in this time: that nothing is said cannot be waited for otherwise.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  t.equal(rig.said.filter((line) => line.includes("cannot be opened")).length, 1);
  rmSync(blocked);
  t.strictSame((await rig.end("blocked")).outcome, { kind: "succeeded" });
});

t.test("a run goes on in a working folder that somebody has removed", async (t) => {
  await using rig = await AgentRig.start();
  const artifact = await artifactOf(
    "dag: two\ntasks:\n  a: { command: [sleep, '60'], retries: { lost: 1 } }\n",
  );
  const dag = { ...artifact, files: [] };
  t.ok((await rig.agent.accept("two", dag, {}, "cli")).ok);
  await rig.stop();
  rmSync(join(rig.config.stateDir, "runs", "two"), { recursive: true, force: true });
  await rig.begin();
  t.strictSame(rig.agent.openRuns(), ["two"]);
  rig.agent.cancel("two", "user");
  t.equal((await rig.end("two")).outcome.kind, "cancelled");
});
