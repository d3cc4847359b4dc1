import t from "tap";
import { RunState } from "../../agent/core/run-state.ts";
import { chain, dagOf, lost, noRetries, Run, type TaskSketch } from "./sample.ts";

const patient = { retries: { ...noRetries, limit: 9, lost: 9, backoffMs: 50 } };

t.test("a drained run starts nothing, reports once, and goes on when it is resumed", async (t) => {
  const run = new Run({ a: {}, b: { needs: ["a"] } });
  run.start();
  t.same(run.drain(), []);
  t.same(run.drain(), []);
  t.same(run.end("a"), ["a succeeded", "drained"]);
  t.same(run.pass(5), []);
  t.same(run.resume(), ["start b#1"]);
  t.same(run.drain(), []);
  t.same(run.end("b"), ["b succeeded", "run succeeded"]);
  t.same(run.resume(), []);
});

t.test("a run where nothing is in flight is drained at once", async (t) => {
  const run = new Run({ a: { waitFor: { event: "go" } } });
  run.start();
  t.same(run.drain(), ["drained"]);
  t.same(run.publish("go"), []);
  t.same(run.resume(), ["start a#1"]);
});

t.test("what was handed over may finish, and is not refilled", async (t) => {
  const run = new Run(chain(40));
  run.start();
  run.drain();
  for (let i = 0; i < 31; i += 1) t.same(run.end(`c${i}`), [`c${i} succeeded`]);
  t.same(run.end("c31"), ["c31 succeeded", "drained"]);
  t.same(run.resume().slice(0, 2), ["start c32#1", "start c33#1 behind c32"]);
});

t.test("timers sleep while the run drains, and are set again", async (t) => {
  const run = new Run({ a: patient, b: {} });
  run.start();
  run.drain();
  t.same(run.fail("a"), ["retry a#1 at 50"]);
  t.same(run.end("b"), ["b succeeded", "drained"]);
  run.now = 20;
  t.same(run.resume(), ["wake 50"]);
  run.drain();
  run.now = 70;
  t.same(run.resume(), ["start a#2"]);
});

t.test("a run that is cancelled while it drains ends", async (t) => {
  const run = new Run({ a: {}, b: {} });
  run.start(1);
  run.drain();
  t.same(run.cancel(), ["stop a#1 by user", "b cancelled by user"]);
  t.same(run.end("a"), ["a succeeded", "run cancelled by user"]);
});

t.test(
  "what runs keeps its slot, its pool and its resources when a drain is taken back",
  async (t) => {
    const big = { pool: "p", resources: { cpu: 3 } };
    const run = new Run(
      { a: big, b: big, c: { resources: { cpu: 3 } }, d: {} },
      { pools: { p: 1 } },
    );
    t.same(run.start(2), ["start a#1", "start d#1"]);
    run.drain();
    t.same(run.resume(4), []);
    t.same(run.state.dump().free, { pools: { p: 0 }, cpu: 1, memoryBytes: 1000, gpu: 0 });
    t.same(run.end("a"), ["a succeeded", "start b#1"]);
  },
);

t.test("with fewer slots than attempts in flight nothing starts until they are back", async (t) => {
  const run = new Run({ a: {}, b: {}, c: {} });
  run.start(2);
  t.same(run.resume(1), []);
  t.same(run.end("a"), ["a succeeded"]);
  t.same(run.end("b"), ["b succeeded", "start c#1"]);
});

t.test("what the smaller node can no longer run fails, whatever it waited for", async (t) => {
  const wide = { resources: { cpu: 4 }, ...patient };
  const run = new Run({ runs: wide, ready: wide, other: { resources: { cpu: 1 } } });
  t.same(run.start(1), ["start runs#1"]);
  run.fail("runs", lost);
  run.drain();
  run.fail("ready", lost);
  t.same(run.stateIds(), { runs: "delayed", ready: "delayed", other: "ready" });
  run.now = 100;
  t.same(run.resume(1, { cpu: 2 }), [
    "runs failed: backend",
    "ready failed: backend",
    "start other#1",
  ]);
  const queued = new Run({ first: { priority: 1 }, ready: wide });
  queued.start(1);
  t.same(queued.resume(1, { cpu: 2 }), ["ready failed: backend"]);
});

t.test("open fan-outs keep their bound over a resume", async (t) => {
  const run = new Run({ m: { map: "{{ x }}", mapConcurrency: 2 } });
  run.start(4);
  run.map("m", 4);
  run.end("m[0]");
  t.same(run.resume(4), []);
  t.same(run.end("m[1]"), ["m[1] succeeded", "start m[3]#1"]);
});

t.test(
  "a new RunState that is fed the same events is in the same state, and goes on",
  async (t) => {
    const run = new Run(
      {
        ...chain(4),
        m: { map: "{{ x }}", mapConcurrency: 1 },
        w: { waitFor: { event: "go", timeoutMs: 70 } },
        v: { waitFor: { event: "went" } },
        d: patient,
        e: { when: ["{{ x }}"] },
        p: { pool: "p" },
      },
      { pools: { p: 1 } },
    );
    run.start(4);
    run.map("m", 2);
    run.end("c0");
    run.publish("went");
    run.fail("d");
    const replayed = new RunState(run.state.document);
    for (const event of run.events) replayed.handle(event);
    t.same(replayed.dump(), run.state.dump());
    t.same(JSON.parse(JSON.stringify(replayed.dump())), replayed.dump(), "a dump is plain JSON");
    t.same(replayed.openEvaluations(), [{ type: "evaluate-when", task: 8 }]);
    t.same(
      replayed.inFlight().map((i) => replayed.keyOf(i)),
      run.state.dump().slots.map(([first]) => first),
    );
  },
);

t.test("after a restart attempts are settled as lost, before the resume or after it", async (t) => {
  const tasks: Record<string, TaskSketch> = { ...chain(2), m: { map: "{{ x }}", ...patient } };
  tasks.c0 = { ...tasks.c0, ...patient };
  for (const isResumedFirst of [true, false]) {
    const run = new Run(tasks);
    run.start(2);
    run.map("m", 2);
    const restarted = new Run(tasks);
    for (const event of run.events) restarted.event(event);
    if (isResumedFirst) restarted.resume();
    const keys = restarted.state.inFlight().map((i) => restarted.state.keyOf(i));
    for (const key of keys) restarted.fail(key, lost);
    if (!isResumedFirst) restarted.resume();
    t.same(
      restarted.state.dump().timers.map(({ task }) => task),
      keys,
    );
  }
  t.same(new RunState(dagOf(tasks)).inFlight(), []);
});
