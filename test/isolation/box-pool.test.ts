// The pool, with a maker that is real and simple: each box is one `sleep` of its own.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  type Box,
  BoxError,
  type BoxFolder,
  type BoxKind,
  type BoxMaker,
} from "../../agent/exec/isolation/box.ts";
import { BoxFolders } from "../../agent/exec/isolation/files/box-folder.ts";
import {
  BoxPool,
  type BoxPoolOptions,
  defaultPoolSettings,
  kindKey,
  type PoolProblem,
  type PoolSettings,
} from "../../agent/exec/isolation/pool/box-pool.ts";
import { until } from "../rig/until.ts";
import { kindOf, newFolder, smallLimits } from "./isolation-rig.ts";

class SleepMaker implements BoxMaker {
  readonly level = "subprocess";
  readonly sleeps = new Map<Box, ChildProcess>();
  attempts = 0;
  making = 0;
  mostMaking = 0;
  problem: BoxError | undefined;

  async make(kind: BoxKind, folder: BoxFolder): Promise<Box> {
    this.attempts += 1;
    if (this.problem !== undefined) throw this.problem;
    const sleep = spawn("sleep", ["1000"], { stdio: "ignore", cwd: folder.work });
    const exit = once(sleep, "exit");
    this.making += 1;
    this.mostMaking = Math.max(this.mostMaking, this.making);
    await once(sleep, "spawn");
    this.making -= 1;
    let isDestroyed = false;
    const box: Box = {
      kind,
      folder,
      inside: { work: folder.work, io: folder.io },
      env: {},
      worker: () => ({ argv: [], env: {} }),
      spawn: () => ({ kill: () => {} }),
      arm: async () => {},
      usage: async () => undefined,
      onSample: undefined,
      onEnd: undefined,
      destroy: async () => {
        isDestroyed = true;
        sleep.kill("SIGKILL");
        await exit;
        this.sleeps.delete(box);
      },
    };
    exit.then(() => {
      if (!isDestroyed) box.onEnd?.({ detail: "the sleep was killed" });
    });
    this.sleeps.set(box, sleep);
    return box;
  }

  async cleanUp(): Promise<void> {}
  async close(): Promise<void> {}
}

const kind = kindOf("subprocess");

async function setUp(
  t: { teardown(done: () => unknown): unknown },
  settings: Partial<PoolSettings> = {},
  more: Partial<BoxPoolOptions<number>> = {},
) {
  const root = join(newFolder(t), "boxes");
  const folders = await BoxFolders.open({ root, mounter: undefined, uidBase: undefined });
  const maker = new SleepMaker();
  const problems: PoolProblem[] = [];
  const pool = new BoxPool<number>({
    makers: [maker],
    folders,
    settings: { ...defaultPoolSettings, cleanUpMs: 20, startsPerSecond: 1000, ...settings },
    limits: smallLimits,
    onProblem: (problem) => problems.push(problem),
    ...more,
  });
  t.teardown(() => pool.close());
  const figures = () => {
    const [first] = pool.metrics();
    if (first === undefined) throw new Error("the pool knows no kind");
    return first;
  };
  return { pool, maker, folders, problems, figures };
}

t.test("serves a waiting box once and replaces it", async (t) => {
  const { pool, maker, folders, figures } = await setUp(t);
  await pool.warm(kind, 2);
  t.match(figures(), { ready: 2, inUse: 0, served: 0 });
  const first = await pool.take(kind, smallLimits);
  t.equal(first.isCold, false);
  t.ok(existsSync(first.box.folder.work));
  t.match(figures(), { inUse: 1, served: 1, cold: 0 });
  const second = await pool.take(kind, smallLimits);
  t.not(second.box, first.box);
  await Promise.all([first.release(), first.release()]);
  t.notOk(existsSync(first.box.folder.work));
  t.notOk(maker.sleeps.has(first.box));
  await until("two wait again", figures, ({ ready }) => ready === 2);
  t.match(figures(), { inUse: 1, failed: 0, died: 0 });
  await second.release();
  t.equal(folders.count, 2);
});

t.test("makes one at once when none waits, and then keeps some", async (t) => {
  const { pool, figures } = await setUp(t, { size: 1 });
  const taken = await Promise.all([1, 2, 3].map(() => pool.take(kind, smallLimits)));
  t.equal(new Set(taken.map(({ box }) => box)).size, 3);
  t.same(
    taken.map(({ isCold }) => isCold),
    [true, true, true],
  );
  t.match(figures(), { cold: 3, served: 3 });
  await until("one waits", figures, ({ ready }) => ready === 1);
  const { waitMs, makeMs } = figures();
  t.ok((waitMs.p50 ?? 0) > 0 && (waitMs.p99 ?? 0) >= (waitMs.p50 ?? 0) && (makeMs.p50 ?? 0) > 0);
  await Promise.all(taken.map((warm) => warm.release()));
});

t.test("keeps no boxes of kinds that have extras", async (t) => {
  const { pool, folders } = await setUp(t);
  const own = kindOf("subprocess", { network: true });
  const warm = await pool.take(own, smallLimits);
  t.equal(warm.isCold, true);
  await warm.release();
  await pool.warm(own, 3);
  t.match(pool.metrics(), [{ ready: 0, starting: 0, served: 2 }]);
  t.equal(folders.count, 0);
});

