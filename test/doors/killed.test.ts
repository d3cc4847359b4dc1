// The whole service is ended under load, by kill -9 and by SIGTERM, and started again on its folders:
// what was accepted at either door has one end, the right one, and whoever asked to be called back is.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import t from "tap";
import { until } from "../rig/until.ts";
import type { Accepted, Task } from "./answers.ts";
import { Service } from "./serve-rig.ts";

const jobs = 60;

t.test("every task that was accepted has its own end after two kills", async (t) => {
  const called = new Map<string, string[]>();
  const hook = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const task = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Task;
      called.set(task.id, [...(called.get(task.id) ?? []), task.stdout ?? ""]);
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, "127.0.0.1", resolve));
  t.teardown(() => hook.close());
  const { port } = hook.address() as AddressInfo; // a TCP server that listens
  await using service = await Service.start({ EDGEDAG_CALLBACKS: "any" });
  const accepted = new Map<number, string>();
  const program = (job: number): string => `sleep 0.0${job % 7}; echo ${job}`;
  /** Every third at the library's door. */
  const send = async (job: number): Promise<{ status: number; id: string | undefined }> => {
    const shared = {
      callback: `http://127.0.0.1:${port}/`,
      idempotency_key: `job-${job}`,
    };
    if (job % 3 === 0) {
      const tasks = [{ command: "sh", args: ["-c", program(job)], ...shared }];
      const { status, value } = await service.post<{ tasks: Task[] }>("/tasks", tasks);
      return { status, id: value.tasks?.[0]?.id };
    }
    const body = { language: "bash", code: program(job), ...shared };
    const { status, value } = await service.post<Accepted>("/submit", body);
    return { status, id: value.task_id };
  };
  const submit = async (job: number): Promise<void> => {
    await until(
      `job ${job} is accepted`,
      // It is down: the same is sent again.
      () => send(job).catch(() => undefined),
      (reply) => {
        if (reply?.status !== 202 || reply.id === undefined) return false;
        accepted.set(job, reply.id);
        return true;
      },
      { withinMs: 60_000 },
    );
  };
  /** It answers before its start is over: the next kill waits for that. */
  let isUp: Promise<void> = Promise.resolve();
  const killAndStart = async (): Promise<void> => {
    await service.kill();
    await service.startAgain();
  };
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < jobs) {
      const job = next;
      next += 1;
      if (job !== 20 && job !== 40) await submit(job);
      else {
        isUp = isUp.then(killAndStart);
        await Promise.all([isUp, submit(job)]);
      }
    }
  };
  await Promise.all([lane(), lane(), lane()]);
  t.equal(new Set(accepted.values()).size, jobs);
  const ends = new Map<string, Task>();
  for (const [job, id] of accepted) {
    const { value } = await service.get<Task>(`/result/${id}?wait=60s`);
    t.match(value, { id, state: "succeeded", stdout: `${job}\n` }, `job ${job}`);
    ends.set(id, value);
  }
  const { value } = await service.get<{ tasks: Task[] }>("/submissions?limit=500");
  t.equal(value.tasks.length, jobs, "nothing was taken in twice");
  await until(
    "all are called back",
    () => called.size,
    (count) => count === jobs,
  );
  for (const [job, id] of accepted) {
    const told = called.get(id) ?? [];
    t.ok(told.length >= 1 && told.every((stdout) => stdout === `${job}\n`), `job ${job}`);
    const again = await service.get<Task>(`/tasks/${id}`);
    t.strictSame(again.value, ends.get(id), "an end stays as it is");
  }
});

t.test("SIGTERM: what runs ends, what waits is done by the next start, each once", async (t) => {
  await using service = await Service.start({ EDGEDAG_SNIPPET_SLOTS: "2" });
  const running = await Promise.all(
    [1, 2].map(async (n) => {
      const code = `echo begun; for i in $(seq 30); do sleep 0.05; done; echo ended ${n}`;
      return (await service.post<Accepted>("/submit", { language: "bash", code })).value.task_id;
    }),
  );
  for (const id of running) await untilRuns(service, id);
  const batch = Array.from({ length: 6 }, (_, n) => ({ command: "echo", args: [`${n}`] }));
  const { value } = await service.post<{ tasks: Task[] }>("/tasks", batch);
  const waiting = value.tasks.map(({ id }) => id);
  const ends = running.map((id) => service.get<Task>(`/result/${id}?wait=30s`));
  await service.stop();
  for (const [n, { value: end }] of (await Promise.all(ends)).entries()) {
    t.match(end, { state: "succeeded", stdout: `begun\nended ${n + 1}\n`, attempt: 1 });
  }
  await service.startAgain();
  for (const [n, id] of waiting.entries()) {
    const { value: end } = await service.get<Task>(`/tasks/${id}?wait=30s`);
    t.match(end, { state: "succeeded", stdout: `${n}\n`, attempt: 1 });
  }
  for (const id of running) {
    t.match((await service.get<Task>(`/result/${id}`)).value, { state: "succeeded", attempt: 1 });
  }
});

t.test("SIGTERM: what runs longer than the drain is put back, and done again", async (t) => {
  await using service = await Service.start({ EDGEDAG_DRAIN: "1s" });
  const { value } = await service.post<Accepted>("/submit", {
    language: "bash",
    // The second time it is quick.
    code: "echo begun; [ $EDGEDAG_ATTEMPT = 1 ] && sleep 60; echo ended",
    limits: { timeout: "2m" },
  });
  const id = value.task_id;
  await untilRuns(service, id);
  await service.stop();
  await service.startAgain();
  const { value: end } = await service.get<Task>(`/result/${id}?wait=30s`);
  t.match(end, { state: "succeeded", stdout: "begun\nended\n", attempt: 2 });
});

async function untilRuns(service: Service, id: string): Promise<void> {
  await until(
    "it runs",
    async () => (await service.get<Task>(`/result/${id}`)).value.state,
    (state) => state === "running",
  );
}
