// The executor as a program uses it: real sandboxes in this process, no network, nothing left behind.
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { createExecutor, type Executor, type TaskHandle } from "edgedag";
import t from "tap";

process.env.EDGEDAG_FROM_SOURCE = "1";

const leftovers = () =>
  readdirSync(tmpdir()).filter((name) => name.startsWith("edgedag-executor-"));

let executor: Executor;
const before = leftovers();

t.before(async () => {
  executor = await createExecutor({ maxConcurrentTasks: 2, queueSize: 8, workerPoolSize: 1 });
});
t.teardown(async () => {
  await executor.shutdown();
  if (leftovers().length > before.length) throw new Error("a folder was left");
});

t.test(
  "runs a command with what it gets, and says everything that is known of its end",
  async (t) => {
    const handle = await executor.submit({
      command: "sh",
      args: ["-c", 'cat - in.txt; echo "$NAME" >&2; echo kept > out/a.txt'],
      env: { NAME: "north" },
      stdin: "from stdin\n",
      files: { "in.txt": "from a file\n", "out/.here": "" },
      outputs: ["out/*.txt"],
      priority: 9,
    });
    const end = await executor.getResult(handle, 30_000);
    t.match(end, {
      id: handle.id,
      state: "succeeded",
      exit_code: 0,
      stdout: "from stdin\nfrom a file\n",
      stderr: "north\n",
      priority: 9,
      attempt: 1,
    });
    t.strictSame(
      end.files.map(({ name, content }) => [name, Buffer.from(content).toString()]),
      [["out/a.txt", "kept\n"]],
    );
    t.ok((end.usage?.wall_ms ?? 0) > 0);
    t.ok(["subprocess", "none"].includes(end.isolation ?? ""), "the level is said");
  },
);

t.test("tells failures apart by class, reason and fault", async (t) => {
  const specs = [
    { command: "sh", args: ["-c", "exit 4"] },
    { command: "sleep", args: ["60"], limits: { timeout: "100ms" } },
    { command: "yes", limits: { output: 4096 } },
    { command: "no-such-program-here" },
    { command: "sh", args: ["-c", "kill -SEGV $$"] },
  ];
  const ends: (string | number | undefined)[][] = [];
  for (const spec of specs) {
    const { state, error, exit_code: code } = await executor.getResult(await executor.submit(spec));
    ends.push([state, error?.class, error?.reason, error?.fault, code]);
  }
  t.strictSame(ends, [
    ["failed", "Execution", "exit-code", "task", 4],
    ["failed", "Timeout", "timeout", "limit", undefined],
    ["failed", "Resource", "output-limit", "limit", undefined],
    ["failed", "Sandbox", "spawn", "platform", undefined],
    ["failed", "Execution", "signal", "task", undefined],
  ]);
});

t.test("refuses what is not valid, all of it at once, and takes nothing of it in", async (t) => {
  const before = executor.statistics().tasks.accepted;
  const bad = executor.submitMany([
    { command: "true" },
    { command: " ", limits: { memory: "much" } },
    // A caller in JavaScript has no types to hold it back.
    { command: "true", prioritty: 3 } as never,
  ]);
  const error = await bad.then(
    () => undefined,
    (error: unknown) => error,
  );
  t.match(error, {
    name: "ValidationError",
    diagnostics: [
      { path: "[1].command", message: /is empty/ },
      { path: "[1].limits.memory", message: /is no size/ },
      { path: "[2].prioritty", remedy: /Did you mean `priority`/ },
    ],
  });
  t.equal(executor.statistics().tasks.accepted, before);
});

t.test("refuses dangerous commands as a matter of security", async (t) => {
  for (const [command, args] of [
    ["rm", ["-rf", "/"]],
    ["sudo", ["true"]],
    ["sh", ["-c", "echo hi; shutdown now"]],
    ["bash", ["-c", ":(){ :|:& };:"]],
    ["env", ["A=1", "mkfs.ext4", "/dev/sda"]],
  ] as const) {
    await t.rejects(executor.submit({ command, args: [...args] }), { name: "SecurityError" });
  }
  const fine = await executor.submit({ command: "sh", args: ["-c", "rm -rf ./nothing"] });
  t.equal((await executor.getResult(fine)).state, "succeeded");
});

t.test("refuses what no node could ever give: Insufficient resources", async (t) => {
  const { memory_bytes: all } = executor.availableResources();
  await t.rejects(executor.submit({ command: "true", limits: { memory: all + 2 ** 30 } }), {
    name: "ResourceError",
    message: /^Insufficient resources/,
  });
});

