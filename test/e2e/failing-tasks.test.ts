// Functions and programs that end in every bad way: each gives its one outcome with a reason that a
// person understands, the other tasks go on, and no process is left.
import { readFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { failureOf, runJson } from "../rig/run-json.ts";
import { until } from "../rig/until.ts";

const python = `
import os, signal, subprocess, sys, time

def throws(): raise ValueError("no such month")
def bytes_result(): return b"\\xff"
def nan_result(): return float("nan")
def deep_result():
    value = []
    for _ in range(100000): value = [value]
    return value
def exits(): sys.exit(3)
def exits_hard(): os._exit(4)
def exits_zero(): os._exit(0)
def closes_channel():
    os.closerange(3, 256)
    return "closed"
def by_signal(): os.kill(os.getpid(), signal.SIGSEGV)
def kills_itself(): os.kill(os.getpid(), signal.SIGKILL)
def leaves_child():
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return "left"
def double_fork():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    os.wait()
    return "left"
def raises_exit_in_thread():
    import threading
    threading.Thread(target=lambda: time.sleep(1000)).start()
    return "thread"
def after(): return "well"
not_callable = 3
`;

const nodeJs = `
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";

export function throws() { throw new TypeError("no such month"); }
export async function rejects() { throw new Error("later"); }
export function big() { return { n: 1n }; }
export function circle() { const a: { a?: object } = {}; a.a = a; return a; }
export function exits() { process.exit(3); }
export function aborts() { process.abort(); }
export function closesChannel() {
  for (let fd = 3; fd < 12; fd++) try { closeSync(fd); } catch {}
  return "closed";
}
export function bySignal() { process.kill(process.pid, "SIGKILL"); return new Promise(() => {}); }
export function leavesChild() {
  spawn("sleep", ["1000"], { detached: true, stdio: "ignore" }).unref();
  return "left";
}
export function throwsLater() { setTimeout(() => { throw new Error("too late"); }, 1); return new Promise(() => {}); }
export function throwsText() { throw "just a text"; }
export function after() { return "well"; }
export const notCallable = 3;
`;

interface Case {
  task: string;
  run: string;
  /** What the failure must have; absent: it succeeds. */
  failure?: object;
}

const cases: Case[] = [
  {
    task: "py-throws",
    run: 'python: "t.py:throws"',
    failure: { reason: "bad-result", detail: /ValueError: no such month/ },
  },
  {
    task: "py-unknown",
    run: 'python: "t.py:afte"',
    failure: { reason: "bad-result", detail: /afte/ },
  },
  {
    task: "py-not-callable",
    run: 'python: "t.py:not_callable"',
    failure: { reason: "bad-result", detail: /not_callable/ },
  },
  {
    task: "py-bytes",
    run: 'python: "t.py:bytes_result"',
    failure: { reason: "bad-result", detail: /JSON/ },
  },
  {
    task: "py-nan",
    run: 'python: "t.py:nan_result"',
    failure: { reason: "bad-result", detail: /JSON|nan/i },
  },
  { task: "py-deep", run: 'python: "t.py:deep_result"', failure: { reason: "bad-result" } },
  { task: "py-exit", run: 'python: "t.py:exits"', failure: { reason: "exit-code", code: 3 } },
  {
    task: "py-exit-hard",
    run: 'python: "t.py:exits_hard"',
    failure: { reason: "exit-code", code: 4 },
  },
  {
    task: "py-exit-zero",
    run: 'python: "t.py:exits_zero"',
    failure: { reason: "bad-result", detail: /before it returned/ },
  },
  {
    task: "py-signal",
    run: 'python: "t.py:by_signal"',
    failure: { reason: "signal", signal: "SIGSEGV" },
  },
  {
    task: "py-kill",
    run: 'python: "t.py:kills_itself"',
    failure: { reason: "signal", signal: "SIGKILL" },
  },
  { task: "py-child", run: 'python: "t.py:leaves_child"' },
  { task: "py-double-fork", run: 'python: "t.py:double_fork"' },
  { task: "py-thread", run: 'python: "t.py:raises_exit_in_thread"' },
  {
    task: "py-syntax",
    run: 'python: "broken.py:f"',
    failure: { reason: "bad-result", detail: /SyntaxError/ },
  },
  {
    task: "py-import",
    run: 'python: "imports.py:f"',
    failure: { reason: "bad-result", detail: /nothing_like_it/ },
  },
  {
    task: "node-throws",
    run: 'node: "t.ts:throws"',
    failure: { reason: "bad-result", detail: /TypeError: no such month/ },
  },
  {
    task: "node-rejects",
    run: 'node: "t.ts:rejects"',
    failure: { reason: "bad-result", detail: /later/ },
  },
  {
    task: "node-text",
    run: 'node: "t.ts:throwsText"',
    failure: { reason: "bad-result", detail: /just a text/ },
  },
  {
    task: "node-later",
    run: 'node: "t.ts:throwsLater"',
    failure: { reason: "bad-result", detail: /too late/ },
  },
  {
    task: "node-unknown",
    run: 'node: "t.ts:afte"',
    failure: { reason: "bad-result", detail: /afte/ },
  },
  {
    task: "node-not-callable",
    run: 'node: "t.ts:notCallable"',
    failure: { reason: "bad-result", detail: /notCallable/ },
  },
  {
    task: "node-big",
    run: 'node: "t.ts:big"',
    failure: { reason: "bad-result", detail: /JSON|BigInt/ },
  },
  {
    task: "node-circle",
    run: 'node: "t.ts:circle"',
    failure: { reason: "bad-result", detail: /contains itself/ },
  },
  { task: "node-exit", run: 'node: "t.ts:exits"', failure: { reason: "exit-code", code: 3 } },
  {
    task: "node-abort",
    run: 'node: "t.ts:aborts"',
    failure: { reason: "signal", signal: "SIGABRT" },
  },
  {
    task: "node-signal",
    run: 'node: "t.ts:bySignal"',
    failure: { reason: "signal", signal: "SIGKILL" },
  },
  { task: "node-child", run: 'node: "t.ts:leavesChild"' },
  {
    task: "node-syntax",
    run: 'node: "broken.ts:f"',
    failure: { reason: "bad-result", detail: /SyntaxError/ },
  },
  {
    task: "program-missing",
    run: "command: [no-such-program]",
    failure: { reason: "spawn", errno: "ENOENT", detail: /no-such-program/ },
  },
  {
    task: "program-no-right",
    run: "command: [./t.py]",
    failure: { reason: "spawn", errno: "EACCES" },
  },
  { task: "program-code", run: 'shell: "exit 7"', failure: { reason: "exit-code", code: 7 } },
  {
    task: "program-signal",
    run: 'shell: "kill -SEGV $$"',
    failure: { reason: "signal", signal: "SIGSEGV" },
  },
  { task: "program-child", run: 'shell: "setsid sleep 1000 & echo started"' },
  {
    task: "program-bad-json",
    run: `shell: 'echo "{no json" > "$EDGEDAG_RESULT"'`,
    failure: { reason: "bad-result", detail: /JSON/ },
  },
  { task: "program-closes", run: 'shell: "exec 0<&- 1>&- 2>&- 3<&-; true"' },
  {
    task: "program-timeout",
    run: "shell: \"trap '' TERM; sleep 1000 & wait\", timeout: 300ms, grace: 200ms",
    failure: { reason: "timeout", limitMs: 300 },
  },
  {
    task: "program-output",
    run: "command: [cat, /dev/zero], limits: { output: 1M }",
    failure: { reason: "output-limit", limitBytes: 1_000_000 },
  },
];

t.test("every bad end has its outcome, and the tasks behind go on", async (t) => {
  await using box = await Box.create();
  await box.write("dag/t.py", python);
  await box.write("dag/t.ts", nodeJs);
  await box.write("dag/broken.py", "def f(:\n");
  await box.write("dag/imports.py", "import nothing_like_it\ndef f(): pass\n");
  await box.write("dag/broken.ts", "export function f( {\n");
  const tasks = cases.map(
    ({ task, run }) => `  ${task}: { ${run}, retries: { limit: 0, lost: 0 } }`,
  );
  const names = cases.map(({ task }) => `{ task: ${task}, on: any }`).join(", ");
  const { code, summary, stderr } = await runJson(
    box,
    `dag: bad-ends
files: [t.py]
tasks:
${tasks.join("\n")}
  py-after: { python: "t.py:after", needs: [${names}] }
  node-after: { node: "t.ts:after", needs: [${names}] }
`,
  );
  t.equal(code, exitCodes.runFailed);
  for (const { task, failure } of cases) {
    if (failure === undefined) {
      t.equal(summary.tasks[task]?.outcome.kind, "succeeded", task);
    } else {
      t.match(failureOf(summary, task), failure, task);
      t.match(stderr, new RegExp(`✗ ${task}[ :]`), `${task} is told`);
    }
    t.equal(summary.tasks[task]?.attempts, 1, `${task}: one attempt`);
  }
  t.equal(summary.tasks["py-after"]?.result, "well");
  t.equal(summary.tasks["node-after"]?.result, "well");
  await box.empty();
  t.same(await box.shmFolders(), []);
});

t.test("a function that closes fd 3, and every other, harms only itself", async (t) => {
  await using box = await Box.create();
  await box.write("dag/t.py", python);
  await box.write("dag/t.ts", nodeJs);
  const { summary } = await runJson(
    box,
    `dag: closes
tasks:
  py: { python: "t.py:closes_channel", retries: { lost: 1, backoff: 10ms } }
  py-after: { python: "t.py:after", needs: [{ task: py, on: any }] }
  node: { node: "t.ts:closesChannel", retries: { lost: 1, backoff: 10ms } }
  node-after: { node: "t.ts:after", needs: [{ task: node, on: any }] }
`,
  );
  for (const task of ["py", "node"]) {
    const outcome = summary.tasks[task]?.outcome;
    t.ok(outcome?.kind === "succeeded" || outcome?.kind === "failed", `${task} has its outcome`);
    if (outcome?.kind === "failed") t.match(failureOf(summary, task), { detail: /channel|closed/ });
    t.equal(summary.tasks[`${task}-after`]?.result, "well", `${task}: the next one is well`);
  }
  await box.empty();
});

t.test("what a child of a task writes after its parent's end reaches no other task", async (t) => {
  await using box = await Box.create();
  const { summary } = await runJson(
    box,
    `dag: late
tasks:
  one: { shell: "(while true; do echo late; done) & echo one" }
  two: { shell: "echo two", needs: [one] }
`,
  );
  t.equal(summary.outcome.kind, "succeeded");
  const logs = await box.run([
    "logs",
    summary.run,
    "--task",
    "two",
    "--stream",
    "stdout",
    "--json",
  ]);
  const lines = logs.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).text);
  t.same(lines, ["two"]);
  await box.empty();
});

