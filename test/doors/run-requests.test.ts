// The door of a sandbox manager: requests that are not valid, who may ask, and callers that go away.
import { connect } from "node:net";
import t from "tap";
import { until } from "../rig/until.ts";
import type { RunAnswer, RunRefusal } from "./answers.ts";
import { base64, Service } from "./serve-rig.ts";

const token = "a-secret-of-the-sandbox";
const service = await Service.start({ SANDBOX_EXECUTOR_MANAGER_API_TOKEN: token });
t.teardown(() => service.end());

const asCaller = { headers: { authorization: `Bearer ${token}` } };
const code_b64 = base64("def main(**args):\n    return args\n");

t.test("GET / and GET /healthz say {status: ok} to everybody, and nothing else", async (t) => {
  for (const path of ["/", "/healthz"]) {
    const { status, value } = await service.get(path);
    t.equal(status, 200, path);
    t.strictSame(value, { status: "ok" }, path);
  }
});

t.test("the token is taken by both of its names, and asked for", async (t) => {
  const body = { code_b64 };
  const right = [
    { authorization: `Bearer ${token}` },
    { authorization: `bearer   ${token}` },
    { "x-sandbox-token": token },
  ];
  for (const headers of right) {
    t.equal((await service.post("/run", body, { headers })).status, 200, JSON.stringify(headers));
  }
  const wrong = [
    {},
    { authorization: `Bearer ${token}x` },
    { authorization: `Basic ${token}` },
    { authorization: "Bearer" },
    { "x-sandbox-token": token.slice(1) },
    { "x-sandbox-token": "" },
  ];
  for (const headers of wrong) {
    const { status, value } = await service.post<{ detail: string }>("/run", body, { headers });
    t.equal(status, 401, JSON.stringify(headers));
    t.type(value.detail, "string");
  }
});

const refused: [body: unknown, fields: string[]][] = [
  [{}, ["code_b64"]],
  [{ code_b64: 1 }, ["code_b64"]],
  [{ code_b64: null }, ["code_b64"]],
  [{ code_b64: "not base64!" }, ["code_b64"]],
  [{ code_b64: "QQ============" }, ["code_b64"]],
  [{ code_b64: base64(Uint8Array.of(0xff, 0xfe, 0x00)) }, ["code_b64"]],
  [{ code_b64, language: "ruby" }, ["language"]],
  [{ code_b64, language: "" }, ["language"]],
  [{ code_b64, language: null }, ["language"]],
  [{ code_b64, language: ["python"] }, ["language"]],
  [{ code_b64, arguments: [1] }, ["arguments"]],
  [{ code_b64, arguments: "a" }, ["arguments"]],
  [{ code_b64, arguments: 1 }, ["arguments"]],
  [{ code_b64: "?", language: "x", arguments: [] }, ["arguments", "code_b64", "language"]],
];

t.test("422 names every field that is wrong, all at once", async (t) => {
  for (const [body, fields] of refused) {
    const { status, value } = await service.post<RunRefusal>("/run", body, asCaller);
    t.equal(status, 422, JSON.stringify(body));
    t.same(value.detail.map(({ loc }) => loc.at(-1)).sort(), fields, JSON.stringify(body));
    for (const { loc, msg, type } of value.detail) {
      t.equal(loc[0], "body");
      t.type(msg, "string");
      t.type(type, "string");
    }
  }
});

t.test("a body that is no JSON object is refused in the same words", async (t) => {
  const json = { "content-type": "application/json", ...asCaller.headers };
  const bodies: [string | undefined, { [name: string]: string }][] = [
    ["{", json],
    ["", json],
    ["[]", json],
    ["null", json],
    ['"text"', json],
    [undefined, asCaller.headers],
    ["code_b64=eA==", { ...json, "content-type": "application/x-www-form-urlencoded" }],
    [JSON.stringify({ code_b64 }), { ...json, "content-type": "text/plain" }],
  ];
  for (const [body, headers] of bodies) {
    const init = body === undefined ? { headers } : { headers, body };
    const { status, value } = await service.ask<RunRefusal>("POST", "/run", init);
    t.equal(status, 422, `${headers["content-type"]}: ${body}`);
    t.equal(value.detail[0]?.loc[0], "body");
  }
});

