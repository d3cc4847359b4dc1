// Who is not let in, and with which words and close codes.
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { WebSocket } from "ws";
import { helloOf, idleHeartbeat, runStarted, ScriptedAgent, testMaster } from "./rig.ts";

t.test("a wrong or missing token is refused with a reason before anything is read", async (t) => {
  await using master = await testMaster({ token: "right" });
  for (const options of [{}, { token: "wrong" }]) {
    await using agent = new ScriptedAgent(master.url, options);
    agent.send(helloOf("n1"));
    const refused = await agent.next("refused");
    t.equal(refused.code, "unauthorized");
    t.match(refused.remedy, "EDGEDAG_TOKEN");
    t.equal(await agent.closed(), 4001);
  }
  const { nodes } = await master.json("/api/nodes");
  t.same(nodes, [], "nobody was noted");
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"), { token: "right" });
  await using _ = agent;
});

t.test("another version is refused as such, whatever its hello looks like", async (t) => {
  await using master = await testMaster();
  await using agent = new ScriptedAgent(master.url);
  agent.sendText('{"type":"hello","version":99,"name":"n1"}');
  const refused = await agent.next("refused");
  t.equal(refused.code, "version");
  t.match(refused.detail, "version 99");
  t.equal(await agent.closed(), 4002);
});

t.test("garbage is refused", async (t) => {
  await using master = await testMaster();
  const frames = [
    "garbage",
    "[]",
    '{"type":"launch-missiles"}',
    Buffer.from([0, 1, 2]),
    JSON.stringify(idleHeartbeat),
    JSON.stringify({ ...helloOf("n1"), node: "../../etc" }),
  ];
  for (const frame of frames) {
    await using agent = new ScriptedAgent(master.url);
    agent.sendText(frame);
    t.equal((await agent.next("refused")).code, "bad-message", String(frame).slice(0, 40));
    t.equal(await agent.closed(), 4004);
  }
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  agent.send(helloOf("n1"));
  t.equal((await agent.next("refused")).code, "bad-message", "a second hello");
});

t.test("a frame over 16 MiB is refused; far more is cut by the WebSocket itself", async (t) => {
  await using master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  agent.sendText(`"${"x".repeat(16 * 2 ** 20)}"`);
  t.equal((await agent.next("refused")).code, "too-large");
  t.equal(await agent.closed(), 4005);
  const second = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using far = second.agent;
  far.sendText(Buffer.alloc(33 * 2 ** 20));
  t.ok([1006, 1009].includes(await far.closed()));
});

t.test("a connection that never says hello is closed", async (t) => {
  await using master = await testMaster({ helloTimeoutMs: 50 });
  await using agent = new ScriptedAgent(master.url);
  t.match(await agent.next("refused"), { code: "bad-message", detail: "no hello came in time" });
  t.equal(await agent.closed(), 4004);
});

t.test("a twin is refused while the other one is alive; the same boot takes over", async (t) => {
  await using master = await testMaster();
  const first = await ScriptedAgent.join(master.url, helloOf("n1", { boot: "a" }));
  await using older = first.agent;
  await using twin = new ScriptedAgent(master.url);
  twin.send(helloOf("n1", { boot: "b" }));
  t.equal((await twin.next("refused")).code, "twin");
  t.equal(await twin.closed(), 4003);
  older.records(runStarted(1, "r1"));
  await older.acked(1);
  const again = await ScriptedAgent.join(master.url, helloOf("n1", { boot: "a", nextSeq: 2 }));
  await using newer = again.agent;
  t.equal(await older.closed(), 4007);
  t.equal(again.welcome.acked, 1);
  newer.send(idleHeartbeat);
  await newer.next("ack");
});

t.test("a half-open connection does not keep a restarted agent out", async (t) => {
  await using master = await testMaster({ heartbeatMs: 200 });
  await using mute = new ScriptedAgent(master.url, { autoPong: false });
  mute.send(helloOf("n1", { boot: "a" }));
  await mute.next("welcome");
  const again = await ScriptedAgent.join(master.url, helloOf("n1", { boot: "b" }));
  await using agent = again.agent;
  t.equal(await mute.closed(), 4007);
  agent.send(idleHeartbeat);
  await agent.next("ack");
});

t.test("two hellos of twins at the same moment: exactly one is let in", async (t) => {
  await using master = await testMaster();
  const agents = ["a", "b", "c"].map((boot) => {
    const agent = new ScriptedAgent(master.url);
    agent.send(helloOf("n1", { boot }));
    return agent;
  });
  const answers = await Promise.all(
    agents.map((agent) =>
      Promise.race([
        agent.next("welcome").catch(() => ({ type: "refused" as const })),
        agent.closed().then(() => ({ type: "refused" as const })),
      ]),
    ),
  );
  t.equal(answers.filter((answer) => answer.type === "welcome").length, 1);
  for (const agent of agents) await agent[Symbol.asyncDispose]();
});

t.test("web pages and other paths are turned away before the upgrade", async (t) => {
  await using master = await testMaster();
  const url = master.url.replace("http", "ws");
  const status = (path: string, headers: { [name: string]: string }): Promise<number> =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${url}${path}`, { headers });
      socket.on("error", () => {});
      socket.on("unexpected-response", (request, response) => {
        resolve(response.statusCode ?? 0);
        request.destroy();
      });
    });
  t.equal(await status("/link", { origin: "http://evil.example" }), 403);
  t.equal(await status("/other", {}), 404);
});

t.test("the master ends while connections do not answer", async (t) => {
  const master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  agent.socket.pause();
  const ended = master[Symbol.asyncDispose]();
  const isEnded = await Promise.race([ended.then(() => true), delay(8000, false, { ref: false })]);
  t.ok(isEnded);
  await agent[Symbol.asyncDispose]();
});
