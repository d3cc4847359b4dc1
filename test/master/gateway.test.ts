// Runs on their way to nodes: queued, offered, accepted, refused, cancelled, settled after a reconnect.
import t from "tap";
import {
  artifactOf,
  eventually,
  finished,
  helloOf,
  idleHeartbeat,
  runFinished,
  runStarted,
  ScriptedAgent,
  testMaster,
} from "./rig.ts";

const wanting = { wantsRuns: true };

t.test("a run waits for its node, is offered, accepted, run and finished", async (t) => {
  await using master = await testMaster();
  const artifact = artifactOf();
  const { status, value } = await master.post("/api/runs", {
    artifact,
    node: "n1",
    params: { year: 1 },
  });
  t.equal(status, 201);
  const { run } = value;
  t.match(await master.json(`/api/runs/${run}`), {
    state: "queued",
    dag: "weather",
    waitsBecause: "node n1 has never connected",
  });
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1", wanting));
  await using _ = agent;
  const offer = await agent.next("run-offered");
  t.match(offer, { run, params: { year: 1 } });
  t.same(offer.artifact, artifact);
  t.equal((await master.json(`/api/runs/${run}`)).state, "offered");
  agent.send({ type: "run-accepted", run });
  await eventually(
    () => master.json(`/api/runs/${run}`),
    (shown) => shown.state === "accepted",
  );
  agent.records(runStarted(1, run), finished(2, run, "clean", 7), runFinished(3, run));
  await agent.acked(3);
  t.match(await master.json(`/api/runs/${run}`), {
    state: "finished",
    source: "gateway",
    outcome: { kind: "succeeded" },
    progress: { finished: 1, total: 1 },
  });
});

t.test("a node gets one run at a time, or as many as its heartbeat says", async (t) => {
  await using master = await testMaster();
  const runs: string[] = [];
  for (let i = 0; i < 4; i++) {
    runs.push((await master.post("/api/runs", { artifact: artifactOf(), node: "n1" })).value.run);
  }
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1", wanting));
  await using _ = agent;
  t.equal((await agent.next("run-offered")).run, runs[0]);
  const [first = ""] = runs;
  agent.records(runStarted(1, first), runFinished(2, first));
  t.equal((await agent.next("run-offered")).run, runs[1], "the oldest comes next");
  agent.send({ ...idleHeartbeat, slots: 2 } as typeof idleHeartbeat);
  t.equal((await agent.next("run-offered")).run, runs[2]);
  t.equal((await master.json(`/api/runs/${runs[3]}`)).state, "queued");
});

t.test(
  "an offer without an answer is made again after a reconnect, not before the backlog",
  async (t) => {
    await using master = await testMaster();
    const { run } = (await master.post("/api/runs", { artifact: artifactOf(), node: "n1" })).value;
    const first = await ScriptedAgent.join(master.url, helloOf("n1", wanting));
    await first.agent.next("run-offered");
    await first.agent[Symbol.asyncDispose]();
    const again = await ScriptedAgent.join(master.url, helloOf("n1", wanting));
    t.equal((await again.agent.next("run-offered")).run, run);
    // It ran the whole thing while it was away: its records say so, and it is not offered again.
    await again.agent[Symbol.asyncDispose]();
    const third = await ScriptedAgent.join(master.url, helloOf("n1", { ...wanting, nextSeq: 3 }));
    await using agent = third.agent;
    agent.records(runStarted(1, run), runFinished(2, run));
    await agent.acked(2);
    agent.send(idleHeartbeat);
    await agent.next("ack");
    t.equal(agent.heard.filter((message) => message.type === "run-offered").length, 0);
    t.equal((await master.json(`/api/runs/${run}`)).state, "finished");
  },
);

t.test("a run that its node no longer knows is lost; one that is named goes on", async (t) => {
  await using master = await testMaster();
  const first = await ScriptedAgent.join(master.url, helloOf("n1"));
  first.agent.records(runStarted(1, "gone"), runStarted(2, "kept"));
  await first.agent.acked(2);
  await first.agent[Symbol.asyncDispose]();
  const hello = helloOf("n1", { nextSeq: 3, runs: ["kept"] });
  const again = await ScriptedAgent.join(master.url, hello);
  await using agent = again.agent;
  await eventually(
    () => master.json("/api/runs/gone"),
    (run) => run.state === "lost",
  );
  t.equal((await master.json("/api/runs/kept")).state, "running");
  agent.records(runStarted(3, "fresh"));
  await agent.acked(3);
  t.equal((await master.json("/api/runs/fresh")).state, "running");
});

