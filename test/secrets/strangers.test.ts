// Who is not a task of the run reaches nothing of it: another user of the machine, a sandbox, and,
// where the kernel has a way, even a process of the agent's own user. All sockets, files and processes
// of an agent at work are tried, in folders that are as open as an operator may have left them.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { boxesFolder } from "../../agent/boxes-folder.ts";
import { outsidePrefix, outsideTag } from "../../agent/outside.ts";
import { AgentRig } from "../agent/agent-rig.ts";
import { isRoot } from "../isolation/isolation-rig.ts";
import { Box } from "../rig/box.ts";
import { root } from "../rig/cli.ts";
import { until } from "../rig/until.ts";

const skip = !isRoot && "only root can become another user";
const nobody = 65_534;
const owner = 65_533;
const stranger = join(import.meta.dirname, "stranger.py");

/** None when the folder went away while the rest was looked at. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Everything below the folders, and the folders. */
function pathsBelow(folders: readonly string[]): string[] {
  const found: string[] = [];
  const walk = (path: string): void => {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    // What the work of tasks leads to (node_modules) is not ours.
    if (stat === undefined || stat.isSymbolicLink()) return;
    found.push(path);
    if (stat.isDirectory()) for (const name of namesIn(path)) walk(join(path, name));
  };
  for (const folder of folders) walk(folder);
  return found;
}

/** Some files live for a moment only: a page of claims has a name until the worker has opened it. */
function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

function pidsOf(box: Box): Promise<number[]> {
  return box.processes().then((lines) => lines.map((line) => Number.parseInt(line, 10)));
}

/** What the user could reach. */
async function tryAs(box: Box, uid: number, paths: string[], pids: number[]): Promise<string[]> {
  const list = await box.write("targets.json", JSON.stringify({ paths, pids }));
  const script = await box.write("stranger.py", readFileSync(stranger));
  for (const path of [list, script]) chmodSync(path, 0o644);
  const who = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  const out = execFileSync("setpriv", [...who, "/usr/bin/python3", script, list], { cwd: "/" });
  return JSON.parse(out.toString()) as string[];
}

const document = (extra = "") => `dag: held
tasks:
  large: { python: { code: "def main(): return ['x' * 200000]" } }
  file:
    needs: [large]
    shell: "test -s \\"$KEY\\"; touch file-is-there; while [ ! -e go ]; do sleep 0.05; done"
    secrets: { KEY: { secret: key, file: true } }
  worker:
    needs: [large]
    python:
      code: |
        import os, time
        def main():
            open("worker-is-there", "w").close()
            while not os.path.exists("go"): time.sleep(0.05)
${extra}`;

async function openBox(): Promise<Box> {
  const box = await Box.create();
  // As open as they come.
  mkdirSync(box.state);
  for (const folder of [box.dir, box.state, box.runtime]) chmodSync(folder, 0o755);
  const key = await box.write("keys/key", "a secret of the node");
  chmodSync(join(key, ".."), 0o700);
  chmodSync(key, 0o600);
  await box.write("dag.yaml", document());
  return box;
}

function workOf(box: Box): string {
  const runs = join(box.state, "runs");
  const [run = "none"] = existsSync(runs) ? readdirSync(runs) : [];
  return join(runs, run, "work");
}

async function atWork(box: Box, names: readonly string[], say: () => string): Promise<void> {
  await until(
    "all tasks are at work",
    () => names.filter((name) => !existsSync(join(workOf(box), `${name}-is-there`))),
    (missing) => missing.length === 0,
    { describe: say },
  );
}

