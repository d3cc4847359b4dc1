// Cancels and drains that come before a run has begun, in every phase in which they can come.
import t from "tap";
import { until } from "../rig/until.ts";
import { AgentRig } from "./agent-rig.ts";

const long = "dag: long\ntasks:\n  a: { command: [sleep, '60'] }\n";
const short = "dag: short\ntasks:\n  a: { command: ['true'] }\n";

function running(rig: AgentRig): Promise<unknown> {
  return until(
    "it runs",
    () => rig.agent.current?.host.running().length,
    (count) => count === 1,
  );
}

t.test("a run that is cancelled before its store is open ends as cancelled, once", async (t) => {
  await using rig = await AgentRig.start({ master: "http://127.0.0.1:1" });
  await rig.accept("early", long);
  rig.agent.cancel("early", "user");
  const { outcome } = await rig.end("early");
  t.strictSame(outcome, { kind: "cancelled", by: "user" });
  await rig.accept("next", short);
  t.strictSame((await rig.end("next")).outcome, { kind: "succeeded" });
  const types = rig.outbox().filter(({ run }) => run === "early");
  t.strictSame(
    types.map(({ type }) => type).filter((type) => String(type).startsWith("run-")),
    ["run-started", "run-finished"],
  );
  t.notMatch(rig.said.join("\n"), /a bug of edgedag/);
});

t.test("a run that goes on is cancelled before its events are replayed", async (t) => {
  await using rig = await AgentRig.start();
  await rig.accept("again", long);
  await running(rig);
  await rig.stop();
  await rig.begin();
  rig.agent.cancel("again", "user");
  t.strictSame((await rig.end("again")).outcome, { kind: "cancelled", by: "user" });
  t.notMatch(rig.said.join("\n"), /a bug of edgedag/);
});

t.test("a run that waits for its turn stays cancelled across a restart", async (t) => {
  await using rig = await AgentRig.start();
  await rig.accept("first", long);
  await rig.accept("second", long);
  t.ok(rig.agent.cancel("second", "master"));
  await rig.stop();
  await rig.begin();
  t.ok(rig.agent.cancel("first", "user"));
  t.strictSame((await rig.end("first")).outcome, { kind: "cancelled", by: "user" });
  t.strictSame((await rig.end("second")).outcome, { kind: "cancelled", by: "master" });
});

t.test("a run that was drained before it began begins after the restart", async (t) => {
  await using rig = await AgentRig.start({ master: "http://127.0.0.1:1" });
  await rig.accept("drained", short);
  t.equal(await rig.agent.drain(10_000), "drained");
  await rig.stop();
  await rig.begin();
  t.strictSame((await rig.end("drained")).outcome, { kind: "succeeded" });
  const starts = rig.outbox().filter(({ type }) => type === "run-started");
  t.equal(starts.length, 1);
});

t.test("a drain ends when the run that it waits for is given up", async (t) => {
  await using rig = await AgentRig.start();
  await rig.accept("broken", long);
  await running(rig);
  const drained = rig.agent.drain(60_000);
  rig.agent.current?.host.abandon();
  t.equal(await drained, "drained");
});