t.test(
  "arguments that are nested without end, or named like inner things, do no harm",
  async (t) => {
    const deep = `${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`;
    const body = `{"code_b64":"${code_b64}","arguments":${deep}}`;
    const headers = { "content-type": "application/json", ...asCaller.headers };
    t.equal((await service.ask("POST", "/run", { headers, body })).status, 422);
    const named = `{"code_b64":"${code_b64}","arguments":{"constructor":1,"toString":2}}`;
    const { value } = await service.ask<RunAnswer>("POST", "/run", { headers, body: named });
    t.same(value.result?.value, { constructor: 1, toString: 2 });
    const poisoned = `{"code_b64":"${code_b64}","arguments":{"__proto__":{"polluted":1}}}`;
    const answered = await service.ask("POST", "/run", { headers, body: poisoned });
    t.ok([200, 422].includes(answered.status), `${answered.status}`);
  },
);

t.test("fields that are unknown are passed over, as the original does", async (t) => {
  const body = { code_b64, arguments: { a: 1 }, timeout: 3, more: {} };
  const { status, value } = await service.post<RunAnswer>("/run", body, asCaller);
  t.equal(status, 200);
  t.same(value.result?.value, { a: 1 });
});

t.test("a body that is too large is refused before it is sent", async (t) => {
  const answer = await raw(requestHead(70 * 2 ** 20), /\r\n\r\n.*\}/);
  t.match(answer, /^HTTP\/1\.1 4(?:13|22) /);
  t.match(answer, /"detail":\[\{"loc":\["body"\]/);
  t.equal((await service.get("/healthz")).status, 200);
});

t.test("other methods and paths are told what there is", async (t) => {
  t.equal((await service.get("/run", asCaller)).status, 404);
  t.equal((await service.post("/runs", {}, asCaller)).status, 404);
});

t.test("a caller that goes away has its snippet ended, and its place is free", async (t) => {
  const code = "import time\ndef main():\n    time.sleep(600)\n";
  const gone = new AbortController();
  const calls = Array.from({ length: 6 }, () =>
    service.run("python", code, {}, { ...asCaller, signal: gone.signal }).catch(String),
  );
  await until(
    "all slots are taken",
    () => service.metric("edgedag_snippets_running"),
    (running) => running === 4,
  );
  gone.abort();
  t.match(await Promise.all(calls), Array(6).fill(/Abort/));
  await until(
    "all slots are free",
    () => service.metric("edgedag_snippets_running"),
    (running) => running === 0,
  );
  t.equal(await service.metric("edgedag_snippet_calls_waiting"), 0);
  t.equal((await service.run("python", "def main():\n    return 1\n", {}, asCaller)).exit_code, 0);
});

t.test("a connection that is cut in the middle of a request costs nothing", async (t) => {
  await raw(`${requestHead(99)}{"code`);
  t.equal((await service.run("python", "def main():\n    return 1\n", {}, asCaller)).exit_code, 0);
});

function requestHead(contentLength: number): string {
  return [
    "POST /run HTTP/1.1",
    "host: x",
    "content-type: application/json",
    `content-length: ${contentLength}`,
    `authorization: Bearer ${token}`,
    "\r\n",
  ].join("\r\n");
}

/** Writes to a connection, reads until the pattern or its end where there is one, and cuts it. */
async function raw(text: string, until?: RegExp): Promise<string> {
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  socket.write(text);
  let heard = "";
  if (until !== undefined) {
    for await (const chunk of socket) {
      heard += String(chunk);
      if (until.test(heard)) break;
    }
  } else await new Promise((resolve) => socket.once("ready", resolve));
  socket.destroy();
  return heard;
}
