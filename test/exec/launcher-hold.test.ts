// Processes that outlive their agent, at the launcher's own socket: what is kept, who may come for
// it, and that nothing is left when nobody does.
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { findHolders, holderArgs } from "../../agent/exec/launcher/find-holders.ts";
import { Launcher } from "../../agent/exec/launcher/launcher.ts";
import type { HeldProcess, ProcessSpec, StreamBytes } from "../../agent/exec/launcher/process.ts";
import { until } from "../rig/until.ts";
import { envWith, launcherPath, newToken, type Story, survivors, tell } from "./launcher-rig.ts";

interface Place extends Disposable {
  folder: string;
  start(holdMs?: number): Promise<Launcher>;
}

function place(): Place {
  const folder = mkdtempSync("/tmp/reattach-hold-");
  return {
    folder: join(folder, "orphans"),
    start: (holdMs = 60_000) =>
      Launcher.start({
        path: launcherPath(),
        args: holderArgs(join(folder, "orphans"), holdMs),
        isHolder: true,
        onExit: () => {},
      }),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function hold(launcher: Launcher, script: string, more: Partial<ProcessSpec> = {}) {
  const held = { tag: `tag of ${script}`, note: [3, 4] } as const;
  return tell(launcher, ["sh", "-c", script], { held, ...more });
}

/** Connects with the only launcher that is there, once it knows that it is alone. */
async function find({ folder }: Place): Promise<{ launcher: Launcher; held: HeldProcess[] }> {
  const [found] = await until(
    "the launcher is found",
    () => findHolders(folder, () => {}),
    (all) => all.length === 1,
  );
  if (found === undefined) throw new Error("none");
  return found;
}

/** Takes a process over, and gives its story from there on. */
function take(launcher: Launcher, held: HeldProcess, from: StreamBytes) {
  const starter = {
    spawn: (spec: ProcessSpec, listener: Parameters<Launcher["spawn"]>[1]) =>
      launcher.take(held, { spec, from, note: [7, 8], listener }),
    flush: () => launcher.flush(),
    close: () => launcher.close(),
  };
  return tell(starter, ["unused"]);
}

function theOnly(held: readonly HeldProcess[]): HeldProcess {
  const [first] = held;
  if (first === undefined || held.length !== 1) throw new Error(`${held.length} are held`);
  return first;
}

function text({ stdout, stderr }: Story): string {
  return `${stdout.toString()}|${stderr.toString()}`;
}

t.test(
  "a process goes on without its agent; the next one gets what the first had not logged",
  async (t) => {
    using here = place();
    const first = await here.start();
    const go = join(here.folder, "go");
    const told = hold(
      first,
      `echo one; echo err >&2; while [ ! -e ${go} ]; do sleep 0.01; done; echo two; exit 3`,
    );
    await told.said("one\n");
    const pid = await told.started;
    told.process.held?.logged([2, 0], [5, 6]);
    await first.leave();
    const second = await find(here);
    const held = theOnly(second.held);
    t.match(held, { pid, from: [2, 0], note: [5, 6], hasEnded: false, tag: /tag of echo one/ });
    const story = take(second.launcher, held, [3, 0]);
    await story.said("\n");
    writeFileSync(go, "");
    const end = await story.done;
    t.equal(text(end), "\ntwo\n|err\n", "from the byte on that was asked for");
    t.match(end.end, { kind: "exited", exitCode: 3, facts: { stdoutBytes: 8, stderrBytes: 4 } });
    t.match(end.end, { facts: { startedAt: Number, wallMs: Number, maxRssBytes: Number } });
    story.process.held?.forget();
    await second.launcher.close();
    t.strictSame(readdirSync(here.folder), ["go"], "neither socket nor token are left");
  },
);

t.test("what has ended while nobody was there is kept, until it is said to be safe", async (t) => {
  using here = place();
  const first = await here.start();
  const quick = hold(first, "echo quick; kill -TERM $$");
  await quick.done;
  await first.leave();
  let note = [3, 4];
  for (const _ of ["once", "and once more, since it was not forgotten"]) {
    const { launcher, held } = await find(here);
    t.match(theOnly(held), { hasEnded: true, from: [0, 0], to: [6, 0], note });
    note = [7, 8];
    const again = await take(launcher, theOnly(held), [0, 0]).done;
    t.equal(text(again), "quick\n|");
    t.match(again.end, { signal: "SIGTERM" });
    await launcher.leave();
  }
  const { launcher, held } = await find(here);
  const last = take(launcher, theOnly(held), [6, 0]);
  t.equal(text(await last.done), "|");
  last.process.held?.forget();
  launcher.flush();
  await launcher.leave();
  await until(
    "the launcher has ended: it holds nothing",
    () => readdirSync(here.folder),
    (names) => names.length === 0,
  );
});

t.test("a timeout and an output limit hold while nobody is there", async (t) => {
  using here = place();
  const first = await here.start();
  await hold(first, "sleep 100", { timeoutMs: 150, graceMs: 50 }).started;
  const flood = hold(first, "sleep 0.1; yes", { outputLimitBytes: 100_000, graceMs: 0 });
  await flood.started;
  await first.leave();
  const ended = await until(
    "both have ended",
    async () => {
      const { launcher, held } = await find(here);
      await launcher.leave();
      return held;
    },
    (held) => held.every(({ hasEnded }) => hasEnded),
  );
  t.equal(ended.length, 2);
  const { launcher, held } = await find(here);
  const ends = await Promise.all(held.map((one) => take(launcher, one, [0, 0]).done));
  t.match(ends.map(({ end }) => (end.kind === "exited" ? end.stopped : end.kind)).sort(), [
    "output",
    "timeout",
  ]);
  t.same(ends.map(({ stdout }) => stdout.length).sort(), [0, 100_000]);
  await launcher.close();
});

t.test("a process that writes more than is kept waits, and loses nothing", async (t) => {
  using here = place();
  const first = await here.start();
  const lines = 600_000; // 4 MB
  const told = hold(first, `seq ${lines}`);
  await told.said("100\n");
  await first.leave();
  const keptOf = (held: readonly HeldProcess[]) => theOnly(held).to[0] - theOnly(held).from[0];
  await until(
    "a window is kept",
    async () => {
      const { launcher, held } = await find(here);
      await launcher.leave();
      return keptOf(held);
    },
    (kept) => kept >= 2 ** 20,
  );
  const { launcher, held } = await find(here);
  const one = theOnly(held);
  t.ok(keptOf(held) < 2 ** 20 + 65_536, `${keptOf(held)} bytes are kept`);
  t.notOk(one.hasEnded, "it waits");
  const chunks: Buffer[] = [];
  let bytes = 0;
  const ended = Promise.withResolvers<unknown>();
  const process = launcher.take(one, {
    spec: { argv: [], env: {}, cwd: "/", graceMs: 0 },
    from: one.from,
    note: [0, 0],
    listener: {
      started: () => {},
      mark: () => {},
      output: (_, chunk) => {
        chunks.push(Buffer.from(chunk));
        bytes += chunk.length;
        // As an agent does: what has come is safe.
        process.held?.logged([bytes, 0], [0, 0]);
      },
      ended: ended.resolve,
    },
  });
  t.match(await ended.promise, { exitCode: 0, facts: { leaked: undefined } });
  const expected = Array.from({ length: lines }, (_, i) => `${i + 1}\n`).join("");
  t.ok(Buffer.concat(chunks).toString() === expected, "every line, once");
  await launcher.close();
});

t.test("what is not held, was let go or is dropped does not live on", async (t) => {
  using here = place();
  const token = newToken();
  const env = envWith(token);
  const first = await here.start();
  await tell(first, ["sleep", "101"], { env }).started;
  const letGo = hold(first, "sleep 102", { env });
  await letGo.started;
  const dropped = hold(first, "trap '' TERM; (sleep 103); sleep 103", { env });
  await dropped.started;
  await hold(first, "sleep 104", { env }).started;
  letGo.process.held?.letGo();
  await first.leave();
  const { launcher, held } = await find(here);
  t.same(held.map(({ tag }) => /10\d/.exec(tag)?.[0]).sort(), ["103", "104"]);
  const one = held.find(({ tag }) => tag.includes("103"));
  if (one === undefined) throw new Error("it is not there");
  await launcher.drop(one);
  t.same(
    survivors(token).filter((line) => !line.includes("sleep 104")),
    [],
    "dropped is gone",
  );
  await launcher.close();
  t.same(survivors(token), [], "and a launcher that is told to end leaves nothing");
  t.same(readdirSync(here.folder), []);
});

t.test("nobody comes: after its time everything ends", async (t) => {
  using here = place();
  const token = newToken();
  const first = await here.start(150);
  await hold(first, "trap '' TERM; sleep 100 & sleep 100", { env: envWith(token) }).started;
  await first.leave();
  await until(
    "nothing is left",
    () => [...survivors(token), ...readdirSync(here.folder)],
    (left) => left.length === 0,
  );
  t.pass("neither process nor socket");
});

t.test("only the next agent gets in: with the token, and while there is none", async (t) => {
  using here = place();
  const first = await here.start();
  await hold(first, "sleep 100").started;
  const [name = ""] = readdirSync(here.folder).filter((file) => file.endsWith(".sock"));
  const tokenPath = join(here.folder, name.replace(".sock", ".token"));
  t.equal(statSync(here.folder).mode & 0o777, 0o700);
  t.equal(statSync(tokenPath).mode & 0o777, 0o600);
  t.equal(statSync(join(here.folder, name)).mode & 0o777, 0o600);
  const problems: string[] = [];
  t.same(await findHolders(here.folder, (text) => problems.push(text)), []);
  t.match(problems, [/has closed the connection/], "it has an agent");
  await first.leave();
  // One that says nothing, and one that guesses: neither is in the way of the right one.
  const silent = connect({ path: join(here.folder, name) });
  const guess = connect({ path: join(here.folder, name) });
  await once(silent, "data"); // the hello
  const frame = Buffer.alloc(9 + 32, "0");
  frame.writeUInt32LE(5 + 32, 0);
  frame.writeUInt8(8, 4);
  guess.write(frame);
  guess.resume();
  await once(guess, "close");
  const { launcher, held } = await find(here);
  t.equal(theOnly(held).hasEnded, false);
  silent.destroy();
  await launcher.close();
});

t.test(
  "a launcher that was killed takes its leaders with it, and its socket is cleared away",
  async (t) => {
    using here = place();
    const token = newToken();
    const first = await here.start();
    await hold(first, "exec sleep 100", { env: envWith(token) }).started;
    const { pid } = first;
    await first.leave();
    process.kill(pid, "SIGKILL");
    await until(
      "its process is gone",
      () => survivors(token),
      (left) => left.length === 0,
    );
    t.same(await findHolders(here.folder, (text) => t.fail(text)), []);
    t.same(readdirSync(here.folder), []);
  },
);

t.test("a launcher of another version is told to end, and the agent is told why", async (t) => {
  using here = place();
  mkdirSync(here.folder, { mode: 0o700 });
  const heard: Buffer[] = [];
  const server = createServer((socket) => {
    const hello = Buffer.alloc(9 + 13);
    hello.writeUInt32LE(5 + 13, 0);
    hello.writeUInt8(128, 4);
    hello.writeUInt32LE(999, 9);
    socket.write(hello);
    socket.on("data", (chunk: Buffer) => {
      heard.push(chunk);
      if (Buffer.concat(heard).length === 41 + 9) socket.end();
    });
  });
  server.listen(join(here.folder, "0abc.sock"));
  writeFileSync(join(here.folder, "0abc.token"), "0123456789abcdef0123456789abcdef");
  const problems: string[] = [];
  t.same(await findHolders(here.folder, (text) => problems.push(text)), []);
  t.match(problems, [/protocol 999/]);
  t.equal(
    Buffer.concat(heard).toString("hex"),
    `2500000008${"00".repeat(4)}${Buffer.from("0123456789abcdef0123456789abcdef").toString("hex")}050000000700000000`,
    "attach, bye",
  );
  server.close();
});
