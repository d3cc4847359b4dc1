// The door of a queue: what is refused and how, keys that stop double submissions, and whose task is
// whose.
import t from "tap";
import { until } from "../rig/until.ts";
import type { Accepted, ApiError, Task } from "./answers.ts";
import { type Headers, Service } from "./serve-rig.ts";

const service = await Service.start({
  EDGEDAG_API_KEYS: "one=key-of-one-1,two=key-of-two-2",
  EDGEDAG_TOKEN: "the-masters-token",
  EDGEDAG_SNIPPET_SLOTS: "1",
  EDGEDAG_QUEUE_SIZE: "20",
  EDGEDAG_SNIPPET_TIMEOUT_MAX: "1m",
  EDGEDAG_SNIPPET_MEMORY_MAX: "512Mi",
});
t.teardown(() => service.end());

const one: Headers = { authorization: "Bearer key-of-one-1" };
const two: Headers = { "x-api-key": "key-of-two-2" };
const admin: Headers = { authorization: "Bearer the-masters-token" };
const echo = { language: "bash", code: "echo hello" };

async function submit(body: object, headers: Headers): Promise<string> {
  const { status, value, text } = await service.post<Accepted>("/submit", body, { headers });
  if (status !== 202) throw new Error(`POST /submit answered ${status}: ${text}`);
  return value.task_id;
}

function ended(id: string, headers: Headers): Promise<Task> {
  return service.get<Task>(`/result/${id}?wait=60s`, { headers }).then(({ value }) => value);
}

t.test(
  "all that is wrong with a request is told at once, each with its path and a remedy",
  async (t) => {
    const { status, value } = await service.post<ApiError>(
      "/submit",
      {
        language: "klingon",
        code: 7,
        stdin: [],
        args: ["a", 1, "c\0d"],
        env: { "1A": "x", B: 2, C: "\0" },
        files: {
          "../up": "x",
          "/abs": "x",
          "a//b": "x",
          ok: 5,
          odd: { base64: "?" },
          "x/y": "1",
          x: "2",
        },
        outputs: ["../*", "/etc/*"],
        limits: {
          timeout: "eternity",
          memory: "lots",
          output: -1,
          cpus: "all",
          pids: 0.5,
          speed: 1,
        },
        isolation: "cellar",
        priority: 10,
        callback: "ftp://host/",
        idempotency_key: 5,
        langauge: "python",
      },
      { headers: one },
    );
    t.equal(status, 400);
    t.match(value.error, {
      class: "Validation",
      code: /^E_/,
      message: /and \d+ more/,
      remedy: /./,
    });
    const found = value.error.diagnostics ?? [];
    const paths = found.map(({ path }) => path);
    for (const path of [
      "language",
      "code",
      "stdin",
      "args[1]",
      "args[2]",
      "env.1A",
      "env.B",
      "env.C",
      "files.../up",
      "files./abs",
      "files.a//b",
      "files.ok",
      "files.odd",
      "files.x/y",
      "outputs[0]",
      "outputs[1]",
      "limits.timeout",
      "limits.memory",
      "limits.output",
      "limits.cpus",
      "limits.pids",
      "limits.speed",
      "isolation",
      "priority",
      "callback",
      "idempotency_key",
      "langauge",
    ]) {
      t.ok(paths.includes(path), `${path} is named: ${paths.join(" ")}`);
    }
    for (const { code, message, remedy } of found) {
      t.ok(
        /^E_[A-Z_]+$/.test(code) && message !== "" && remedy !== "",
        JSON.stringify([code, message, remedy]),
      );
    }
    t.match(found.find(({ path }) => path === "langauge")?.remedy, /language/, "the nearest name");
    t.match(found.find(({ path }) => path === "language")?.remedy, /python.*rust/, "what is known");
  },
);

t.test("what is left out, empty or no object", async (t) => {
  const cases: [unknown, string[]][] = [
    [{}, ["language", "code"]],
    [{ language: "python" }, ["code"]],
    [{ code: "1" }, ["language"]],
    [[], [""]],
    ["text", [""]],
    [{ ...echo, language: "__proto__" }, ["language"]],
    [{ ...echo, language: "commands" }, ["language"]],
  ];
  for (const [body, paths] of cases) {
    const { status, value } = await service.post<ApiError>("/submit", body, { headers: one });
    t.equal(status, 400, JSON.stringify(body));
    t.same((value.error.diagnostics ?? []).map(({ path }) => path).sort(), paths.sort());
  }
});

t.test("limits beyond the operator's are refused, and so is a lower level", async (t) => {
  for (const [field, change] of [
    ["limits.timeout", { limits: { timeout: "61s" } }],
    ["limits.memory", { limits: { memory: "513Mi" } }],
    ["isolation", { isolation: "none" }],
    ["isolation", { isolation: "subprocess" }],
  ] as const) {
    const body = { ...echo, ...change };
    const { status, value } = await service.post<ApiError>("/submit", body, { headers: one });
    t.equal(status, 400);
    t.equal(value.error.diagnostics?.[0]?.path, field);
  }
  const allowed = { ...echo, limits: { timeout: "1m", memory: "512Mi" }, isolation: "seccomp" };
  t.match(await ended(await submit(allowed, one), one), { state: "succeeded" });
});

t.test("the body must be JSON, and not too large", async (t) => {
  const json = { "content-type": "application/json", ...one };
  for (const [body, headers, wanted] of [
    ["{", json, 400],
    ["{}", { ...json, "content-type": "text/plain" }, 415],
    [JSON.stringify({ ...echo, code: "x".repeat(2 ** 20 + 1) }), json, 400],
  ] as const) {
    const { status, value } = await service.ask<ApiError>("POST", "/submit", { body, headers });
    t.equal(status, wanted);
    t.match(value.error, { class: "Validation", code: /^E_/, remedy: /./ });
  }
});

