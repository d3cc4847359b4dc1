// The door of a library: batches of commands, what became of them, and what there is and was used.
import t from "tap";
import { until } from "../rig/until.ts";
import type { ApiError, Task } from "./answers.ts";
import { type Headers, Service } from "./serve-rig.ts";

const service = await Service.start({
  EDGEDAG_API_KEYS: "one=key-of-one-1,two=key-of-two-2",
  EDGEDAG_TOKEN: "the-masters-token",
  EDGEDAG_SNIPPET_SLOTS: "2",
  EDGEDAG_QUEUE_SIZE: "12",
});
t.teardown(() => service.end());

const one: Headers = { authorization: "Bearer key-of-one-1" };
const two: Headers = { authorization: "Bearer key-of-two-2" };
const admin: Headers = { authorization: "Bearer the-masters-token" };

interface Batch {
  tasks: { id: string; state: string }[];
}
interface Waited {
  done: Task[];
  pending: string[];
}

async function submit(tasks: readonly object[], headers = one): Promise<string[]> {
  const { status, value, text } = await service.post<Batch>("/tasks", tasks, { headers });
  if (status !== 202) throw new Error(`POST /tasks answered ${status}: ${text}`);
  return value.tasks.map(({ id }) => id);
}

const wait = async (body: object, headers = one): Promise<Waited> =>
  (await service.post<Waited>("/tasks/wait", body, { headers })).value;

t.test("a batch is taken in, in order, and each command has its own end", async (t) => {
  const ids = await submit([
    {
      command: "sh",
      args: ["-c", "cat; cat in.txt; echo $A >&2; exit 3"],
      stdin: "x",
      env: { A: "b" },
      files: { "in.txt": "y" },
    },
    { command: "sh", args: ["-c", "echo kept > out.txt"], outputs: ["out.txt"], priority: 9 },
    { command: "/bin/echo", args: ["{{ not a template }}", "$HOME"] },
  ]);
  t.equal(new Set(ids).size, 3);
  const { done, pending } = await wait({ ids, timeout: "30s" });
  t.strictSame(pending, []);
  t.match(done, [
    {
      id: ids[0],
      state: "failed",
      exit_code: 3,
      stdout: "xy",
      stderr: "b\n",
      language: "commands",
    },
    { id: ids[1], state: "succeeded", files: [{ name: "out.txt", size: 5 }], priority: 9 },
    { id: ids[2], state: "succeeded", stdout: "{{ not a template }} $HOME\n" },
  ]);
  const single = await service.get<Task>(`/tasks/${ids[0]}`, { headers: one });
  t.strictSame(single.value, done[0], "the same as asked for alone");
});

t.test("of a batch with one mistake nothing is taken in, and every mistake is told", async (t) => {
  const before = (await service.get<{ tasks: Task[] }>("/tasks", { headers: one })).value.tasks;
  const { status, value } = await service.post<ApiError>(
    "/tasks",
    [
      { command: "true" },
      { command: "", args: "x", priority: 10 },
      { comand: "true" },
      { command: "true", limits: { memory: "1Zi", timeout: 0 }, files: { "../a": "" } },
      { command: "true", outputs: ["/etc/*"], env: { "A-B": "1" } },
      7,
    ],
    { headers: one },
  );
  t.equal(status, 400);
  t.match(value.error, { class: "Validation", remedy: /\w/ });
  const paths = value.error.diagnostics?.map(({ path }) => path).sort();
  t.strictSame(paths, [
    "[1].args",
    "[1].command",
    "[1].priority",
    "[2].comand",
    "[2].command",
    "[3].files.../a",
    "[3].limits.memory",
    "[3].limits.timeout",
    "[4].env.A-B",
    "[4].outputs[0]",
    "[5]",
  ]);
  const after = (await service.get<{ tasks: Task[] }>("/tasks", { headers: one })).value.tasks;
  t.equal(after.length, before.length);
  for (const body of [[], {}, "x", Array.from({ length: 1001 }, () => ({ command: "true" }))]) {
    t.equal((await service.post("/tasks", body, { headers: one })).status, 400);
  }
});

t.test("dangerous commands are refused before they are tried", async (t) => {
  for (const [command, args] of [
    ["sudo", ["id"]],
    ["rm", ["-rf", "/"]],
    ["rm", ["--no-preserve-root", "-r", "/"]],
    ["sh", ["-c", "true && shutdown -h now"]],
    ["bash", ["-lc", ":(){ :|:& };:"]],
    ["/usr/sbin/mkfs.ext4", ["/dev/sda"]],
    ["nohup", ["dd", "if=/dev/zero"]],
  ] as const) {
    const { status, value } = await service.post<ApiError>("/tasks", [{ command, args }], {
      headers: one,
    });
    t.equal(status, 400, command);
    t.match(value.error.diagnostics, [{ code: "E_SNIPPET_DENIED", path: "[0].command" }]);
  }
  for (const [command, args] of [
    ["rm", ["-rf", "./build"]],
    ["echo", ["sudo", "rm -rf /"]],
    ["sh", ["-c", "echo 'shutdown'"]],
  ] as const) {
    t.equal((await service.post("/tasks", [{ command, args }], { headers: one })).status, 202);
  }
});

