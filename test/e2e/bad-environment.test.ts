// A bad environment: every value that is wrong is reported in one go, names that are not known are
// told with the nearest, secrets are read from files and never printed, `.env` fills in, and what the
// environment names must exist.
import { mkdir, readFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { root } from "../rig/cli.ts";
import { RealMaster, token } from "../rig/master.ts";
import { failureOf, runJson } from "../rig/run-json.ts";

const one = 'dag: one\ntasks:\n  a: { shell: "echo ok" }\n';

t.test("all bad values are reported together", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", one);
  const env = {
    EDGEDAG_SLOTS: "many",
    EDGEDAG_HEARTBEAT: "10 bananas",
    EDGEDAG_MASTER: "not a url",
    EDGEDAG_LOG_LEVEL: "loud",
    EDGEDAG_STORE_QUOTA: "1k",
    EDGEDAG_PARAMS: "[1]",
    EDGEDAG_LABELS: "zone",
    EDGEDAG_NODE: "a b",
  };
  for (const args of [["agent"], ["run", dag]]) {
    const { code, stderr } = await box.run(args, { env });
    t.equal(code, exitCodes.config, `${args[0]}: exit code`);
    for (const name of Object.keys(env)) {
      t.match(stderr, new RegExp(`E_CONFIG_VALUE at ${name}: .*\\n {4}\\S`), `${args[0]}: ${name}`);
    }
  }
  const master = await box.run(["master"], {
    env: { EDGEDAG_LISTEN: "nowhere", EDGEDAG_LATE_AFTER: "0", EDGEDAG_HEARTBEAT: "never" },
  });
  t.equal(master.code, exitCodes.config);
  for (const name of ["EDGEDAG_LISTEN", "EDGEDAG_LATE_AFTER", "EDGEDAG_HEARTBEAT"]) {
    t.match(master.stderr, new RegExp(`E_CONFIG_VALUE at ${name}: `), name);
  }
});

t.test("names that are not known warn with the nearest, and stop nothing", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", one);
  const env = { EDGEDAG_MASTR: "http://127.0.0.1:1", EDGEDAG_SLOT: "3" };
  for (const args of [["run", dag], ["agent"]]) {
    const { code, stdout, stderr } = await box.run(args, { env: { ...env, EDGEDAG_DAG: dag } });
    t.equal(code, exitCodes.ok, `${args[0]}: the run succeeds`);
    const said = stdout + stderr;
    t.match(
      said,
      /EDGEDAG_MASTR is not a known variable; did you mean EDGEDAG_MASTER\?/,
      args.join(),
    );
    t.match(
      said,
      /EDGEDAG_SLOT is not a known variable; did you mean EDGEDAG_SLOTS\?/,
      args.join(),
    );
    const warned = said.match(/EDGEDAG_\w+ is not a known variable/g) ?? [];
    t.equal(warned.length, 2, `${args[0]}: nothing else is unknown: ${warned}`);
  }
});

t.test("no name that the programs know themselves is called unknown", async (t) => {
  await using box = await Box.create();
  const master = box.start(["master"], {
    env: { EDGEDAG_LISTEN: "127.0.0.1:0", EDGEDAG_DATA: box.path("m"), EDGEDAG_TOKEN: token },
  });
  await master.says(/master listens on/);
  const { stderr } = await master.stop();
  t.notMatch(stderr, /not a known variable/);
});

t.test("secrets come from files and are never printed", async (t) => {
  await using box = await Box.create();
  const file = await box.write("token", `${token}\n`);
  const master = await RealMaster.start(box);
  const env = { EDGEDAG_MASTER: master.url, EDGEDAG_TOKEN_FILE: file };
  const agent = box.start(["agent"], { env });
  t.ok(await master.connected(), "the agent connects with the token of the file");
  const nodes = await box.run(["nodes"], { env });
  t.equal(nodes.code, exitCodes.ok, "so does a client command");
  const shown = await box.run(["config"], { env: { ...env, EDGEDAG_TOKEN: token } });
  t.notMatch(shown.stdout + shown.stderr, token, "config does not show it");
  const ended = await agent.stop();
  t.notMatch(ended.stdout + ended.stderr, token, "the agent does not log it");

  const missing = await box.run(["agent"], {
    env: { EDGEDAG_MASTER: master.url, EDGEDAG_TOKEN_FILE: box.path("none"), EDGEDAG_SLOTS: "0" },
  });
  t.equal(missing.code, exitCodes.config);
  t.match(missing.stderr, /E_CONFIG_FILE at EDGEDAG_TOKEN_FILE: .*none.*\n {4}\S/);
  t.match(missing.stderr, /EDGEDAG_SLOTS/, "together with the rest");
  const twice = await box.run(["agent"], { env: { ...env, EDGEDAG_TOKEN: token } });
  t.equal(twice.code, exitCodes.config);
  t.match(twice.stderr, /E_CONFIG_TWICE at EDGEDAG_TOKEN: .*\n {4}\S/);
  t.notMatch(twice.stderr, token);

  for (const args of [["nodes"], ["runs"]]) {
    const client = await box.run(args, { env: { ...env, EDGEDAG_TOKEN_FILE: box.path("none") } });
    t.not(client.code, exitCodes.ok, `${args[0]}: a missing token file is no success`);
    t.match(client.stderr, /EDGEDAG_TOKEN_FILE/, args.join());
  }
});

