// The door of a queue: which task is next, seen from outside by when each began in the one slot there is.
import t from "tap";
import { until } from "../rig/until.ts";
import type { Accepted, Task } from "./answers.ts";
import { type Headers, Service } from "./serve-rig.ts";

const service = await Service.start({
  EDGEDAG_API_KEYS: "one=key-of-one-1,two=key-of-two-2",
  EDGEDAG_SNIPPET_SLOTS: "1",
  EDGEDAG_SNIPPET_TIMEOUT: "2m",
  EDGEDAG_QUEUE_AGING: "1h",
});
t.teardown(() => service.end());

const one: Headers = { "x-api-key": "key-of-one-1" };
const two: Headers = { "x-api-key": "key-of-two-2" };

async function submit(body: object, headers: Headers): Promise<string> {
  const { status, value, text } = await service.post<Accepted>("/submit", body, { headers });
  if (status !== 202) throw new Error(`POST /submit answered ${status}: ${text}`);
  return value.task_id;
}

/** Keeps the slot until it is let go, so that everything that comes then waits. */
async function hold(): Promise<() => Promise<void>> {
  const id = await submit({ language: "bash", code: "sleep 600", priority: 9 }, one);
  await until(
    "the slot is held",
    () => service.get<Task>(`/result/${id}`, { headers: one }),
    ({ value }) => value.state === "running",
  );
  return async () => void (await service.post(`/cancel/${id}`, undefined, { headers: one }));
}

/** Names in the order in which they began. */
async function began(tasks: { name: string; id: string; headers: Headers }[]): Promise<string[]> {
  const ends = await Promise.all(
    tasks.map(async ({ name, id, headers }) => {
      const { value } = await service.get<Task>(`/result/${id}?wait=60s`, { headers });
      if (value.state !== "succeeded") throw new Error(JSON.stringify(value));
      // Whole milliseconds: what ran in one began in the order of its ends.
      return { name, at: [value.started_at ?? 0, value.finished_at ?? 0] as const };
    }),
  );
  return ends.sort((a, b) => a.at[0] - b.at[0] || a.at[1] - b.at[1]).map(({ name }) => name);
}

const program = { language: "bash", code: "sleep 0.01" };

t.test("the highest priority goes first, and of one priority the first that came", async (t) => {
  const letGo = await hold();
  const tasks: { name: string; id: string; headers: Headers }[] = [];
  for (const [name, priority] of [
    ["low-1", 0],
    ["usual-1", undefined],
    ["high-1", 9],
    ["usual-2", 5],
    ["low-2", 0],
    ["high-2", 9],
    ["above-usual", 6],
  ] as const) {
    const body = { ...program, ...(priority === undefined ? {} : { priority }) };
    tasks.push({ name, id: await submit(body, one), headers: one });
  }
  await letGo();
  t.same(await began(tasks), [
    "high-1",
    "high-2",
    "above-usual",
    "usual-1",
    "usual-2",
    "low-1",
    "low-2",
  ]);
});

t.test("who sends a few is not kept waiting by who sends many", async (t) => {
  const letGo = await hold();
  const tasks: { name: string; id: string; headers: Headers }[] = [];
  for (let n = 0; n < 12; n++) {
    tasks.push({ name: `one-${n}`, id: await submit(program, one), headers: one });
  }
  for (let n = 0; n < 3; n++) {
    tasks.push({ name: `two-${n}`, id: await submit(program, two), headers: two });
  }
  await letGo();
  const order = await began(tasks);
  t.ok(order.indexOf("two-2") <= 7, `by turns: ${order.join(" ")}`);
  t.ok(order.indexOf("one-0") <= 2, order.join(" "));
  t.same(
    order.filter((name) => name.startsWith("one")),
    tasks.slice(0, 12).map(({ name }) => name),
  );
});

t.test("languages take turns too: a long queue of one delays no other", async (t) => {
  const letGo = await hold();
  const tasks: { name: string; id: string; headers: Headers }[] = [];
  for (let n = 0; n < 10; n++) {
    tasks.push({ name: `bash-${n}`, id: await submit(program, one), headers: one });
  }
  const id = await submit({ language: "python", code: "1" }, one);
  tasks.push({ name: "python", id, headers: one });
  await letGo();
  const order = await began(tasks);
  t.ok(order.indexOf("python") <= 3, order.join(" "));
});

t.test("a cancelled task in the middle of the queue never begins", async (t) => {
  const letGo = await hold();
  const ids = [await submit(program, one), await submit(program, one), await submit(program, one)];
  const [, middle = ""] = ids;
  const { value } = await service.post<Task>(`/cancel/${middle}`, undefined, { headers: one });
  t.match(value, { state: "cancelled", attempt: 0 });
  t.notOk(value.started_at);
  await letGo();
  for (const id of [ids[0], ids[2]]) {
    t.match((await service.get<Task>(`/result/${id}?wait=60s`, { headers: one })).value, {
      state: "succeeded",
    });
  }
  t.match((await service.get<Task>(`/result/${middle}`, { headers: one })).value, {
    state: "cancelled",
    attempt: 0,
  });
});

t.test("a caller that waits is served beside a backlog", async (t) => {
  const letGo = await hold();
  const ids: string[] = [];
  for (let n = 0; n < 10; n++) ids.push(await submit(program, one));
  const call = service.run("python", "def main():\n    return 1\n", {}, { headers: two });
  await letGo();
  t.match(await call, { status: "success" });
  const { value } = await service.get<{ tasks: Task[] }>("/submissions?state=queued", {
    headers: one,
  });
  t.ok(value.tasks.length > 0, "it did not wait for the whole backlog");
  for (const id of ids) await service.get(`/result/${id}?wait=60s`, { headers: one });
});