t.test("waits for some: what is done and what is pending; 0 answers at once", async (t) => {
  const slow = await executor.submit({ command: "sleep", args: ["30"] });
  const quick = await executor.submit({ command: "true" });
  const atOnce = await executor.wait([slow], 0);
  t.strictSame([atOnce.done.length, atOnce.pending], [0, [slow]]);
  const first = await executor.wait([slow, quick], 30_000, { count: 1 });
  t.strictSame([first.done.map(({ id }) => id), first.pending], [[quick.id], [slow]]);
  await t.rejects(executor.getResult(slow, 10), { name: "TimeoutError" });
  t.equal(await executor.cancel(slow), true);
  t.equal((await executor.getResult(slow)).state, "cancelled");
  t.equal(await executor.cancel(slow), false, "it has ended");
});

t.test("a full queue says so instead of growing, and has room again later", async (t) => {
  const blockers = await executor.submitMany(
    Array.from({ length: 2 }, () => ({ command: "sleep", args: ["30"] })),
  );
  // Both slots are taken before the queue is filled.
  while (executor.statistics().queue.running < 2) {
    await executor.wait(blockers, 10);
  }
  const waiting: TaskHandle[] = [];
  for (let i = 0; i < 8; i += 1) waiting.push(await executor.submit({ command: "true" }));
  await t.rejects(executor.submit({ command: "true" }), {
    name: "ResourceError",
    code: "E_QUEUE_FULL",
  });
  await Promise.all(blockers.map((handle) => executor.cancel(handle)));
  const { done } = await executor.wait(waiting, 30_000);
  t.equal(done.length, 8);
  const again = await executor.submit({ command: "true" });
  t.equal((await executor.getResult(again)).state, "succeeded");
});

t.test("gives the better priority its turn first", async (t) => {
  const blockers = await executor.submitMany(
    Array.from({ length: 2 }, () => ({ command: "sleep", args: ["30"] })),
  );
  while (executor.statistics().queue.running < 2) await executor.wait(blockers, 10);
  const handles = await executor.submitMany(
    [1, 9, 5].map((priority) => ({ command: "true", priority })),
  );
  // One slot, so that they run one after another.
  await executor.cancel(blockers[0] ?? { id: "" });
  const { done } = await executor.wait(handles, 30_000);
  await executor.cancel(blockers[1] ?? { id: "" });
  const order = done
    .toSorted((a, b) => (a.started_at ?? 0) - (b.started_at ?? 0))
    .map(({ priority }) => priority);
  t.strictSame(order, [9, 5, 1]);
});

t.test("keeps statistics and a history of what was used", async (t) => {
  const { tasks, failures, latency_ms: latency, used } = executor.statistics();
  t.ok((tasks.succeeded ?? 0) >= 10);
  t.ok((failures["exit-code"] ?? 0) >= 1);
  t.ok((latency?.p50 ?? 0) > 0);
  t.equal(
    executor.usageHistory().reduce((sum, { finished }) => sum + finished, 0),
    used.finished,
  );
});

t.test("keeps as many results as it was told, and forgets the oldest", async (t) => {
  await using small = await createExecutor({
    resultCacheSize: 5,
    workerPoolSize: 0,
    monitoring: false,
    isolation: ["none"],
  });
  const handles: TaskHandle[] = [];
  for (let i = 0; i < 110; i += 1) {
    const handle = await small.submit({ command: "true" });
    await small.getResult(handle);
    handles.push(handle);
  }
  const last = handles.at(-1) ?? { id: "" };
  t.equal((await small.getResult(last)).state, "succeeded");
  // Forgetting is done behind the end that gave the reason.
  let isForgotten = false;
  for (let i = 0; i < 1000 && !isForgotten; i += 1) {
    isForgotten = await small.getResult(handles[0] ?? last).then(
      () => false,
      (error: Error) => error.name === "ExecutionError",
    );
  }
  t.equal(isForgotten, true);
  t.throws(() => small.statistics(), { name: "MonitoringError" });
});

t.test("cannot be made as it is configured: every reason at once", async (t) => {
  const made = createExecutor({ queueSize: 0, timeoutMs: -1, isolation: ["tight" as never] });
  await t.rejects(made, {
    name: "ConfigurationError",
    diagnostics: [{ path: "timeoutMs" }, { path: "queueSize" }, { path: "isolation[0]" }].sort(
      (a, b) =>
        ["queueSize", "timeoutMs", "isolation[0]"].indexOf(a.path) -
        ["queueSize", "timeoutMs", "isolation[0]"].indexOf(b.path),
    ),
  });
});

t.test("shutdown ends what runs, and leaves no process and no folder", async (t) => {
  const ending = await createExecutor({ workerPoolSize: 1 });
  const handle = await ending.submit({ command: "sleep", args: ["4242"] });
  while (ending.statistics().queue.running < 1) await ending.wait([handle], 10);
  await ending.shutdown();
  const sleeping = readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8") === "sleep\x004242\0";
    } catch {
      return false; // it ended between the two looks
    }
  });
  t.strictSame(sleeping, []);
  await t.rejects(ending.submit({ command: "true" }), { name: "ResourceError" });
});
