// The door of a queue: the live stream of a task's output, as server-sent events.
import t from "tap";
import type { Accepted, Task } from "./answers.ts";
import { Events } from "./events.ts";
import { Service } from "./serve-rig.ts";

const service = await Service.start();
t.teardown(() => service.end());

async function submit(body: object): Promise<string> {
  const { value } = await service.post<Accepted>("/submit", body);
  return value.task_id;
}

const watch = (id: string, lastEventId?: string): Promise<Events> =>
  Events.open(`${service.url}/result/${id}/stream`, lastEventId);

/** Says a line, then waits until its file is there; the test decides when it goes on. */
const slow = {
  language: "bash",
  code: "echo first; echo aside >&2; while :; do sleep 0.05; n=$((n+1)); [ $n -gt 1200 ] && break; done",
  limits: { timeout: "2m" },
};

t.test("output arrives while the task runs, and its end is the result", async (t) => {
  const id = await submit(slow);
  await using events = await watch(id);
  t.match(events.headers.get("content-type"), /^text\/event-stream/);
  t.match(events.headers.get("cache-control"), /no-(?:cache|store)/);
  const texts = { stdout: "", stderr: "" };
  while (texts.stdout !== "first\n" || texts.stderr !== "aside\n") {
    const { event, data } = await events.next();
    t.not(event, "end", "not before the end");
    if (event === "stdout" || event === "stderr") texts[event] += data.text;
  }
  t.match((await service.get<Task>(`/result/${id}`)).value, { state: "running" });
  await service.post(`/cancel/${id}`);
  let last = await events.next();
  while (last.event !== "end") last = await events.next();
  const { value } = await service.get<Task>(`/result/${id}`);
  t.same(last.data, value, "what /result says");
  t.match(value, { state: "cancelled", stdout: "first\n" });
  t.equal(await events.rest(), 0, "then the stream ends");
});

t.test("the states come in order: queued, running, end", async (t) => {
  const holds = await Promise.all(
    Array.from({ length: 4 }, () => submit({ ...slow, priority: 9 })),
  );
  const id = await submit({ language: "bash", code: "echo x" });
  await using events = await watch(id);
  const first = await events.next();
  t.match(first, { event: "state", data: { state: "queued" } });
  for (const held of holds) await service.post(`/cancel/${held}`);
  const seen: string[] = [];
  for (let event = await events.next(); ; event = await events.next()) {
    seen.push(event.event === "state" ? String(event.data.state) : event.event);
    if (event.event === "end") break;
  }
  t.same(seen, ["running", "stdout", "end"]);
});

t.test("who comes late gets everything from the beginning, also after the end", async (t) => {
  const id = await submit({ language: "bash", code: "echo one; echo two >&2; echo ü" });
  await service.get(`/result/${id}?wait=60s`);
  for (let n = 0; n < 2; n++) {
    await using events = await watch(id);
    const texts: { [stream: string]: string } = { stdout: "", stderr: "" };
    for (let event = await events.next(); event.event !== "end"; event = await events.next()) {
      if (event.event in texts) texts[event.event] += String(event.data.text);
    }
    t.same(texts, { stdout: "one\nü\n", stderr: "two\n" });
  }
});

t.test("who comes back with Last-Event-ID gets what is missing, and nothing twice", async (t) => {
  const id = await submit({
    language: "python",
    code: "import sys, time\nfor n in range(30):\n    print(n, flush=True)\n    time.sleep(0.02)\n",
  });
  const seen: string[] = [];
  let lastId: string | undefined;
  let isOver = false;
  for (let visit = 0; !isOver && visit < 200; visit++) {
    await using events = await watch(id, lastId);
    // A few events at a time, then the connection is cut.
    for (let n = 0; n < 4 && !isOver; n++) {
      const event = await events.next();
      t.ok(event.id !== undefined && event.id !== lastId, `${event.id} after ${lastId}`);
      lastId = event.id;
      if (event.event === "stdout") seen.push(String(event.data.text));
      isOver = event.event === "end";
    }
  }
  t.equal(seen.join(""), Array.from({ length: 30 }, (_, n) => `${n}\n`).join(""));
});

t.test("who comes back when it is over gets the rest, and nothing twice", async (t) => {
  const code =
    "import sys, time\nfor n in range(8):\n    print(n, flush=True)\n    print(-n, file=sys.stderr, flush=True)\n    time.sleep(0.03)\n";
  const id = await submit({ language: "python", code });
  const texts: { [stream: string]: string } = { stdout: "", stderr: "" };
  let lastId: string | undefined;
  {
    await using events = await watch(id);
    while (texts.stdout?.length === 0 || texts.stderr?.length === 0) {
      const event = await events.next();
      lastId = event.id;
      if (event.event in texts) texts[event.event] += String(event.data.text);
    }
  }
  const { value } = await service.get<Task>(`/result/${id}?wait=60s`);
  t.not(texts.stdout, value.stdout, "there is more to come");
  await using events = await watch(id, lastId);
  for (let event = await events.next(); event.event !== "end"; event = await events.next()) {
    if (event.event in texts) texts[event.event] += String(event.data.text);
  }
  t.same(texts, { stdout: value.stdout, stderr: value.stderr });
});

t.test("two watch the same, and letters that come in pieces are whole", async (t) => {
  const id = await submit({
    language: "python",
    code: "import os, time\nfor byte in 'aü😀z'.encode():\n    os.write(1, bytes([byte]))\n    time.sleep(0.01)\n",
  });
  await using left = await watch(id);
  await using right = await watch(id);
  for (const events of [left, right]) {
    let text = "";
    for (let event = await events.next(); event.event !== "end"; event = await events.next()) {
      if (event.event === "stdout") text += String(event.data.text);
    }
    t.equal(text, "aü😀z");
  }
});

t.test("a line that looks like an event is text", async (t) => {
  const text = "event: end\ndata: {}\n\nid: 9.9\r\n: comment\n\n";
  const id = await submit({
    language: "python",
    code: `import sys\nsys.stdout.write(${JSON.stringify(text)})`,
  });
  await using events = await watch(id);
  let found = "";
  let last = await events.next();
  for (; last.event !== "end"; last = await events.next()) {
    if (last.event === "stdout") found += String(last.data.text);
  }
  t.equal(found, text);
  t.equal(last.data.id, id);
});
