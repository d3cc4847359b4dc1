// A master that is down, refuses the token, speaks another version, or is killed in the middle: the
// node does its work all the same, says what is wrong once, and delivers everything exactly once.
import { createServer } from "node:net";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { FakeMaster } from "../link/fake-master.ts";
import { Box } from "../rig/box.ts";
import { RealMaster } from "../rig/master.ts";
import { nodeLog } from "../rig/node-log.ts";
import { until } from "../rig/until.ts";

const twoTasks = `dag: two
tasks:
  a: { shell: "echo from a; echo '[1, 2]' > $EDGEDAG_RESULT" }
  b: { shell: "echo from b", needs: [a] }
`;

t.test("a master that is down: the run ends, and all is delivered when it comes up", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", twoTasks);
  const port = await freePort();
  const env = {
    EDGEDAG_MASTER: `http://127.0.0.1:${port}`,
    EDGEDAG_TOKEN: "secret-of-the-box",
    EDGEDAG_DAG: dag,
  };
  const agent = box.start(["agent"], { env });
  await agent.says(/no connection to http:\/\/127\.0\.0\.1:\d+.*ECONNREFUSED.*next try in/);
  const [, run = ""] = await agent.says(/run (\S+) succeeded/);
  t.notOk(agent.hasEnded, "with a master it stays, because something is to be delivered");

  const master = await RealMaster.start(box, `127.0.0.1:${port}`);
  const seen = await master.finishedRun();
  t.equal(seen.id, run);
  t.equal(seen.outcome?.kind, "succeeded");
  t.strictSame(await master.log(run), await nodeLog(box.state, run), "the log is the node's");
  t.same(
    (await master.results(run)).find((result) => result.task === "a")?.value,
    [1, 2],
    "the result is there",
  );
  t.equal((await agent.stop()).code, exitCodes.ok);
});

t.test("an agent that ends before the master comes up delivers at its next start", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", twoTasks);
  const port = await freePort();
  const env = {
    EDGEDAG_MASTER: `http://127.0.0.1:${port}`,
    EDGEDAG_TOKEN: "secret-of-the-box",
    EDGEDAG_DRAIN: "200ms",
  };
  const first = await box.run(["agent"], {
    env: { ...env, EDGEDAG_DAG: dag, EDGEDAG_AFTER: "exit" },
  });
  t.equal(first.code, exitCodes.ok, "the run succeeded");
  t.match(first.stderr, /\d+ records wait in the outbox/, "it says that something is left");
  const master = await RealMaster.start(box, `127.0.0.1:${port}`);
  const second = box.start(["agent"], { env });
  const run = await master.finishedRun();
  t.strictSame(await master.log(run.id), await nodeLog(box.state, run.id));
  t.equal((await second.stop()).code, exitCodes.ok);
});

t.test("a token that the master does not accept", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", twoTasks);
  const master = await RealMaster.start(box);
  const env = { EDGEDAG_MASTER: master.url, EDGEDAG_TOKEN: "wrong" };

  const idle = await box.run(["agent"], { env });
  t.equal(idle.code, exitCodes.refused, "nothing to do and nobody to ask: it ends");
  t.match(idle.stderr, /the master refuses this node \(unauthorized\)/);
  t.match(idle.stderr, /EDGEDAG_TOKEN/, "with the remedy");

  const busy = box.start(["agent"], { env: { ...env, EDGEDAG_DAG: dag } });
  await busy.says(/the master refuses this node \(unauthorized\)/);
  const [, run = ""] = await busy.says(/run (\S+) succeeded/);
  t.notOk(busy.hasEnded, "a node with a run of its own stays");
  await busy.stop("SIGKILL");

  for (const args of [["nodes"], ["runs"], ["submit", dag, "--any"]]) {
    const client = await box.run(args, { env });
    t.equal(client.code, exitCodes.refused, `${args[0]}: exit code`);
    t.match(client.stderr, /does not accept the token\n {4}.*EDGEDAG_TOKEN/, args.join());
  }
  t.same(await master.runs(), [], "the master stored nothing of it");

  const right = box.start(["agent"], { env: master.env });
  const seen = await master.finishedRun();
  t.equal(seen.id, run, "with the right token everything arrives");
  t.strictSame(await master.log(run), await nodeLog(box.state, run));
  await right.stop();
});

