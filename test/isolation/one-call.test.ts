// What a hostile program says in the place of a runner: a box of its own whose worker is the test's
// script, started by the launcher in a plain folder.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { BoundedFrames } from "../../agent/exec/isolation/attempt/bounded-frames.ts";
import { OneCall } from "../../agent/exec/isolation/attempt/one-call.ts";
import type { Ran } from "../../agent/exec/isolation/attempt/ran.ts";
import type { Box } from "../../agent/exec/isolation/box.ts";
import { encodeFrame } from "../../agent/exec/workers/channel.ts";
import { startLauncher } from "../exec/launcher-rig.ts";
import { kindOf, newFolder } from "./isolation-rig.ts";

const launcher = await startLauncher();
t.teardown(() => launcher.close());
const folder = newFolder(t);
const env = { PATH: "/usr/local/bin:/usr/bin:/bin" };

/** Only what a call needs of it. */
function boxWith(script: string): Box {
  const path = join(folder, "worker.py");
  writeFileSync(path, prelude + script);
  return {
    kind: kindOf("subprocess"),
    folder: {
      work: folder,
      io: folder,
      uid: undefined,
      setLimit: async () => {},
      isFull: async () => false,
      usedBytes: async () => 0,
      dispose: async () => {},
    },
    inside: { work: folder, io: folder },
    worker: () => ({ argv: ["/usr/bin/python3", path], env }),
    env,
    spawn: (spec, listener) => launcher.spawn(spec, listener),
    arm: async () => {},
    usage: async () => undefined,
    onSample: undefined,
    onEnd: undefined,
    destroy: async () => {},
  };
}

const prelude = `
import json, os, socket, struct, sys, time
s = socket.socket(fileno=3)
token = os.environ["EDGEDAG_WORKER_TOKEN"]
mark = bytes.fromhex(os.environ["EDGEDAG_WORKER_MARK"])
def send(value):
  text = value if isinstance(value, bytes) else json.dumps(value).encode()
  s.sendall(struct.pack("<I", len(text)) + text)
def hello(t=token):
  send({"hello": {"worker": 1, "token": t, "runtime": "python", "version": "1", "pid": 1}})
def read():
  length, = struct.unpack("<I", s.recv(4, socket.MSG_WAITALL))
  return json.loads(s.recv(length, socket.MSG_WAITALL))
def marks(id=1):
  for fd in (1, 2): os.write(fd, mark + struct.pack("<I", id))
def done(id=1, **more):
  send({"done": [{"id": id, "ok": True, "result": 1, **more}]})
`;

async function callOf(
  script: string,
  more: { timeoutMs?: number } = {},
): Promise<Ran & { output: string }> {
  const worker = await OneCall.warm(boxWith(script), "python");
  let output = "";
  const running = worker.call(
    {
      task: "t",
      attempt: 1,
      run: "r",
      function: "f",
      code: "",
      env,
      cwd: folder,
      timeoutMs: 10_000,
      graceMs: 0,
      outputLimitBytes: 10_000,
      ...more,
    },
    {
      started: () => {},
      output: (_, bytes) => {
        output += bytes.toString("latin1");
      },
    },
  );
  return { ...(await running.ran), output };
}

t.test("only what is written during the call belongs to it", async (t) => {
  const ran = await callOf(
    'print("before", flush=True); time.sleep(0.05); hello(); read();' +
      'print("mine", flush=True); marks(); done(); print("after", flush=True); time.sleep(60)',
  );
  t.equal(ran.output, "mine\n");
  t.equal(ran.result, 1);
  t.notOk(ran.failure);
});

