// The uplink: outcomes overtake the log and are stored once all the same; limits hold; an idle node
// says little. A real master and a real link, with a proxy between them that counts.
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { deflateRawSync } from "node:zlib";
import { type Test, test } from "tap";
import type { LinkOptions } from "../../agent/link/link.ts";
import type { LinkRecord } from "../../protocol/link.ts";
import { FakeMaster } from "../link/fake-master.ts";
import { LinkRig } from "../link/rig.ts";
import {
  eventually,
  finished,
  helloOf,
  idleHeartbeat,
  logged,
  runFinished,
  runStarted,
  ScriptedAgent,
  testMaster,
} from "../master/rig.ts";
import { TcpProxy } from "../rig/tcp-proxy.ts";

const rule = { heartbeatMs: 200, lateAfter: 20, lostAfter: 50 };

/** A run with `bulkBytes` of what does not overtake, then `outcomes` tasks. Not told to the link yet. */
function fill(rig: LinkRig, { bulkBytes, outcomes }: { bulkBytes: number; outcomes: number }) {
  const put = (record: LinkRecord) => {
    const { seq: _, ...unnumbered } = record;
    rig.journal.record(unnumbered as Parameters<typeof rig.journal.record>[0]);
  };
  put(runStarted(0, "r", outcomes));
  for (let bytes = 0, n = 1; bytes < bulkBytes; bytes += 8192, n++) {
    // Nothing that compression could make small.
    const text = randomBytes(6144).toString("base64");
    const base = { seq: 0, time: 1, run: "r", task: "t0", attempt: 1, fraction: n / 1e6 };
    put({ type: "progress", ...base, text });
    if (n % 10 === 0) commit(rig);
  }
  for (let n = 0; n < outcomes; n++) put(finished(0, "r", `t${n}`, n));
  put(runFinished(0, "r", outcomes));
  commit(rig);
}

function commit(rig: LinkRig): void {
  const committed = rig.journal.commit();
  if (!committed.ok) throw new Error(JSON.stringify(committed.diagnostics));
}

async function over(t: Test, target: string, more: Partial<LinkOptions> = {}) {
  const proxy = await TcpProxy.start(Number(new URL(target).port));
  t.teardown(() => proxy[Symbol.asyncDispose]());
  const rig = new LinkRig(t.testdir(), `ws://127.0.0.1:${proxy.port}/link`, more);
  t.teardown(() => rig.end());
  return { proxy, rig };
}

test("outcomes overtake what stands before them, and everything is stored once", async (t) => {
  await using master = await testMaster(rule);
  const { rig, proxy } = await over(t, master.url, {
    uplink: { bytesPerSecond: 256 * 1024, framesPerSecond: 0 },
  });
  fill(rig, { bulkBytes: 1024 * 1024, outcomes: 50 });
  const last = rig.journal.nextSeq() - 1;
  rig.link.notify(last);
  await eventually(
    () => master.json("/api/runs/r/tasks"),
    ({ tasks }) => tasks?.filter((task) => Reflect.get(task, "state") === "finished").length === 50,
  );
  const run = await master.json("/api/runs/r");
  const node = await master.json("/api/nodes/n1");
  t.ok(
    Number(node.ackedSeq) < last - 51,
    `when all were told, ${node.ackedSeq} of ${last} were there`,
  );
  t.equal(run.state, "running", "the end of a run never overtakes: everything is there by then");
  // In the middle: what was sent early comes again in full, and counts once.
  proxy.cut();
  await rig.until(() => Number(rig.heard("acked").at(-1)?.[0]) >= last);
  const whole = await master.json("/api/runs/r");
  t.match(whole, { state: "finished", progress: { finished: 50, total: 50 } });
  t.equal((await master.json("/api/runs/r/tasks")).tasks.length, 50);
  t.match(await (await master.get("/metrics")).text(), `edgedag_records_total ${last}\n`);
});

