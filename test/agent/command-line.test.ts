// What the commands make of the agent: the right run, the right exit code, the right words.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { up } from "../../cli/up.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { edgedag } from "../e2e/command.ts";
import { Box } from "../rig/box.ts";
import { until } from "../rig/until.ts";

const untilGo = "test -e ../../../go || sleep 600";

/** Waits until the agent of the box has begun a run. */
async function begun(box: Box): Promise<void> {
  await until(
    "a run has begun",
    () => commands(box),
    (text) => text.includes("sleep"),
  );
}

function commands(box: Box): Promise<string> {
  return box.processes().then((lines) => lines.join("\n"));
}

t.test("an unfinished run of another DAG is not taken for this one", async (t) => {
  await using box = await Box.create();
  const yaml = JSON.stringify({ dag: "long", tasks: { a: { shell: untilGo } } });
  const long = await box.write("long.yaml", yaml);
  const short = await box.write("short.yaml", "dag: short\ntasks:\n  b: { command: ['true'] }\n");
  const first = box.start(["run", long, "--state", box.state]);
  await begun(box);
  await first.stop("SIGKILL");
  const other = await box.run(["run", short, "--state", box.state]);
  t.equal(other.code, exitCodes.state);
  t.match(other.stderr, /E_STATE_OTHER/);
  await box.write("state/go", "");
  const agent = await box.run(["agent"], { env: { EDGEDAG_DAG: short } });
  t.equal(agent.code, 0);
  t.match(agent.stderr, /run long-\S+ succeeded[\s\S]*run short-\S+ succeeded/);
});

t.test("a task that fails before it has an attempt is told with the reason", async (t) => {
  await using box = await Box.create();
  const yaml =
    "dag: a\nparams: { n: 3 }\ntasks:\n  items: { map: '{{ params.n }}', command: ['true'] }\n";
  const dag = await box.write("dag.yaml", yaml);
  const { code, stdout } = await box.run(["run", dag]);
  t.equal(code, exitCodes.runFailed);
  t.match(stdout, /✗ items: map: `map` must give a list/);
  const quiet = await box.run(["run", dag, "--json"]);
  t.match(JSON.parse(quiet.stdout), { tasks: { items: { outcome: { kind: "failed" } } } });
});

t.test("the state of a run that goes on is not removed by later runs", async (t) => {
  await using box = await Box.create();
  const long = await box.write("long.yaml", "dag: long\ntasks:\n  a: { command: [sleep, '60'] }\n");
  const short = await box.write("short.yaml", "dag: short\ntasks:\n  b: { command: ['true'] }\n");
  const first = box.start(["run", long]);
  await first.says(/long: 1 tasks/);
  const parent = box.path("xdg/edgedag/local");
  const [name = ""] = await readdir(parent);
  for (let i = 0; i < 25; i += 1) {
    const folder = join(parent, `other-29991231-2359${String(i).padStart(2, "0")}-0000`);
    await mkdir(folder);
    await writeFile(join(folder, "journal.db"), "");
  }
  t.equal((await box.run(["run", short])).code, 0);
  const left = await readdir(parent);
  t.ok(left.includes(name), "the long one's state is there");
  t.ok(left.length < 25);
  t.equal((await first.stop("SIGINT")).code, exitCodes.cancelled);
});

t.test("a reader that goes away does not end the run", async (t) => {
  await using box = await Box.create();
  const dag = await box.write(
    "dag.yaml",
    "dag: a\ntasks:\n  a: { shell: 'sleep 0.3' }\n  b: { needs: [a], shell: 'touch done' }\n",
  );
  const script = `"$0" run "$1" --state "$2"; echo $? > "$3"`;
  const env = { PATH: process.env.PATH ?? "", HOME: box.dir, EDGEDAG_FROM_SOURCE: "1" };
  const code = box.path("code");
  const shell = spawn("sh", ["-c", `{ ${script}; } | head -1`, edgedag, dag, box.state, code], {
    env,
    stdio: "ignore",
  });
  await once(shell, "close");
  const { readFile } = await import("node:fs/promises");
  t.equal((await readFile(code, "utf8")).trim(), "0");
});

t.test("a signal that comes before the agent of `up` listens still ends it", async (t) => {
  await using box = await Box.create();
  let said = "";
  const io = {
    stdout: {
      write: (text: string) => {
        said += text;
        process.emit("SIGTERM");
      },
    },
    stderr: {
      write: (text: string) => {
        said += text;
      },
    },
  };
  const env = {
    PATH: process.env.PATH ?? "",
    EDGEDAG_LISTEN: "127.0.0.1:0",
    EDGEDAG_RUNTIME: box.runtime,
  };
  t.equal(await up({ env, dir: box.path("up") }, io), exitCodes.ok, said);
});

t.test("a second signal does not wait for the drain", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", "dag: a\ntasks:\n  a: { command: [sleep, '600'] }\n");
  const agent = box.start(["agent"], { env: { EDGEDAG_DAG: dag, EDGEDAG_DRAIN: "10m" } });
  await begun(box);
  agent.kill("SIGTERM");
  await agent.says(/draining/);
  t.equal((await agent.stop("SIGTERM")).code, exitCodes.unfinished);
});

t.test("a node that the master refuses finishes what it has", async () => {
  await using box = await Box.create();
  const token = { EDGEDAG_TOKEN: "right" };
  const master = box.start(["master"], {
    env: { ...token, EDGEDAG_LISTEN: "127.0.0.1:0", EDGEDAG_DATA: box.path("data") },
  });
  const [, port = ""] = await master.says(/127\.0\.0\.1:(\d+)/);
  const dag = await box.write(
    "dag.yaml",
    "dag: a\ntasks:\n  a: { shell: 'test -e ../../../go || sleep 600', retries: { lost: 5 } }\n  b: { needs: [a], shell: 'sleep 1' }\n",
  );
  const first = box.start(["agent"], { env: { EDGEDAG_DAG: dag } });
  await begun(box);
  await first.stop("SIGKILL");
  await box.write("state/go", "");
  const env = {
    EDGEDAG_MASTER: `http://127.0.0.1:${port}`,
    EDGEDAG_TOKEN: "wrong",
    EDGEDAG_DRAIN: "0s",
  };
  const agent = box.start(["agent"], { env });
  await agent.says(/run a-\S+ succeeded/);
  await agent.stop("SIGTERM");
});
