// A node's key moves on by itself, and no moment at which something is killed shuts the node out.
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { identityIn, joinByHand } from "./by-hand.ts";
import { adminToken, ask, Fleet, isIn } from "./rig.ts";

async function keysAt(fleet: Fleet, node: string): Promise<{ key: string; state: string }[]> {
  return (await ask(`${fleet.url}/api/nodes/${node}`, { token: adminToken })).value.keys;
}

t.test("a link whose key is old gets another one by itself, and goes on with it", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const agent = await fleet.agent("pump-7", {
    enrollToken: await fleet.enrollToken("pump-7"),
    keyRotationMs: 1,
  });
  await agent.until(() => isIn(agent));
  const [first] = await keysAt(fleet, "pump-7");
  // Let in; announced; used: and so on, with each heartbeat.
  await agent.until(() => agent.heard("connected").length >= 7);
  agent.record(1);
  const seq = agent.journal.nextSeq() - 1;
  await agent.until(() => agent.heard("acked").some(([acked]) => Number(acked) >= seq));
  await agent.end();
  t.same(agent.heard("refused"), []);
  const keys = await keysAt(fleet, "pump-7");
  t.notOk(
    keys.some(({ key }) => key === first?.key),
    "the first key is forgotten",
  );
  t.equal(keys.filter(({ state }) => state === "valid").length, 1);
  const kept = JSON.parse(readFileSync(join(fleet.dir, "pump-7", "identity.json"), "utf8"));
  t.ok(keys.some(({ key }) => key === kept.current.key || key === kept.next?.key));
});

t.test("the old key is good until the new one was used, and not after that", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const identity = identityIn(fleet, "a", await fleet.enrollToken("pump-7"), 1000);
  {
    await using first = await joinByHand(fleet, identity, "pump-7");
    t.equal(first.said.type, "welcome");
    t.equal(identity.welcomed(undefined), false);
  }
  t.equal(identity.rotate(Date.now() + 500), false, "too young");
  t.equal(identity.rotate(Date.now() + 2000), true);
  t.equal(identity.rotate(Date.now() + 9000), false, "one at a time");
  const next = identity.shown().next;
  // The device dies after the announcement: on its disk is what was there before the welcome.
  cpSync(join(fleet.dir, "a"), join(fleet.dir, "b"), { recursive: true });
  {
    await using announced = await joinByHand(fleet, identity, "pump-7");
    t.match(announced.said, { type: "welcome", nextKey: next });
  }
  t.match(await keysAt(fleet, "pump-7"), [{ state: "valid" }, { state: "next" }]);
  const revived = identityIn(fleet, "b");
  {
    await using again = await joinByHand(fleet, revived, "pump-7");
    t.match(again.said, { type: "welcome", nextKey: next }, "the old key, and the same next one");
    t.equal(revived.welcomed(next), true);
  }
  {
    await using used = await joinByHand(fleet, revived, "pump-7");
    t.equal(used.said.type, "welcome");
  }
  t.match(await keysAt(fleet, "pump-7"), [{ state: "valid", key: next }]);
  // `identity` still holds the old key, and has not heard of the welcome.
  await using late = await joinByHand(fleet, identity, "pump-7");
  t.match(late.said, { type: "refused", code: "unauthorized" });
});

t.test(
  "a master that was restored from an older backup takes the key before, and moves on",
  async (t) => {
    await using fleet = await Fleet.start(t.testdir());
    const before = await fleet.agent("pump-7", { enrollToken: await fleet.enrollToken("pump-7") });
    await before.until(() => isIn(before));
    await before.end();
    const { port } = new URL(fleet.url);
    await fleet.stop();
    cpSync(fleet.dataDir, join(fleet.dir, "backup"), { recursive: true });
    const listen = { host: "127.0.0.1", port: Number(port) };
    await fleet.begin({ listen });
    // Two turns: announced and used once, so that the key of the backup is the one before.
    const identity = identityIn(fleet, "pump-7", undefined, 1);
    for (const isLast of [false, true]) {
      if (!isLast) t.ok(identity.rotate(Date.now() + 1000));
      await using joined = await joinByHand(fleet, identity, "pump-7");
      if (joined.said.type === "welcome") identity.welcomed(joined.said.nextKey);
    }
    await fleet.stop();
    cpSync(join(fleet.dir, "backup"), fleet.dataDir, { recursive: true, force: true });
    await fleet.begin({ listen });
    const after = await fleet.agent("pump-7");
    await after.until(() => after.heard("connected").length >= 2);
    t.match(
      after.heard("disconnected")[0]?.[0],
      /does not know the key .* the key before is tried/,
    );
    t.same(after.heard("refused"), []);
  },
);

t.test("the next key must be signed for too", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const identity = identityIn(fleet, "a", await fleet.enrollToken("pump-7"), 1);
  {
    await using first = await joinByHand(fleet, identity, "pump-7");
    t.equal(first.said.type, "welcome");
    identity.welcomed(undefined);
  }
  identity.rotate(Date.now() + 1000);
  await using joined = await joinByHand(fleet, identity, "pump-7", (proof) => ({
    ...proof,
    nextSignature: proof.signature,
  }));
  t.equal(joined.said.type, "welcome", "it is who it says");
  t.notOk("nextKey" in joined.said, "and its next key is not taken");
  t.match(await keysAt(fleet, "pump-7"), [{ state: "valid" }]);
});

t.test("a damaged file is said, with what to do", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  for (const text of ["", "{}", '{"version":1,"current":{"key":"x","secret":"y","createdAt":1}}']) {
    const dir = t.testdir({ "identity.json": text });
    t.throws(() => identityIn(fleet, join("..", dir.split("/").at(-1) ?? "")), {
      message: /is damaged: remove it, and let the node in anew/,
    });
  }
});
