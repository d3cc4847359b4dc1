// What only a file can meet: a second process, a kill at any moment, a full or read-only disk, a thread
// that breaks, a file of a newer release.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Worker } from "node:worker_threads";
import t from "tap";
import { InDoubt } from "../../master/snippets/store/doubts.ts";
import { SqliteSnippets } from "../../master/snippets/store/sqlite/sqlite-snippets.ts";
import { StoreDown } from "../../master/snippets/store/store.ts";
import { root, run } from "../e2e/command.ts";
import { end, finished, here, insert, live, plain, snippet } from "./rig.ts";

const writer = join(root, "test/fixtures/snippets-writer.ts");
const isRoot = process.getuid?.() === 0 ? false : "only root may mount a small disk";

function open(folder: string): Promise<SqliteSnippets> {
  return SqliteSnippets.open({ folder, durability: "process" });
}

async function down(call: Promise<unknown>): Promise<StoreDown> {
  const error = await call.then(
    () => new Error("it went well"),
    (error: unknown) => error,
  );
  if (!(error instanceof StoreDown)) throw error;
  return error;
}

/** Works on `folder` until it is killed after so many lines; gives what it had said. */
async function writeUntilKilled(folder: string, round: number, lines: number): Promise<string[]> {
  const child = spawn(process.execPath, [writer, folder, `${round}`], {
    env: {},
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  let count = 0;
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (text: string) => {
    said += text;
    count += text.split("\n").length - 1;
    // In the middle of whatever comes next.
    if (count >= lines) child.kill("SIGKILL");
  });
  await once(child, "close");
  if (child.signalCode !== "SIGKILL") {
    const how = child.signalCode ?? child.exitCode;
    throw new Error(`the writer ended by itself (${how}): ${said.slice(-300)}`);
  }
  // The last line may be cut.
  return said.split("\n").slice(0, -1);
}

void t.test("what was confirmed before a kill is there, once and whole", async (t) => {
  const folder = t.testdir();
  let confirmed = 0;
  for (let round = 0; round < 15; round++) {
    const said = await writeUntilKilled(folder, round, 1 + Math.floor(Math.random() * 400));
    const store = await open(folder);
    const kept = (await store.list({ limit: 1_000_000 })).filter(({ id }) =>
      id.startsWith(`${round}-`),
    );
    const states = new Map(kept.map(({ id, state }) => [id, state]));
    t.equal(states.size, kept.length, "nothing is there twice");
    const wrong: string[] = [];
    for (const line of said) {
      confirmed++;
      const [what, ...ids] = line.split(" ");
      for (const id of ids) {
        const state = states.get(id);
        if (state === undefined || (what === "ended" && state !== "finished")) wrong.push(line);
        if (what === "claimed" && state === "queued") wrong.push(line);
      }
    }
    t.same(wrong, [], "all that was said is so");
    const batches = new Map<string, number>();
    for (const { id } of kept) {
      const batch = id.slice(0, id.lastIndexOf("-"));
      batches.set(batch, (batches.get(batch) ?? 0) + 1);
    }
    t.ok(
      [...batches.values()].every((count) => count === 3),
      "all of a call or none of it",
    );
    for (const { id } of kept.filter(({ state }) => state === "finished").slice(0, 20)) {
      const record = await store.get(id);
      t.same(plain(record?.end?.stdout), plain(Buffer.from(id)));
      t.same(plain(record?.end?.files[0]?.content), plain(Buffer.from(`file of ${id}`)));
    }
    const running = kept.find(({ state }) => state === "running");
    if (running !== undefined) {
      const again = { master: "writer", boot: "after" };
      t.match(await store.claim(running.id, again), { kind: "claimed", attempt: 2 });
      t.equal(await store.finish(running.id, 2, end()), true);
    }
    await store.close();
  }
  t.ok(confirmed > 100, `${confirmed} lines were confirmed`);
});

void t.test("everything is there after a restart", async (t) => {
  const folder = t.testdir();
  const first = await open(folder);
  const one = await finished(first, { callback: "http://127.0.0.1:1/" });
  const waiting = await insert(first);
  await first.close();
  const second = await open(folder);
  t.match(await second.get(one.id), { state: "finished" });
  t.match(await second.dueCallbacks(Date.now(), 5), [{ id: one.id }]);
  t.match(await second.queued(undefined, 5), [{ id: waiting.id }]);
  await second.close();
});

void t.test("a second process or store on the same folder is refused", async (t) => {
  const folder = t.testdir();
  const first = await open(folder);
  const refused = await down(open(folder));
  t.match(refused.message, /another process uses .*snippets\.db/);
  t.match(refused.remedy, /own data folder/);
  const child = spawn(process.execPath, [writer, folder, "0"], { env: {}, stdio: "pipe" });
  let said = "";
  child.stderr.on("data", (text: Buffer) => {
    said += text.toString();
  });
  await once(child, "close");
  t.match(said, /another process uses/);
  await insert(first);
  await first.close();
  const second = await open(folder);
  t.equal((await second.list({ limit: 5 })).length, 1);
  await second.close();
});

void t.test("a file of a newer release is refused, and left as it is", async (t) => {
  const folder = t.testdir();
  const store = await open(folder);
  await store.close();
  const database = new DatabaseSync(join(folder, "snippets.db"));
  database.exec("INSERT INTO migrations VALUES (1000, 0)");
  database.close();
  const refused = await down(open(folder));
  t.match(refused.message, /schema 1000/);
  t.match(refused.remedy, /newer release/);
});

void t.test("a folder that cannot be written is refused with a remedy", async (t) => {
  const folder = join(t.testdir({ file: "no folder" }), "file");
  const refused = await down(open(folder));
  t.match(refused.message, /cannot open/);
  t.match(refused.remedy, /data folder/);
});

void t.test(
  "a full disk refuses, loses nothing, and is used again when there is room",
  {
    skip: isRoot,
  },
  async (t) => {
    const disk = t.testdir();
    await mount(["-t", "tmpfs", "-o", "size=6m", "edgedag-test", disk]);
    try {
      const store = await open(join(disk, "data"));
      await live(store, here);
      const big = end({ stdout: Buffer.alloc(400_000, "x") });
      const kept: string[] = [];
      let refused: StoreDown | undefined;
      while (refused === undefined) {
        const one = await insert(store);
        await store.claim(one.id, here);
        await store.finish(one.id, 1, big).then(
          () => kept.push(one.id),
          (error: unknown) => {
            refused = error instanceof StoreDown ? error : undefined;
            if (refused === undefined) throw error;
          },
        );
      }
      t.match(refused.message, /full/);
      t.match(refused.remedy, /[Ff]ree space/);
      t.ok(kept.length > 2, `${kept.length} were kept`);
      // In one batch, those that fit must not suffer from those that do not.
      const last = await insert(store);
      const [small, large] = await Promise.allSettled([
        store.claim(last.id, here),
        store.finish(last.id, 1, end({ stdout: Buffer.alloc(5_000_000) })),
      ]);
      t.match(small, { status: "fulfilled", value: { kind: "claimed" } });
      t.equal(large.status, "rejected");
      t.match(await store.get(last.id), { state: "running" }, "nothing of it was done");
      for (const id of kept) t.equal((await store.get(id))?.state, "finished");
      await mount(["-o", "remount,size=64m", disk]);
      t.equal(await store.finish(last.id, 1, big), true, "there is room again");
      await store.close();
      const again = await open(join(disk, "data"));
      for (const id of [...kept, last.id]) {
        t.equal((await again.get(id))?.end?.stdout.length, 400_000);
      }
      await again.close();
    } finally {
      await run("umount", [disk]);
    }
  },
);

void t.test(
  "a disk that is read-only refuses until it can be written again",
  {
    skip: isRoot,
  },
  async (t) => {
    const disk = t.testdir();
    await mount(["-t", "tmpfs", "-o", "size=64m", "edgedag-test", disk]);
    try {
      // On a file system that holds no open file, so that it can become read-only.
      const folder = join(disk, "data");
      const first = await open(folder);
      const one = await insert(first);
      await first.close();
      await mount(["-o", "remount,ro", disk]);
      const refused = await down(open(folder));
      t.match(refused.remedy, /may write/);
      await mount(["-o", "remount,rw", disk]);
      const second = await open(folder);
      t.match(await second.get(one.id), { state: "queued" });
      await second.close();
    } finally {
      await run("umount", [disk]);
    }
  },
);

void t.test(
  "a thread that breaks is started again, and what it may have done is no riddle",
  async (t) => {
    const folder = t.testdir();
    let worker: Worker | undefined;
    const seen = (started: Worker): void => {
      worker = started;
    };
    process.on("worker", seen);
    t.after(() => process.off("worker", seen));
    const store = await open(folder);
    await live(store, here);
    let lost = 0;
    for (let round = 0; round < 20; round++) {
      const one = snippet();
      const news = [{ snippet: one }];
      const inserted = store.insert(news, { isPublished: true });
      const claimed = store.claim(one.id, here);
      const ended = store.finish(one.id, 1, end());
      // Sent, and done or not when the thread ends.
      await null;
      await null;
      void worker?.terminate();
      const first = await Promise.allSettled([inserted, claimed, ended]);
      for (const call of first) {
        if (call.status === "fulfilled") continue;
        lost++;
        t.ok(call.reason instanceof InDoubt, String(call.reason));
      }
      const again = await insist(() => store.insert(news, { isPublished: true }));
      t.same(again, [{ kind: "new", id: one.id }]);
      if (first[2].status === "rejected") {
        const claim = await insist(() => store.claim(one.id, here));
        t.ok(["claimed", "finished"].includes(claim.kind), "never taken by itself");
        const isFirst = await insist(() => store.finish(one.id, 1, end()));
        t.equal(isFirst, true, "its own end, however often");
        t.equal(await store.finish(one.id, 1, end()), false);
      }
      t.match(await insist(() => store.get(one.id)), { state: "finished" });
    }
    t.ok(lost > 0, `${lost} calls lost their answers`);
    t.ok(statSync(join(folder, "snippets.db")).size > 0);
    await store.close();
  },
);

/** As the service does: until the store answers. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof StoreDown)) throw error;
    }
  }
}

async function mount(words: string[]): Promise<void> {
  const ended = await run("mount", words);
  if (ended.code !== 0) throw new Error(`mount ${words.join(" ")}: ${ended.stderr}`);
}
