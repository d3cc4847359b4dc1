// How a node gets a key of its own with a one-time token, and that it speaks only for itself with it.
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { helloOf, ScriptedAgent } from "../master/rig.ts";
import { adminToken, ask, Fleet, isIn, isRefused } from "./rig.ts";

t.test("a node is let in once by a one-time token, and by its own key from then on", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const enrollToken = await fleet.enrollToken("pump-7");
  const first = await fleet.agent("pump-7", { enrollToken });
  await first.until(() => isIn(first));
  await first.end();
  const path = join(fleet.dir, "pump-7", "identity.json");
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.notMatch(readFileSync(path, "utf8"), enrollToken, "the token is not kept on the node");

  const again = await fleet.agent("pump-7");
  await again.until(() => isIn(again));
  await again.end();
  await fleet.restart();
  const later = await fleet.agent("pump-7", { enrollToken });
  await later.until(() => isIn(later));
  t.pass("without the token, with it once more, and after a restart of the master");

  const { keys } = (await ask(`${fleet.url}/api/nodes/pump-7`, { token: adminToken })).value;
  t.match(keys, [{ state: "valid" }]);
});

t.test("the master keeps no token and no secret key", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const enrollToken = await fleet.enrollToken("pump-7");
  const agent = await fleet.agent("pump-7", { enrollToken });
  await agent.until(() => isIn(agent));
  const unused = await fleet.enrollToken("pump-8");
  await agent.end();
  await fleet.restart();
  const files = ["master.db", "master.db-wal"].map((name) => {
    return readFileSync(join(fleet.dataDir, name), "latin1");
  });
  for (const secret of [enrollToken, unused, adminToken]) {
    t.notOk(files.some((text) => text.includes(secret)));
    t.notOk(files.some((text) => text.includes(secret.slice(-43))));
  }
});

t.test("of ten nodes with one token at the same moment, one is let in", async (t) => {
  await using fleet = await Fleet.start(t.testdir(), { failureRate: null });
  const enrollToken = await fleet.enrollToken("pump-7");
  const agents = await Promise.all(
    Array.from({ length: 10 }, (_, i) => fleet.agent("pump-7", { enrollToken, state: `s${i}` })),
  );
  await Promise.all(agents.map((agent) => agent.until(() => isIn(agent) || isRefused(agent))));
  t.equal(agents.filter(isIn).length, 1);
  for (const agent of agents.filter((agent) => !isIn(agent))) {
    t.match(agent.heard("refused")[0], [
      { code: "unauthorized", detail: /token was used already/, remedy: /edgedag nodes enroll/ },
    ]);
  }
});

t.test("a token is for one node, for a while, and must be right", async (t) => {
  let now = Date.now();
  await using fleet = await Fleet.start(t.testdir(), { clock: () => now });
  const cases = [
    { node: "pump-8", token: await fleet.enrollToken("pump-7"), detail: /not for node pump-8/ },
    { node: "pump-9", token: "edt_nonsense", detail: /does not know this enrolment token/ },
    {
      node: "pump-9",
      token: `${(await fleet.enrollToken("pump-9")).slice(0, -3)}AAA`,
      detail: /does not know this enrolment token/,
    },
    { node: "pump-9", token: await fleet.enrollToken("pump-9", 60_000), detail: /has expired/ },
  ];
  now += 60_000;
  for (const [i, { node, token, detail }] of cases.entries()) {
    const agent = await fleet.agent(node, { enrollToken: token, state: `s${i}` });
    await agent.until(() => isRefused(agent));
    t.match(agent.heard("refused")[0], [{ code: "unauthorized", detail }]);
    await agent.end();
  }
  const hour = await fleet.enrollToken("pump-1");
  now += 3_599_000;
  const late = await fleet.agent("pump-1", { enrollToken: hour });
  await late.until(() => isIn(late));
  t.pass("an hour unless told");
});

t.test("a key that was let in while the welcome got lost is let in again", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const enrollToken = await fleet.enrollToken("pump-7");
  const agent = await fleet.agent("pump-7", { enrollToken });
  await agent.until(() => isIn(agent));
  await agent.end();
  // As it was on the disk before the welcome: the key exists, and nobody has told that it is known.
  const path = join(fleet.dir, "pump-7", "identity.json");
  const kept = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...kept, isKnown: false }));
  const again = await fleet.agent("pump-7", { enrollToken });
  await again.until(() => isIn(again) || isRefused(again));
  t.ok(isIn(again), "though its token is spent");
});

t.test("a key speaks for no other node, and is no key of the HTTP API", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const enrollToken = await fleet.enrollToken("pump-7");
  const agent = await fleet.agent("pump-7", { enrollToken });
  await agent.until(() => isIn(agent));
  await agent.end();
  const other = await fleet.agent("press-1", { state: "pump-7" });
  await other.until(() => isRefused(other));
  t.match(other.heard("refused")[0], [{ detail: /that of node pump-7, not of press-1/ }]);

  const { current, token } = JSON.parse(
    readFileSync(join(fleet.dir, "pump-7", "identity.json"), "utf8"),
  );
  for (const secret of [enrollToken, current.key, current.secret.replaceAll("\n", ""), token]) {
    const answer = await ask(`${fleet.url}/api/nodes`, { token: secret });
    t.equal(answer.status, 401);
  }
});

