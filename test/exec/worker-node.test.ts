// What a Node.js function may do, well or badly, in a warm worker.
import { readFileSync } from "node:fs";
import t from "tap";
import type { Told } from "./worker-rig.ts";
import { resultOf, WorkerRig } from "./worker-rig.ts";

const source = `
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { createServer } from "node:net";
import { twice } from "./sibling.ts";
export function add({ a, b }: { a: number; b: number }) { return { sum: a + b, double: twice(a) }; }
export async function later({ x }: { x: string }) { await new Promise((r) => setTimeout(r, 1)); return x; }
export const nothing = () => undefined;
export function throws() { throw new RangeError("no such month"); }
export async function rejects() { throw new RangeError("later"); }
export const nan = () => ({ a: [1, NaN] });
export const big64 = () => 10n;
export const map = () => new Map();
export const circle = () => { const a: unknown[] = []; a.push(a); return a; };
export const leave = ({ code }: { code: number }) => process.exit(code);
export const leaveLater = () => new Promise(() => setTimeout(() => process.exit(4), 1));
export const vanish = () => process.kill(process.pid, "SIGSEGV") && new Promise(() => setTimeout(() => {}, 10_000));
export const abort = () => process.reallyExit(6);
export const close3 = () => closeSync(3);
export const close1 = () => closeSync(1);
export const timer = () => { setInterval(() => {}, 1000); return 1; };
export const server = () => new Promise((r) => { const s = createServer().listen(0, () => r(1)); });
export const stray = () => { Promise.reject(new Error("stray")); return 1; };
export const strayLater = () => new Promise(() => { setTimeout(() => { throw new Error("boom"); }, 1); setTimeout(() => {}, 10_000); });
export const never = () => new Promise(() => {});
export const child = () => spawn("sleep", ["1000"], { stdio: "ignore", detached: true }).pid;
export function messes() { process.env.LEAK = "1"; delete process.env.EDGEDAG_RUN; process.chdir("/"); }
export const clean = () => [process.env.LEAK ?? null, process.env.EDGEDAG_RUN, process.cwd(), process.env.EDGEDAG_TASK, process.pid];
export const big = ({ n }: { n: number }) => ({ text: "é".repeat(n), list: [1, 2] });
export const uni = () => "\\u{1f600} \\ud800 é";
`;

t.test("a Node.js worker", async (t) => {
  const rig = await WorkerRig.start("node");
  t.teardown(() => rig.close());
  rig.file("sibling.ts", "export const twice = (x: number): number => 2 * x;\n");
  const file = rig.file("tasks.ts", source);
  const call = (name: string, args?: Record<string, unknown>) =>
    rig.call({ file, function: name, ...(args && { args: args as never }) });
  const pid = async () => {
    const result = resultOf(await call("clean"));
    return Array.isArray(result) ? result[4] : undefined;
  };

  t.same(resultOf(await call("add", { a: 2, b: 3 })), { sum: 5, double: 4 });
  t.equal(resultOf(await call("later", { x: "é" })), "é");
  t.equal(resultOf(await call("nothing")), null);

  await t.test("names what is wrong with a function or its result", async (t) => {
    const detail = async (name: string) => failureOf(await call(name));
    const thrown = await detail("throws");
    t.match(thrown, { reason: "bad-result", detail: "RangeError: no such month" });
    t.match(thrown.trace, /at throws \(.*tasks\.ts/);
    t.notMatch(thrown.trace, /workers\/node/);
    t.equal((await detail("rejects")).detail, "RangeError: later");
    t.match((await detail("trows")).detail, /no function `trows` in .*did you mean `throws`\?/);
    t.match((await detail("nan")).detail, /\.a\[1\] is NaN/);
    t.match((await detail("big64")).detail, /BigInt/);
    t.match((await detail("map")).detail, /a Map/);
    t.match((await detail("circle")).detail, /contains itself/);
    t.match((await detail("never")).detail, /never settle/);
    const gone = await rig.call({ file: "/nowhere/x.ts", function: "f" });
    t.match(failureOf(gone).detail, /Cannot find module/);
  });

  await t.test("puts back what a call has changed", async (t) => {
    const before = await pid();
    await call("messes");
    t.same(resultOf(await call("clean")), [null, "r1", rig.folder, "t", before]);
  });

  await t.test("inline code runs as module and as script", async (t) => {
    const args = { x: 2 };
    const module =
      'import { twice } from "./sibling.ts";\nexport const main = ({ x }: { x: number }) => twice(x);';
    t.equal(resultOf(await rig.call({ code: module, function: "main", args })), 4);
    const script = "module.exports = { main: ({ x }) => require('node:path').sep + x };";
    t.equal(resultOf(await rig.call({ code: script, function: "main", args })), "/2");
    const bare = "function main({ x }) { return x + 1; }";
    t.equal(resultOf(await rig.call({ code: bare, function: "main", args })), 3);
    const old = rig.file("old.cjs", "exports.f = ({ x }) => x * 3;");
    t.equal(resultOf(await rig.call({ file: old, function: "f", args })), 6);
  });

  await t.test("carries large and odd results", async (t) => {
    const { end } = await call("big", { n: 40_000 });
    if (end.kind !== "succeeded" || end.resultFile === undefined) throw new Error("no file");
    const text = readFileSync(end.resultFile.path, "utf8");
    t.equal(end.resultFile.sizeBytes, Buffer.byteLength(text));
    t.same(JSON.parse(text).list, [1, 2]);
    t.equal(resultOf(await call("uni")), "\u{1f600} \ud800 é");
  });

  await t.test("every way to leave ends that call only", async (t) => {
    const cases: [string, Record<string, unknown> | undefined, object][] = [
      ["leave", { code: 3 }, { reason: "exit-code", code: 3 }],
      ["leaveLater", undefined, { reason: "exit-code", code: 4 }],
      ["abort", undefined, { reason: "exit-code", code: 6 }],
      ["vanish", undefined, { reason: "signal", signal: "SIGSEGV" }],
      ["stray", undefined, { reason: "bad-result", detail: "Error: stray" }],
      ["strayLater", undefined, { reason: "bad-result", detail: "Error: boom" }],
    ];
    for (const [name, args, expected] of cases) {
      const before = await pid();
      const first = rig.start({ file, function: name, ...(args && { args: args as never }) });
      const next = rig.start({ file, function: "clean" }, first.handle);
      t.match(failureOf(await first.told), expected, name);
      t.match((await next.told).end, { kind: "returned" }, name);
      t.not(await pid(), before, name);
    }
    t.equal((await call("close3")).end.kind, "succeeded", "the channel is not at descriptor 3");
  });

  await t.test("what stays behind retires the worker, and no process survives", async (t) => {
    for (const name of ["timer", "server", "child", "close1"]) {
      const before = await pid();
      const told = await call(name);
      t.equal(told.end.kind, "succeeded", name);
      if (name === "child") t.ok(isGone(Number(resultOf(told))));
      t.not(await pid(), before, name);
    }
  });

  await t.test("a call out of time is killed", async (t) => {
    const code = "function main() { for (;;); }";
    const late = await rig.call({ code, function: "main", timeoutMs: 50 });
    t.match(failureOf(late), { reason: "timeout", limitMs: 50 });
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
