// Output under stress: floods, marks, slow readers. Bounded memory, nothing lost, nobody starved.
import t from "tap";
import { Launcher } from "../../agent/exec/launcher/launcher.ts";
import type { ProcessEnd } from "../../agent/exec/launcher/process.ts";
import {
  fixture,
  launcherPath,
  type Piece,
  peakRssBytes,
  run,
  startLauncher,
  tell,
} from "./launcher-rig.ts";

const mark = Buffer.from("00ff10ab00ff10ac", "hex");
const launcherRoom = 6 * 1024 * 1024;

function markAs(id: number): string {
  const bytes = Buffer.alloc(12, mark);
  bytes.writeUInt32LE(id, 8);
  return bytes.toString("hex");
}

const hex = (text: string) => Buffer.from(text).toString("hex");

function flood(launcher: Launcher, bytes: number) {
  const done = Promise.withResolvers<{ end: ProcessEnd; seen: number; isZero: boolean }>();
  const zeros = Buffer.alloc(70_000);
  let seen = 0;
  let isZero = true;
  launcher.spawn(
    {
      argv: [fixture("floods-stdout"), String(bytes)],
      env: { PATH: "/usr/bin:/bin" },
      cwd: "/",
      graceMs: 0,
    },
    {
      started: () => {},
      output: (_, chunk) => {
        seen += chunk.length;
        isZero &&= chunk.equals(zeros.subarray(0, chunk.length));
      },
      mark: () => {},
      ended: (end) => done.resolve({ end, seen, isZero }),
    },
  );
  return done.promise;
}

t.test("64 MiB without a newline arrive whole, in little memory", async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());
  const { end, seen, isZero } = await flood(launcher, 64 * 1024 * 1024);
  t.match(end, { exitCode: 0, facts: { stdoutBytes: 64 * 1024 * 1024 } });
  t.equal(seen, 64 * 1024 * 1024);
  t.ok(isZero);
  t.ok(peakRssBytes(launcher.pid) < launcherRoom, `${peakRssBytes(launcher.pid)} bytes`);
});

t.test("an agent that does not read for a while costs the launcher no memory", async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());
  const floods = Array.from({ length: 6 }, () => flood(launcher, 8 * 1024 * 1024));
  const short = run(launcher, ["sleep", "1000"], { timeoutMs: 100 });
  launcher.flush();
  // Blocks the whole thread, as a busy scheduler would.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
  const { end } = await short;
  if (end.kind !== "exited") throw new Error("not started");
  t.match(end, { signal: "SIGTERM", stopped: "timeout" });
  t.ok((end.facts.wallMs ?? 0) < 300, "the timeout was kept while the agent was away");
  for (const { seen, isZero } of await Promise.all(floods)) {
    t.equal(seen, 8 * 1024 * 1024);
    t.ok(isZero);
  }
  t.ok(peakRssBytes(launcher.pid) < launcherRoom, `${peakRssBytes(launcher.pid)} bytes`);
});

t.test("floods do not starve a task that says little", async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());
  const floods = Array.from({ length: 20 }, () =>
    tell(launcher, ["yes"], { outputLimitBytes: Number.MAX_SAFE_INTEGER }),
  );
  await Promise.all(floods.map((one) => one.said("y\ny\n")));
  const { stdout } = await run(launcher, ["sh", "-c", "sleep 0.01; echo heard"]);
  t.equal(stdout.toString(), "heard\n");
  for (const one of floods) one.process.kill(0);
  for (const one of floods) t.match((await one.done).end, { signal: "SIGKILL" });
});

t.test("streams are split at marks", async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());
  const split = async (...words: string[]): Promise<Piece[]> =>
    (await run(launcher, [fixture("writes-hex-pieces"), ...words], { mark })).pieces;
  const stream = "stdout" as const;

  t.test("in one write, several of them, with nothing between", async (t) => {
    const text = `${hex("a")}${markAs(1)}${markAs(2)}${hex("b")}${markAs(0xffffffff)}`;
    t.strictSame(await split(text), [
      { stream, text: "a" },
      { stream, mark: 1 },
      { stream, mark: 2 },
      { stream, text: "b" },
      { stream, mark: 0xffffffff },
    ]);
  });

  t.test("cut at every byte", async (t) => {
    const text = `${hex("before")}${markAs(7)}${hex("after")}`;
    const expected = [
      { stream, text: "before" },
      { stream, mark: 7 },
      { stream, text: "after" },
    ];
    const cuts = Array.from({ length: 11 }, (_, i) => (6 + 1 + i) * 2);
    const all = await Promise.all(cuts.map((cut) => split(text.slice(0, cut), text.slice(cut))));
    for (const pieces of all) t.strictSame(pieces, expected);
    t.strictSame(await split(...(text.match(/../g) ?? [])), expected);
  });

  t.test("what only looks like a mark is output", async (t) => {
    const prefix = mark.toString("hex").slice(0, 14);
    const whole = mark.toString("hex");
    const told = async (...words: string[]) => {
      const [piece, ...others] = await split(...words);
      t.strictSame(others, []);
      t.strictSame(piece, { stream, text: Buffer.from(words.join(""), "hex").toString("latin1") });
    };
    await told(prefix);
    await told(prefix, "00", prefix);
    await told(whole, "0102");
    await told("00ff10ab", whole.slice(0, 8), "ff");
  });

  t.test("each stream has its own", async (t) => {
    const argv = [
      "python3",
      "-c",
      `import os
m = bytes.fromhex("${markAs(5)}")
os.write(1, b"out" + m); os.write(2, b"err" + m)`,
    ];
    const { pieces } = await run(launcher, argv, { mark });
    t.strictSame(
      pieces.filter((piece) => piece.stream === "stderr"),
      [
        { stream: "stderr", text: "err" },
        { stream: "stderr", mark: 5 },
      ],
    );
  });
});

t.test("a listener that throws costs nobody else a byte", async (t) => {
  const launcher = await Launcher.start({ path: launcherPath(), onExit: () => {} });
  t.teardown(() => launcher.close());
  const thrown = Promise.withResolvers<unknown>();
  process.once("uncaughtException", thrown.resolve);
  launcher.spawn(
    { argv: ["echo", "x"], env: { PATH: "/usr/bin:/bin" }, cwd: "/", graceMs: 0 },
    {
      started: () => {},
      output: () => {
        throw new Error("a bug");
      },
      mark: () => {},
      ended: () => {},
    },
  );
  const { stdout } = await run(launcher, ["echo", "y"]);
  t.equal(stdout.toString(), "y\n");
  t.match(await thrown.promise, { message: "a bug" });
});
