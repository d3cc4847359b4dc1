// Configuration by environment variables: the one table, and how its rows are read.
import { readFileSync } from "node:fs";
import t from "tap";
import { type Config, configTable } from "../../agent/config.ts";
import { config as configCommand } from "../../cli/config.ts";
import {
  duration,
  type EnvReading,
  type EnvTable,
  integer,
  names,
  oneOf,
  readEnv,
  size,
} from "../../protocol/env-table.ts";
import { root } from "../rig/cli.ts";

const defaults = { hostname: "host", cores: 4, stateDir: "/state", runtimeDir: "/run" };
const files: { [path: string]: string } = { "/token": " s3cret\n" };

function read(env: { [name: string]: string | undefined }, known?: string[]): EnvReading<Config> {
  const readFile = (path: string) => {
    const text = files[path];
    return text === undefined ? { problem: "ENOENT" } : { text };
  };
  return readEnv(configTable(defaults), { env, readFile }, known);
}

function problems(env: { [name: string]: string }): [path: string, message: string][] {
  const { config } = read(env);
  return config.ok ? [] : config.diagnostics.map(({ path, message }) => [path, message]);
}

t.test("without variables every row has its default, and the config is frozen", (t) => {
  const { config, warnings } = read({});
  t.strictSame(warnings, []);
  if (!config.ok) throw new Error("no config");
  t.match(config.value, {
    node: "host",
    slots: 4,
    stateDir: "/state",
    token: "",
    heartbeatMs: 10_000,
  });
  t.ok(Object.isFrozen(config.value));
  t.same(read({ EDGEDAG_SLOTS: "", EDGEDAG_NODE: undefined }).config, config);
  t.end();
});

t.test("good values are read", (t) => {
  const { config } = read({
    EDGEDAG_NODE: "pump-7",
    EDGEDAG_PARAMS: '{"__proto__": 1, "a": [1]}',
    EDGEDAG_MASTER: "https://master/x",
    EDGEDAG_TOKEN_FILE: "/token",
    EDGEDAG_LABELS: "site=north, __proto__=x ,empty=",
    EDGEDAG_HEARTBEAT: "1.5",
    EDGEDAG_DRAIN: "1m30s",
    EDGEDAG_STORE_QUOTA: "64Ki",
    EDGEDAG_PASS_ENV: " A,,B ",
    EDGEDAG_DURABILITY: "power",
  });
  if (!config.ok) throw new Error(JSON.stringify(config.diagnostics));
  t.match(config.value, {
    node: "pump-7",
    token: "s3cret",
    heartbeatMs: 1500,
    drainMs: 90_000,
    storeQuotaBytes: 65_536,
    passEnv: ["A", "B"],
    durability: "power",
  });
  t.strictSame(Object.entries(config.value.labels), [
    ["site", "north"],
    ["__proto__", "x"],
    ["empty", ""],
  ]);
  t.strictSame(Object.keys(config.value.params), ["__proto__", "a"]);
  t.end();
});

t.test("all bad values are told together, and no secret among them", (t) => {
  const bad = {
    EDGEDAG_NODE: "a b",
    EDGEDAG_PARAMS: "[1]",
    EDGEDAG_AFTER: "later",
    EDGEDAG_MASTER: "ftp://master",
    EDGEDAG_HEARTBEAT: "1ms",
    EDGEDAG_LABELS: "site",
    EDGEDAG_SLOTS: "0",
    EDGEDAG_STORE_QUOTA: "lots",
    EDGEDAG_LOG_LEVEL: "loud",
    EDGEDAG_DRAIN: "-1s",
  };
  t.strictSame(
    problems(bad).map(([path]) => path),
    Object.keys(bad),
  );
  t.match(problems({ EDGEDAG_PARAMS: "{" }), [["EDGEDAG_PARAMS", /not JSON/]]);
  t.match(problems({ EDGEDAG_SLOTS: "1e3" }), [["EDGEDAG_SLOTS", /from 1 to 4096/]]);
  t.match(problems({ EDGEDAG_TOKEN: "s3cret", EDGEDAG_TOKEN_FILE: "/token" }), [
    ["EDGEDAG_TOKEN", /both set/],
  ]);
  t.match(problems({ EDGEDAG_TOKEN_FILE: "/none" }), [
    ["EDGEDAG_TOKEN_FILE", /cannot be read: ENOENT/],
  ]);
  const table: EnvTable<{ pin: number }> = {
    pin: {
      name: "EDGEDAG_PIN",
      parse: integer(0, 9),
      fallback: 0,
      shown: "0",
      about: "A pin.",
      secret: true,
    },
  };
  const secret = readEnv(table, {
    env: { EDGEDAG_PIN: "s3cret" },
    readFile: () => ({ problem: "" }),
  });
  t.notMatch(JSON.stringify(secret), /s3cret/);
  t.match(JSON.stringify(secret), /its value is not accepted/);
  t.end();
});

