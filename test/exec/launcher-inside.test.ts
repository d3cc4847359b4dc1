// A launcher at the other end of a stream that is not ours to trust: as in a sandbox.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex, duplexPair, type Readable, type Writable } from "node:stream";
import t from "tap";
import { Launcher } from "../../agent/exec/launcher/launcher.ts";
import {
  envWith,
  fixture,
  launcherPath,
  newToken,
  run,
  startLauncher,
  survivors,
  tell,
  until,
} from "./launcher-rig.ts";

function frame(type: number, id: number, body: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUInt32LE(5 + body.length, 0);
  head.writeUInt8(type, 4);
  head.writeUInt32LE(id, 5);
  return Buffer.concat([head, body]);
}

const hello = frame(128, 0, Buffer.from("04000000070000000000000000", "hex"));
const started = frame(129, 1, Buffer.concat([Buffer.from([7, 0, 0, 0]), Buffer.alloc(8)]));

const isRoot = process.getuid?.() === 0;

function joined({ stdin, stdout }: ChildProcessByStdio<Writable, Readable, null>): Duplex {
  const stream = new Duplex({
    read: () => void stdout.resume(),
    write: (chunk: Buffer, _, done) => void stdin.write(chunk, done),
    final: (done) => void stdin.end(done),
    destroy: (error, done) => {
      stdin.destroy();
      stdout.destroy();
      done(error);
    },
  });
  stdout.on("data", (chunk: Buffer) => {
    if (!stream.push(chunk)) stdout.pause();
  });
  stdout.on("end", () => stream.push(null));
  return stream;
}

/** As docker's attach has it: two pipes. */
function servedOverPipes() {
  const child = spawn(launcherPath(), ["--serve"], { stdio: ["pipe", "pipe", "inherit"], env: {} });
  return { child, stream: joined(child) };
}

t.test("it serves over pipes, and its tasks inherit none of them", async (t) => {
  const { child, stream } = servedOverPipes();
  const launcher = await Launcher.over(stream, { onExit: () => t.fail("it was asked to end") });
  const listed = await run(launcher, [fixture("lists-fds")], { relay: true });
  t.equal(listed.stdout.toString(), "0=/dev/null 1=pipe 2=pipe 3=socket\n");
  const flood = await run(launcher, [fixture("floods-stdout"), String(20 * 1024 * 1024)]);
  t.equal(flood.stdout.length, 20 * 1024 * 1024);
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  t.match(status, /SigBlk:\tf{6}/, "no signal from inside ends it");
  const token = newToken();
  const told = tell(launcher, [fixture("setsid-daemon")], { env: envWith(token) });
  await told.done;
  const rude = tell(launcher, [fixture("ignores-term")], { env: envWith(token) });
  await rude.said("ready");
  const exit = once(child, "exit");
  await launcher.close();
  t.strictSame(await exit, [0, null]);
  t.strictSame(survivors(token), []);
});

t.test("it serves over a socket that the launcher outside connects", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "edgedag-t-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const outer = await startLauncher();
  t.teardown(() => outer.close());
  const connected = Promise.withResolvers<Socket>();
  const server = createServer(connected.resolve);
  const channel = join(folder, "b.sock");
  await new Promise<void>((resolve) => server.listen(channel, resolve));
  t.teardown(() => server.close());
  const box = tell(outer, [launcherPath(), "--serve"], { channel, isChannelStdio: true });
  const lost = Promise.withResolvers<string>();
  const inner = await Launcher.over(await connected.promise, { onExit: lost.resolve });
  const { stdout } = await run(inner, ["echo", "from inside"]);
  t.equal(stdout.toString(), "from inside\n");
  const token = newToken();
  const told = tell(inner, [fixture("ignores-term")], { env: envWith(token) });
  await told.said("ready");
  box.process.kill(0);
  t.strictSame((await told.done).end, { kind: "lost" });
  t.match(await lost.promise, /inside is gone/);
  await until(() => survivors(token).length === 0);
  t.match((await run(inner, ["true"])).end, { kind: "lost" });
});