t.test("any: the fitting node with the fewest runs", async (t) => {
  await using master = await testMaster();
  const python = artifactOf({ kind: "python", file: "t.py", function: "f" });
  const plain = helloOf("plain", wanting);
  plain.capabilities.languages = {};
  const one = await ScriptedAgent.join(master.url, plain);
  await using _1 = one.agent;
  const { run } = (await master.post("/api/runs", { artifact: python, any: true })).value;
  const waiting = await master.json(`/api/runs/${run}`);
  t.equal(waiting.waitsBecause, "plain has no Python, which task clean needs");
  const two = await ScriptedAgent.join(master.url, helloOf("full", wanting));
  await using _2 = two.agent;
  t.equal((await two.agent.next("run-offered")).run, run);
  const next = (await master.post("/api/runs", { artifact: artifactOf(), any: true })).value.run;
  t.equal((await one.agent.next("run-offered")).run, next, "full has one run already");
  const labelled = { artifact: artifactOf(), any: true, labels: { site: "graz" } };
  const third = (await master.post("/api/runs", labelled)).value.run;
  t.match((await master.json(`/api/runs/${third}`)).waitsBecause, "has not the label site=graz");
  const graz = await ScriptedAgent.join(
    master.url,
    helloOf("graz", { ...wanting, labels: { site: "graz" } }),
  );
  await using _3 = graz.agent;
  t.equal((await graz.agent.next("run-offered")).run, third);
});

t.test("a refusal goes to another node or ends the run; busy only waits", async (t) => {
  await using master = await testMaster();
  const one = await ScriptedAgent.join(master.url, helloOf("n1", wanting));
  await using first = one.agent;
  const { run } = (await master.post("/api/runs", { artifact: artifactOf(), any: true })).value;
  await first.next("run-offered");
  first.send({ type: "run-refused", run, code: "busy", detail: "one at a time" });
  await eventually(
    () => master.json(`/api/runs/${run}`),
    (shown) => shown.state === "queued",
  );
  first.send(idleHeartbeat);
  await first.next("run-offered");
  first.send({ type: "run-refused", run, code: "E_DAG_FIELD", detail: "no such field" });
  await eventually(
    () => master.json(`/api/runs/${run}`),
    (shown) => shown.state === "refused",
  );
  t.match(await master.json(`/api/runs/${run}`), {
    refusals: [{ node: "n1", code: "E_DAG_FIELD", detail: "no such field" }],
  });
  const two = await ScriptedAgent.join(master.url, helloOf("n2", wanting));
  await using second = two.agent;
  const other = (await master.post("/api/runs", { artifact: artifactOf(), any: true })).value.run;
  // Neither has a run: the first by id is asked first.
  await first.next("run-offered");
  first.send({ type: "run-refused", run: other, code: "E_DAG_FIELD", detail: "" });
  t.equal((await second.next("run-offered")).run, other);
});

t.test("cancel: queued at once, running by its node, away when it comes back", async (t) => {
  await using master = await testMaster();
  const queued = (await master.post("/api/runs", { artifact: artifactOf(), node: "n1" })).value.run;
  t.match(await master.post(`/api/runs/${queued}/cancel`), {
    status: 200,
    value: { result: "cancelled" },
  });
  t.equal((await master.post(`/api/runs/${queued}/cancel`)).status, 409);
  t.equal((await master.post("/api/runs/none/cancel")).status, 404);
  const first = await ScriptedAgent.join(master.url, helloOf("n1", wanting));
  first.agent.records(runStarted(1, "r1"));
  await first.agent.acked(1);
  t.match(await master.post("/api/runs/r1/cancel"), {
    status: 202,
    value: { result: "requested" },
  });
  t.match(await first.agent.next("cancel-run"), { run: "r1", by: "user" });
  await first.agent[Symbol.asyncDispose]();
  const hello = helloOf("n1", { ...wanting, nextSeq: 2, runs: ["r1"] });
  const again = await ScriptedAgent.join(master.url, hello);
  await using agent = again.agent;
  t.match(await agent.next("cancel-run"), { run: "r1" });
  t.match(await master.json(`/api/runs/${queued}`), {
    state: "finished",
    outcome: { kind: "cancelled", by: "user" },
  });
});

t.test("the pull form gives the next run until it began, then 204", async (t) => {
  await using master = await testMaster();
  t.equal((await master.get("/api/nodes/n1/dag")).status, 204);
  const { run } = (await master.post("/api/runs", { artifact: artifactOf(), node: "n1" })).value;
  const pulled = await master.json("/api/nodes/n1/dag");
  t.match(pulled, { run, artifact: { artifact: 1 } });
  t.equal((await master.json("/api/nodes/n1/dag")).run, run);
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1", { runs: [run] }));
  await using _ = agent;
  await eventually(
    () => master.json(`/api/runs/${run}`),
    (shown) => shown.state === "accepted",
  );
  t.equal((await master.get("/api/nodes/n1/dag")).status, 204);
});
