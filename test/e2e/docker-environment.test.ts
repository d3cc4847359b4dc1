// The image of environments/docker, built and run by a real dockerd: without a network, not as
// root, on a read-only root file system, drained by SIGTERM and resumed, and with a master.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { startMaster } from "../../master/main.ts";
import type { Json } from "../../protocol/json.ts";
import { type CommandOptions, type Ended, root, run } from "./command.ts";
import { differences } from "./matches.ts";

/** What the master says of a run, as far as this test looks at it. */
interface RunView {
  id: string;
  dag: string;
  node: string;
  outcome?: { kind: string };
}

const environment = `${root}/environments/docker`;
const image = "edgedag-weather";
const scratch = await mkdtemp(join(tmpdir(), "edgedag-docker-"));
const daemonFolder = join(scratch, "d");
const started = await run(`${root}/scripts/test-docker-service`, ["start", daemonFolder], {
  timeoutMs: 300_000,
});
const skip = started.code === 0 ? false : `no dockerd: ${started.stderr.trim().split("\n").at(-1)}`;
const dockerHost = /^DOCKER_HOST=(.*)$/m.exec(started.stdout)?.[1] ?? "";
t.teardown(async () => {
  if (!skip) await run(`${root}/scripts/test-docker-service`, ["stop", daemonFolder]);
  await rm(scratch, { recursive: true, force: true });
});

t.test("the image is built with a DAG baked in, on a base made here", { skip }, async (t) => {
  await build(t);
  const inspected = JSON.parse((await docker("image", "inspect", image)).stdout)[0].Config;
  t.equal(inspected.User, "10001:10001", "not root");
  t.equal(inspected.StopSignal, "SIGTERM");
  t.same(inspected.Healthcheck.Test, ["CMD", "/usr/local/bin/edgedag", "health"]);
  t.same(Object.keys(inspected.Volumes), ["/var/lib/edgedag"]);
});

t.test(
  "the baked DAG gives its results with no network and a read-only root",
  { skip },
  async (t) => {
    const ended = await docker(
      ...["run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp"],
      ...["--cap-drop=ALL", "--security-opt=no-new-privileges"],
      ...[image, "run", "/opt/edgedag/dag.yaml", "--json"],
    );
    t.equal(ended.code, 0, ended.stderr.slice(-2000));
    const expected = await readFile(`${root}/dag-examples/weather/expected.json`, "utf8");
    const table = JSON.parse(expected)["dag.yaml"].tasks.table.result as Json;
    t.same(differences(JSON.parse(ended.stdout).tasks.table.result, table), []);
  },
);

t.test(
  "the agent runs the baked DAG without a master and ends with its outcome",
  { skip },
  async (t) => {
    const name = await container(t, "alone", ["--network=none", "--read-only", "--tmpfs=/tmp"]);
    t.equal((await docker("wait", name)).stdout.trim(), "0", await logs(name));
    const copied = join(scratch, "runs");
    t.equal((await docker("cp", `${name}:/var/lib/edgedag/runs`, copied)).code, 0);
    const found = await run("find", [copied, "-name", "weather.svg", "-path", "*/out/*"]);
    t.match(found.stdout, /weather\.svg/, "the chart is in the volume");
  },
);

t.test("SIGTERM drains: what runs ends, the rest waits for the next start", { skip }, async (t) => {
  const folder = join(scratch, "slow");
  await mkdir(folder);
  await writeFile(
    join(folder, "dag.yaml"),
    [
      "dag: slow",
      "tasks:",
      "  first: { shell: 'echo once >> started; while [ ! -e go ]; do sleep 0.05; done; touch finished' }",
      "  second: { shell: 'test -e finished && touch over', needs: [first] }",
      "",
    ].join("\n"),
  );
  const options = ["--network=none", `--volume=${folder}:/opt/slow:ro`];
  const name = await container(t, "slow", [...options, "--env=EDGEDAG_DAG=/opt/slow/dag.yaml"]);
  const inWork = (script: string) =>
    docker("exec", name, "sh", "-c", `cd /var/lib/edgedag/runs/*/work && ${script}`);
  await until(t, "the task has started", async () => (await inWork("test -e started")).code === 0);

  t.equal((await docker("kill", "--signal=TERM", name)).code, 0);
  t.equal((await inWork("touch go")).code, 0, "the agent still runs while its task does");
  t.equal((await docker("wait", name)).stdout.trim(), "75", "unfinished, to be resumed");

  t.equal((await docker("start", name)).code, 0);
  t.equal((await docker("wait", name)).stdout.trim(), "0", await logs(name));
  const copied = join(scratch, "slow-runs");
  await docker("cp", `${name}:/var/lib/edgedag/runs`, copied);
  const runs = await run("sh", [
    "-c",
    `cd ${copied}; ls | wc -l; find . -name started -exec cat {} +; find . -name over`,
  ]);
  t.match(
    runs.stdout,
    /^1\nonce\n.*over\n$/,
    "the same run went on, its first task was not run again",
  );
});