t.test("levels, policy, pools and devices are read", (t) => {
  const { config } = read({
    EDGEDAG_LEVELS: "none, seccomp",
    EDGEDAG_MIN_ISOLATION: "gateway=seccomp,file=subprocess",
    EDGEDAG_ALLOW_MOUNTS: "/data/,/var/x:rw,/opt:ro",
    EDGEDAG_ALLOW_NETWORK: "yes",
    EDGEDAG_SANDBOX_MEMORY: "2Gi",
    EDGEDAG_SANDBOX_CPUS: "0.5",
    EDGEDAG_POOL_SIZE: "1,seccomp/python=4",
    EDGEDAG_DOCKER_IMAGES: "python=registry:5000/python@sha256:ab,c++=gcc:14",
    EDGEDAG_GPUS: "2",
  });
  if (!config.ok) throw new Error(JSON.stringify(config.diagnostics));
  t.match(config.value, {
    levels: ["none", "seccomp"],
    minIsolation: { gateway: "seccomp", file: "subprocess", cli: "none", snippet: "subprocess" },
    allowNetwork: "yes",
    sandboxMemoryBytes: 2 ** 31,
    sandboxCpus: 0.5,
    sandboxPids: 100,
    poolSizes: { otherwise: 1, kinds: [{ level: "seccomp", language: "python", size: 4 }] },
    dockerImages: { python: "registry:5000/python@sha256:ab", "c++": "gcc:14" },
    gpus: ["0", "1"],
  });
  t.strictSame(config.value.allowMounts, [
    { path: "/data", isWritable: false },
    { path: "/var/x", isWritable: true },
    { path: "/opt", isWritable: false },
  ]);
  const others = read({
    EDGEDAG_MIN_ISOLATION: "docker",
    EDGEDAG_GPUS: "3,",
    EDGEDAG_POOL_SIZE: "gvisor/c=1",
  }).config;
  if (!others.ok) throw new Error(JSON.stringify(others.diagnostics));
  t.match(others.value, {
    levels: "auto",
    minIsolation: { gateway: "docker", file: "docker", cli: "docker", snippet: "docker" },
    gpus: ["3"],
    poolSizes: { otherwise: 0, kinds: [{ level: "gvisor" }] },
  });
  const { config: plain } = read({});
  t.match(plain.ok ? plain.value : {}, { poolSizes: { otherwise: 4, kinds: [] } });
  t.end();
});

