// What the link does in a bad network: a real proxy that breaks connections between a real link and a
// real master. After each fault everything is stored once, and the node is back within five seconds.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Test, test } from "tap";
import { defaultBackoff } from "../../agent/link/backoff.ts";
import type { LinkOptions } from "../../agent/link/link.ts";
import { ClockJump, shiftedTime } from "../../master/clock-jump.ts";
import { FakeMaster } from "../link/fake-master.ts";
import { LinkRig } from "../link/rig.ts";
import { finished, helloOf, runStarted, ScriptedAgent, testMaster } from "../master/rig.ts";
import { TcpProxy } from "../rig/tcp-proxy.ts";
import { noToxiproxy, type Toxic, Toxiproxy } from "../rig/toxiproxy.ts";

const rule = { heartbeatMs: 1_000, lateAfter: 10, lostAfter: 20 };
const healedWithinMs = 5_000;

function linkTo(t: Test, port: number, more: Partial<LinkOptions> = {}): LinkRig {
  const rig = new LinkRig(t.testdir(), `ws://127.0.0.1:${port}/link`, {
    backoff: defaultBackoff,
    ...more,
  });
  t.teardown(() => rig.end());
  return rig;
}

const acked = (rig: LinkRig) => Number(rig.heard("acked").at(-1)?.[0] ?? 0);

const faults: { name: string; toxic: Toxic; lasts: "until it is lost" | "until all is stored" }[] =
  [
    {
      name: "a black hole, half open at both ends",
      toxic: { type: "timeout", attributes: { timeout: 0 } },
      lasts: "until it is lost",
    },
    {
      name: "connections that are reset again and again",
      toxic: { type: "reset_peer", attributes: { timeout: 100 } },
      lasts: "until it is lost",
    },
    {
      name: "half a second each way",
      toxic: { type: "latency", attributes: { latency: 500, jitter: 100 } },
      lasts: "until all is stored",
    },
    {
      name: "1 kB a second",
      toxic: { type: "bandwidth", attributes: { rate: 1 } },
      lasts: "until all is stored",
    },
    {
      name: "bytes that come one by one",
      toxic: { type: "slicer", attributes: { average_size: 2, size_variation: 1, delay: 10 } },
      lasts: "until all is stored",
    },
  ];

for (const { name, toxic, lasts } of faults) {
  test(`${name}: everything is stored once, soon after it is over`, {
    skip: noToxiproxy,
  }, async (t) => {
    await using master = await testMaster(rule);
    await using proxy = await Toxiproxy.start(Number(new URL(master.url).port));
    const rig = linkTo(t, proxy.port);
    rig.record(3, "before");
    await rig.until(() => acked(rig) >= 3);
    await proxy.poison(toxic);
    rig.record(10, "meanwhile");
    const last = rig.journal.nextSeq() - 1;
    if (lasts === "until it is lost") {
      await rig.until(() => rig.heard("disconnected").length > 0);
      t.ok(acked(rig) < last, "it did not get through");
      await proxy.heal();
      const healedAt = performance.now();
      await rig.until(() => acked(rig) >= last);
      const ms = performance.now() - healedAt;
      t.ok(ms < healedWithinMs, `back after ${ms} ms`);
    } else {
      await rig.until(() => acked(rig) >= last);
      t.same(rig.heard("disconnected"), [], "slow is not silent");
    }
    t.match(await (await master.get("/metrics")).text(), `edgedag_records_total ${last}\n`);
    const { events } = await master.json("/api/nodes/n1");
    t.notOk(events.some(({ event }) => event === "twin-refused"));
  });
}

test("after a black hole of which nobody was told, another connection is tried and wins", async (t) => {
  const master = await FakeMaster.start();
  t.teardown(() => master.stop());
  await using proxy = await TcpProxy.start(master.port);
  proxy.isSilent = true;
  const rig = linkTo(t, proxy.port, { heartbeatMs: 60_000, race: { againMs: 100, most: 3 } });
  const until = Date.now() + 10_000;
  // The older ones hang for ever: what was swallowed is not sent again.
  while (proxy.accepted < 5 && Date.now() < until) await new Promise((r) => setTimeout(r, 5));
  t.ok(proxy.connections <= 4, `${proxy.connections} at once`);
  proxy.isSilent = false;
  await rig.until(() => rig.heard("connected").length > 0);
  t.equal(master.hellos().length, 1, "one of them says hello");
  t.same(rig.heard("disconnected"), [], "it was never given up");
  await master.until(() => master.sockets.size === 1);
});