t.test("tells why a box cannot be made, to each taker at once", async (t) => {
  const { pool, maker, problems, figures } = await setUp(t, { size: 1 });
  maker.problem = new BoxError("no such image", "Pull it.");
  const takes = [1, 2, 3].map(() => pool.take(kind, smallLimits));
  for (const take of takes) await t.rejects(take, { message: "no such image", remedy: "Pull it." });
  await t.rejects(pool.warm(kind, 1), { message: "no such image" });
  await t.rejects(pool.take(kind, smallLimits), { message: "no such image" });
  t.match(problems, [{ state: "broken", detail: "no such image", remedy: "Pull it." }]);
  t.equal(problems.length, 1);
  const { attempts } = maker;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const more = maker.attempts - attempts;
  t.ok(more <= 5, `it backs off: ${more} attempts in a second`);
  maker.problem = undefined;
  await (await pool.take(kind, smallLimits)).release();
  t.match(problems, [{ state: "broken" }, { state: "mended" }]);
  await until("one waits", figures, ({ ready }) => ready === 1);
});

t.test("replaces boxes that die while they wait, slower and slower", async (t) => {
  const { pool, maker, folders, figures } = await setUp(t, { size: 1 });
  await pool.warm(kind, 1);
  for (const dead of [1, 2, 3]) {
    for (const sleep of maker.sleeps.values()) sleep.kill("SIGKILL");
    await until("it was seen", figures, ({ died }) => died === dead);
    const since = performance.now();
    await until("it was replaced", figures, ({ ready }) => ready === 1);
    t.ok(performance.now() - since >= 50 * 2 ** (dead - 1));
  }
  t.equal(folders.count, 1);
});

t.test("a box that ended is never given out, and one in use is its taker's", async (t) => {
  const { pool, maker, figures } = await setUp(t, { size: 1 });
  const warm = await pool.take(kind, smallLimits);
  const ended = Promise.withResolvers<string>();
  warm.box.onEnd = ({ detail }) => ended.resolve(detail);
  maker.sleeps.get(warm.box)?.kill("SIGKILL");
  t.equal(await ended.promise, "the sleep was killed");
  t.equal(figures().died, 0);
  await warm.release();
});

t.test("replaces boxes that are too old, and lets go of kinds that nobody wants", async (t) => {
  const { pool, folders, figures } = await setUp(t, { lifespanMs: 100, idleMs: 700 });
  await pool.warm(kind, 2);
  await until("some were replaced", figures, ({ expired, ready }) => expired >= 4 && ready === 2);
  await until("all are gone", figures, ({ ready, starting }) => ready + starting === 0);
  await until(
    "so are the folders",
    () => folders.count,
    (count) => count === 0,
  );
});

t.test("makes no more boxes at once and in a second than it may", async (t) => {
  const { pool, maker, figures } = await setUp(t, { makingAtOnce: 1, startsPerSecond: 4 });
  const warm = pool.warm(kind, 6);
  const since = performance.now();
  await until("six wait", figures, ({ ready }) => ready === 6);
  await warm;
  t.equal(maker.mostMaking, 1);
  t.equal(maker.attempts, 6);
  t.ok(performance.now() - since >= 990);
});

t.test("waits for what is to wait inside, and hears of its end", async (t) => {
  const gones: (() => void)[] = [];
  const { pool, figures } = await setUp(
    t,
    { size: 1 },
    {
      warm: async (_box, gone) => {
        gones.push(gone);
        return gones.length;
      },
    },
  );
  await pool.warm(kind, 1);
  gones[0]?.();
  await until("it was replaced", figures, ({ died, ready }) => died === 1 && ready === 1);
  const warm = await pool.take(kind, smallLimits);
  t.equal(warm.worker, 2);
  gones[1]?.();
  await warm.release();
  t.equal(figures().died, 1);
});

t.test("a box whose inside does not start is removed", async (t) => {
  const warm = async () => {
    throw new BoxError("no python", "Install it.");
  };
  const { pool, maker, folders } = await setUp(t, { size: 1 }, { warm });
  await t.rejects(pool.take(kind, smallLimits), { message: "no python" });
  await pool.close();
  t.equal(maker.sleeps.size, 0);
  t.equal(folders.count, 0);
});

t.test("leaves nothing when it is closed, whatever is under way", async (t) => {
  const { pool, maker, folders } = await setUp(t);
  await pool.warm(kind, 2);
  const inUse = await pool.take(kind, smallLimits);
  await pool.take(kind, smallLimits);
  const waiting = pool.take(kind, smallLimits);
  const closed = pool.close();
  await t.rejects(waiting, BoxError);
  await closed;
  t.equal(maker.sleeps.size, 0);
  t.equal(folders.count, 0);
  await inUse.release();
  await t.rejects(pool.take(kind, smallLimits), BoxError);
});

t.test("kinds are the same whatever the order of their parts", async (t) => {
  const a = { source: "/a", target: "/x", isWritable: false };
  const b = { source: "/b", target: "/y", isWritable: true };
  const key = kindKey(kindOf("seccomp", { mounts: [a, b], syscalls: ["x", "y"] }));
  t.equal(key, kindKey(kindOf("seccomp", { mounts: [b, a], syscalls: ["y", "x", "y"] })));
  t.not(key, kindKey(kindOf("seccomp", { mounts: [a], syscalls: ["x", "y"] })));
});