t.test("a failed task is retried by the policy, and every attempt is in the log", async (t) => {
  await using box = await Box.create();
  const { code, summary, stderr } = await runJson(
    box,
    `dag: again
tasks:
  a: { shell: 'echo "try $EDGEDAG_ATTEMPT" | tee -a tries; [ $EDGEDAG_ATTEMPT = 3 ]', retries: { limit: 3, backoff: 20ms } }
`,
  );
  t.equal(code, exitCodes.ok);
  t.equal(summary.tasks.a?.attempts, 3);
  t.equal(await readFile(`${summary.workDir}/tries`, "utf8"), "try 1\ntry 2\ntry 3\n");
  t.match(stderr, /↻ a#1 .*exit code 1.*tried again/);
  t.match(stderr, /↻ a#2 /);
});

t.test("no secret of the agent reaches a task", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", "dag: env\ntasks:\n  a: { command: [env] }\n");
  const cli = box.start(["run", dag, "--state", box.state], {
    env: { EDGEDAG_TOKEN: "very-secret", AWS_SECRET_ACCESS_KEY: "very-secret" },
  });
  t.equal((await cli.ended).code, exitCodes.ok);
  const logs = await until(
    "the log is there",
    () => box.run(["logs", "--stream", "stdout"]),
    ({ stdout }) => stdout.includes("EDGEDAG_RUN="),
  );
  t.notMatch(logs.stdout, /very-secret/);
});
