// The small pure parts of the shell: params, percentiles, environments, health, names outside.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { checkHealth, healthPath, writeHealth } from "../../agent/health.ts";
import { makeRuntimeDir, outsidePrefix, removeSharedMemory } from "../../agent/outside.ts";
import { mergeParams } from "../../agent/params.ts";
import { Percentiles } from "../../agent/percentiles.ts";
import { baseEnvironment, templateEnvironment } from "../../agent/task-environment.ts";
import { isTooDeep } from "../../protocol/json-depth.ts";
import { newRunId } from "../../protocol/run-id.ts";
import { runIdPattern } from "../../protocol/state-paths.ts";

t.test("given params go over the declared ones, unknown names are refused together", (t) => {
  t.strictSame(mergeParams({ a: 1, b: 2 }, { b: null }), { ok: true, value: { a: 1, b: null } });
  t.match(mergeParams({ month: 1 }, { mont: 2, xyz: 3 }), {
    ok: false,
    diagnostics: [
      { code: "E_DAG_PARAM", path: "params.mont", remedy: /month/ },
      { path: "params.xyz", remedy: /Declare/ },
    ],
  });
  const sneaky = JSON.parse('{"__proto__": {"polluted": true}}');
  t.match(mergeParams({ a: 1 }, sneaky), { ok: false });
  t.end();
});

t.test("percentiles are of the nearest rank and of the last values", (t) => {
  const values = new Percentiles();
  t.equal(values.at(0.5), undefined);
  values.add(7);
  t.strictSame(
    [0, 0.5, 1].map((share) => values.at(share)),
    [7, 7, 7],
  );
  for (let i = 1; i <= 5000; i += 1) values.add(i);
  t.equal(values.at(1), 5000);
  t.equal(values.at(0), 905);
  t.equal(values.at(0.5), 905 + 2047);
  t.end();
});

t.test("tasks get a list of variables, and never edgedag's own", (t) => {
  const hostEnv = {
    PATH: "/bin",
    HOME: "/h",
    LC_ALL: "C",
    SECRET: "s",
    SHOWN: "x",
    GONE: undefined,
    EDGEDAG_TOKEN: "t",
    PYTHONPATH: "/mine",
  };
  const env = baseEnvironment({
    hostEnv,
    passEnv: ["SHOWN", "EDGEDAG_TOKEN", "GONE"],
    pythonPath: "/sdk",
  });
  t.strictSame(env, {
    PATH: "/bin",
    HOME: "/h",
    LC_ALL: "C",
    SHOWN: "x",
    PYTHONPATH: "/sdk",
    PYTHONUNBUFFERED: "1",
    PYTHONDONTWRITEBYTECODE: "1",
  });
  t.match(baseEnvironment({ hostEnv: {}, passEnv: [], pythonPath: "" }).PATH, /\/usr\/bin/);
  const seen = templateEnvironment(hostEnv);
  t.equal(seen.SECRET, "s");
  t.notOk("EDGEDAG_TOKEN" in seen || "GONE" in seen);
  t.end();
});

t.test("an agent is healthy while its file is fresh and tells of no problem", async (t) => {
  const dir = await mkdtemp("/tmp/health-");
  t.teardown(() => rm(dir, { recursive: true }));
  t.match(checkHealth(dir, 0), { healthy: false, reason: /cannot be read/ });
  const health = { time: 10_000, pid: 1, heartbeatMs: 1000, state: "idle" } as const;
  t.equal(writeHealth(dir, health), undefined);
  t.match(checkHealth(dir, 14_000), { healthy: true, health });
  t.match(checkHealth(dir, 14_001), { healthy: false, reason: /no sign of life for 4 s/ });
  writeHealth(dir, { ...health, problem: "the disk is full" });
  t.strictSame(checkHealth(dir, 10_000), { healthy: false, reason: "the disk is full" });
  writeFileSync(healthPath(dir), "{");
  t.match(checkHealth(dir, 10_000), { healthy: false });
  // No room for a new file: the present one is overwritten.
  mkdirSync(`${healthPath(dir)}.new`);
  t.equal(writeHealth(dir, health), undefined);
  t.strictSame(JSON.parse(readFileSync(healthPath(dir), "utf8")), health);
  t.type(writeHealth(join(dir, "gone"), health), "string");
});

t.test("what crashed agents left outside goes, what lives stays", async (t) => {
  const dir = await mkdtemp("/tmp/outside-");
  t.teardown(() => rm(dir, { recursive: true }));
  const own = outsidePrefix("/state/a", false);
  t.equal(own, outsidePrefix("/state/../state/a", false));
  t.not(own, outsidePrefix("/state/b", false));
  const [, namespace] = /^edgedag-p\d+\.(\d+)-$/.exec(outsidePrefix("/x", true)) ?? [];
  const names = {
    stale: `${own}old`,
    other: `${outsidePrefix("/state/b", false)}x`,
    dead: `edgedag-p4194304.${namespace}-x`,
    alive: `edgedag-p${process.ppid}.${namespace}-x`,
    self: `${outsidePrefix("/x", true)}x`,
    elsewhere: "edgedag-p4194304.1-x",
    foreign: "somebody",
  };
  for (const name of Object.values(names)) mkdirSync(join(dir, name));
  const made = makeRuntimeDir(dir, own);
  t.ok(made.ok);
  const left = readdirSync(dir).filter((name) => Object.values(names).includes(name));
  t.strictSame(
    left.sort(),
    [names.other, names.alive, names.self, names.elsewhere, names.foreign].sort(),
  );
  t.match(makeRuntimeDir(`/tmp/${"x".repeat(90)}`, own), {
    ok: false,
    diagnostics: [{ code: "E_RUNTIME_DIR" }],
  });
  t.match(makeRuntimeDir(join(dir, "none"), own), {
    ok: false,
    diagnostics: [{ code: "E_RUNTIME_DIR" }],
  });
  const shm = outsidePrefix(dir, false);
  for (const run of ["open", "over"]) mkdirSync(`/dev/shm/${shm}${run}`);
  removeSharedMemory(shm, ["open"]);
  t.strictSame(
    readdirSync("/dev/shm").filter((name) => name.startsWith(shm)),
    [`${shm}open`],
  );
  removeSharedMemory(shm, []);
});

t.test("names of runs are folder names that sort by time", (t) => {
  const at = Date.UTC(2026, 10, 23, 16, 1, 2);
  t.equal(newRunId("weather", at, 0.5), "weather-20261123-160102-8000");
  t.equal(newRunId("weather", at, 0), "weather-20261123-160102-0000");
  t.ok(newRunId("a", at, 0.1) < newRunId("a", at + 1000, 0));
  for (const dag of ["", "../..", "ä ö/ü", "-", "x".repeat(500), "__proto__", "\n"]) {
    const id = newRunId(dag, at, 0.999_999);
    t.match(id, runIdPattern);
    t.notMatch(id, /\/|\.\.\//);
  }
  t.end();
});

t.test("depth is counted over lists and objects alike", (t) => {
  t.notOk(isTooDeep(null) || isTooDeep("[[[[") || isTooDeep(undefined));
  t.notOk(isTooDeep([{ a: [] }], 3));
  t.ok(isTooDeep([{ a: [] }], 2));
  t.end();
});
