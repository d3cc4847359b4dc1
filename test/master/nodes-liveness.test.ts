// Alive, late and lost, by a clock that the test owns.
import t from "tap";
import { livenessOf } from "../../master/nodes/liveness.ts";
import { helloOf, idleHeartbeat, ScriptedAgent, testMaster } from "./rig.ts";

t.test("the rule", async (t) => {
  const rule = { heartbeatMs: 1000, lateAfter: 2, lostAfter: 5 };
  t.equal(livenessOf(0, 1999, rule), "alive");
  t.equal(livenessOf(0, 2000, rule), "late");
  t.equal(livenessOf(0, 4999, rule), "late");
  t.equal(livenessOf(0, 5000, rule), "lost");
  t.equal(livenessOf(9000, 0, rule), "alive", "a clock that was set back");
});

t.test("a silent node becomes late, then lost and cut; its return is noted", async (t) => {
  let now = 1_000_000;
  await using master = await testMaster({ heartbeatMs: 60_000, clock: () => now });
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  const state = async (): Promise<string> => (await master.json("/api/nodes/n1")).state;
  now += 119_999;
  await master.check();
  t.equal(await state(), "alive");
  now += 1;
  await master.check();
  t.equal(await state(), "late");
  agent.send(idleHeartbeat);
  await agent.next("ack");
  await master.check();
  t.equal(await state(), "alive");
  now += 300_000;
  await master.check();
  t.equal(await state(), "lost");
  t.ok([1006, 4008].includes(await agent.closed()), "its connection is cut");
  now += 1000;
  const again = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using back = again.agent;
  t.equal(await state(), "alive");
  const node = await master.json("/api/nodes/n1");
  const events = node.events.map((event) => event.event).reverse();
  t.same(events, ["connected", "late", "alive", "lost", "disconnected", "alive", "connected"]);
  t.ok(back);
});

t.test("when a node was last seen survives a restart of the master", async (t) => {
  let now = 1_000_000;
  await using master = await testMaster({ heartbeatMs: 1000, clock: () => now });
  const { agent } = await ScriptedAgent.join(
    master.url,
    helloOf("n1", { labels: { site: "graz" } }),
  );
  now += 500;
  agent.send(idleHeartbeat);
  await agent.next("ack");
  await master.restart();
  now += 60_000;
  const node = await master.json("/api/nodes/n1");
  t.match(node, {
    state: "lost",
    connected: false,
    lastSeenAt: 1_000_500,
    labels: { site: "graz" },
    capabilities: { architecture: "x64" },
  });
  await agent[Symbol.asyncDispose]();
});