t.test(
  "the health check is green while the agent lives, and red when it hangs",
  { skip },
  async (t) => {
    const options = ["--network=none", "--env=EDGEDAG_AFTER=stay", "--health-interval=1s"];
    const often = ["--env=EDGEDAG_HEARTBEAT=200ms", "--health-retries=1"];
    const name = await container(t, "health", [...options, ...often]);
    const isHealth = (wanted: string) => async () => {
      const state = await docker("inspect", "--format={{.State.Health.Status}}", name);
      return state.stdout.trim() === wanted;
    };
    await until(t, "healthy", isHealth("healthy"));
    const agent = await docker("top", name, "-eo", "pid,args");
    const pid = /^\s*(\d+)\s.*edgedag\.mjs agent/m.exec(agent.stdout)?.[1] ?? "";
    t.match(pid, /^\d+$/, agent.stdout);
    process.kill(Number(pid), "SIGSTOP");
    await until(t, "unhealthy", isHealth("unhealthy"));
    process.kill(Number(pid), "SIGCONT");
    await until(t, "healthy again", isHealth("healthy"));
  },
);

t.test("with a master on the host, its results and log arrive there", { skip }, async (t) => {
  const token = "a token of this test";
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const master = await startMaster({
    listen: { host: "127.0.0.1", port: 0 },
    dataDir: join(scratch, "master"),
    token,
    log: silent,
  });
  t.teardown(() => master.close());
  const ask = (path: string) =>
    fetch(`${master.url}${path}`, { headers: { authorization: `Bearer ${token}` } });

  const link = [`--env=EDGEDAG_MASTER=${master.url}`, `--env=EDGEDAG_TOKEN=${token}`];
  const options = ["--network=host", "--read-only", "--tmpfs=/tmp", "--env=EDGEDAG_NODE=box"];
  const name = await container(t, "linked", [...options, ...link]);
  let run: RunView | undefined;
  await until(t, "the master has the whole run", async () => {
    const answer = (await (await ask("/api/runs")).json()) as { runs: RunView[] };
    run = answer.runs[0];
    return run?.outcome !== undefined;
  });
  t.match(run, { dag: "weather", node: "box", outcome: { kind: "succeeded" } }, await logs(name));
  const table = await (await ask(`/api/runs/${run?.id}/results/table`)).json();
  t.match(table, { rows: 1461, wettest: "Nov" });
  t.match(await (await ask(`/api/runs/${run?.id}/log`)).text(), /1461 days kept, 0 rows dropped/);
  let chart: Response | undefined;
  await until(t, "the chart is there and compared with its digest", async () => {
    chart = await ask(`/api/runs/${run?.id}/artifacts/chart/out/weather.svg`);
    return chart.ok;
  });
  t.match(await chart?.text(), /^<svg [\s\S]*<\/svg>\n$/);
});

async function build(t: Test): Promise<void> {
  const fetched = await run(`${root}/scripts/fetch-example-data`, ["weather"]);
  t.equal(fetched.code, 0, fetched.stderr);
  const base = await script("mkbase.sh", "--host", "edgedag-base");
  t.equal(base.code, 0, base.stderr);
  const built = await script(
    ...(["build.sh", "-t", image, "-b", "edgedag-base"] as const),
    `${root}/dag-examples/weather`,
  );
  t.equal(built.code, 0, `${built.stdout.slice(-2000)}${built.stderr.slice(-2000)}`);
}

/** Started in the background; removed with its volumes when the test ends. */
async function container(t: Test, name: string, options: string[]): Promise<string> {
  const begun = await docker("run", "--detach", `--name=${name}`, ...options, image);
  t.equal(begun.code, 0, begun.stderr);
  t.teardown(() => docker("rm", "--force", "--volumes", name));
  return name;
}

async function logs(name: string): Promise<string> {
  const { stdout, stderr } = await docker("logs", "--tail=40", name);
  return `${stdout}${stderr}`;
}

/** Asks until it is so. The bound is only a net: it decides nothing but a failure. */
async function until(t: Test, what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    if (Date.now() > deadline) {
      t.fail(`never came: ${what}`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.pass(what);
}

function docker(...args: string[]): Promise<Ended> {
  return run("docker", args, dockerOptions());
}

function script(name: string, ...args: string[]): Promise<Ended> {
  return run(`${environment}/${name}`, args, dockerOptions());
}

// The classic builder: BuildKit is a plugin that a machine may lack.
function dockerOptions(): CommandOptions {
  return { env: { DOCKER_HOST: dockerHost, DOCKER_BUILDKIT: "0" }, timeoutMs: 300_000 };
}
