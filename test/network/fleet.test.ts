// A hundred nodes on one master, in the real protocol. A thousand: test/bench/fleet.ts.
import { test } from "tap";
import { testMaster } from "../master/rig.ts";
import { SimulatedFleet } from "./simulated-fleet.ts";

test("a hundred nodes that work at once are all alive, in time, and stored once", async (t) => {
  await using master = await testMaster({ heartbeatMs: 500, lateAfter: 4, lostAfter: 10 });
  const fleet = new SimulatedFleet(master.url);
  t.teardown(() => fleet.leave());
  await fleet.join(100);
  fleet.forget();
  for (let round = 0; round < 5; round++) await fleet.work();
  // Some rounds of heartbeats.
  while (fleet.figures().heartbeats < 300) await new Promise((resolve) => setTimeout(resolve, 50));
  const figures = fleet.figures();
  t.comment(JSON.stringify(figures));
  t.match(figures, { nodes: 100, lost: 0, records: 1000 });
  t.ok(
    figures.ackP99Ms < 500,
    `an answer took ${figures.ackP99Ms} ms, a heartbeat comes every 500`,
  );
  const { nodes } = await master.json("/api/nodes");
  t.equal(nodes.filter((node) => Reflect.get(node, "state") === "alive").length, 100);
  t.match(await (await master.get("/metrics")).text(), "edgedag_records_total 1000\n");
});
