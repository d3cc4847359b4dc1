// What holds at every door: the description is true, its examples work, the figures are right, the
// access log tells enough and no secret, an end is graceful, and the level is said.
import { once } from "node:events";
import { connect } from "node:net";
import t from "tap";
import { findTestRunsc } from "../isolation/gvisor-rig.ts";
import { misfits, type OpenApi } from "../rig/open-api.ts";
import { until } from "../rig/until.ts";
import type { Accepted, Task } from "./answers.ts";
import { Events } from "./events.ts";
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

t.test("what is refused at any route is refused in the words of the description", async (t) => {
  // One wrong key is shown at each route.
  await using service = await Service.start({ ...keys, EDGEDAG_AUTH_LIMIT: "1000/minute" });
  const api = (await service.get<OpenApi>("/openapi.json")).value;
  const json = { "content-type": "application/json" };
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [name, operation] of Object.entries(methods)) {
      const method = name.toUpperCase();
      const url = path.replaceAll(/\{\w+\}/g, "nothing-like-it");
      const refused = async (statuses: number[], what: string, to: string, init: RequestInit) => {
        const reply = await service.ask<object>(method, to, init);
        t.ok(statuses.includes(reply.status), `${method} ${to}, ${what}: ${reply.status}`);
        const said = operation.responses[reply.status] ?? operation.responses.default;
        const schema = said?.content?.["application/json"]?.schema ?? { type: "none" };
        t.same(misfits(reply.value, schema, `${method} ${to}, ${what}`, api), []);
      };
      if (operation.security.length > 0) {
        await refused([401], "no key", url, { headers: json });
        await refused([401], "a wrong key", url, { headers: { authorization: "Bearer no" } });
      }
      await refused([400, 422], "an unknown parameter", `${url}?nothing=1`, { headers: admin });
      // Where 204 is documented, having nothing is no error; nodes may be named before they are known.
      const mayBeNew = path.startsWith("/api/nodes/{node}/") && method === "POST";
      const isRefused = url !== path && operation.responses["204"] === undefined && !mayBeNew;
      if (isRefused) await refused([404], "an unknown id", url, { headers: admin });
      if (operation.requestBody === undefined) continue;
      for (const [body, type] of [
        ["{", "application/json"],
        ["7", "application/json"],
        ["a=1", "application/x-www-form-urlencoded"],
      ] as const) {
        const init = { headers: { ...admin, "content-type": type }, body };
        await refused([400, 415, 422], `${body} as ${type}`, path, init);
      }
    }
  }
  for (const path of ["/nothing", "/run/", "/tasks/a/b/c"]) {
    t.match(await service.get(path, { headers: admin }), { status: 404, value: { error: {} } });
  }
});

t.test("/docs is a page whose files are all there, and runs nothing from elsewhere", async (t) => {
  await using service = await Service.start(keys);
  const page = await service.get("/docs");
  t.match(page.headers.get("content-security-policy"), /default-src 'self'/);
  const files = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file = ""]) => file);
  t.equal(files.length, 3);
  for (const file of files) {
    const { status, text, headers } = await service.get(new URL(file, "http://a/docs").pathname);
    t.equal(status, 200, file);
    t.match(headers.get("content-type"), file.endsWith(".css") ? /css/ : /javascript/);
    t.ok(text.length > 50, file);
  }
});

/** How long all output is to one who comes back when he was too slow himself, as an EventSource does. */
async function outputOf(url: string): Promise<number> {
  let length = 0;
  let lastId: string | undefined;
  for (;;) {
    const from = lastId;
    await using events = await Events.open(url, from);
    try {
      for (let event = await events.next(); event.event !== "end"; event = await events.next()) {
        if (event.event === "stdout") length += String(event.data.text).length;
        lastId = event.id;
      }
      return length;
    } catch (error) {
      if (lastId === from) throw error;
    }
  }
}

t.test("a reader who reads nothing of a stream is cut off, and holds up nobody", async (t) => {
  const mebibyte = 2 ** 20;
  await using service = await Service.start({ EDGEDAG_SNIPPET_OUTPUT_MAX: "64Mi" });
  const { value } = await service.post<Accepted>("/submit", {
    language: "python",
    code: "import sys\nfor n in range(24):\n    sys.stdout.write(('x' * 1023 + '\\n') * 1024)\n",
    limits: { output: "32Mi", timeout: "60s" },
  });
  const id = value.task_id;
  const { hostname, port } = new URL(service.url);
  const slow = connect(Number(port), hostname);
  await once(slow, "connect");
  slow.pause();
  slow.write(`GET /result/${id}/stream HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`);
  const length = await outputOf(`${service.url}/result/${id}/stream`);
  t.equal(length, 24 * mebibyte, "the other reader has all of it");
  t.match(await service.run("python", "def main(): return 1"), { status: "success" });
  let text = "";
  slow.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  slow.resume();
  await once(slow, "close");
  t.notMatch(text, /^event: end$/m, "it was cut off before the end");
  const lastId = [...text.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1];
  await using back = await Events.open(`${service.url}/result/${id}/stream`, lastId);
  let rest = 0;
  let last = await back.next();
  for (; last.event !== "end"; last = await back.next()) rest += String(last.data.text).length;
  t.ok(rest > 0 && rest < 24 * mebibyte, `${rest} bytes are told to one who comes back`);
});

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
