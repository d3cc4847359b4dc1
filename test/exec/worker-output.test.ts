// Every byte of output belongs to the call that wrote it, also when many calls share a frame.
import t from "tap";
import { resultOf, type Started, WorkerRig } from "./worker-rig.ts";

const python = `
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
def say(n):
    print("print", n)
    os.write(1, b"raw %d\\n" % n)
    libc.write(1, b"c %d\\n" % n, len(b"c %d\\n" % n))
    subprocess.run(["sh", "-c", "echo child %d; echo err %d >&2" % (n, n)], check=True)
    sys.stderr.write("open %d" % n)
    return n
def binary(n):
    os.write(1, bytes(range(256)) * 16 + b"\\xe2\\x82")
    sys.stdout.write("x" * 100000)
def flood(n):
    os.write(2, b"f" * 60000)
    sys.stdout.write("y" * 300000)
`;
const node = `
import { writeSync } from "node:fs";
import { spawnSync } from "node:child_process";
export function say({ n }) {
  console.log("print", n);
  writeSync(1, "raw " + n + "\\n");
  writeSync(1, "c " + n + "\\n");
  spawnSync("sh", ["-c", "echo child " + n + "; echo err " + n + " >&2"], { stdio: "inherit" });
  process.stderr.write("open " + n);
  return n;
}
export function binary() {
  writeSync(1, Buffer.concat([...Array(16).fill(Buffer.from(Array.from({ length: 256 }, (_, i) => i))), Buffer.from([0xe2, 0x82])]));
  process.stdout.write("x".repeat(100000));
}
export function flood() {
  process.stderr.write("f".repeat(60000));
  process.stdout.write("y".repeat(300000));
}
`;

for (const [runtime, name, source] of [
  ["python", "say.py", python],
  ["node", "say.mjs", node],
] as const) {
  t.test(`${runtime}: output in a shared worker`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    const file = rig.file(name, source);
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const binary = Buffer.concat([
      ...Array.from({ length: 16 }, () => bytes),
      Buffer.from([0xe2, 0x82]),
      Buffer.alloc(100_000, "x"),
    ]);
    const functions = ["say", "binary", "flood", "say"];
    const calls: Started[] = [];
    for (let n = 0; n < 16; n++) {
      const args = { n };
      const before = calls.at(-1)?.handle;
      // `after`: a free call would be taken back from behind a slow one.
      const call = { file, function: functions[n % 4] ?? "", args, after: n > 0 };
      calls.push(rig.start(call, before));
    }
    for (const [n, call] of calls.entries()) {
      const told = await call.told;
      t.equal(told.end.kind, "succeeded", `call ${n}`);
      if (n % 4 === 1) t.ok(told.stdout.equals(binary), `binary ${n}`);
      else if (n % 4 === 2) {
        t.equal(told.stdout.toString(), "y".repeat(300_000));
        t.equal(told.stderr.length, 60_000);
      } else {
        t.equal(told.stdout.toString(), `print ${n}\nraw ${n}\nc ${n}\nchild ${n}\n`);
        t.equal(told.stderr.toString(), `err ${n}\nopen ${n}`);
        if (told.end.kind === "succeeded") t.equal(told.end.facts.stdoutBytes, told.stdout.length);
      }
    }
  });

  t.test(`${runtime}: chains and references`, async (t) => {
    const rig = await WorkerRig.start(runtime);
    t.teardown(() => rig.close());
    const code =
      runtime === "python"
        ? "def fail(): raise ValueError('no')\ndef give(n): return {'list': [n, {'$ref': n}], 'text': 'é' * 50000 if n > 9 else ''}\ndef echo(**args): return args\n"
        : "exports.fail = () => { throw Error('no') };\nexports.give = ({ n }) => ({ list: [n, { $ref: n }], text: n > 9 ? 'é'.repeat(50000) : '' });\nexports.echo = (args) => args;\n";
    const { refToCall, refToFile, escapeRefs } = await import("../../agent/exec/workers/values.ts");
    const give = rig.start({ code, function: "give", args: { n: 7 } });
    const echo = rig.start(
      {
        code,
        function: "echo",
        after: true,
        args: {
          all: refToCall(give.handle.id, ["list"]),
          one: [refToCall(give.handle.id, ["list", 0])],
          own: escapeRefs({ a: { $ref: { call: 1 } } }),
        },
      },
      give.handle,
    );
    t.same(resultOf(await echo.told), {
      all: [7, { $ref: 7 }],
      one: [7],
      own: { a: { $ref: { call: 1 } } },
    });
    const { end } = await rig.call({ code, function: "give", args: { n: 10 } });
    if (end.kind !== "succeeded" || end.resultFile === undefined) throw new Error("no file");
    const args = { n: refToFile(end.resultFile.path, ["list", 0]) };
    t.same(resultOf(await rig.call({ code, function: "echo", args })), { n: 10 });
    const missing = { n: refToFile(end.resultFile.path, ["list", "x"]) };
    const bad = await rig.call({ code, function: "echo", args: missing });
    t.match(bad.end, { failure: { reason: "bad-result", detail: /no member `list\.x`/ } });

    const failing = rig.start({ code, function: "fail" });
    const skipped = rig.start({ code, function: "echo", after: true }, failing.handle);
    const alsoSkipped = rig.start({ code, function: "echo", after: true }, skipped.handle);
    const free = rig.start({ code, function: "echo", args: { x: 1 } }, alsoSkipped.handle);
    t.match((await failing.told).end, { kind: "failed" });
    t.match((await skipped.told).end, { kind: "skipped" });
    t.match((await alsoSkipped.told).end, { kind: "skipped" });
    t.same(resultOf(await free.told), { x: 1 });
  });
}
