// kill -9 of the whole service under load: what was accepted has one end, the right one, and whoever
// asked to be called back is.
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
  const submit = async (job: number): Promise<void> => {
    const body = {
      language: "bash",
      code: `sleep 0.0${job % 7}; echo ${job}`,
      callback: `http://127.0.0.1:${port}/`,
      idempotency_key: `job-${job}`,
    };
    await until(
      `job ${job} is accepted`,
      async () => {
        try {
          return await service.post<Accepted>("/submit", body);
        } catch {
          return undefined; // it is down: the same is sent again
        }
      },
      (reply) => {
        if (reply?.status !== 202) return false;
        accepted.set(job, reply.value.task_id);
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
  for (const [job, id] of accepted) {
    const { value } = await service.get<Task>(`/result/${id}?wait=60s`);
    t.match(value, { state: "succeeded", stdout: `${job}\n` }, `job ${job}`);
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
  }
});