test("what was sent early comes in its turn as a number, in its own place", async (t) => {
  const seen: string[] = [];
  const master = await FakeMaster.start({
    onHello: (say) => {
      say({ type: "welcome", version: 1, acked: 0, heartbeatMs: 200, time: 0, lanes: true });
    },
  });
  t.teardown(() => master.stop());
  const { rig } = await over(t, master.url, {
    uplink: { bytesPerSecond: 512 * 1024, framesPerSecond: 0 },
  });
  let told = 0;
  const early = () => master.messages.flatMap((m) => (m.type === "early" ? m.records : []));
  const timer = setInterval(() => {
    // The fake knows no early acks: told here.
    const stored = early().at(-1)?.seq ?? 0;
    if (stored > told) master.say({ type: "ack", seq: master.acked, early: stored });
    told = stored;
  }, 5);
  t.teardown(() => clearInterval(timer));
  fill(rig, { bulkBytes: 1024 * 1024, outcomes: 20 });
  const last = rig.journal.nextSeq() - 1;
  rig.link.notify(last);
  await rig.until(() => Number(rig.heard("acked").at(-1)?.[0]) >= last);
  t.same(master.violations, []);
  const numbers = early().map((record) => record.seq);
  t.equal(numbers.length, 20);
  for (const record of master.records) {
    if (numbers.includes(record.seq)) seen.push(record.type);
    else t.not(record.type, "sent-early");
  }
  t.same(new Set(seen), new Set(["sent-early"]));
});

test("a master that knows no lanes is never sent anything early", async (t) => {
  const master = await FakeMaster.start();
  t.teardown(() => master.stop());
  const { rig } = await over(t, master.url, {
    uplink: { bytesPerSecond: 1024 * 1024, framesPerSecond: 0 },
  });
  fill(rig, { bulkBytes: 1024 * 1024, outcomes: 20 });
  const last = rig.journal.nextSeq() - 1;
  rig.link.notify(last);
  await rig.until(() => Number(rig.heard("acked").at(-1)?.[0]) >= last);
  t.same(
    master.messages.filter((message) => message.type === "early"),
    [],
  );
  t.same(master.violations, []);
});

test("the master takes early what may overtake, and again in full after a lost connection", async (t) => {
  await using master = await testMaster(rule);
  const hello = helloOf("n1", { nextSeq: 5, runs: ["r"] });
  const first = await ScriptedAgent.join(master.url, hello);
  t.equal(first.welcome.lanes, true);
  first.agent.send({ type: "early", records: [finished(3, "r", "t", 7)] });
  t.match(await first.agent.next("ack"), { seq: 0, early: 3 });
  t.match(await master.json("/api/runs/r"), { progress: { finished: 1 }, state: "running" });
  await first.agent[Symbol.asyncDispose]();
  const second = await ScriptedAgent.join(master.url, hello);
  t.equal(second.welcome.acked, 0, "nothing of it counts for the one sequence");
  second.agent.records(runStarted(1, "r"), logged(2, "r", 1), finished(3, "r", "t", 7));
  t.match(await second.agent.next("ack"), { seq: 3 });
  second.agent.records(runFinished(4, "r"));
  t.match(await second.agent.next("ack"), { seq: 4 });
  t.match(await master.json("/api/runs/r"), { progress: { finished: 1 }, state: "finished" });
  await second.agent[Symbol.asyncDispose]();
});

test("a number in place of what never came early, and a log sent early, are refused", async (t) => {
  await using master = await testMaster(rule);
  const base = { time: 1, run: "none" };
  const one = await ScriptedAgent.join(master.url, helloOf("n1", { nextSeq: 9 }));
  one.agent.records({ type: "sent-early", seq: 1, ...base });
  t.match(await one.agent.next("refused"), { code: "bad-message" });
  const two = await ScriptedAgent.join(master.url, helloOf("n2", { nextSeq: 9 }));
  two.agent.send({ type: "early", records: [logged(4, "r", 1)] });
  t.match(await two.agent.next("refused"), { code: "bad-message" });
  const three = await ScriptedAgent.join(master.url, helloOf("n3", { nextSeq: 9 }));
  three.agent.send({ type: "early", records: [finished(4, "q", "t"), finished(4, "q", "t")] });
  t.match(await three.agent.next("refused"), { code: "bad-message" });
});

test("bytes a second are kept to, and heartbeats come in time all the while", async (t) => {
  await using master = await testMaster(rule);
  const bytesPerSecond = 64 * 1024;
  const { rig, proxy } = await over(t, master.url, {
    uplink: { bytesPerSecond, framesPerSecond: 0 },
  });
  await rig.until(() => rig.heard("connected").length > 0);
  const [since, before] = [performance.now(), proxy.fromNearBytes];
  fill(rig, { bulkBytes: 192 * 1024, outcomes: 1 });
  const last = rig.journal.nextSeq() - 1;
  rig.link.notify(last);
  await rig.until(() => Number(rig.heard("acked").at(-1)?.[0]) >= last);
  const seconds = (performance.now() - since) / 1000;
  const bytes = proxy.fromNearBytes - before;
  // A second's worth may have been saved up; the last record may go into debt.
  t.ok(bytes <= bytesPerSecond * (seconds + 1) + 16_384, `${bytes} bytes in ${seconds} s`);
  t.ok(seconds > 1, `${seconds} s for 192 KiB at 64 KiB/s`);
  t.match(await master.json("/api/nodes/n1"), { state: "alive" });
  t.same(rig.heard("disconnected"), []);
});

