// What a run tells of its attempts: only of those that have begun, and only what the master takes.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { outsidePrefix } from "../../agent/outside.ts";
import { AgentRig } from "./agent-rig.ts";

const master = { master: "http://127.0.0.1:1" };

t.test("tasks that wait at a worker behind others are not told to have started", async (t) => {
  await using rig = await AgentRig.start({ ...master, slots: 1 });
  const code = "import time\ndef f(): time.sleep(0.5)\ndef g(): pass";
  const tasks: { [name: string]: object } = { t0: { python: { code, function: "f" } } };
  for (let i = 1; i < 8; i += 1) {
    tasks[`t${i}`] = { needs: [`t${i - 1}`], python: { code, function: "g" } };
  }
  await rig.accept("chain", JSON.stringify({ dag: "chain", tasks }));
  await rig.end("chain");
  const started = rig.outbox().filter(({ type }) => type === "attempt-started");
  t.strictSame(
    started.map(({ task }) => task),
    ["t0"],
  );
});

t.test("messages that no master would take are said, not sent", async (t) => {
  await using rig = await AgentRig.start(master);
  const code = `
import json
from edgedag import events
def f():
    deep = "[" * 100000 + "]" * 100000
    for channel, message in [
        ("progress", '{"task":"f","attempt":0,"fraction":0.5}'),
        ("progress", '{"task":"f","attempt":99,"fraction":0.5}'),
        ("progress", '{"task":"' + "x" * 600 + '","attempt":1,"fraction":0.5}'),
        ("log", '{"task":"","attempt":-1,"text":"a"}'),
        ("log", '{"task":"f","attempt":1,"text":"a","fields":{"a":' + deep + '}}'),
        ("artifact", '{"task":"f","attempt":1e300,"path":"a"}'),
        ("artifact", deep),
        ("log", '{"task":"f","attempt":1,"text":"good"}'),
    ]:
        publish("edgedag." + channel, message)
def publish(channel, message):
    from edgedag import store
    store.execute("PUBLISH", channel, message)
`;
  await rig.accept(
    "said",
    JSON.stringify({ dag: "said", tasks: { f: { python: { code, function: "f" } } } }),
  );
  await rig.end("said");
  t.equal(rig.failure("f#1"), undefined);
  t.strictSame(
    rig.outbox().filter(({ type }) => type === "progress"),
    [],
  );
  const log = await rig.log("said");
  t.ok(log.every(({ attempt }) => attempt === undefined || attempt >= 1));
  t.strictSame(
    log.filter(({ stream }) => stream === "log").map(({ text }) => text),
    ["good"],
  );
  t.equal(log.filter(({ text }) => text?.includes("does not say which task")).length, 4);
});

t.test(
  "the result of an attempt that was forgotten by a crash is not taken for the next one's",
  async (t) => {
    await using rig = await AgentRig.start();
    const shm = join("/dev/shm", `${outsidePrefix(rig.config.stateDir, false)}stale`);
    mkdirSync(shm, { recursive: true });
    writeFileSync(join(shm, "a#1.result"), "1");
    await rig.accept("stale", "dag: stale\ntasks:\n  a: { command: ['true'] }\n");
    await rig.end("stale");
    t.equal(rig.ends.get("a#1")?.[0]?.result, undefined);
  },
);

t.test("the agent's secrets reach neither tasks nor templates", async (t) => {
  await using rig = await AgentRig.start({ passEnv: ["EDGEDAG_TOKEN", "SHOWN"] });
  const dag = {
    dag: "secret",
    tasks: {
      shell: { shell: "env; tr '\\0' '\\n' < /proc/$PPID/environ" },
      python: { python: { code: "import os\ndef f(): print(dict(os.environ))", function: "f" } },
      node: { node: { code: "export const f = () => console.log(process.env);", function: "f" } },
      template: {
        shell: "true",
        retries: 0,
        env: { T: "{{ env.EDGEDAG_TOKEN | default('none') }}" },
      },
      bare: { shell: "true", retries: 0, env: { T: "{{ env.EDGEDAG_TOKEN }}" } },
    },
  };
  await rig.accept("secret", JSON.stringify(dag));
  t.strictSame((await rig.end("secret")).outcome, { kind: "failed", failed: ["bare"] });
  const text = JSON.stringify(await rig.log("secret"));
  t.match(text, /SHOWN/);
  t.notMatch(text, /s3cret/);
  t.notMatch(text, /EDGEDAG_TOKEN=/);
  t.notMatch(rig.said.join(), /s3cret/);
});
