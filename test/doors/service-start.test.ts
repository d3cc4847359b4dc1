// How `edgedag serve` starts: the variables of a sandbox manager and our own, what stops the start,
// and who is let in where there is no token.
import { networkInterfaces } from "node:os";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { base64, type Env, Service } from "./serve-rig.ts";

const quick = "def main():\n    return 1\n";
const run = { code_b64: base64(quick) };

/** Starts what must not start. */
async function refused(env: Env): Promise<{ code: number | null; stderr: string }> {
  await using box = await Box.create();
  const { code, stderr } = await box.run(["serve", "--dir", box.path("dir")], {
    env: { EDGEDAG_LISTEN: "127.0.0.1:0", EDGEDAG_CODE_POLICY: "off", ...env },
  });
  return { code, stderr };
}

t.test("every variable of a sandbox manager that cannot be read is named, at once", async (t) => {
  const wrong = {
    SANDBOX_EXECUTOR_MANAGER_POOL_SIZE: "many",
    SANDBOX_MAX_MEMORY: "plenty",
    SANDBOX_TIMEOUT: "10 parsecs",
    SANDBOX_ENABLE_SECCOMP: "maybe",
    SANDBOX_RUN_RATE_LIMIT: "often",
    SANDBOX_EXECUTOR_MANAGER_API_TOKEN: "hush",
    SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED: "perhaps",
    EDGEDAG_QUEUE_SIZE: "-1",
    EDGEDAG_SNIPPET_SLOTS: "x",
  };
  const { code, stderr } = await refused(wrong);
  t.equal(code, exitCodes.config, stderr);
  for (const name of Object.keys(wrong)) t.match(stderr, new RegExp(`\\b${name}\\b`), name);
  t.notMatch(stderr, /hush/, "a secret is not shown");
});

t.test("values that look right and are not stop the start, each by its own name", async (t) => {
  const cases: [name: string, value: string][] = [
    ["SANDBOX_TIMEOUT", "0"],
    ["SANDBOX_TIMEOUT", "10ms"],
    ["SANDBOX_TIMEOUT", "1h"],
    ["SANDBOX_MAX_MEMORY", "256"],
    ["SANDBOX_MAX_MEMORY", "0m"],
    ["SANDBOX_MAX_MEMORY", "1m"],
    ["SANDBOX_EXECUTOR_MANAGER_POOL_SIZE", "0"],
    ["SANDBOX_EXECUTOR_MANAGER_POOL_SIZE", "2.5"],
    ["SANDBOX_RUN_RATE_LIMIT", "0/minute"],
  ];
  const ends = await Promise.all(cases.map(([name, value]) => refused({ [name]: value })));
  for (const [index, { code, stderr }] of ends.entries()) {
    const [name = "", value = ""] = cases[index] ?? [];
    t.equal(code, exitCodes.config, `${name}=${value}: ${stderr}`);
    t.match(stderr, new RegExp(`\\b${name}\\b`), `${name}=${value}`);
  }
});

t.test("the variables of a sandbox manager do what they say", async (t) => {
  await using service = await Service.start({
    SANDBOX_EXECUTOR_MANAGER_POOL_SIZE: "1",
    SANDBOX_MAX_MEMORY: "64m",
    SANDBOX_TIMEOUT: "1",
    SANDBOX_ENABLE_SECCOMP: "true",
    SANDBOX_EXECUTOR_MANAGER_API_TOKEN: "",
    EDGEDAG_POOL_SIZE: undefined,
    EDGEDAG_SNIPPET_SLOTS: undefined,
    EDGEDAG_SNIPPET_ISOLATION: undefined,
  });
  const hangs = await service.run("python", "def main():\n    while True:\n        pass\n");
  t.match(hangs, { exit_code: -124, isolation: "seccomp" });
  t.ok(
    (hangs.time_used_ms ?? 0) >= 990 && (hangs.time_used_ms ?? 0) < 1900,
    `${hangs.time_used_ms}`,
  );
  const hoards = await service.run(
    "python",
    "def main():\n    return len(bytearray(80 * 2**20))\n",
  );
  t.match(hoards, { exit_code: -137, memory_used_kb: 64 * 1024 });
  t.match((await service.get("/resources")).value, { slots: 2 }, "two of a pool of one");
});

t.test("our own names go before theirs", async (t) => {
  await using service = await Service.start({
    SANDBOX_TIMEOUT: "1s",
    EDGEDAG_SNIPPET_TIMEOUT: "20s",
    SANDBOX_EXECUTOR_MANAGER_API_TOKEN: "their-token",
    EDGEDAG_API_KEYS: "ours=our-own-key",
  });
  const sleeps = "import time\ndef main():\n    time.sleep(1.3)\n    return 1\n";
  const headers = { "x-sandbox-token": "our-own-key" };
  t.match(await service.run("python", sleeps, {}, { headers }), { status: "success" });
  const theirs = { headers: { "x-sandbox-token": "their-token" } };
  t.equal((await service.post("/run", run, theirs)).status, 401);
});

