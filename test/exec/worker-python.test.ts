// What a Python function may do, well or badly, in a warm worker.
import { readFileSync } from "node:fs";
import t from "tap";
import type { Told } from "./worker-rig.ts";
import { resultOf, WorkerRig } from "./worker-rig.ts";

const source = `
import asyncio, os, signal, subprocess, sys, threading, time
from sibling import twice
shared = {"n": 1}
def add(a, b): return {"sum": a + b, "double": twice(a)}
async def later(x):
    await asyncio.sleep(0.001)
    return x
def throws(): raise ValueError("no such month")
def nan(): return {"a": [1.0, float("nan")]}
def a_set(): return {1, 2}
def int_key(): return {"a": {1: 2}}
def data(): return b"x"
def circle():
    a = []
    a.append(a)
    return a
def leave(code): sys.exit(code)
def vanish(code): os._exit(code)
def die(): os.kill(os.getpid(), signal.SIGSEGV)
def close3(): os.close(3)
def close_all(): os.closerange(3, 1024)
def close1(): os.close(1)
def dup1(): os.dup2(2, 1)
def children():
    p = subprocess.Popen(["sh", "-c", "sleep 1000 & exec sleep 1000"])
    return p.pid
def double_fork():
    subprocess.run(["sh", "-c", "sleep 1000 & echo $! > left.pid"], check=True)
def thread(): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
def fork_returns():
    pid = os.fork()
    if pid == 0:
        return "child"
    os.waitpid(pid, 0)
    return "parent"
def messes():
    os.environ["LEAK"] = "1"
    os.environ.pop("EDGEDAG_RUN")
    os.chdir("/")
    sys.stdout = open(os.devnull, "w")
    sys.argv.append("x")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def clean(): return [os.environ.get("LEAK"), os.environ.get("EDGEDAG_RUN"), os.getcwd(), sys.argv, os.environ["EDGEDAG_TASK"], os.getpid()]
def alter(): return shared
def big(n): return {"text": "\\u00e9" * n, "list": [1, 2]}
def long(at, codes): return "x" * at + "".join(map(chr, codes)) + "y" * 70_000
def uni(): return "\\U0001f600 \\ud800 \\u00e9"
def echo(**args): return args
def sleep(): time.sleep(1000)
`;