const skip = isRoot ? false : "needs root for a PID namespace";
t.test("as pid 1 of a namespace it ends with nothing left of a task", { skip }, async (t) => {
  for (const proc of ["--mount-proc", "--mount"]) {
    const argv = ["--pid", "--fork", "--kill-child", proc, launcherPath(), "--serve"];
    const child = spawn("unshare", argv, { stdio: ["pipe", "pipe", "inherit"], env: {} });
    const stream = joined(child);
    const launcher = await Launcher.over(stream, { onExit: () => {} });
    const token = newToken();
    const leaky = await run(launcher, [fixture("setsid-daemon")], { env: envWith(token) });
    t.match(leaky.end, { exitCode: 0 });
    t.strictSame(survivors(token), [], proc);
    const murder = await run(launcher, ["sh", "-c", "kill -KILL 1; kill -TERM 1; echo still here"]);
    t.match(murder.stdout.toString(), /still here/);
    t.match((await run(launcher, ["true"])).end, { exitCode: 0 });
    await launcher.close();
  }
});

t.test("tasks cannot look into the launcher that started them", async (t) => {
  const { child, stream } = servedOverPipes();
  const launcher = await Launcher.over(stream, { onExit: () => {} });
  t.teardown(() => launcher.close());
  const confine = isRoot ? { uid: 65534, gid: 65534 } : {};
  const ls = `ls -l /proc/${child.pid}/fd/`;
  const { end, stderr } = await run(launcher, ["sh", "-c", ls], { confine });
  t.match(end, { kind: "exited", exitCode: /[12]/ });
  t.match(stderr.toString(), /Permission denied/);
});

t.test("hostile bytes end the connection, and every process is told lost", async (t) => {
  const long = (size: number, type: number) => {
    const head = frame(type, 1, Buffer.alloc(0));
    head.writeUInt32LE(size, 0);
    return head;
  };
  const u32 = (n: number) => Buffer.from(Uint32Array.of(n).buffer);
  const attacks: Record<string, Buffer> = {
    "an unknown type": frame(77, 1, Buffer.alloc(4)),
    "a size that is none": long(3, 130),
    "17 MiB": long(17 * 1024 * 1024, 130),
    "4 GiB of a channel": long(0xffff_ffff, 135),
    "an end of the wrong size": frame(133, 1, Buffer.alloc(72)),
    "a long sentence": frame(134, 1, Buffer.alloc(100_000, 0x41)),
    "an unknown process": frame(130, 4711, Buffer.from("x")),
    "output before the start": frame(130, 1, Buffer.from("x")),
    "a second start": Buffer.concat([started, started]),
    "a start as process 0": frame(129, 1, Buffer.alloc(12)),
    "output beyond the limit": Buffer.concat([started, frame(130, 1, Buffer.alloc(1001))]),
    "a channel that was not asked for": Buffer.concat([started, frame(135, 1, Buffer.alloc(9))]),
    "room that was not used": Buffer.concat([started, frame(139, 1, u32(9))]),
    "figures that were not asked for": Buffer.concat([started, frame(137, 1, Buffer.alloc(73))]),
    "an answer to nothing": Buffer.concat([started, frame(138, 1, u32(0))]),
    "an end before the start": frame(133, 1, Buffer.alloc(104)),
    "a return of one that follows nobody": frame(141, 1, Buffer.alloc(0)),
  };
  for (const [name, bytes] of Object.entries(attacks)) {
    const [ours, theirs] = duplexPair();
    theirs.write(hello);
    const lost = Promise.withResolvers<string>();
    const launcher = await Launcher.over(ours, { onExit: lost.resolve });
    const told = tell(launcher, ["true"], { outputLimitBytes: 1000 });
    theirs.resume();
    theirs.write(bytes);
    const { end, ends } = await told.done;
    t.strictSame(end, { kind: "lost" }, name);
    t.equal(ends, 1);
    t.match(await lost.promise, /launcher sent/, name);
    t.equal(ours.destroyed, true);
    t.equal(await told.process.arm?.({ graceMs: 0 }), "ESRCH");
    t.equal(await told.process.usage?.(), undefined);
  }
});

t.test("a stream without a launcher of our version is refused", async (t) => {
  const over = async (bytes: Buffer | undefined) => {
    const [ours, theirs] = duplexPair();
    if (bytes === undefined) theirs.end();
    else theirs.write(bytes);
    await Launcher.over(ours, { onExit: () => t.fail("it never ran") });
  };
  await t.rejects(over(undefined), { message: /inside is gone/ });
  await t.rejects(over(frame(128, 0, Buffer.alloc(12, 1))), {
    message: /speaks protocol 16843009/,
  });
  await t.rejects(over(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")), { message: /sent frame/ });
});
