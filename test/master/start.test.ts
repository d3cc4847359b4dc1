// How the master starts, and why it does not: each with a code and a remedy.
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import t from "tap";
import { type MasterOptions, startMaster } from "../../master/main.ts";
import { helloOf, idleHeartbeat, ScriptedAgent, silentLog, testMaster } from "./rig.ts";

async function folder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "edgedag-start-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const refusedStart = (dataDir: string, changes: Partial<MasterOptions>): Promise<unknown> =>
  startMaster({
    listen: { host: "127.0.0.1", port: 0 },
    dataDir,
    log: silentLog,
    ...changes,
  }).then(
    (master) => master.close().then(() => "started"),
    (error: unknown) => error,
  );

t.test("an address that others can reach needs a token", async (t) => {
  await using data = await folder();
  for (const host of ["0.0.0.0", "::", "192.0.2.1"]) {
    t.match(await refusedStart(data.path, { listen: { host, port: 0 } }), {
      code: "E_MASTER_AUTH",
      remedy: /Set EDGEDAG_TOKEN/,
    });
  }
  t.equal(
    await refusedStart(data.path, { listen: { host: "0.0.0.0", port: 0 }, token: "x" }),
    "started",
  );
});

t.test("a data folder that another master uses, or that is newer, or not a folder", async (t) => {
  await using master = await testMaster();
  t.match(await refusedStart(master.dataDir, {}), {
    code: "E_MASTER_STORAGE",
    message: /another master/,
  });
  await using data = await folder();
  t.equal(await refusedStart(data.path, {}), "started");
  const database = new DatabaseSync(join(data.path, "master.db"));
  database.exec("INSERT INTO migrations VALUES (99, 0)");
  database.close();
  t.match(await refusedStart(data.path, {}), { code: "E_MASTER_STORAGE", message: /schema 99/ });
  await writeFile(join(data.path, "file"), "");
  t.match(await refusedStart(join(data.path, "file"), {}), { code: "E_MASTER_STORAGE" });
  const garbage = join(data.path, "garbage");
  t.equal(await refusedStart(garbage, {}), "started");
  await writeFile(join(garbage, "master.db"), "x".repeat(10_000));
  t.match(await refusedStart(garbage, {}), { code: "E_MASTER_STORAGE" });
  await chmod(garbage, 0o700);
});

t.test("a port that is taken", async (t) => {
  await using master = await testMaster();
  await using data = await folder();
  const port = Number(new URL(master.url).port);
  t.match(await refusedStart(data.path, { listen: { host: "127.0.0.1", port } }), {
    code: "E_MASTER_LISTEN",
  });
});

t.test("wss and https with a certificate; a broken one is said", async (t) => {
  await using data = await folder();
  const key = join(data.path, "key.pem");
  const cert = join(data.path, "cert.pem");
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
    ...["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
    ...["-keyout", key, "-out", cert],
  ]);
  const tls = { cert: await readFile(cert, "utf8"), key: await readFile(key, "utf8") };
  await using master = await testMaster({ tls, token: "x" });
  t.match(master.url, /^https:/);
  const hello = helloOf("n1");
  const { agent } = await ScriptedAgent.join(master.url, hello, { token: "x", ca: tls.cert });
  await using _ = agent;
  agent.send(idleHeartbeat);
  await agent.next("ack");
  const status = await new Promise((resolve) =>
    get(`${master.url}/healthz`, { ca: tls.cert }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }),
  );
  t.equal(status, 200);
  await using stranger = new ScriptedAgent(master.url, { token: "x" });
  t.equal(await stranger.closed(), 1006, "an agent that does not know the certificate");
  await using other = await folder();
  t.match(await refusedStart(other.path, { tls: { cert: "no", key: "no" } }), {
    code: "E_MASTER_TLS",
  });
});