test("frames a second are kept to", async (t) => {
  const master = await FakeMaster.start();
  t.teardown(() => master.stop());
  const framesPerSecond = 20;
  const { rig } = await over(t, master.url, {
    uplink: { bytesPerSecond: 0, framesPerSecond },
    window: { minBytes: 8_192, maxBytes: 16_384 },
  });
  await rig.until(() => rig.heard("connected").length > 0);
  const since = performance.now();
  fill(rig, { bulkBytes: 256 * 1024, outcomes: 1 });
  const last = rig.journal.nextSeq() - 1;
  rig.link.notify(last);
  await rig.until(() => Number(rig.heard("acked").at(-1)?.[0]) >= last);
  const seconds = (performance.now() - since) / 1000;
  const frames = master.messages.filter((message) => message.type === "records").length;
  t.ok(frames > 10, "there was something to limit");
  t.ok(frames <= framesPerSecond * (seconds + 1) + 1, `${frames} frames in ${seconds} s`);
});

test("large frames are compressed when both want it, small ones never", async (t) => {
  await using master = await testMaster(rule);
  const sizes: number[] = [];
  for (const compress of [true, false]) {
    const { rig, proxy } = await over(t, master.url, { compress, node: `n-${compress}` });
    await rig.until(() => rig.heard("connected").length > 0);
    const before = proxy.fromNearBytes;
    rig.record(200, "the same words again and again ".repeat(20));
    const last = rig.journal.nextSeq() - 1;
    await rig.until(() => Number(rig.heard("acked").at(-1)?.[0]) >= last);
    sizes.push(proxy.fromNearBytes - before);
  }
  const [compressed = 0, plain = 0] = sizes;
  t.ok(plain > 120_000, `${plain} bytes plain`);
  t.ok(compressed < plain / 5, `${compressed} bytes compressed`);
});

test("a frame that is no deflate, or that would become too large, is refused", async (t) => {
  await using master = await testMaster(rule);
  const early = new ScriptedAgent(master.url);
  early.sendText(deflateRawSync(JSON.stringify(helloOf("n0"))));
  t.match(
    await early.next("refused"),
    { code: "bad-message" },
    "before welcome nothing is inflated",
  );
  const one = await ScriptedAgent.join(master.url, helloOf("n1"));
  t.equal(one.welcome.deflate, true);
  one.agent.sendText(deflateRawSync(JSON.stringify(idleHeartbeat)));
  t.match(await one.agent.next("ack"), { seq: 0 });
  one.agent.sendText(deflateRawSync(" ".repeat(17 * 1024 * 1024)));
  t.match(await one.agent.next("refused"), { code: "too-large" });
  const two = await ScriptedAgent.join(master.url, helloOf("n2"));
  two.agent.sendText(randomBytes(2000));
  t.match(await two.agent.next("refused"), { code: "bad-message" });
});

test("an idle node sends at most 150 bytes a heartbeat, framing included", async (t) => {
  const master = await FakeMaster.start({ heartbeatMs: 50 });
  t.teardown(() => master.stop());
  const { rig, proxy } = await over(t, master.url, { status: () => ({ state: "idle", runs: {} }) });
  await rig.until(() => rig.heard("connected").length > 0);
  await master.until(() => master.heartbeats().length >= 3);
  // Also the answers to pings and what the sockets add, whatever it is: bytes on the wire.
  const [from, at] = [master.heartbeats().length, proxy.fromNearBytes];
  await master.until(() => master.heartbeats().length >= from + 20);
  const each = (proxy.fromNearBytes - at) / (master.heartbeats().length - from);
  t.ok(each <= 150, `${each} bytes a heartbeat`);
  t.comment(`${each} bytes a heartbeat`);
  const told = master.heartbeats().at(-1)?.sentBytes ?? 0;
  t.ok(told > 1000 && told <= proxy.fromNearBytes, "the node counts what it sends");
});
