// The client commands against a real master: what people and programs see, and the exit codes.

import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { logs } from "../../cli/client/logs.ts";
import { nodes } from "../../cli/client/nodes.ts";
import { artifacts, results } from "../../cli/client/results.ts";
import { cancel, runs, showRun } from "../../cli/client/runs.ts";
import { submit } from "../../cli/client/submit.ts";
import {
  artifactOf,
  finished,
  helloOf,
  logged,
  runFinished,
  runStarted,
  ScriptedAgent,
  testMaster,
} from "./rig.ts";

function capture() {
  const said = { out: "", err: "" };
  const io = {
    stdout: { write: (text: string) => (said.out += text) },
    stderr: { write: (text: string) => (said.err += text) },
  };
  return { said, io };
}

t.test("tables for people, JSON for programs", async (t) => {
  await using master = await testMaster({ token: "x" });
  const to = { master: master.url, token: "x" };
  const hello = helloOf("n1", { labels: { site: "graz" } });
  const { agent } = await ScriptedAgent.join(master.url, hello, { token: "x" });
  await using _ = agent;
  const part = { part: 1, parts: 1, sizeBytes: 1, data: "YQ==" };
  const sha256 = createHash("sha256").update("a").digest("hex");
  const object = {
    kind: "artifact",
    task: "clean",
    attempt: 1,
    name: "out/a.txt",
    sha256,
  } as const;
  agent.records(
    runStarted(1, "r1"),
    finished(2, "r1", "clean", 7),
    logged(3, "r1", 1, 2, "clean"),
    { type: "object-part", seq: 4, time: 1, run: "r1", ...object, ...part },
    runFinished(5, "r1"),
  );
  await agent.acked(5);
  const seen = async (command: (io: ReturnType<typeof capture>["io"]) => Promise<number>) => {
    const { said, io } = capture();
    t.equal(await command(io), 0, said.err);
    return said.out;
  };
  t.match(await seen((io) => nodes(to, io)), /n1 +alive.*linux\/x64.*site=graz/);
  t.match(await seen((io) => runs(to, io)), /r1 +weather +n1 +succeeded +1\/1/);
  t.match(JSON.parse(await seen((io) => runs({ ...to, json: true }, io))), [{ id: "r1" }]);
  t.match(await seen((io) => showRun({ ...to, run: "r1" }, io)), /clean +succeeded +1 +1.0ms/);
  t.match(
    await seen((io) => logs({ ...to, run: "r1" }, io)),
    /clean#1 out \| line 1\n.*clean#1 err \| line 2/,
  );
  t.notMatch(await seen((io) => logs({ ...to, run: "r1", stream: "stderr" }, io)), "line 1");
  t.match(await seen((io) => logs({ ...to, run: "r1", follow: true, json: true }, io)), '"seq":2');
  t.match(await seen((io) => results({ ...to, run: "r1" }, io)), /clean +succeeded +7/);
  t.equal(await seen((io) => results({ ...to, run: "r1", task: "clean" }, io)), "7\n");
  const out = await mkdtemp(join(tmpdir(), "edgedag-client-"));
  t.match(await seen((io) => artifacts({ ...to, run: "r1", out }, io)), /clean +out\/a.txt +1 B/);
  t.equal(await readFile(join(out, "clean/out/a.txt"), "utf8"), "a");
  await rm(out, { recursive: true });
});

t.test("submit waits for the outcome; cancel; the exit code tells", async (t) => {
  await using master = await testMaster();
  const to = { master: master.url };
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1", { wantsRuns: true }));
  await using _ = agent;
  const { said, io } = capture();
  const submitted = submit({ ...to, artifact: artifactOf(), any: true, wait: true }, io);
  const { run } = await agent.next("run-offered");
  agent.records(runStarted(1, run), finished(2, run, "clean"), runFinished(3, run));
  t.equal(await submitted, 0);
  t.match(said, { out: `${run}\n`, err: /succeeded, 1 of 1 tasks/ });
  const other = capture();
  t.equal(await submit({ ...to, artifact: artifactOf(), node: "n9" }, other.io), 0);
  const queued = other.said.out.trim();
  t.equal(await cancel({ ...to, run: queued }, other.io), 0);
  t.match(other.said.out, "had not begun");
  t.equal(await submit({ ...to, artifact: artifactOf() }, other.io), 64);
});

t.test("errors say what and what to do", async (t) => {
  await using master = await testMaster({ token: "x" });
  const cases: [{ master: string; token?: string }, string, number, RegExp][] = [
    [
      { master: "http://127.0.0.1:1" },
      "r1",
      69,
      /127.0.0.1:1 cannot be reached.*\n.*EDGEDAG_MASTER/,
    ],
    [{ master: "not an address" }, "r1", 69, /cannot be reached/],
    [{ master: master.url }, "r1", 77, /token.*\n.*EDGEDAG_TOKEN/],
    [{ master: `${master.url}/`, token: "x" }, "r1", 66, /no run r1/],
    [{ master: `${master.url.replace("http", "ws")}/link`, token: "x" }, "r1", 66, /no run r1/],
  ];
  for (const [to, run, code, text] of cases) {
    const { said, io } = capture();
    t.equal(await showRun({ ...to, run }, io), code);
    t.match(said.err, text);
    t.equal(said.out, "");
  }
});
