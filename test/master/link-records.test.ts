// Records over the link: each stored once, in order, acknowledged after it is stored.
import t from "tap";
import {
  finished,
  helloOf,
  idleHeartbeat,
  logged,
  runFinished,
  runStarted,
  ScriptedAgent,
  testMaster,
} from "./rig.ts";

async function stored(master: { get(path: string): Promise<Response> }): Promise<number> {
  const text = await (await master.get("/metrics")).text();
  return Number(/edgedag_records_total (\d+)/.exec(text)?.[1]);
}

t.test("records are stored once, however often they are sent", async (t) => {
  await using master = await testMaster();
  const { agent, welcome } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  t.equal(welcome.acked, 0);
  agent.records(runStarted(1, "r1", 2), finished(2, "r1", "a", 1), logged(3, "r1", 1, 3));
  agent.records(runStarted(1, "r1", 2), finished(2, "r1", "a", 1), logged(3, "r1", 1, 3));
  await agent.acked(3);
  agent.records(finished(2, "r1", "a", 1), logged(3, "r1", 1, 3), finished(4, "r1", "b"));
  await agent.acked(4);
  agent.records(finished(4, "r1", "b"));
  t.equal((await agent.next("ack")).seq, 4, "a duplicate is acknowledged again");
  t.equal(await stored(master), 4);
  const lines = (await (await master.get("/api/runs/r1/log")).text()).trim().split("\n");
  t.equal(lines.length, 3);
  const run = await master.json("/api/runs/r1");
  t.match(run, { state: "running", progress: { finished: 2, total: 2 } });
});

t.test("acked survives a restart of the master", async (t) => {
  await using master = await testMaster();
  const first = await ScriptedAgent.join(master.url, helloOf("n1"));
  first.agent.records(runStarted(1, "r1"), finished(2, "r1", "a", 42));
  await first.agent.acked(2);
  await master.restart();
  t.equal(await first.agent.closed(), 1001);
  const again = await ScriptedAgent.join(master.url, helloOf("n1", { nextSeq: 4, runs: ["r1"] }));
  await using agent = again.agent;
  t.equal(again.welcome.acked, 2);
  agent.records(finished(2, "r1", "a", 42), runFinished(3, "r1"));
  await agent.acked(3);
  t.equal(await master.json("/api/runs/r1/results/a"), 42);
  t.match(await master.json("/api/runs/r1"), {
    state: "finished",
    outcome: { kind: "succeeded" },
  });
});

t.test(
  "records that were sent before the master ended are acknowledged before it does",
  async (t) => {
    await using master = await testMaster();
    const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
    agent.records(runStarted(1, "r1"));
    agent.records(finished(2, "r1", "a"));
    await agent.acked(1);
    await master.restart();
    await agent.closed();
    const again = await ScriptedAgent.join(master.url, helloOf("n1", { nextSeq: 3, runs: ["r1"] }));
    await using _ = again.agent;
    const seqs = agent.heard.flatMap((message) => (message.type === "ack" ? [message.seq] : []));
    t.equal(seqs.at(-1), again.welcome.acked, "what was acknowledged is what is stored");
  },
);

t.test("a gap is refused, and nothing after it is stored", async (t) => {
  await using master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1", { nextSeq: 9 }));
  await using _ = agent;
  agent.records(runStarted(1, "r1"));
  agent.records(finished(3, "r1", "a"));
  const refused = await agent.next("refused");
  t.equal(refused.code, "gap");
  t.match(refused.detail, "record 3 came, 2 was expected");
  t.equal(await agent.closed(), 4006);
  const again = await ScriptedAgent.join(master.url, helloOf("n1", { nextSeq: 9, runs: ["r1"] }));
  await using second = again.agent;
  t.equal(again.welcome.acked, 1);
  t.equal(second.heard.length > 0, true);
});

t.test(
  "records that no longer exist on the node are given up, and the node's row says so",
  async (t) => {
    await using master = await testMaster();
    const hello = helloOf("n1", { firstHeldSeq: 6, nextSeq: 7 });
    const { agent, welcome } = await ScriptedAgent.join(master.url, hello);
    await using _ = agent;
    t.equal(welcome.acked, 5);
    agent.records(runFinished(6, "r1"));
    await agent.acked(6);
    const node = await master.json("/api/nodes/n1");
    t.equal(node.missingRecords, 5);
    t.ok(node.events.some((event) => event.event === "missing-records"));
  },
);

t.test("a node that lost its state counts anew, and its new records are stored", async (t) => {
  await using master = await testMaster();
  const first = await ScriptedAgent.join(master.url, helloOf("n1"));
  first.agent.records(runStarted(1, "r1"), finished(2, "r1", "a"), runFinished(3, "r1"));
  await first.agent.acked(3);
  first.agent.socket.close();
  await first.agent.closed();
  const again = await ScriptedAgent.join(master.url, helloOf("n1", { boot: "boot-2", nextSeq: 2 }));
  await using agent = again.agent;
  t.equal(again.welcome.acked, 0);
  agent.records(runStarted(1, "r2"));
  await agent.acked(1);
  t.equal((await master.get("/api/runs/r2")).status, 200);
});

t.test("numbers inside a frame must follow each other", async (t) => {
  await using master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  agent.records(runStarted(1, "r1"), finished(3, "r1", "a"));
  t.equal((await agent.next("refused")).code, "bad-message");
  t.equal(await agent.closed(), 4004);
});

t.test("a number that the database could not give back is refused", async (t) => {
  await using master = await testMaster();
  for (const wrong of [2 ** 53, 1.8e16, -1e300]) {
    const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
    await using _ = agent;
    agent.records({ ...runStarted(1, "r1"), time: wrong });
    t.equal((await agent.next("refused")).code, "bad-message", String(wrong));
  }
  t.equal((await master.get("/api/runs")).status, 200);
});

t.test("records of a run that another node has are dropped, with an event", async (t) => {
  await using master = await testMaster();
  const one = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _1 = one.agent;
  const two = await ScriptedAgent.join(master.url, helloOf("n2"));
  await using _2 = two.agent;
  one.agent.records(runStarted(1, "r1"));
  await one.agent.acked(1);
  two.agent.records(finished(1, "r1", "theirs", 1));
  await two.agent.acked(1);
  const { tasks } = await master.json("/api/runs/r1/tasks");
  t.same(tasks, []);
  const node = await master.json("/api/nodes/n2");
  t.ok(node.events.some((event) => event.event === "foreign-run"));
});

t.test("a heartbeat is answered, also when nothing was sent", async (t) => {
  await using master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  agent.send({ ...idleHeartbeat, outbox: 7 } as typeof idleHeartbeat);
  t.equal((await agent.next("ack")).seq, 0);
  const node = await master.json("/api/nodes/n1");
  t.match(node, { outbox: 7, activity: "idle", state: "alive", connected: true });
});

t.test("frames that follow the hello at once are not lost", async (t) => {
  await using master = await testMaster();
  await using agent = new ScriptedAgent(master.url);
  agent.send(helloOf("n1", { nextSeq: 2 }));
  agent.records(runStarted(1, "r1"));
  await agent.acked(1);
  t.equal(await stored(master), 1);
});