t.test("the shared token does not speak for a node that has a key", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const simple = await fleet.agent("pump-7", { token: adminToken });
  await simple.until(() => isIn(simple));
  await simple.end();
  t.pass("before it has one, it does");
  const agent = await fleet.agent("pump-7", { enrollToken: await fleet.enrollToken("pump-7") });
  await agent.until(() => isIn(agent));
  await agent.end();
  const thief = await fleet.agent("pump-7", { token: adminToken, state: "thief" });
  await thief.until(() => isRefused(thief));
  t.match(thief.heard("refused")[0], [{ detail: /shared token does not speak for it/ }]);
  const both = await fleet.agent("pump-7", { token: adminToken });
  await both.until(() => isIn(both));
  const free = await fleet.agent("press-1", { token: adminToken });
  await free.until(() => isIn(free));
  t.pass("names that are nobody's are still let in by it");
});

t.test("EDGEDAG_NODE_AUTH=identity lets nobody in by the shared token", async (t) => {
  await using fleet = await Fleet.start(t.testdir(), { needsNodeIdentity: true });
  const simple = await fleet.agent("press-1", { token: adminToken });
  await simple.until(() => isRefused(simple));
  t.match(simple.heard("refused")[0], [{ detail: /by their own identity/, remedy: /enroll/ }]);
  const agent = await fleet.agent("pump-7", { enrollToken: await fleet.enrollToken("pump-7") });
  await agent.until(() => isIn(agent));
});

t.test("another token lets a node in anew, and its old key is worth nothing", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const old = await fleet.agent("pump-7", { enrollToken: await fleet.enrollToken("pump-7") });
  await old.until(() => isIn(old));
  await old.end();
  const fresh = await fleet.agent("pump-7", {
    enrollToken: await fleet.enrollToken("pump-7"),
    state: "fresh",
  });
  await fresh.until(() => isIn(fresh));
  await fresh.end();
  const back = await fleet.agent("pump-7");
  await back.until(() => isRefused(back));
  t.match(back.heard("refused")[0], [{ detail: /revoked/ }]);
});

t.test("a token that is worth nothing does not cost a node the key that it has", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const agent = await fleet.agent("pump-7", { enrollToken: await fleet.enrollToken("pump-7") });
  await agent.until(() => isIn(agent));
  await agent.end();
  const again = await fleet.agent("pump-7", { enrollToken: await fleet.enrollToken("other") });
  await again.until(() => isIn(again));
  t.match(again.heard("disconnected")[0]?.[0], /not for node pump-7; the key before is tried/);
});

t.test("only an admin makes tokens and revokes", async (t) => {
  await using fleet = await Fleet.start(t.testdir(), {
    apiKeys: [{ name: "ops", role: "submit", key: "key-of-the-ops" }],
  });
  for (const path of ["/api/nodes/a/enroll-token", "/api/nodes/a/revoke"]) {
    t.match(await fleet.post(path, {}, "key-of-the-ops"), { status: 403 });
    t.match(await ask(`${fleet.url}${path}`, { method: "POST" }), { status: 401 });
  }
  for (const [path, body] of [
    ["/api/nodes/a/enroll-token", { expiresMs: 5 }],
    ["/api/nodes/a/enroll-token", { expiresMs: "1h" }],
    ["/api/nodes/a%20b/enroll-token", {}],
  ] as const) {
    t.match(await fleet.post(path, body), {
      status: 400,
      value: { error: { class: "Validation" } },
    });
  }
});

t.test("without a proof nothing is let in, and nothing more than a proof is read", async (t) => {
  await using fleet = await Fleet.start(t.testdir());
  const key = "A".repeat(43);
  const signature = "A".repeat(86);
  const hello = helloOf("pump-7", { identity: { key } });
  const join = () => new ScriptedAgent(fleet.url, { headers: { "edgedag-key": key } });
  {
    await using agent = join();
    agent.send(hello);
    t.match(await agent.next("challenge"), { channel: "plain" });
    agent.send({ type: "proof", signature });
    t.match(await agent.next("refused"), { code: "unauthorized", detail: /proof .* is wrong/ });
    t.equal(await agent.closed(), 4001);
  }
  {
    await using agent = join();
    agent.send(hello);
    await agent.next("challenge");
    agent.send({
      type: "heartbeat",
      state: "idle",
      runs: {},
      load: 0,
      rssBytes: 0,
      outbox: 0,
      loopLagMs: 0,
    });
    t.match(await agent.next("refused"), { code: "bad-message", detail: /instead of a proof/ });
  }
  {
    await using agent = join();
    agent.send(hello);
    agent.send({ type: "proof", signature });
    t.match(await agent.next("refused"), { code: "bad-message", detail: /before the challenge/ });
  }
  {
    await using agent = join();
    agent.sendText(JSON.stringify({ ...hello, boot: "x".repeat(3 * 2 ** 20) }));
    t.equal(await agent.closed(), 4005, "a hello of 3 MiB is not waited for");
  }
  {
    await using agent = new ScriptedAgent(fleet.url);
    t.match(await agent.next("refused"), { code: "unauthorized", detail: "the token is missing" });
  }
});
