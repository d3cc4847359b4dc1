// What holds at every door: the description is true, its examples work, the figures are right, the
// access log tells enough and no secret, an end is graceful, and the level is said.
import t from "tap";
import { findTestRunsc } from "../isolation/gvisor-rig.ts";
import { misfits, type OpenApi } from "../rig/open-api.ts";
import { until } from "../rig/until.ts";
import type { Accepted, Task } from "./answers.ts";
import { type Headers, Service } from "./serve-rig.ts";

const key: Headers = { authorization: "Bearer key-of-one-1" };
const admin: Headers = { authorization: "Bearer the-masters-token" };
const keys = { EDGEDAG_API_KEYS: "one=key-of-one-1", EDGEDAG_TOKEN: "the-masters-token" };

/** Routes that this service adds to a master's. */
const ofDoors =
  /^\/(run|submit|result|cancel|submissions|tasks|resources|statistics|usage|readyz|healthz|docs)/;

t.test(
  "every route of the doors answers as the description says, and its examples work",
  async (t) => {
    await using service = await Service.start(keys);
    const api = (await service.get<OpenApi>("/openapi.json")).value;
    const paths = Object.keys(api.paths).filter((path) => ofDoors.test(path));
    t.ok(paths.length >= 18, paths.join(" "));
    const { value: accepted } = await service.post<Accepted>(
      "/submit",
      { language: "bash", code: "echo x > out.txt", outputs: ["out.txt"] },
      { headers: key },
    );
    const id = accepted.task_id;
    await service.get(`/result/${id}?wait=60s`, { headers: key });
    for (const path of paths) {
      for (const [method, operation] of Object.entries(api.paths[path] ?? {})) {
        const url = path.replace("{task_id}", id).replace("{id}", id).replace("{name}", "out.txt");
        const body = operation.requestBody?.content["application/json"];
        const hasBody = body !== undefined;
        if (hasBody) t.ok(body.example !== undefined, `${path} has an example`);
        const sent = path === "/tasks/wait" ? { ids: [id], timeout: 0 } : body?.example;
        const reply =
          method === "post"
            ? await service.post(url, hasBody ? sent : undefined, { headers: key })
            : await service.get(url, { headers: key });
        const documented = operation.responses[String(reply.status)];
        t.ok(reply.status < 300 && documented, `${method} ${url} answers ${reply.status}`);
        const type = (reply.headers.get("content-type") ?? "").split(";")[0] ?? "";
        const content = documented?.content?.[type];
        t.ok(content, `${method} ${url} answers ${type}`);
        if (type === "application/json" && content !== undefined) {
          t.same(misfits(reply.value, content.schema, operation.operationId, api), []);
          if (content.example !== undefined) {
            t.same(
              misfits(content.example, content.schema, "example", api),
              [],
              `example of ${path}`,
            );
          }
        }
        if (operation.security.length === 0) continue;
        const bare = method === "post" ? await service.post(url, sent) : await service.get(url);
        t.equal(bare.status, 401, `${method} ${url} wants a key`);
      }
    }
  },
);

t.test("an API key is not enough for what is the master's", async (t) => {
  await using service = await Service.start(keys);
  for (const path of ["/api/runs", "/api/nodes"]) {
    t.equal((await service.get(path, { headers: key })).status, 403, path);
    t.equal((await service.get(path, { headers: admin })).status, 200, path);
    t.equal((await service.get(path)).status, 401, path);
  }
});

