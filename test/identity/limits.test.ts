// Guessing has a pace, and so has calling; neither costs those who do nothing wrong.
import t from "tap";
import { FailedAttempts, networkOf } from "../../master/access/failed-attempts.ts";
import { digestOf } from "../../master/access/secret-digest.ts";
import { adminToken, ask, Fleet, isIn, isRefused } from "./rig.ts";

const rate = { count: 5, perMs: 60_000 };

t.test("an address that shows many wrong tokens is not listened to for a while", async (t) => {
  let now = Date.now();
  await using fleet = await Fleet.start(t.testdir(), { failureRate: rate, clock: () => now });
  const url = `${fleet.url}/api/nodes`;
  for (let guess = 0; guess < 5; guess++) {
    t.match(await ask(url, { token: `guess-${guess}` }), { status: 401 });
  }
  const blocked = await ask(url, { token: adminToken });
  t.match(blocked, {
    status: 429,
    headers: { "retry-after": /^\d+$/ },
    value: { error: { code: "E_API_FAILURES", remedy: /EDGEDAG_AUTH_LIMIT/ } },
  });
  t.match(await ask(url), { status: 401 }, "who shows nothing does not guess");
  t.match(await ask(`${fleet.url}/healthz`, { token: "guess" }), { status: 200 });
  const agent = await fleet.agent("pump-7", { token: adminToken });
  await agent.until(() => isRefused(agent));
  t.match(agent.heard("refused")[0], [{ detail: /too many wrong secrets/ }]);
  await agent.end();
  now += Number(blocked.headers["retry-after"]) * 1000;
  t.match(await ask(url, { token: adminToken }), { status: 200 });
});

t.test("one wrong token that is shown again and again holds up nobody else", async (t) => {
  const now = Date.now();
  await using fleet = await Fleet.start(t.testdir(), { failureRate: rate, clock: () => now });
  const url = `${fleet.url}/api/nodes`;
  const seen: number[] = [];
  for (let turn = 0; turn < 30; turn++) seen.push((await ask(url, { token: "old-token" })).status);
  t.same(seen.slice(0, 5), [401, 401, 401, 401, 401]);
  t.same(new Set(seen.slice(5)), new Set([429]), "it is slowed down itself");
  t.match(await ask(url, { token: adminToken }), { status: 200 });
  const agent = await fleet.agent("pump-7", { token: adminToken });
  await agent.until(() => isIn(agent));
  t.pass("a node behind the same router is let in");
});

t.test("guesses at the link count too, and a node with its own key is never held up", async (t) => {
  const now = Date.now();
  await using fleet = await Fleet.start(t.testdir(), { failureRate: rate, clock: () => now });
  const own = await fleet.agent("pump-1", { enrollToken: await fleet.enrollToken("pump-1") });
  await own.until(() => isIn(own));
  await own.end();
  for (let guess = 0; guess < 5; guess++) {
    const agent = await fleet.agent("pump-7", { token: `guess-${guess}`, state: `g${guess}` });
    await agent.until(() => isRefused(agent));
    t.match(agent.heard("refused")[0], [{ detail: "the token is wrong" }]);
    await agent.end();
  }
  t.match(await ask(`${fleet.url}/api/nodes`, { token: adminToken }), { status: 429 });
  const again = await fleet.agent("pump-1");
  await again.until(() => isIn(again));
});

t.test("a key has its calls a time, and others have theirs", async (t) => {
  const now = Date.now();
  await using fleet = await Fleet.start(t.testdir(), {
    clock: () => now,
    apiRate: { count: 3, perMs: 60_000 },
    apiKeys: [
      { name: "a", role: "read", key: "key-of-a-a" },
      { name: "b", role: "read", key: "key-of-b-b" },
    ],
  });
  const url = `${fleet.url}/api/nodes`;
  const statuses = [];
  for (let call = 0; call < 4; call++)
    statuses.push((await ask(url, { token: "key-of-a-a" })).status);
  t.same(statuses, [200, 200, 200, 429]);
  t.match(await ask(url, { token: "key-of-a-a" }), {
    headers: { "retry-after": "20" },
    value: { error: { code: "E_API_RATE", remedy: /EDGEDAG_API_RATE/ } },
  });
  t.match(await ask(url, { token: "key-of-b-b" }), { status: 200 });
  t.match(await ask(url, { token: adminToken }), { status: 200 });
});

t.test("what is remembered of guesses does not grow without end", async (t) => {
  const failures = new FailedAttempts({ count: 10, perMs: 60_000 });
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 200_000; i++) {
    const address = `2001:db8:${(i >> 16).toString(16)}:${(i & 0xffff).toString(16)}::1`;
    failures.failed(address, digestOf(String(i)), i / 10);
  }
  const grownMiB = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  t.ok(grownMiB < 150, `${grownMiB.toFixed()} MiB for 200,000 networks`);
});

t.test("of an IPv6 address the network counts", async (t) => {
  for (const [a, b] of [
    ["2001:db8::1", "2001:db8:0:0:ffff::2"],
    ["2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002::"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["fe80::1%eth0", "fe80::2%eth0"],
  ] as const) {
    t.equal(networkOf(a), networkOf(b), `${a} ${b}`);
  }
  for (const [a, b] of [
    ["192.0.2.1", "192.0.2.2"],
    ["2001:db8:0:1::1", "2001:db8:0:2::1"],
    ["::1", "2001:db8::1"],
  ] as const) {
    t.not(networkOf(a), networkOf(b), `${a} ${b}`);
  }
});