for (const status of [413, 429, 503]) {
  test(`an answer ${status} in place of the link is told and tried again, not before Retry-After`, async (t) => {
    const asked: number[] = [];
    const server: Server = createServer();
    server.on("upgrade", (_, socket) => {
      asked.push(performance.now());
      socket.end(`HTTP/1.1 ${status} No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n`);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.teardown(() => new Promise((resolve) => server.close(resolve)));
    const rig = linkTo(t, (server.address() as AddressInfo).port, {
      backoff: { firstMs: 10, maxMs: 20, slowMs: 100 },
    });
    await rig.until(() => rig.heard("disconnected").length > 1);
    const [first = 0, second = 0] = asked;
    t.ok(second - first >= 995, `${second - first} ms between two tries`);
    t.match(String(rig.heard("disconnected")[0]?.[0]), `HTTP ${status}`);
    t.ok(Number(rig.heard("disconnected")[0]?.[1]) <= 1_100, "with some chance on top");
  });
}

test("a clock that is set by a day makes nobody silent, forwards and backwards", async (t) => {
  let setMs = 0;
  const steady = () => performance.now();
  const clock = () => 1_795_440_000_000 + steady() + setMs;
  await using master = await testMaster({ ...rule, heartbeatMs: 2_000, clock, steady });
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  for (const day of [86_400_000, -2 * 86_400_000, 86_400_000]) {
    setMs += day;
    await master.check();
    const node = await master.json("/api/nodes/n1");
    t.match(node, { state: "alive", connected: true }, `set by ${day} ms`);
    t.ok(
      Math.abs(Number(node.lastSeenAt) - clock()) < 60_000,
      "last seen by the clock as it is now",
    );
  }
  await agent[Symbol.asyncDispose]();
  const silent = await master.json("/api/nodes/n1");
  t.ok(Number(silent.lastSeenAt) <= clock());
});

test("times that were taken after the clock was set are not shifted", (t) => {
  let [wall, steady] = [1_000_000, 0];
  const jump = new ClockJump(
    () => wall,
    () => steady,
  );
  [wall, steady] = [1_005_000, 5_000];
  t.equal(jump.look(), 0, "time that has passed is no jump");
  wall += 86_400_000;
  t.equal(jump.look(), 86_400_000);
  t.equal(jump.look(), 0, "told once");
  t.equal(shiftedTime(1_004_000, 86_400_000, wall), 1_004_000 + 86_400_000);
  t.equal(shiftedTime(wall, 86_400_000, wall), wall, "heard after it was set forwards");
  t.equal(shiftedTime(5_000, -86_400_000, 6_000), 5_000, "heard after it was set back");
  t.equal(shiftedTime(86_405_000, -86_400_000, 6_000), 5_000);
  t.end();
});

test("of two connections of one agent the later hello wins, whichever was opened first", async (t) => {
  await using master = await testMaster(rule);
  const hello = helloOf("n1", { nextSeq: 4, runs: ["r"] });
  const opened = new ScriptedAgent(master.url);
  const { agent: first } = await ScriptedAgent.join(master.url, hello);
  first.records(runStarted(1, "r"), finished(2, "r", "t"));
  await first.next("ack");
  // A connect that was on the way for long: it speaks last.
  opened.send(hello);
  t.match(await opened.next("welcome"), { acked: 2 });
  t.equal(await first.closed(), 4007);
  opened.records(finished(2, "r", "t"), finished(3, "r", "u"));
  t.match(await opened.next("ack"), { seq: 3 });
  t.match(await (await master.get("/metrics")).text(), "edgedag_records_total 3\n");
  await opened[Symbol.asyncDispose]();
});