t.test("a Python worker", async (t) => {
  const rig = await WorkerRig.start("python");
  t.teardown(() => rig.close());
  rig.file("sibling.py", "def twice(x):\n    return 2 * x\n");
  const file = rig.file("tasks.py", source);
  const call = (name: string, args?: Record<string, never> | Record<string, unknown>) =>
    rig.call({ file, function: name, ...(args === undefined ? {} : { args: args as never }) });
  const pid = async () => {
    const result = resultOf(await call("clean"));
    return Array.isArray(result) ? result[5] : undefined;
  };

  t.same(resultOf(await call("add", { a: 2, b: 3 })), { sum: 5, double: 4 });
  t.equal(resultOf(await call("later", { x: "é" })), "é");

  await t.test("names what is wrong with a function or its result", async (t) => {
    const detail = async (name: string, args?: Record<string, unknown>) =>
      failureOf(await call(name, args));
    const thrown = await detail("throws");
    t.match(thrown, { reason: "bad-result", detail: "ValueError: no such month" });
    t.match(thrown.trace, /tasks\.py", line \d+, in throws/);
    t.notMatch(thrown.trace, /runner\.py/);
    t.match((await detail("trows")).detail, /no function `trows` in .*did you mean `throws`\?/);
    t.match((await detail("nan")).detail, /\['a'\]\[1\] is nan/);
    t.match((await detail("a_set")).detail, /of type set.*sorted/);
    t.match((await detail("int_key")).detail, /\['a'\] has the key 1 of type int/);
    t.match((await detail("data")).detail, /of type bytes/);
    t.match((await detail("circle")).detail, /contains itself/);
    t.match((await detail("add", { a: 1 })).detail, /missing 1 required positional argument: 'b'/);
    const gone = await rig.call({ file: "/nowhere/x.py", function: "f" });
    t.match(failureOf(gone).detail, "the file /nowhere/x.py does not exist");
    const broken = await rig.call({ file: rig.file("broken.py", "def f(:\n"), function: "f" });
    t.match(failureOf(broken).detail, /SyntaxError/);
  });

  await t.test("puts back what a call has changed", async (t) => {
    const before = await pid();
    await call("messes");
    const after = resultOf(await call("clean"));
    t.same(after, [null, "r1", rig.folder, [""], "t", before]);
  });

  await t.test("inline code runs, and its lines show in tracebacks", async (t) => {
    const code = "def main(x):\n    return 1 / x\n";
    t.equal(resultOf(await rig.call({ code, function: "main", args: { x: 2 } })), 0.5);
    const { trace } = failureOf(await rig.call({ code, function: "main", args: { x: 0 } }));
    t.match(trace, /<task t>", line 2, in main\n {4}return 1 \/ x/);
  });

  await t.test("carries large, odd and empty results", async (t) => {
    const { end } = await call("big", { n: 40_000 });
    if (end.kind !== "succeeded" || end.resultFile === undefined) throw new Error("no file");
    const text = readFileSync(end.resultFile.path, "utf8");
    t.equal(end.resultFile.sizeBytes, Buffer.byteLength(text));
    t.same(JSON.parse(text).list, [1, 2]);
    t.equal(resultOf(await call("uni")), "\u{1f600} \ud800 é");
    t.equal(resultOf(await call("leave", { code: 0 })), null);
  });

  await t.test("carries a long text, whatever is in it and wherever it is cut", async (t) => {
    const odd = [0, 10, 31, 34, 92, 127, 0xe9, 0x20ac, 0xd83d, 0xde00];
    for (const at of [65_535, 65_536, 131_070]) {
      for (const codes of [[], odd, ...odd.map((code) => [code]), [0xd83d, 0xde00]]) {
        const { end } = await call("long", { at, codes });
        if (end.kind !== "succeeded" || end.resultFile === undefined) throw new Error("no file");
        const text = readFileSync(end.resultFile.path, "utf8");
        t.equal(end.resultFile.sizeBytes, Buffer.byteLength(text));
        const expected = `${"x".repeat(at)}${String.fromCharCode(...codes)}${"y".repeat(70_000)}`;
        t.ok(JSON.parse(text) === expected, `${codes} at ${at}`);
      }
    }
  });

  await t.test("every way to leave ends that call only", async (t) => {
    t.match(failureOf(await call("leave", { code: 3 })), { reason: "exit-code", code: 3 });
    const cases: [string, Record<string, unknown> | undefined, object][] = [
      ["vanish", { code: 5 }, { reason: "exit-code", code: 5 }],
      ["vanish", { code: 0 }, { reason: "bad-result", detail: /before it returned/ }],
      ["die", undefined, { reason: "signal", signal: "SIGSEGV" }],
      ["close_all", undefined, { reason: "bad-result", detail: /channel/ }],
    ];
    for (const [name, args, expected] of cases) {
      const before = await pid();
      const behind = rig.start({ file, function: name, ...(args && { args: args as never }) });
      const next = rig.start({ file, function: "clean" }, behind.handle);
      const failure = failureOf(await behind.told);
      t.match(failure, expected, `${name} ${JSON.stringify(args)}`);
      if (name !== "close_all") t.match((await next.told).end, { kind: "returned" });
      t.not(await pid(), before);
    }
    t.match(failureOf(await call("close3")).detail, /Bad file descriptor/);
  });

  await t.test("what stays behind retires the worker, and no process survives", async (t) => {
    for (const name of ["children", "double_fork", "thread", "close1", "dup1"]) {
      const before = await pid();
      const told = await call(name);
      t.equal(told.end.kind, "succeeded", name);
      if (name === "children") t.ok(isGone(Number(resultOf(told))));
      if (name === "double_fork") {
        t.ok(isGone(Number(readFileSync(`${rig.folder}/left.pid`, "utf8"))));
      }
      t.not(await pid(), before, name);
    }
    t.equal(resultOf(await call("fork_returns")), "parent");
  });

  await t.test("a call out of time is killed, and so is one that is cancelled", async (t) => {
    const late = await rig.call({ file, function: "sleep", timeoutMs: 50 });
    t.match(failureOf(late), { reason: "timeout", limitMs: 50 });
    const running = rig.start({
      code: "import time\ndef f():\n    print('on', flush=True)\n    time.sleep(1000)",
      function: "f",
    });
    await running.output;
    running.handle.cancel(1000);
    t.match(failureOf(await running.told), { reason: "signal", signal: "SIGTERM" });
  });
});

function isGone(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return true;
  }
}

function failureOf({ end }: Told): { reason: string; detail: string; trace: string } {
  if (end.kind !== "failed") throw new Error(`the call ended as ${JSON.stringify(end)}`);
  return { detail: "", trace: "", ...end.failure };
}
