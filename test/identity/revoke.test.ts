// A node that is revoked is out at once, whatever it shows; what it has delivered stays.
import t from "tap";
import { identityIn, joinByHand } from "./by-hand.ts";
import { adminToken, ask, Fleet, isIn, isRefused } from "./rig.ts";

t.test(
  "the open connection of a revoked node is closed at once, and its records stay",
  async (t) => {
    await using fleet = await Fleet.start(t.testdir());
    const agent = await fleet.agent("pump-7", { enrollToken: await fleet.enrollToken("pump-7") });
    await agent.until(() => isIn(agent));
    agent.record(20);
    const seq = agent.journal.nextSeq() - 1;
    await agent.until(() => agent.heard("acked").some(([acked]) => Number(acked) >= seq));
    t.match(await fleet.post("/api/nodes/pump-7/revoke"), {
      status: 200,
      value: { node: "pump-7" },
    });
    await agent.until(() => isRefused(agent));
    t.match(agent.heard("refused")[0], [
      { code: "unauthorized", detail: "node pump-7 was revoked" },
    ]);
    agent.record(5);
    const refusals = agent.heard("refused").length;
    await agent.until(() => agent.heard("refused").length > refusals);
    const { value } = await ask(`${fleet.url}/api/nodes/pump-7`, { token: adminToken });
    t.match(value, {
      ackedSeq: seq,
      connected: false,
      revokedAt: Number,
      keys: [{ state: "revoked" }],
    });
    t.match(
      value.events.find(({ event }: { event: string }) => event === "revoked"),
      {
        detail: "by an admin",
      },
    );
    await agent.end();

    await fleet.restart();
    const later = await fleet.agent("pump-7", { token: adminToken });
    await later.until(() => isRefused(later));
    t.pass("also after a restart of the master, and with the shared token");
    await later.end();

    const back = await fleet.agent("pump-7", { enrollToken: await fleet.enrollToken("pump-7") });
    await back.until(() => isIn(back));
    await back.until(() => back.heard("acked").some(([acked]) => Number(acked) >= seq + 5));
    t.pass("a token of an admin lets it in anew, with all that it still held");
  },
);

t.test("a node without a key can be revoked, and one that was never there", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const agent = await fleet.agent("press-1", { token: adminToken });
  await agent.until(() => isIn(agent));
  await fleet.post("/api/nodes/press-1/revoke");
  await agent.until(() => isRefused(agent));
  t.match(agent.heard("refused")[0], [{ detail: "node press-1 was revoked" }]);
  await fleet.post("/api/nodes/ghost/revoke");
  const ghost = await fleet.agent("ghost", { token: adminToken });
  await ghost.until(() => isRefused(ghost));
  t.match(ghost.heard("refused")[0], [{ detail: "node ghost was revoked" }]);
});

t.test("tokens of a node that were not used are gone when it is revoked", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const enrollToken = await fleet.enrollToken("pump-7");
  await fleet.post("/api/nodes/pump-7/revoke");
  const agent = await fleet.agent("pump-7", { enrollToken });
  await agent.until(() => isRefused(agent));
  t.match(agent.heard("refused")[0], [{ detail: /does not know this enrolment token/ }]);
});

t.test("revoking while a node comes in leaves nobody in, whatever the moment", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  for (let round = 0; round < 20; round++) {
    const node = `pump-${round}`;
    const identity = identityIn(fleet, node, await fleet.enrollToken(node));
    const joining = joinByHand(fleet, identity, node);
    // Not awaited before: it meets the hello, the proof or the welcome, as it comes.
    for (let turn = 0; turn < round; turn++) await new Promise((done) => setImmediate(done));
    const revoking = fleet.post(`/api/nodes/${node}/revoke`);
    await using joined = await joining;
    await revoking;
    if (joined.said.type === "welcome") t.equal(await joined.agent.closed(), 4001, node);
    const { status, value } = await ask(`${fleet.url}/api/nodes/${node}`, { token: adminToken });
    if (status === 200) t.match(value, { revokedAt: Number }, node);
    await using again = await joinByHand(fleet, identity, node);
    t.match(again.said, { type: "refused", code: "unauthorized" }, node);
  }
});