t.test("another user of the machine reaches no file, socket or process", { skip }, async (t) => {
  await using box = await openBox();
  const env = { EDGEDAG_SECRETS_DIR: box.path("keys") };
  const cli = box.start(["run", "dag.yaml", "--state", box.state], { env });
  await atWork(box, ["file", "worker"], () => cli.stderr);
  const folders = [box.state, box.runtime, ...(await box.shmFolders())];
  const paths = pathsBelow(folders);
  const sockets = paths.filter(isSocket);
  t.ok(sockets.length >= 2, "the store's and the workers'");
  const shm = paths.filter((path) => path.startsWith("/dev/shm/"));
  t.ok(
    shm.some((path) => path.endsWith(".secret")),
    "a file of a secret",
  );
  t.ok(shm.length >= 3, "a large value");
  const pids = await pidsOf(box);
  const agent = cli.pid;
  t.ok(pids.length >= 4, "agent, launcher, task, worker");
  const reached = await tryAs(box, nobody, paths, [...new Set([...pids, agent])]);
  // The two folders were left open on purpose, and the sign of life is for everybody.
  t.same(
    reached.sort(),
    [
      `lists ${box.runtime}`,
      `lists ${box.state}`,
      ...["health.json"].flatMap((name) => {
        const path = join(box.state, name);
        return existsSync(path) ? [`reads ${path}`] : [];
      }),
    ].sort(),
  );
  t.ok((await tryAs(box, 0, paths, [])).length > paths.length, "what tries can reach");
  writeFileSync(join(workOf(box), "go"), "");
  t.equal((await cli.ended).code, 0, cli.stderr);
});

t.test(
  "a process of the agent's own user reads neither agent nor launcher",
  { skip },
  async (t) => {
    await using box = await openBox();
    for (const path of [box.dir, box.state, box.runtime, box.path("keys"), box.path("keys/key")]) {
      chownSync(path, owner, owner);
    }
    const who = [`--reuid=${owner}`, `--regid=${owner}`, "--clear-groups", "--pdeathsig", "KILL"];
    const child = spawn(
      "setpriv",
      [...who, `${root}/bin/edgedag`, "run", "dag.yaml", "--state", box.state],
      {
        cwd: box.dir,
        stdio: ["ignore", "ignore", "pipe"],
        env: {
          PATH: "/usr/bin:/bin",
          HOME: box.dir,
          EDGEDAG_FROM_SOURCE: "1",
          EDGEDAG_RUNTIME: box.runtime,
          EDGEDAG_LEVELS: "none",
          EDGEDAG_SECRET_KEY: "a secret in the environment",
          EDGEDAG_SECRETS_DIR: box.path("keys"),
          BOX: box.dir,
          EDGEDAG_PASS_ENV: "BOX",
        },
      },
    );
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    const ended = once(child, "close");
    try {
      await atWork(box, ["file", "worker"], () => said);
      const agent = child.pid ?? 0;
      const launcher = childrenOf(agent).find((pid) => commandOf(pid).includes("launcher"));
      t.ok(launcher !== undefined, "the launcher");
      const reached = await tryAs(box, owner, [], [agent, launcher ?? 0]);
      t.same(reached.sort(), [`signals /proc/${agent}`, `signals /proc/${launcher}`].sort());
      const worker = (await pidsOf(box)).find((pid) => commandOf(pid).includes("runner.py")) ?? 0;
      const open = await tryAs(box, owner, [], [worker]);
      t.ok(open.includes(`reads /proc/${worker}/environ`), "as it could that of a task");
    } finally {
      writeFileSync(join(workOf(box), "go"), "");
      const [code] = await ended;
      t.equal(code, 0, said);
    }
  },
);

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8");
}