const hostile: [name: string, script: string, detail: RegExp][] = [
  ["garbage", 'send(b"\\xff{]")', /no message/],
  ["a frame of 1 GB", 's.sendall(struct.pack("<I", 1 << 30)); time.sleep(60)', /1073741824 bytes/],
  ["a frame of 2 MiB", 'send(b" " * (2 << 20))', /2097152 bytes/],
  ["two answers", 'send({"done": [{"id": 1, "ok": True, "result": 1}] * 2})', /answered twice/],
  ["an answer to another call", "done(7)", /call 7/],
  ["a second hello", "hello()", /without having been asked/],
  ["a returned call", 'send({"done": [{"id": 1, "returned": True}]})', /did not run/],
];
for (const [name, script, detail] of hostile) {
  t.test(`${name} fails the call`, async (t) => {
    const ran = await callOf(`hello(); read(); ${script}; time.sleep(60)`);
    t.match(ran.failure, { reason: "bad-result", detail });
  });
}

t.test("single bytes cost no more than a frame", async (t) => {
  const ran = await callOf(
    'hello(); read(); s.sendall(struct.pack("<I", 50000))\n' +
      'for i in range(49999): s.sendall(b" ")\n' +
      's.sendall(b"x"); time.sleep(60)',
  );
  t.match(ran.failure, { reason: "bad-result", detail: /no message/ });
});

t.test("a runner that never reads is ended by its time", async (t) => {
  const ran = await callOf("hello(); time.sleep(60)", { timeoutMs: 300 });
  t.equal(ran.stopped, "timeout");
  t.equal(ran.timeoutMs, 300);
});

t.test("a flood of output is stopped, and dropped", async (t) => {
  const ran = await callOf('hello(); read()\nwhile True: os.write(1, b"x" * 4096)');
  t.equal(ran.stopped, "output");
  t.equal(ran.output.length, 10_000);
});

t.test("an answer without marks is taken after a while", async (t) => {
  const ran = await callOf('hello(); read(); os.write(1, b"x"); done(); time.sleep(60)');
  t.equal(ran.result, 1);
  t.equal(ran.output, "x");
});

t.test("an answer counts when its process is gone before the marks", async (t) => {
  const ran = await callOf('hello(); read(); os.write(1, b"x"); done()');
  t.equal(ran.result, 1);
  t.notOk(ran.failure);
});

t.test("a process that ends instead of answering tells how", async (t) => {
  t.match((await callOf("hello(); read(); os._exit(9)")).failure, { reason: "exit-code", code: 9 });
  t.match((await callOf("hello(); read(); os.kill(os.getpid(), 11)")).failure, {
    reason: "signal",
    signal: "SIGSEGV",
  });
  t.match((await callOf("hello(); read()")).failure, { reason: "bad-result" });
});

t.test("a runner that does not come up is the box's problem", async (t) => {
  await t.rejects(OneCall.warm(boxWith('sys.exit("no way")'), "python"), /no way/);
  await t.rejects(OneCall.warm(boxWith('hello("wrong"); time.sleep(60)'), "python"), {
    name: "BoxError",
  });
  const silent = OneCall.warm(boxWith("time.sleep(60)"), "python", { helloTimeoutMs: 100 });
  await t.rejects(silent, /did not report within 100 ms/);
});

t.test("one that ends or speaks while it waits is told", async (t) => {
  for (const script of ["hello(); os._exit(0)", "hello(); done(); time.sleep(60)"]) {
    const { promise, resolve } = Promise.withResolvers<void>();
    await OneCall.warm(boxWith(script), "python", { gone: resolve });
    await promise;
  }
  t.pass("both were told");
});

t.test("frames are cut wherever the stream is", async (t) => {
  const stream = Buffer.concat([encodeFrame("one"), encodeFrame(""), encodeFrame("three")]);
  for (let size = 1; size <= stream.length; size++) {
    const reader = new BoundedFrames(5);
    const frames: string[] = [];
    for (let at = 0; at < stream.length; at += size) {
      const read = reader.read(stream.subarray(at, at + size));
      t.notOk(read.problem);
      frames.push(...read.frames);
    }
    t.strictSame(frames, ["one", "", "three"]);
  }
  const read = new BoundedFrames(5).read(encodeFrame("sixsix"));
  t.match(read, { frames: [], problem: /6 bytes/ });
});