t.test("waiting: 0 answers at once, a count is enough, time is a limit", async (t) => {
  const [slow = "", quick = ""] = await submit([
    { command: "sleep", args: ["60"], limits: { timeout: "2m" } },
    { command: "true" },
  ]);
  const ids = [slow, quick];
  const atOnce = await wait({ ids, timeout: 0 });
  t.equal(atOnce.done.length + atOnce.pending.length, 2);
  const first = await wait({ ids, timeout: "30s", count: 1 });
  t.strictSame([first.done.map(({ id }) => id), first.pending], [[quick], [slow]]);
  const limited = await wait({ ids, timeout: 0.05 });
  t.strictSame(limited.pending, [slow]);
  const cancelled = await service.post<Task>(`/tasks/${slow}/cancel`, undefined, { headers: one });
  t.equal(cancelled.status, 200);
  t.match(await wait({ ids: [slow], timeout: "30s" }), { done: [{ state: "cancelled" }] });
  t.equal((await service.post("/tasks/wait", { ids: ["nope"] }, { headers: one })).status, 404);
  t.equal((await service.post("/tasks/wait", { ids: 3 }, { headers: one })).status, 400);
});

t.test("a task is its owner's, and the master's", async (t) => {
  const [id = ""] = await submit([{ command: "true" }]);
  t.equal((await service.get(`/tasks/${id}`, { headers: two })).status, 404);
  t.equal((await service.post(`/tasks/${id}/cancel`, undefined, { headers: two })).status, 404);
  t.equal((await service.post("/tasks/wait", { ids: [id] }, { headers: two })).status, 404);
  t.equal((await service.get(`/tasks/${id}?wait=30s`, { headers: admin })).status, 200);
  const { value } = await service.get<{ tasks: Task[] }>("/tasks", { headers: two });
  t.strictSame(value.tasks, []);
});

t.test("an idempotency key holds for the whole batch", async (t) => {
  const headers = { ...one, "idempotency-key": "batch-1" };
  const tasks = [{ command: "true" }, { command: "echo", args: ["a"] }];
  const first = await submit(tasks, headers);
  t.strictSame(await submit(tasks, headers), first);
  const other = [{ command: "true" }, { command: "echo", args: ["b"] }];
  const { status, value } = await service.post<ApiError>("/tasks", other, { headers });
  t.equal(status, 409);
  t.match(value.error, { code: "E_SNIPPET_IDEMPOTENCY", message: /task 1 .*nothing was taken in/ });
});

t.test("what no node could ever give is refused: Insufficient resources", async (t) => {
  interface Resources {
    slots: number;
    memory_bytes: number;
    nodes: { id: string; levels: string[] }[];
  }
  const { value } = await service.get<Resources>("/resources", { headers: one });
  t.match(value, { slots: 2, cpus: Number, nodes: [{ levels: ["none", "seccomp"] }] });
  const refused = await service.post<ApiError>(
    "/tasks",
    [{ command: "true", limits: { cpus: 1000 } }],
    { headers: one },
  );
  t.equal(refused.status, 422);
  t.match(refused.value.error, { class: "Resource", message: /^Insufficient resources: / });
});

t.test("a full queue refuses the whole batch, and says full", async (t) => {
  const ids = await submit(
    Array.from({ length: 2 }, () => ({
      command: "sleep",
      args: ["60"],
      limits: { timeout: "2m" },
    })),
  );
  await until(
    "both run",
    async () => (await wait({ ids, timeout: 0 })).pending.length,
    (pending) => pending === 2,
  );
  const states = async (): Promise<string[]> =>
    await Promise.all(
      ids.map(
        async (id) => (await service.get<Task>(`/tasks/${id}`, { headers: one })).value.state,
      ),
    );
  await until("they have slots", states, (all) => all.every((state) => state === "running"));
  const waiting = await submit(Array.from({ length: 10 }, () => ({ command: "true" })));
  const { status, value, headers } = await service.post<ApiError>(
    "/tasks",
    Array.from({ length: 3 }, () => ({ command: "true" })),
    { headers: one },
  );
  t.equal(status, 503);
  t.equal(headers.get("retry-after"), "1");
  t.match(value.error, { class: "Resource", code: "E_QUEUE_FULL", message: /full/ });
  for (const id of ids) await service.post(`/tasks/${id}/cancel`, undefined, { headers: one });
  t.equal((await wait({ ids: waiting, timeout: "60s" })).done.length, 10);
});

t.test("statistics and usage add up to what was done", async (t) => {
  interface Figures {
    tasks: { [state: string]: number };
    failures: { [reason: string]: number };
    latency_ms: { p50: number; p99: number };
    used: { finished: number; cpu_ms: number };
    queue: { queued: number; running: number };
  }
  const { value } = await service.get<Figures>("/statistics", { headers: admin });
  const { accepted = 0, succeeded = 0, failed = 0, cancelled = 0 } = value.tasks;
  t.equal(succeeded + failed + cancelled, accepted);
  t.ok((value.failures["exit-code"] ?? 0) >= 1);
  t.ok(value.latency_ms.p50 > 0 && value.latency_ms.p99 >= value.latency_ms.p50);
  t.match(value.queue, { queued: 0, running: 0 });
  const usage = await service.get<{ minutes: { finished: number; time: number }[] }>("/usage", {
    headers: admin,
  });
  const sum = usage.value.minutes.reduce((all, { finished }) => all + finished, 0);
  t.equal(sum, value.used.finished);
});
