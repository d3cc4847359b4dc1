// The OpenAPI document is true: every route it names exists, answers with a documented status, and the
// answer has the fields and types that its schema says. And every error has its four fields.
import { createHash } from "node:crypto";
import t from "tap";
import { misfits, type OpenApi, type Schema } from "../rig/open-api.ts";
import {
  artifactOf,
  eventually,
  finished,
  helloOf,
  idleHeartbeat,
  logged,
  runFinished,
  runStarted,
  ScriptedAgent,
  testMaster,
} from "./rig.ts";

t.test("each documented route exists and answers as documented", async (t) => {
  await using master = await testMaster({ token: "secret" });
  const hello = helloOf("n1", { wantsRuns: true });
  const { agent } = await ScriptedAgent.join(master.url, hello, { token: "secret" });
  await using _ = agent;
  const part = { part: 1, parts: 1, sizeBytes: 1, data: "YQ==" };
  const sha256 = createHash("sha256").update("a").digest("hex");
  agent.records(
    runStarted(1, "r1", 2),
    finished(2, "r1", "clean", 1),
    logged(3, "r1", 1, 2),
    {
      type: "object-part",
      seq: 4,
      time: 1,
      run: "r1",
      kind: "artifact",
      task: "clean",
      attempt: 1,
      name: "a",
      sha256,
      ...part,
    },
    runFinished(5, "r1", 1),
    runStarted(6, "r2"),
  );
  await agent.acked(6);
  agent.send({
    ...idleHeartbeat,
    runs: { r2: { done: 0, total: 1, running: 1 } },
  } as typeof idleHeartbeat);
  await agent.next("ack");
  await eventually(
    () => master.json("/api/runs/r1/artifacts"),
    ({ artifacts }) => JSON.stringify(artifacts).includes("verified"),
  );
  const submission = { artifact: artifactOf(), node: "n2", labels: { a: "b" } };
  const queued = (await master.post("/api/runs", submission)).value.run;
  const api = (await (await master.get("/openapi.json")).json()) as unknown as OpenApi;

  const bodies: { [id: string]: unknown } = { submitRun: submission };
  const names: { [name: string]: string } = { run: "r1", node: "n1", task: "clean", name: "a" };
  const paths: { [id: string]: string[] } = {
    getRun: ["/api/runs/r1", "/api/runs/r2", `/api/runs/${queued}`],
    cancelRun: ["/api/runs/r2/cancel", `/api/runs/${queued}/cancel`],
    pullDag: ["/api/nodes/n2/dag", "/api/nodes/n7/dag"],
  };
  const order = (id: string): number => (id === "cancelRun" ? 1 : 0);
  const operations = Object.entries(api.paths)
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    )
    .sort((a, b) => order(a.operation.operationId) - order(b.operation.operationId));
  t.ok(operations.length >= 18, `${operations.length} operations`);
  for (const { path, method, operation } of operations) {
    const { operationId: id } = operation;
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => names[name] ?? "");
    for (const url of paths[id] ?? [filled]) {
      const body = bodies[id];
      const init: RequestInit = { method: method.toUpperCase() };
      if (body !== undefined) {
        init.body = JSON.stringify(body);
        init.headers = { "content-type": "application/json" };
      }
      const response = await master.get(url, init);
      const documented = operation.responses[String(response.status)];
      t.ok(documented, `${method} ${url} answers ${response.status}`);
      const type = (response.headers.get("content-type") ?? "").split(";")[0] ?? "";
      const text = await response.text();
      if (documented?.content === undefined) continue;
      const content = documented.content[type];
      t.ok(content, `${method} ${url} answers ${type}`);
      if (type === "application/json" && content !== undefined) {
        t.same(misfits(JSON.parse(text), content.schema, id, api), [], `${url} fits its schema`);
      }
    }
    if (operation.security.length > 0) {
      const response = await fetch(`${master.url}${filled}`, { method: method.toUpperCase() });
      t.equal(response.status, 401, `${filled} needs the token`);
      await response.text();
    }
  }
});

t.test("errors have class, code, message and remedy", async (t) => {
  await using master = await testMaster();
  const schema: Schema = { $ref: "#/components/schemas/Error" };
  const api = (await (await master.get("/openapi.json")).json()) as unknown as OpenApi;
  const json = { "content-type": "application/json" };
  const post = (body: string, headers: { [name: string]: string } = json): RequestInit => ({
    method: "POST",
    body,
    headers,
  });
  const cases: [string, RequestInit, number, string][] = [
    ["/nothing", {}, 404, "E_API_ROUTE"],
    ["/api/runs/x", {}, 404, "E_API_RUN"],
    ["/api/runs/x/log", {}, 404, "E_API_RUN"],
    ["/api/runs/x/tasks", {}, 404, "E_API_RUN"],
    ["/api/runs/x/results", {}, 404, "E_API_RUN"],
    ["/api/runs/x/results/a", {}, 404, "E_API_RUN"],
    ["/api/runs/x/artifacts", {}, 404, "E_API_RUN"],
    ["/api/runs/x/artifacts/a/b", {}, 404, "E_API_RUN"],
    ["/api/nodes/x", {}, 404, "E_API_NODE"],
    ["/api/runs?limit=0", {}, 400, "E_API_QUERY"],
    ["/api/runs?limit=ten", {}, 400, "E_API_QUERY"],
    ["/api/runs?state=odd", {}, 400, "E_API_QUERY"],
    ["/api/runs", post("{"), 400, "E_API_BODY"],
    ["/api/runs", post("x", { "content-type": "text/plain" }), 415, "E_API_BODY"],
    ["/api/runs", post("[]"), 400, "E_API_SUBMIT"],
    ["/api/runs", post("{}"), 400, "E_API_SUBMIT"],
    ["/api/runs", post(JSON.stringify({ artifact: artifactOf() })), 400, "E_API_SUBMIT"],
    [
      "/api/runs",
      post(JSON.stringify({ artifact: artifactOf(), node: "a", any: true })),
      400,
      "E_API_SUBMIT",
    ],
    ["/api/runs", post(`"${"x".repeat(65 * 2 ** 20)}"`), 413, "E_API_TOO_LARGE"],
  ];
  for (const [path, init, status, code] of cases) {
    const response = await master.get(path, init);
    t.equal(response.status, status, `${path} ${status}`);
    const answer = (await response.json()) as { error: { code: string } };
    t.equal(answer.error.code, code);
    t.same(misfits(answer, schema, path, api), []);
  }
  const escaping = structuredClone(artifactOf());
  escaping.files.push({ path: "../../etc/passwd", sha256: "0", text: "" });
  t.match(
    (await master.post("/api/runs", { artifact: escaping, any: true })).value.error.message,
    "'..'",
  );
});

t.test("without a token, only requests to a local name are answered", async (t) => {
  await using master = await testMaster();
  const { port } = new URL(master.url);
  const { request } = await import("node:http");
  const status = (host: string): Promise<number> =>
    new Promise((resolve) => {
      request({ host: "127.0.0.1", port, path: "/api/runs", headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      }).end();
    });
  t.equal(await status(`evil.example:${port}`), 403);
  t.equal(await status(`localhost:${port}`), 200);
  t.equal(await status(`[::1]:${port}`), 200);
});