t.test("a master of another version", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", twoTasks);
  const fake = await FakeMaster.start({
    onHello: (say) =>
      say({
        type: "refused",
        code: "version",
        detail: "it speaks 9, I speak 1",
        remedy: "Update the agent.",
      }),
  });
  t.teardown(() => fake.stop());
  const env = { EDGEDAG_MASTER: fake.url, EDGEDAG_TOKEN: "x", EDGEDAG_DRAIN: "100ms" };
  const idle = await box.run(["agent"], { env });
  t.equal(idle.code, exitCodes.refused);
  t.match(idle.stderr, /\(version\): it speaks 9/);
  t.match(idle.stderr, /Update the agent/);
  const alone = await box.run(["agent"], {
    env: { ...env, EDGEDAG_DAG: dag, EDGEDAG_AFTER: "exit" },
  });
  t.equal(alone.code, exitCodes.ok, "a node with a DAG of its own runs it");

  // One that welcomes in another version, or in words that are no message.
  for (const reply of [
    '{"type":"welcome","version":9,"acked":0,"heartbeatMs":200,"time":1}',
    "hello?",
  ]) {
    const odd = await FakeMaster.start({
      onHello: () => {
        for (const socket of odd.sockets) socket.send(reply);
      },
    });
    const agent = box.start(["agent"], { env: { ...env, EDGEDAG_MASTER: odd.url } });
    await agent.says(/version|message/);
    await odd.until(() => odd.connections >= 1);
    t.equal((await agent.stop()).code, exitCodes.ok, "it goes on trying and ends when told");
    await odd.stop();
  }
});

t.test("something that is no master at all", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", twoTasks);
  const { createServer: createHttp } = await import("node:http");
  const server = createHttp((_, response) => response.writeHead(404).end("nothing here"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => new Promise((resolve) => server.close(resolve)));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const env = { EDGEDAG_MASTER: `http://127.0.0.1:${port}`, EDGEDAG_DAG: dag };
  const agent = box.start(["agent"], { env });
  await agent.says(/no connection to .*404/);
  await agent.says(/run \S+ succeeded/);
  await agent.stop("SIGKILL");
  const client = await box.run(["nodes"], { env });
  t.equal(client.code, exitCodes.unavailable);
  t.match(client.stderr, /answered 404 and is no edgedag master\n {4}.*EDGEDAG_MASTER/);
  const nobody = await box.run(["nodes"], { env: { EDGEDAG_MASTER: "http://127.0.0.1:1" } });
  t.equal(nobody.code, exitCodes.unavailable);
  t.match(nobody.stderr, /cannot be reached.*\n {4}\S/);
});

t.test(
  "kill -9 of the master in the middle, three times: nothing is lost or doubled",
  async (t) => {
    await using box = await Box.create();
    const dag = await box.write(
      "dag.yaml",
      `dag: killed-master
tasks:
  list: { shell: "seq 0 39 | paste -sd, | sed 's/.*/[&]/' > $EDGEDAG_RESULT" }
  each:
    needs: [list]
    map: "{{ needs.list.result }}"
    shell: "seq 300; sleep 0.05; echo {{ item }} > $EDGEDAG_RESULT"
  file: { needs: [each], shell: "seq 200000 > out.txt", outputs: [out.txt] }
`,
    );
    const master = await RealMaster.start(box);
    const agent = box.start(["agent"], { env: { ...master.env, EDGEDAG_DAG: dag } });
    await master.connected();
    let run = "";
    for (const atLeast of [1, 12, 25]) {
      await until(
        `${atLeast} tasks are known`,
        async () => (await master.runs())[0],
        (seen) => {
          run = seen?.id ?? "";
          return seen !== undefined && finishedTasks(seen) >= atLeast;
        },
      );
      await master.stop("SIGKILL");
      await agent.says(/no connection to/);
      await master.startAgain();
    }
    const seen = await master.finishedRun();
    t.equal(seen.outcome?.kind, "succeeded");
    t.strictSame(await master.log(run), await nodeLog(box.state, run), "the log is the node's");
    const each = (await master.results(run)).find((result) => result.task === "each");
    t.same(
      each?.items?.map((item) => item.value),
      Array.from({ length: 40 }, (_, i) => i),
    );
    t.ok(
      seen.tasks.every((task) => task.attempts.length <= 1),
      "each attempt is there once",
    );
    const [artifact] = await until(
      "the artifact is whole",
      () => master.artifacts(run),
      ([artifact]) =>
        artifact?.state === "stored" ||
        artifact?.state === "whole" ||
        artifact?.state === "verified",
    );
    t.equal(artifact?.sizeBytes, 1_288_895);
    t.equal((await master.node())?.missingRecords, 0);
    t.equal((await agent.stop()).code, exitCodes.ok);
  },
);

function finishedTasks(run: object): number {
  return "progress" in run ? (run.progress as { finished: number }).finished : 0;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}