t.test("without a key nothing is told", async (t) => {
  const id = await submit(echo, one);
  const asked: [string, string, object?][] = [
    ["POST", "/submit", echo],
    ["GET", `/result/${id}`],
    ["GET", `/result/${id}/stream`],
    ["POST", `/cancel/${id}`],
    ["GET", "/submissions"],
  ];
  for (const [method, path, body] of asked) {
    for (const headers of [{}, { "x-api-key": "key-of-one-2" }]) {
      const reply =
        method === "GET"
          ? await service.get<ApiError>(path, { headers })
          : await service.post<ApiError>(path, body, { headers });
      t.equal(reply.status, 401, `${method} ${path}`);
      t.match(reply.value.error, { class: "Security" });
    }
  }
});

t.test("a task is seen by the key that sent it, and by the master's token", async (t) => {
  const id = await submit({ ...echo, code: "echo mine >file", outputs: ["file"] }, one);
  t.match(await ended(id, one), { state: "succeeded", owner: "one" });
  t.match(await ended(id, admin), { state: "succeeded", owner: "one" });
  for (const path of [
    `/result/${id}`,
    `/result/${id}/files/file`,
    `/result/${id}/stream`,
    `/tasks/${id}`,
  ]) {
    t.equal((await service.get(path, { headers: two })).status, 404, path);
  }
  t.equal((await service.post(`/cancel/${id}`, undefined, { headers: two })).status, 404);
  const wait = await service.post("/tasks/wait", { ids: [id] }, { headers: two });
  t.equal(wait.status, 404);
  const lists = await Promise.all(
    [one, two, admin].map((headers) =>
      service.get<{ tasks: Task[] }>("/submissions?limit=500", { headers }),
    ),
  );
  t.same(
    lists.map(({ value }) => value.tasks.some((task) => task.id === id)),
    [true, false, true],
  );
});

t.test("the list: newest first, by state and language, page by page", async (t) => {
  const ids: string[] = [];
  for (const language of ["bash", "python", "bash"]) {
    ids.unshift(await submit({ language, code: language === "bash" ? "echo 1" : "print(1)" }, two));
  }
  for (const id of ids) await ended(id, two);
  const list = async (query: string): Promise<string[]> => {
    const { value } = await service.get<{ tasks: Task[] }>(`/submissions${query}`, {
      headers: two,
    });
    return value.tasks.map(({ id }) => id);
  };
  t.same(await list(""), ids);
  t.same(await list("?language=bash"), [ids[0], ids[2]]);
  t.same(await list("?limit=2"), ids.slice(0, 2));
  t.same(await list(`?before=${ids[1]}`), [ids[2]]);
  t.same(await list("?state=finished&limit=500"), ids);
  t.same(await list("?state=queued"), []);
  for (const query of ["?state=odd", "?limit=0", "?limit=x", "?nothing=1"]) {
    t.equal((await service.get(`/submissions${query}`, { headers: two })).status, 400, query);
  }
});

t.test("an idempotency key stops a double submission", async (t) => {
  const body = { ...echo, args: ["a"], env: { A: "1", B: "2" } };
  const reordered = {
    env: { B: "2", A: "1" },
    args: ["a"],
    code: body.code,
    language: body.language,
  };
  const byHeader = { ...one, "idempotency-key": "order-1" };
  const first = await submit(body, byHeader);
  t.equal(await submit(body, byHeader), first, "the same again");
  t.equal(await submit(reordered, byHeader), first, "whatever the order of its fields");
  const many = await Promise.all(
    Array.from({ length: 10 }, () => submit(body, { ...one, "idempotency-key": "order-2" })),
  );
  t.equal(new Set(many).size, 1, "ten at once are one");
  t.not(many[0], first);
  const inField = await submit({ ...body, idempotency_key: "order-3" }, one);
  t.equal(await submit({ ...body, idempotency_key: "order-3" }, one), inField);
  const other = await service.post<ApiError>(
    "/submit",
    { ...body, args: ["b"] },
    { headers: byHeader },
  );
  t.equal(other.status, 409);
  t.match(other.value.error, { class: "Validation", code: "E_SNIPPET_IDEMPOTENCY" });
  t.match(other.value.error.message, first, "it says which task has the key");
  t.not(
    await submit(body, { ...two, "idempotency-key": "order-1" }),
    first,
    "of another key of the API",
  );
  await ended(first, one);
  t.equal(await submit(body, byHeader), first, "also when it has ended");
});

t.test("a full queue says so at once, takes nothing in, and takes again later", async (t) => {
  const holds = await submit({ ...echo, code: "sleep 600" }, one);
  await until(
    "it runs",
    () => service.get<Task>(`/result/${holds}`, { headers: one }),
    ({ value }) => value.state === "running",
  );
  const ids: string[] = [];
  for (let n = 0; n < 20; n++) ids.push(await submit(echo, one));
  const full = await service.post<ApiError>("/submit", echo, { headers: two });
  t.equal(full.status, 503);
  t.match(full.value.error, { class: "Resource", code: "E_QUEUE_FULL", message: /full/ });
  t.ok(Number(full.headers.get("retry-after")) >= 1);
  const batch = await service.post("/tasks", [{ command: "true" }], { headers: two });
  t.equal(batch.status, 503);
  t.equal((await service.get("/healthz")).status, 200);
  await service.post(`/cancel/${ids[0]}`, undefined, { headers: one });
  t.type(await submit(echo, two), "string", "one place is free again");
  await service.post(`/cancel/${holds}`, undefined, { headers: one });
  for (const id of ids.slice(1)) t.match(await ended(id, one), { state: "succeeded" });
});