t.test(
  "figures count what was done, and the log has a line a request without secrets",
  async (t) => {
    await using service = await Service.start(keys);
    const asked = { headers: key };
    await service.run("python", "def main():\n    return 1\n", undefined, asked);
    await service.run("python", "def main():\n    return 1 // 0\n", undefined, asked);
    await service.run("nodejs", "function main() { return 2; }", undefined, asked);
    await service.post("/submit", { language: "nope" }, asked);
    const { value } = await service.post<Accepted>(
      "/submit?nothing=1",
      { language: "bash", code: "exit 1" },
      asked,
    );
    t.equal(value.task_id, undefined, "there is no such parameter");
    const submitted = await service.post<Accepted>(
      "/submit",
      { language: "bash", code: "exit 1" },
      asked,
    );
    await service.get(`/result/${submitted.value.task_id}?wait=60s`, asked);
    const finished = (labels: Headers) => service.metric("edgedag_snippets_finished_total", labels);
    t.equal(await finished({ language: "python", outcome: "succeeded", level: "seccomp" }), 1);
    t.equal(await finished({ language: "python", reason: "bad-result" }), 1);
    t.equal(await finished({ language: "nodejs" }), 1);
    t.equal(await finished({ language: "bash", reason: "exit-code" }), 1);
    t.equal(await service.metric("edgedag_snippets_accepted_total"), 4);
    t.equal(await service.metric("edgedag_snippets_refused_total", { why: "invalid" }), 1);
    t.equal(
      await service.metric("edgedag_snippet_latency_seconds_count", { language: "python" }),
      2,
    );
    t.equal(await service.metric("edgedag_snippets_running"), 0);
    const lines = await until(
      "the log has them",
      () => service.logLines().filter(({ msg }) => msg === "request"),
      (all) => all.some(({ path }) => path === "/metrics"),
    );
    const run = lines.filter(({ path }) => path === "/run");
    t.equal(run.length, 3);
    t.match(run[0], { method: "POST", status: 200, ms: Number, ip: "127.0.0.1", owner: "one" });
    t.notMatch(JSON.stringify(lines), /key-of-one|the-masters-token|nothing=1/);
  },
);

t.test("SIGTERM: what runs ends, new work is refused, readiness says so", async (t) => {
  await using service = await Service.start();
  const { value } = await service.post<Accepted>("/submit", {
    language: "bash",
    code: "echo begun; while [ ! -e go ]; do sleep 0.05; n=$((n+1)); [ $n -gt 40 ] && break; done; echo ended",
  });
  const id = value.task_id;
  await until(
    "it runs",
    async () => (await service.get<Task>(`/result/${id}`)).value.state,
    (state) => state === "running",
  );
  t.equal((await service.get("/readyz")).status, 200);
  process.kill(service.pid, "SIGTERM");
  const ready = await until(
    "it is not ready",
    () => service.get<{ status: string; problems: string[] }>("/readyz"),
    ({ status }) => status === 503,
  );
  t.match(ready.value, { status: "not ready", problems: ["the service is ending"] });
  t.equal((await service.get("/healthz")).status, 200, "it lives");
  t.equal((await service.post("/submit", { language: "bash", code: "true" })).status, 503);
  t.match(await service.run("python", "def main(): pass"), { status: "program_runner_error" });
  const { value: end } = await service.get<Task>(`/result/${id}?wait=30s`);
  t.match(end, { state: "succeeded", stdout: "begun\nended\n" });
  t.equal((await service.cli.ended).code, 0);
});

const runsc = findTestRunsc();
t.test(
  "at level gvisor the answer says gvisor",
  { skip: "reason" in runsc ? runsc.reason : false },
  async (t) => {
    if ("reason" in runsc) return;
    await using service = await Service.start({
      EDGEDAG_LEVELS: "gvisor",
      EDGEDAG_SNIPPET_ISOLATION: undefined,
      EDGEDAG_RUNSC: runsc.path,
    });
    t.match(await service.run("python", "def main(a):\n    return a\n", { a: [1] }), {
      status: "success",
      isolation: "gvisor",
      result: { value: [1] },
      memory_used_kb: Number,
    });
    const answer = await service.run("nodejs", "function main({ a }) { return a; }", { a: "b" });
    t.match(answer, { status: "success", isolation: "gvisor", result: { value: "b" } });
  },
);
