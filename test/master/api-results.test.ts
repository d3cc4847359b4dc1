// Logs with filters and follow, results, fan-outs, large results, artifacts.
import { createHash } from "node:crypto";
import t from "tap";
import type { LinkRecord } from "../../protocol/link.ts";
import {
  eventually,
  finished,
  helloOf,
  logged,
  runFinished,
  runStarted,
  ScriptedAgent,
  type TestMaster,
  testMaster,
} from "./rig.ts";

async function lines(master: TestMaster, query: string): Promise<number[]> {
  const text = await (await master.get(`/api/runs/r1/log${query}`)).text();
  return text === ""
    ? []
    : text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).seq);
}

t.test(
  "the log is read in order, by task, stream, level, from a line on, and limited",
  async (t) => {
    await using master = await testMaster();
    const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
    await using _ = agent;
    agent.records(
      runStarted(1, "r1"),
      logged(2, "r1", 1, 4, "a"),
      logged(3, "r1", 5, 4, "months[0]"),
      logged(4, "r1", 9, 2, "months[1]"),
    );
    await agent.acked(4);
    t.same(await lines(master, ""), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    t.same(await lines(master, "?task=a"), [1, 2, 3, 4]);
    t.same(await lines(master, "?task=months"), [5, 6, 7, 8, 9, 10]);
    t.same(await lines(master, `?task=${encodeURIComponent("months[1]")}`), [9, 10]);
    t.same(await lines(master, "?stream=stderr"), [2, 4, 6, 8, 10]);
    t.same(await lines(master, "?level=warn&after=5"), [6, 8, 10]);
    t.same(await lines(master, "?after=3&limit=2"), [4, 5]);
    t.same(await lines(master, "?source=agent"), []);
    const wrong = await master.json("/api/runs/r1/log?level=loud");
    t.match(wrong.error, { code: "E_API_QUERY", message: /trace, debug/ });
  },
);

t.test("a reader that follows gets lines as they come, and the end with the run", async (t) => {
  await using master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  agent.records(runStarted(1, "r1"), logged(2, "r1", 1, 2));
  await agent.acked(2);
  const response = await master.get("/api/runs/r1/log?follow=true");
  t.match(response.headers.get("content-type"), "application/x-ndjson");
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  t.match((await reader?.read())?.value, /line 1.*\n.*line 2/);
  agent.records(logged(3, "r1", 3, 1));
  t.match((await reader?.read())?.value, "line 3");
  agent.records(logged(4, "r1", 4, 1), runFinished(5, "r1"));
  t.match((await reader?.read())?.value, "line 4");
  t.equal((await reader?.read())?.done, true);
});

t.test("a reader that goes away while following is forgotten", async (t) => {
  const master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  agent.records(runStarted(1, "r1"), logged(2, "r1", 1, 1));
  await agent.acked(2);
  const gone = new AbortController();
  const response = await master.get("/api/runs/r1/log?follow", { signal: gone.signal });
  await response.body?.getReader().read();
  gone.abort();
  agent.records(logged(3, "r1", 2, 1));
  await agent.acked(3);
  const still = await master.get("/api/runs/r1/log?follow");
  await still.body?.getReader().read();
  // A master that ends does not wait for readers.
  await agent[Symbol.asyncDispose]();
  await master[Symbol.asyncDispose]();
  t.pass("ended");
});

t.test("results: values, fan-outs in the order of items, tasks without", async (t) => {
  await using master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  const items = Array.from({ length: 12 }, (_, index) => index);
  const outcome = { kind: "succeeded" } as const;
  agent.records(
    runStarted(1, "r1"),
    ...items.toReversed().map((item, at) => finished(2 + at, "r1", `months[${item}]`, item * 10)),
    { type: "task-finished", seq: 14, time: 1, run: "r1", task: "months", outcome },
    {
      type: "task-finished",
      seq: 15,
      time: 1,
      run: "r1",
      task: "alert",
      outcome: { kind: "skipped", because: "months" },
    },
    finished(16, "r1", "clean", 5),
  );
  await agent.acked(16);
  t.same(
    await (await master.get("/api/runs/r1/results/months")).json(),
    items.map((item) => item * 10),
  );
  t.equal(await (await master.get("/api/runs/r1/results/months%5B3%5D")).json(), 30);
  const all = await master.json("/api/runs/r1/results");
  t.match(all.results, [
    { task: "alert", outcome: { kind: "skipped" } },
    { task: "clean", value: 5 },
    { task: "months", items: items.map((item) => ({ task: `months[${item}]`, value: item * 10 })) },
  ]);
  t.match((await master.json("/api/runs/r1/results/alert")).error, {
    code: "E_API_NO_RESULT",
    message: /skipped/,
  });
  t.match((await master.json("/api/runs/r1/results/claen")).error.remedy, "Did you mean clean?");
  const { tasks } = await master.json("/api/runs/r1/tasks");
  t.equal(tasks.length, 15);
});

t.test("attempts of a task: a retry, progress, its own outcome at last", async (t) => {
  await using master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  const base = { time: 1, run: "r1", task: "a" };
  agent.records(
    runStarted(1, "r1"),
    { type: "attempt-started", seq: 2, attempt: 1, ...base },
    { type: "progress", seq: 3, attempt: 1, fraction: 0.25, text: "a quarter", ...base },
  );
  await agent.acked(3);
  t.match((await master.json("/api/runs/r1")).tasks, [
    { task: "a", state: "running", progress: { fraction: 0.25, text: "a quarter" } },
  ]);
  agent.records({
    type: "attempt-finished",
    seq: 4,
    attempt: 1,
    outcome: { kind: "failed", failure: { reason: "timeout", limitMs: 5 } },
    facts: { wallMs: 5 },
    ...base,
  });
  await agent.acked(4);
  t.match((await master.json("/api/runs/r1")).tasks, [{ state: "retrying", hasResult: false }]);
  agent.records({ ...finished(5, "r1", "a", 1), attempt: 2 } as LinkRecord);
  await agent.acked(5);
  t.match((await master.json("/api/runs/r1")).tasks, [
    { state: "finished", hasResult: true, outcome: { kind: "succeeded" }, attempts: [{}, {}] },
  ]);
});

function parts(
  seq: number,
  kind: "result" | "artifact",
  name: string,
  bytes: Buffer,
  sha256 = createHash("sha256").update(bytes).digest("hex"),
): LinkRecord[] {
  const size = Math.ceil(bytes.length / 3);
  return [0, 1, 2].map((part) => ({
    type: "object-part",
    seq: seq + part,
    time: 1,
    run: "r1",
    kind,
    task: "clean",
    attempt: 1,
    name,
    part: part + 1,
    parts: 3,
    sizeBytes: bytes.length,
    sha256,
    data: bytes.subarray(part * size, (part + 1) * size).toString("base64"),
  }));
}

t.test("objects are put together, verified, and served; a corrupt one never", async (t) => {
  await using master = await testMaster();
  const { agent } = await ScriptedAgent.join(master.url, helloOf("n1"));
  await using _ = agent;
  const large = JSON.stringify({ text: "ü".repeat(300_000) });
  const chart = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 256));
  agent.records(runStarted(1, "r1"), finished(2, "r1", "clean"));
  agent.records(...parts(3, "result", "result", Buffer.from(large)));
  agent.records(...parts(6, "artifact", "out/chart.png", chart));
  agent.records(...parts(9, "artifact", "bad.bin", chart, "0".repeat(64)));
  agent.records(...parts(12, "artifact", "half.bin", chart).slice(0, 2));
  await agent.acked(13);
  const { artifacts } = await eventually(
    () => master.json("/api/runs/r1/artifacts"),
    ({ artifacts }) => !JSON.stringify(artifacts).includes('"whole"'),
  );
  t.match(artifacts, [
    { name: "bad.bin", state: "corrupt" },
    { name: "half.bin", state: "arriving" },
    { name: "out/chart.png", state: "verified", sizeBytes: 100_000 },
  ]);
  const response = await master.get("/api/runs/r1/artifacts/clean/out/chart.png");
  t.equal(response.headers.get("content-length"), "100000");
  t.ok(Buffer.from(await response.arrayBuffer()).equals(chart));
  t.equal((await master.get("/api/runs/r1/artifacts/clean/out%2Fchart.png")).status, 200);
  t.equal((await master.json("/api/runs/r1/artifacts/clean/bad.bin")).error.code, "E_API_CORRUPT");
  t.equal((await master.get("/api/runs/r1/artifacts/clean/half.bin")).status, 409);
  t.match(
    (await master.json("/api/runs/r1/artifacts/clean/out/chart.pmg")).error.remedy,
    "chart.png",
  );
  t.equal(await (await master.get("/api/runs/r1/results/clean")).text(), large);
  t.match((await master.json("/api/runs/r1/results")).results, [
    { task: "clean", large: { state: "verified", url: "/api/runs/r1/results/clean" } },
  ]);
});