t.test("bad values of isolation are told together", (t) => {
  const bad = {
    EDGEDAG_LEVELS: "seccmp,dockr",
    EDGEDAG_MIN_ISOLATION: "web=none,file=high",
    EDGEDAG_ALLOW_NETWORK: "true",
    EDGEDAG_ALLOW_MOUNTS: "data,/a/../b",
    EDGEDAG_ALLOW_SYSCALLS: "BPF",
    EDGEDAG_SANDBOX_TIMEOUT: "1ms",
    EDGEDAG_SANDBOX_MEMORY: "2Gb",
    EDGEDAG_SANDBOX_PIDS: "1",
    EDGEDAG_SANDBOX_DISK: "9",
    EDGEDAG_SANDBOX_CPUS: "0",
    EDGEDAG_SANDBOX_UID: "0",
    EDGEDAG_POOL_SIZE: "seccomp=4",
    EDGEDAG_POOL_LIFESPAN: "0",
    EDGEDAG_POOL_REFILL: "0",
    EDGEDAG_DOCKER_SOCKET: "docker.sock",
    EDGEDAG_DOCKER_IMAGES: "python",
    EDGEDAG_RUNSC_PLATFORM: "kvm",
    EDGEDAG_GPUS: "0,0",
  };
  t.strictSame(
    problems(bad).map(([path]) => path),
    Object.keys(bad),
  );
  t.match(problems({ EDGEDAG_LEVELS: "seccmp,dockr" }), [
    ["EDGEDAG_LEVELS", /"seccmp" is none of .*; "dockr" is none of/],
  ]);
  const more = [
    ["EDGEDAG_POOL_SIZE", "none/python=1"],
    ["EDGEDAG_POOL_SIZE", "box/python=1"],
    ["EDGEDAG_POOL_SIZE", "seccomp/c c=1"],
    ["EDGEDAG_POOL_SIZE", "1001"],
    ["EDGEDAG_GPUS", "1025"],
    ["EDGEDAG_GPUS", "a b"],
    ["EDGEDAG_MIN_ISOLATION", "file=none=x"],
    ["EDGEDAG_MIN_ISOLATION", "file=high"],
  ] as const;
  for (const [name, value] of more) t.equal(problems({ [name]: value }).length, 1, value);
  t.end();
});

t.test("unknown names warn with the nearest one", (t) => {
  const { warnings, config } = read({ EDGEDAG_SLOT: "1", EDGEDAG_OTHER: "1", MINE: "1" }, [
    "EDGEDAG_OTHER",
  ]);
  t.strictSame(warnings, ["EDGEDAG_SLOT is not a known variable; did you mean EDGEDAG_SLOTS?"]);
  t.ok(config.ok);
  t.strictSame(read({ EDGEDAG_QQQQQQQQQQQQ: "" }).warnings, [
    "EDGEDAG_QQQQQQQQQQQQ is not a known variable",
  ]);
  t.end();
});

t.test("the parsers of rows hold their bounds", (t) => {
  t.strictSame(duration({ minMs: 0, maxMs: 1000 })("1"), { value: 1000 });
  t.match(duration({ minMs: 0, maxMs: 1000 })("1001ms"), { wrong: /between 0 ms and 1000 ms/ });
  t.match(duration({ minMs: 0, maxMs: 1000 })("soon"), { wrong: /duration like/ });
  t.strictSame(size({ minBytes: 1, maxBytes: 2048 })("2Ki"), { value: 2048 });
  t.match(size({ minBytes: 1, maxBytes: 2048 })("2049"), { wrong: /between/ });
  t.match(size({ minBytes: 1, maxBytes: 2048 })("-1"), { wrong: /size like/ });
  t.strictSame(oneOf("a", "b")("b"), { value: "b" });
  t.match(oneOf("a", "b")("c"), { wrong: /one of a, b/ });
  t.strictSame(names(""), { value: [] });
  t.end();
});

t.test("the README has the table of the code, and the command shows no secret", (t) => {
  const printed: string[] = [];
  const io = {
    stdout: { write: (text: string) => printed.push(text) },
    stderr: { write: () => 0 },
  };
  const env = { EDGEDAG_TOKEN: "s3cret", EDGEDAG_STORE_URL: "redis://:s3cret@host" };
  configCommand({ markdown: true, env }, io);
  const rows = printed
    .join("")
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  const readme = readFileSync(`${root}/README.md`, "utf8");
  // Paths of defaults depend on the user.
  const shapeOf = (row: string) =>
    row.replace(/^(\| `EDGEDAG_(?:STATE|RUNTIME|DATA)` \|)[^|]*/, "$1");
  const known = readme.split("\n").map(shapeOf);
  t.ok(rows.length > 25);
  for (const row of rows) t.ok(known.includes(shapeOf(row)), row);
  printed.length = 0;
  configCommand({ markdown: false, env }, io);
  t.notMatch(printed.join(""), /s3cret/);
  t.end();
});
