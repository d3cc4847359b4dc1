// How the pool deals with workers that do not start, lie, or die, and with calls that wait.
import { connect } from "node:net";
import t from "tap";
import { encodeFrame } from "../../agent/exec/workers/channel.ts";
import { resultOf, WorkerRig } from "./worker-rig.ts";

const code =
  "import time\ndef f(x=0): return x\ndef wait():\n    print('on', flush=True)\n    time.sleep(1000)";

/** Python that says hello, then does `then` once a call has come. */
function liar(then: string): string[] {
  const script = `
import os, json, struct
def send(data): os.write(3, struct.pack("<I", len(data)) + data)
e = os.environ
send(json.dumps({"hello": {"worker": int(e["EDGEDAG_WORKER_ID"]), "token": e["EDGEDAG_WORKER_TOKEN"], "runtime": "python", "version": "3", "pid": os.getpid()}}).encode())
os.read(3, 65536)
${then}
os.read(3, 65536)
`;
  return ["python3", "-c", script];
}

t.test("a runtime that is missing fails the call at once, with a remedy", async (t) => {
  const rig = await WorkerRig.start("python", { argv: ["no-such-python", "x"] });
  t.teardown(() => rig.close());
  const { end } = await rig.call({ code, function: "f" });
  t.match(end, {
    kind: "failed",
    failure: { reason: "spawn", errno: "ENOENT", detail: /install no-such-python/ },
  });
});

t.test("workers that die before they report fail the call after three", async (t) => {
  const rig = await WorkerRig.start("python", {
    argv: ["python3", "-c", "raise SystemExit('bad image')"],
  });
  t.teardown(() => rig.close());
  const { end } = await rig.call({ code, function: "f" });
  t.match(end, {
    kind: "failed",
    failure: { reason: "spawn", detail: /code 1.*bad image.*by hand/ },
  });
  t.equal(rig.pool.stats().started, 3);
  await t.rejects(rig.pool.warm(1), /bad image/);
});

t.test("a worker that never reports is killed in time", async (t) => {
  const rig = await WorkerRig.start("python", { argv: ["sleep", "1000"], helloTimeoutMs: 100 });
  t.teardown(() => rig.close());
  const { end } = await rig.call({ code, function: "f" });
  t.match(end, { kind: "failed", failure: { reason: "spawn", detail: /within 100 ms/ } });
});

t.test("a worker that lies is killed, and the call fails", async (t) => {
  const lies: [string, RegExp][] = [
    ["send(b'nonsense')", /no message/],
    ['send(b\'{"done":[{"id":99,"skipped":true}]}\')', /answered call 99/],
    ["os.write(3, b'\\xff\\xff\\xff\\xff')", /over the limit/],
    ['send(b\'{"done":[{"id":1,"ok":true}]}\')', /no message/],
  ];
  for (const [then, detail] of lies) {
    const rig = await WorkerRig.start("python", { argv: liar(then) });
    const { end } = await rig.call({ code, function: "f" });
    t.match(end, { kind: "failed", failure: { reason: "internal", detail } }, then);
    await rig.close();
  }
});

t.test("an answer whose marks never come still ends its call", async (t) => {
  const rig = await WorkerRig.start("python", {
    argv: liar('send(b\'{"done":[{"id":1,"ok":true,"result":5}]}\')'),
  });
  t.teardown(() => rig.close());
  t.equal(resultOf(await rig.call({ code, function: "f" })), 5);
});

t.test("a stranger on the socket gets nothing", async (t) => {
  const rig = await WorkerRig.start("python");
  t.teardown(() => rig.close());
  for (const bytes of [
    encodeFrame('{"hello":{"worker":1,"token":"guess","runtime":"python","version":"3","pid":1}}'),
    encodeFrame('{"done":[]}'),
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
  ]) {
    const socket = connect(rig.server.socketPath);
    const closed = Promise.withResolvers<void>();
    socket.on("close", () => closed.resolve());
    socket.on("error", () => {});
    socket.write(bytes);
    await closed.promise;
  }
  t.equal(resultOf(await rig.call({ code, function: "f", args: { x: 1 } })), 1);
});

t.test("calls wait for a worker, in order, and a waiting one can be withdrawn", async (t) => {
  const rig = await WorkerRig.start("python", { size: 2 });
  t.teardown(() => rig.close());
  await rig.pool.warm(2);
  t.equal(rig.pool.stats().idle, 2);
  const busy = [rig.start({ code, function: "wait" }), rig.start({ code, function: "wait" })];
  await Promise.all(busy.map((call) => call.output));
  const first = rig.start({ code, function: "f", args: { x: 1 } });
  const withdrawn = rig.start({ code, function: "f" });
  const behind = rig.start({ code, function: "f", after: true }, withdrawn.handle);
  t.equal(rig.pool.stats().waiting, 3);
  withdrawn.handle.cancel(0);
  t.match((await withdrawn.told).end, { kind: "returned" });
  t.match((await behind.told).end, { kind: "returned" });
  busy[0]?.handle.cancel(1000);
  t.match((await busy[0]?.told)?.end, { failure: { reason: "signal", signal: "SIGTERM" } });
  t.equal(resultOf(await first.told), 1);
});

t.test("closing the pool ends what runs and returns what waits", async (t) => {
  const rig = await WorkerRig.start("python");
  t.teardown(() => rig.close());
  const running = rig.start({ code, function: "wait" });
  await running.output;
  const waiting = rig.start({ code, function: "f" });
  await rig.pool.close();
  t.match((await running.told).end, { kind: "failed", failure: { reason: "signal" } });
  t.match((await waiting.told).end, { kind: "returned" });
  t.match((await rig.call({ code, function: "f" })).end, { kind: "returned" });
});