t.test(
  "a task in a sandbox reaches no socket, file or process but its own",
  { skip },
  async (t) => {
    await using box = await openBox();
    const script = readFileSync(stranger, "utf8").replace(/^/gm, "        ");
    // Both see the tasks of level none at work, and one another.
    const levels = ["subprocess", "seccomp"];
    const strangers = levels.map(
      (level) => `  ${level}:
    needs: [ready]
    isolation: ${level}
    inputs:
      targets.json: "{{ needs.ready.result | json }}"
      stranger.py: |
${script}
    shell: '/usr/bin/python3 stranger.py targets.json > "$EDGEDAG_RESULT"'
`,
    );
    await box.write(
      "dag.yaml",
      document(`  ready:
    needs: [large]
    shell: |
      touch ready-is-there
      while [ ! -e targets-are-there ]; do sleep 0.05; done
      cp targets "$EDGEDAG_RESULT"
  box:
    needs: [large]
    isolation: subprocess
    shell: "sleep 3"
  finish: { needs: [${levels.join(", ")}], shell: "touch go" }
${strangers.join("")}`),
    );
    const env = {
      EDGEDAG_SECRETS_DIR: box.path("keys"),
      EDGEDAG_LEVELS: "subprocess,seccomp",
      EDGEDAG_SLOTS: "8",
      EDGEDAG_POOL_SIZE: "0",
      EDGEDAG_SANDBOX_UID: String(1_500_000_000 + (process.pid % 100_000) * 1000),
    };
    const args = ["run", "dag.yaml", "--state", box.state, "--json"];
    const cli = box.start(args, { env });
    await atWork(box, ["file", "worker", "ready"], () => cli.stderr);
    const boxes = boxesFolder(box.runtime, outsideTag(box.state, false));
    await until(
      "the box of another task is there",
      () => pathsBelow([boxes]).filter((path) => path.endsWith("/work")).length,
      (count) => count > 0,
      { describe: () => cli.stderr },
    );
    const folders = [box.state, box.runtime, boxes, ...(await box.shmFolders())];
    const paths = pathsBelow(folders);
    t.ok(paths.filter(isSocket).length >= 2);
    const pids = [...new Set([...(await pidsOf(box)), cli.pid])];
    writeFileSync(join(workOf(box), "targets"), JSON.stringify({ paths, pids }));
    writeFileSync(join(workOf(box), "targets-are-there"), "");
    const { code, stdout, stderr } = await cli.ended;
    t.equal(code, 0, stderr);
    const report = JSON.parse(stdout) as { tasks: { [task: string]: { result?: string[] } } };
    const open = [box.state, box.runtime].map((folder) => `lists ${folder}`);
    open.push(`reads ${join(box.state, "health.json")}`);
    t.same(
      report.tasks.subprocess?.result?.filter((what) => !open.includes(what)),
      [],
    );
    t.same(report.tasks.seccomp?.result, []);
  },
);

t.test("what a stranger has put in the way is neither used nor removed", { skip }, async (t) => {
  await using rig = await AgentRig.start({ levels: ["subprocess"] });
  // The agent is started again on the same folders, which everybody may write now.
  await rig.stop();
  chmodSync(rig.dir, 0o1777);
  const { stateDir } = rig.config;
  const tag = outsideTag(stateDir, false);
  const prefix = outsidePrefix(stateDir, false);
  const squatted = [
    boxesFolder(rig.dir, tag),
    join(rig.dir, `edgedag.boxes-${tag}`),
    join(rig.dir, `${prefix}XYZ`),
    join(rig.dir, "edgedag-p4194000.1-x"),
    `/dev/shm/${prefix}squatted`,
  ];
  t.teardown(() => {
    for (const path of squatted) rmSync(path, { recursive: true, force: true });
  });
  const made = squatted.filter((path) => !existsSync(path));
  for (const path of made) {
    mkdirSync(join(path, "mine"), { recursive: true });
    for (const part of [path, join(path, "mine")]) {
      chownSync(part, nobody, nobody);
      chmodSync(part, 0o777);
    }
  }
  await rig.begin();
  await rig.accept(
    "squatted",
    `dag: squatted
tasks:
  box: { command: [pwd], isolation: subprocess, timeout: 20s }
  large: { python: { code: "def main(): return ['x' * 200000]" } }
  folder: { shell: "echo $EDGEDAG_SHM; cat", stdin: "hello" }
`,
  );
  const { outcome } = await rig.end("squatted");
  t.same(outcome, { kind: "succeeded" }, rig.said.join("\n"));
  const said = (await rig.log("squatted")).map(({ text }) => text ?? "");
  for (const path of made) {
    t.same(readdirSync(path), ["mine"], `${path} is as it was`);
    t.notOk(
      said.some((text) => text.includes(path)),
      `${path} was not used`,
    );
  }
  await rig.stop();
});