t.test("the file .env fills in what the environment does not have", async (t) => {
  await using box = await Box.create();
  await box.write("here/dag.yaml", one);
  await box.write("here/.env", "EDGEDAG_DAG=dag.yaml\nEDGEDAG_SLOTS=nonsense\n");
  const ended = await box.run(["agent"], { cwd: box.path("here") });
  t.equal(ended.code, exitCodes.ok, "EDGEDAG_DAG is read, EDGEDAG_SLOTS of the environment wins");
  const bad = await box.run(["agent"], {
    cwd: box.path("here"),
    env: { EDGEDAG_SLOTS: undefined },
  });
  t.equal(bad.code, exitCodes.config);
  t.match(bad.stderr, /E_CONFIG_VALUE at EDGEDAG_SLOTS: "nonsense"/);
});

t.test(
  "an interpreter that is not there fails the tasks that need it, and no others",
  async (t) => {
    await using box = await Box.create();
    await box.write("dag/t.py", "def f():\n    return 1\n");
    const { code, summary, stderr } = await runJson(
      box,
      'dag: py\ntasks:\n  a: { python: "t.py:f", retries: { lost: 1, backoff: 10ms } }\n  b: { shell: "echo ok" }\n',
      { env: { EDGEDAG_PYTHON: "/nope" } },
    );
    t.equal(code, exitCodes.runFailed);
    t.match(failureOf(summary, "a"), { reason: "spawn", errno: "ENOENT", detail: /\/nope/ });
    t.equal(summary.tasks.a?.attempts, 2, "tried as often as allowed");
    t.equal(summary.tasks.b?.outcome.kind, "succeeded");
    t.match(stderr, /a#2.*\/nope|a: .*\/nope|✗ a.*\/nope/, "one clear error");
    t.match(stderr, /EDGEDAG_PYTHON/, "with the remedy");
    await box.empty();
  },
);

t.test("a launcher that is not there, or none", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", one);
  const ended = await box.run(["run", dag], { env: { EDGEDAG_LAUNCHER: "/nope" } });
  t.equal(ended.code, exitCodes.unavailable);
  t.match(ended.stderr, /E_LAUNCHER at EDGEDAG_LAUNCHER: .*\/nope.*\n {4}\S/);
  const none = await box.run(["run", dag], { env: { EDGEDAG_LAUNCHER: "none" } });
  t.equal(none.code, exitCodes.ok, "without the launcher it runs all the same");
  t.match(none.stderr, /without the launcher/, "and says what is missing");
});

t.test("a runtime folder that is too long, a file, or not there", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", one);
  const long = box.path("l".repeat(90));
  await mkdir(long);
  const file = await box.write("file", "");
  for (const [folder, why] of [
    [long, /too long for sockets: at most \d+ bytes/],
    [file, /no folder can be made in/],
    [box.path("none"), /no folder can be made in/],
  ] as const) {
    for (const args of [["run", dag], ["agent"]]) {
      const env = { EDGEDAG_RUNTIME: folder, EDGEDAG_DAG: dag };
      const { code, stderr } = await box.run(args, { env });
      t.equal(code, exitCodes.config, `${args[0]}: exit code`);
      t.match(stderr, why, `${args[0]}: why`);
      t.match(stderr, /E_RUNTIME_DIR at EDGEDAG_RUNTIME: .*\n {4}\S/, `${args[0]}: remedy`);
    }
  }
});

t.test("an agent with nothing to do says what it misses", async (t) => {
  await using box = await Box.create();
  const { code, stderr } = await box.run(["agent"]);
  t.equal(code, exitCodes.config);
  t.match(stderr, /set EDGEDAG_DAG or EDGEDAG_MASTER/);
});

t.test("wrong command lines", async (t) => {
  await using box = await Box.create();
  for (const [args, why] of [
    [["rum"], /unknown command 'rum'[\s\S]*run/],
    [["run"], /missing required argument/],
    [["run", "x.yaml", "--sloths", "1"], /unknown option '--sloths'/],
    [["run", "x.yaml", "--slots", "0"], /--slots.*positive/],
    [["logs", "--level", "loud"], /--level loud/],
  ] as const) {
    const { code, stderr } = await box.run(args);
    t.equal(code, exitCodes.usage, args.join(" "));
    t.match(stderr, why, args.join(" "));
  }
  const dag = await box.write("dag.yaml", one);
  const submit = await box.run(["submit", dag]);
  t.equal(submit.code, exitCodes.usage);
  t.match(submit.stderr, /--node ID or --any/);
});

t.test("the tables in README.md are those of the program", async (t) => {
  await using box = await Box.create();
  const { stdout, code } = await box.run(["config", "--markdown"]);
  t.equal(code, exitCodes.ok);
  const readme = await readFile(`${root}/README.md`, "utf8");
  const tables = /<!-- config -->\n([\s\S]*?)<!-- \/config -->/.exec(readme)?.[1];
  t.equal(tables, stdout, "`npm run readme` writes them");
});
