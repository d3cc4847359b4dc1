// The node in the master's own process needs neither a certificate nor a secret, whatever others need:
// it comes by a socket that only the master's user can open. And who may listen where.
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { WebSocket } from "ws";
import { startMaster } from "../../master/main.ts";
import { helloOf, ScriptedAgent, silentLog } from "../master/rig.ts";
import { Box } from "../rig/box.ts";
import { until } from "../rig/until.ts";
import { Authority, missing } from "./certificates.ts";
import { adminToken, ask, Fleet } from "./rig.ts";

t.test(
  "up and serve with TLS, client certificates and identities have their own node",
  { skip: missing },
  async (t) => {
    const dir = t.testdir();
    const authority = new Authority(dir);
    // For a name that this machine cannot be reached by: its own node must not need it.
    const { cert, key } = authority.issue({ names: "DNS:edge.example" });
    const ca = readFileSync(authority.cert, "utf8");
    for (const command of ["up", "serve"]) {
      await using box = await Box.create();
      const cli = box.start([command, "--dir", box.path("data")], {
        env: {
          EDGEDAG_LISTEN: "127.0.0.1:0",
          EDGEDAG_TOKEN: adminToken,
          EDGEDAG_TLS_CERT: cert,
          EDGEDAG_TLS_KEY: key,
          EDGEDAG_TLS_CLIENT_CA: authority.cert,
          EDGEDAG_NODE_AUTH: "identity",
          EDGEDAG_LEVELS: "subprocess",
          EDGEDAG_SNIPPET_ISOLATION: "subprocess",
          EDGEDAG_MIN_ISOLATION: "snippet=subprocess",
          EDGEDAG_POOL_SIZE: "1",
        },
      });
      const [, url] = await cli.says(/(https:\/\/127\.0\.0\.1:\d+)/);
      const nodes = await until(
        "the own node is connected",
        async () =>
          (await ask(`${url}/api/nodes`, { token: adminToken, ca, servername: "edge.example" }))
            .value.nodes,
        (found) => found.length > 0 && found[0].connected,
      );
      t.match(nodes, [{ id: "box", connected: true }], command);
      const socket = join(box.path("data"), "master", "link.sock");
      t.equal(statSync(socket).mode & 0o777, 0o600);
      t.equal((await cli.stop()).code, 0);
      t.throws(() => statSync(socket), { code: "ENOENT" });
    }
  },
);

t.test("the master's own socket is for its own node alone, and has no routes", async (t) => {
  const dir = t.testdir();
  // Its path must be short.
  await using box = await Box.create();
  const socketPath = box.path("s");
  await using _ = await Fleet.start(dir, { local: { socketPath, node: "own" } });
  const url = `ws+unix:${socketPath}:`;
  {
    await using agent = new ScriptedAgent(url);
    agent.send(helloOf("pump-7"));
    t.match(await agent.next("refused"), { detail: /not for node pump-7/ });
  }
  {
    await using agent = new ScriptedAgent(url);
    agent.send(helloOf("own"));
    await agent.next("welcome");
  }
  const other = new WebSocket(`${url}/api/nodes`);
  const status = await new Promise((resolve) => {
    other.on("unexpected-response", (_request, response) => resolve(response.statusCode));
    other.on("error", (error) => resolve(error.message));
  });
  t.match(String(status), /404/);
});

t.test("without a secret, only this machine is served", async (t) => {
  const dir = t.testdir();
  const outcome = (host: string, more: object = {}) =>
    startMaster({
      listen: { host, port: 0 },
      dataDir: join(dir, "m"),
      log: silentLog,
      ...more,
    }).then(
      (master) => master.close().then(() => "started"),
      (error: { code: string }) => error.code,
    );
  for (const host of [
    "0.0.0.0",
    "::",
    "192.0.2.1",
    "0",
    "::ffff:0.0.0.0",
    "::ffff:127.0.0.1",
    "127.0.0.1.example.com",
    "localhost.example.com",
    "2130706433",
    "example.com",
    "127.999.0.1",
  ]) {
    t.equal(await outcome(host), "E_MASTER_AUTH", host);
  }
  for (const host of ["127.0.0.1", "127.0.0.2", "localhost"]) {
    t.equal(await outcome(host), "started", host);
  }
  t.equal(await outcome("0.0.0.0", { token: adminToken }), "started");
  t.equal(await outcome("0.0.0.0", { apiKeys: [{ name: "a", key: "key-of-a-a" }] }), "started");
  t.equal(await outcome("0.0.0.0", { isOpen: true }), "started");
});

t.test(
  "what is open is only the doors: no node and no admin comes in without a secret",
  async (t) => {
    await using fleet = await Fleet.start(t.testdir(), {
      isOpen: true,
      listen: { host: "0.0.0.0", port: 0 },
      token: null,
    });
    const url = fleet.url.replace("0.0.0.0", "127.0.0.1");
    for (const path of ["/api/nodes", "/api/runs"]) {
      t.match(await ask(`${url}${path}`), { status: 403 });
    }
    t.match(await ask(`${url}/api/nodes/n/enroll-token`, { method: "POST", body: "{}" }), {
      status: 403,
    });
    await using agent = new ScriptedAgent(url);
    t.match(await agent.next("refused"), { code: "unauthorized" });
  },
);

t.test("master and serve refuse to start for others without authentication", async (t) => {
  const starts = [
    ["master", "0.0.0.0:0"],
    ["serve", "[::]:0"],
    ["up", "0.0.0.0:0"],
  ] as const;
  const refuse = async ([command, address]: (typeof starts)[number]): Promise<void> => {
    await using box = await Box.create();
    const end = await box.run([command], {
      env: {
        EDGEDAG_LISTEN: address,
        EDGEDAG_DATA: box.path("data"),
        EDGEDAG_NODE_AUTH: "identity",
      },
    });
    t.equal(end.code, 78, `${command} at ${address}`);
    t.match(end.stderr, /E_MASTER_AUTH[\s\S]*EDGEDAG_TOKEN/);
  };
  await Promise.all(starts.map(refuse));
});
