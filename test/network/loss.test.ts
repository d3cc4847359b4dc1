// A real link through a network that loses packets in both directions: everything is stored once while
// they are lost, and at once when they no longer are.
import { test } from "tap";
import { defaultBackoff } from "../../agent/link/backoff.ts";
import { LinkRig } from "../link/rig.ts";
import { testMaster } from "../master/rig.ts";
import { LossyNetwork, noLossyNetwork } from "../rig/lossy-network.ts";
import { until } from "../rig/until.ts";

const rule = { heartbeatMs: 1_000, lateAfter: 20, lostAfter: 60 };

test("30 % of the packets are lost each way, and no record", {
  skip: noLossyNetwork,
}, async (t) => {
  await using master = await testMaster(rule);
  await using network = await LossyNetwork.start(Number(new URL(master.url).port));
  const rig = new LinkRig(t.testdir(), `ws://${network.address}/link`, { backoff: defaultBackoff });
  t.teardown(() => rig.end());
  const acked = () => Number(rig.heard("acked").at(-1)?.[0] ?? 0);
  rig.record(3, "before");
  await rig.until(() => acked() >= 3);
  network.lose(30);
  for (let round = 0; round < 5; round += 1) {
    rig.record(10, `round ${round}`);
    const last = rig.journal.nextSeq() - 1;
    await until(`records to ${last} are acknowledged`, acked, (seq) => seq >= last, {
      withinMs: 60_000,
    });
  }
  network.lose(0);
  rig.record(10, "after");
  const last = rig.journal.nextSeq() - 1;
  const healedAt = performance.now();
  await rig.until(() => acked() >= last);
  const ms = performance.now() - healedAt;
  t.ok(ms < 5_000, `through after ${ms} ms`);
  t.match(await (await master.get("/metrics")).text(), `edgedag_records_total ${last}\n`);
});
