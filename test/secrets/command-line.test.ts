// Secrets with the real command line: a service and its master, a kill -9 with a restart, and the
// agent's own settings, which are no secrets for tasks.
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { RealMaster, token } from "../rig/master.ts";
import { nodeLog } from "../rig/node-log.ts";
import { until } from "../rig/until.ts";
import { commandLinesWith, filesWith, isIn } from "./leaks.ts";

const value = `value-${randomBytes(12).toString("hex")}`;
const other = `other-${randomBytes(12).toString("hex")}`;
const secrets = [value, other];

t.test("nothing is shown, kept or sent, through a kill -9, at node and master", async (t) => {
  await using box = await Box.create();
  const folder = box.path("keys");
  await box.write("keys/from-file", `${value}\n`);
  const master = await RealMaster.start(box);
  const dag = await box.write(
    "dag.yaml",
    `dag: secret
tasks:
  before: { shell: 'echo "before $FROM_FILE"', secrets: { FROM_FILE: from-file } }
  held:
    needs: [before]
    secrets: { FROM_FILE: { secret: from-file, file: true }, VALUE: FROM_ENV }
    shell: |
      echo "held $VALUE $(cat "$FROM_FILE")"
      touch is-there
      while [ ! -e go ]; do sleep 0.05; done
      printf '"%s"' "$VALUE" > "$EDGEDAG_RESULT"
      echo "$VALUE" >&2
      exit 3
    allow_failure: true
  python:
    needs: [{ task: held, on: any }]
    secrets: [FROM_ENV]
    python: { code: "import os\\ndef main():\\n    return {'it': os.environ['FROM_ENV']}" }
`,
  );
  const env = {
    ...master.env,
    EDGEDAG_SECRETS_DIR: folder,
    EDGEDAG_SECRET_FROM_ENV: other,
  };
  const submitted = await box.run(["submit", dag, "--node", "box"], { env: master.env });
  const run = submitted.stdout.trim();
  const work = join(box.state, "runs", run, "work");
  const agent = box.start(["agent"], { env });
  await until("the task is at work", () => existsSync(join(work, "is-there")), Boolean, {
    describe: () => agent.stderr,
  });
  t.same(commandLinesWith(secrets), []);
  await until(
    "its line is in the log",
    () => nodeLog(box.state, run),
    (lines) => lines.some(({ text }) => text?.startsWith("held")),
  );
  await agent.stop("SIGKILL");
  const [shm = ""] = await box.shmFolders();
  t.ok(secretFilesIn(shm).length > 0, "a killed agent cannot take its files with it");
  await rm(join(work, "is-there"));
  const next = box.start(["agent"], { env });
  await until("the task is at work again", () => existsSync(join(work, "is-there")), Boolean, {
    describe: () => next.stderr,
  });
  t.equal(secretFilesIn(shm).length, 1, "the next one did");
  writeFileSync(join(work, "go"), "");
  const at = await master.finishedRun();
  t.same(at.outcome, { kind: "succeeded" }, next.stderr);
  const lines = (await master.log(run)).filter(({ source }) => source === "task");
  t.same(
    lines.map(({ text }) => text),
    ["before ***", "held *** ***", "held *** ***", "***"],
  );
  const results = await master.results(run);
  const result = results.find(({ task }) => task === "python");
  t.match(result, { value: { it: "***" } }, JSON.stringify(results));
  await master.stop();
  await next.stop();
  t.same(filesWith(box.state, secrets), []);
  t.same(filesWith(box.path("master"), secrets), []);
  const outputs = [agent, next].map(({ stdout, stderr }) => stdout + stderr).join("");
  t.notOk(isIn(outputs, secrets));

  function secretFilesIn(path: string): string[] {
    return existsSync(path) ? readdirSync(path).filter((name) => name.endsWith(".secret")) : [];
  }
});

t.test("a secret that is gone after a restart fails what names it, and nothing else", async (t) => {
  await using box = await Box.create();
  await box.write("keys/key", value);
  const dag = await box.write(
    "dag.yaml",
    `dag: gone
tasks:
  held: { shell: "touch is-there; while [ ! -e go ]; do sleep 0.05; done" }
  keyed: { command: ["true"], needs: [held], secrets: { KEY: key }, retries: { lost: 0 } }
  plain: { command: [echo, plain], needs: [held] }
`,
  );
  const env = { EDGEDAG_SECRETS_DIR: box.path("keys") };
  const args = ["run", dag, "--state", box.state];
  const cli = box.start(args, { env });
  const thereOf = () =>
    readdirSync(join(box.state, "runs")).map((run) => join(box.state, "runs", run, "work"));
  const isThere = () =>
    existsSync(join(box.state, "runs")) && existsSync(join(thereOf()[0] ?? "", "is-there"));
  await until("it is held", isThere, Boolean, { describe: () => cli.stderr });
  await cli.stop("SIGKILL");
  await rm(box.path("keys/key"));
  writeFileSync(join(thereOf()[0] ?? "", "go"), "");
  const { code, stdout } = await box.run(args, { env });
  t.equal(code, exitCodes.runFailed);
  t.match(stdout, /keyed: .*the secret `key` is not on this node/);
  t.match(stdout, /plain/);
});

t.test("a node refuses a run that names what it does not have, and says so", async (t) => {
  await using box = await Box.create();
  // Its folder is as systemd makes it.
  await mkdir(box.path("master"), { mode: 0o755 });
  const master = await RealMaster.start(box);
  for (const name of readdirSync(box.path("master")).filter((file) => file.includes(".db"))) {
    t.equal(statSync(join(box.path("master"), name)).mode & 0o077, 0, name);
  }
  await box.write("keys/token", token);
  const tokenFile = box.path("keys/token");
  const env = {
    EDGEDAG_MASTER: master.url,
    EDGEDAG_TOKEN_FILE: tokenFile,
    EDGEDAG_SECRETS_DIR: box.path("keys"),
  };
  const agent = box.start(["agent"], { env });
  const submit = async (name: string) => {
    const text = `dag: refused\ntasks: { a: { command: ["true"], secrets: { A: ${name} } } }\n`;
    const dag = await box.write("refused.yaml", text);
    return await box.run(["submit", dag, "--node", "box", "--wait"], { env: master.env });
  };
  const missing = await submit("nosuch");
  t.equal(missing.code, exitCodes.badDocument, agent.stderr);
  t.match(missing.stderr, /E_SECRET_MISSING/);
  // The node's own token lies in the same folder, and is not to be had.
  const own = await submit("token");
  t.match(own.stderr, /E_SECRET_MISSING/);
});

t.test("the values are not shown by `config`, and their names are known", async (t) => {
  await using box = await Box.create();
  const env = { EDGEDAG_SECRET_FROM_ENV: value, EDGEDAG_SECRETS_DIR: "/run/secrets" };
  const shown = await box.run(["config"], { env });
  t.notOk(isIn(shown.stdout + shown.stderr, secrets));
  t.match(shown.stdout, /EDGEDAG_SECRET_\.\.\. {2}\[1 set\]/);
  const dag = await box.write(
    "dag.yaml",
    `dag: look
tasks:
  a: { shell: 'test -z "$EDGEDAG_SECRET_FROM_ENV" && env | grep -c SECRET; true' }
  b: { command: [echo, "{{ env.EDGEDAG_SECRET_FROM_ENV | default('nothing') }}"] }
`,
  );
  const ran = await box.run(["run", dag, "--state", box.state], { env });
  t.equal(ran.code, 0, ran.stderr);
  t.notMatch(ran.stderr, /not a known variable/);
  t.same(filesWith(box.state, secrets), []);
});