t.test("without a token, it does not listen beyond this machine", async (t) => {
  for (const address of ["0.0.0.0:0", "[::]:0"]) {
    const { code, stderr } = await refused({ EDGEDAG_LISTEN: address });
    t.equal(code, exitCodes.config, address);
    t.match(stderr, /E_MASTER_AUTH/);
    t.match(stderr, /EDGEDAG_TOKEN/, "what to do is said");
    t.match(stderr, /EDGEDAG_OPEN|EDGEDAG_API_KEYS/, "and what else");
  }
});

function outerAddress(): string {
  const all = Object.values(networkInterfaces()).flat();
  return all.find((one) => one?.family === "IPv4" && !one.internal)?.address ?? "127.0.0.1";
}

t.test("EDGEDAG_OPEN lets everybody send snippets, and do nothing else", async (t) => {
  for (const opened of [
    { EDGEDAG_OPEN: "yes" },
    { SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED: "true", EDGEDAG_TOKEN: "the-masters" },
  ]) {
    await using service = await Service.start({ EDGEDAG_LISTEN: "0.0.0.0:0", ...opened });
    const { port } = new URL(service.url);
    const url = `http://${outerAddress()}:${port}`;
    const ask = (method: string, path: string, body?: object): Promise<Response> =>
      fetch(`${url}${path}`, {
        method,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
    t.match(await (await ask("POST", "/run", run)).json(), { status: "success" });
    t.equal((await ask("POST", "/tasks", [{ command: "true" }])).status, 202);
    t.equal((await ask("GET", "/healthz")).status, 200);
    const dag = { artifact: {}, any: true };
    t.equal(
      (await ask("POST", "/api/runs", dag)).status,
      403,
      "no DAG, which no sandbox need hold",
    );
    t.equal((await ask("GET", "/api/runs")).status, 403);
    t.equal((await ask("GET", "/api/nodes")).status, 403);
  }
});

t.test("an API key sends snippets, and the master's token does everything", async (t) => {
  await using box = await Box.create();
  const keys = await box.write("keys", "one=the-first-key, two=the-second-key\n");
  await using service = await Service.start({
    EDGEDAG_LISTEN: "0.0.0.0:0",
    EDGEDAG_API_KEYS_FILE: keys,
    EDGEDAG_TOKEN: "the-masters",
  });
  const asked = async (key: string, path: string) =>
    (await service.get(path, { headers: { authorization: `Bearer ${key}` } })).status;
  for (const key of ["the-first-key", "the-second-key"]) {
    t.equal(await asked(key, "/tasks"), 200);
    t.equal(await asked(key, "/api/runs"), 403);
  }
  t.equal(await asked("the-masters", "/tasks"), 200);
  t.equal(await asked("the-masters", "/api/runs"), 200);
  t.equal(await asked("no-key-at-all", "/tasks"), 401);
});

t.test(
  "keys alone are enough to be let out of this machine, and its own node is with it",
  async (t) => {
    await using service = await Service.start({
      EDGEDAG_LISTEN: "0.0.0.0:0",
      EDGEDAG_API_KEYS: "one=the-first-key",
    });
    const headers = { authorization: "Bearer the-first-key" };
    t.match(await service.run("python", quick, {}, { headers }), { status: "success" });
    t.equal((await service.get("/readyz")).status, 200);
    t.equal((await service.get("/resources")).status, 401);
  },
);

t.test("wrong keys, and a port that is taken, are said before anything runs", async (t) => {
  const keys = await refused({ EDGEDAG_API_KEYS: "one=short" });
  t.equal(keys.code, exitCodes.config);
  t.match(keys.stderr, /EDGEDAG_API_KEYS/);
  t.notMatch(keys.stderr, /one=short/);
  await using service = await Service.start();
  const taken = await refused({ EDGEDAG_LISTEN: new URL(service.url).host });
  t.equal(taken.code, exitCodes.config);
  t.match(taken.stderr, /E_MASTER_LISTEN/);
});

t.test("a level that this machine does not hold is not replaced by less", async (t) => {
  const { code, stderr } = await refused({
    EDGEDAG_LEVELS: "none,subprocess",
    EDGEDAG_SNIPPET_ISOLATION: "seccomp",
  });
  t.not(code, 0);
  t.match(stderr, /seccomp/);
});
