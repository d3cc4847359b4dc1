// Processes that wait at the launcher for the end of another one: who starts, in which order, on
// which condition, and who is given back.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Launcher } from "../../agent/exec/launcher/launcher.ts";
import {
  envWith,
  follow,
  newToken,
  startLauncher,
  survivors,
  type Told,
  tell,
} from "./launcher-rig.ts";

const folder = mkdtempSync(join(tmpdir(), "line-"));
t.teardown(() => rmSync(folder, { recursive: true }));
let names = 0;
const path = () => join(folder, String(++names));

const free = { isCondition: false, patienceMs: 60_000 };
const hasty = { isCondition: false, patienceMs: 10 };
const onSuccess = { isCondition: true };
const done = { kind: "exited", exitCode: 0 };

/** Ends with this code once the file is there. */
const gated = (file: string, code = 0) => [
  "sh",
  "-c",
  `echo waits; until [ -e ${file} ]; do sleep 0.01; done; exit ${code}`,
];

t.test("lines", async (t) => {
  let launcher: Launcher;
  t.beforeEach(async () => {
    launcher = await startLauncher();
  });
  t.afterEach(async () => await launcher.close());

  t.test("each starts when the one before it has ended, free or not", async (t) => {
    const file = path();
    const word = (n: number) => [
      "sh",
      "-c",
      `echo begin ${n} >> ${file}; echo end ${n} >> ${file}`,
    ];
    const all: Told[] = [tell(launcher, word(0))];
    for (let i = 1; i < 20; i += 1) {
      const before = all.at(-1);
      if (before !== undefined) all.push(follow(before, word(i), i % 3 === 0 ? free : onSuccess));
    }
    for (const one of all) t.match(await one.done, { end: done, isReturned: false, ends: 1 });
    const lines = Array.from({ length: 20 }, (_, i) => `begin ${i}\nend ${i}\n`);
    t.equal(readFileSync(file, "utf8"), lines.join(""));
  });

  t.test("its output, times and limits are its own", async (t) => {
    const head = tell(launcher, ["echo", "one"]);
    const next = follow(head, ["sh", "-c", "echo two; exec sleep 60"], onSuccess, {
      timeoutMs: 1500,
    });
    t.match(await head.done, { end: done });
    const { end, stdout, startedAt } = await next.done;
    t.match(end, { kind: "exited", signal: "SIGTERM", stopped: "timeout" });
    t.equal(stdout.toString(), "two\n");
    const before = (await head.done).end;
    const endedAt =
      before.kind === "exited" ? (before.facts.startedAt ?? 0) + (before.facts.wallMs ?? 0) : 0;
    t.ok(startedAt >= endedAt - 1, "after the one before");
  });

  for (const [name, argv] of Object.entries({
    "a code": ["sh", "-c", "exit 3"],
    "a signal": ["sh", "-c", "kill -9 $$"],
    "no program": ["/nowhere/program"],
  })) {
    t.test(
      `${name} is no success: what counts on it comes back, what does not begins`,
      async (t) => {
        const gate = path();
        const head = tell(launcher, gated(gate));
        await head.said("waits");
        const fails = follow(head, argv, onSuccess);
        const first = follow(fails, ["true"], onSuccess);
        const second = follow(first, ["true"], onSuccess);
        const other = follow(second, ["echo", "other"], free);
        const last = follow(other, ["echo", "last"], onSuccess);
        writeFileSync(gate, "");
        t.match(await head.done, { end: done });
        t.equal((await fails.done).isReturned, false);
        for (const one of [first, second])
          t.match(await one.done, { isReturned: true, pid: 0, ends: 1 });
        for (const one of [other, last]) t.match(await one.done, { end: done, isReturned: false });
      },
    );
  }

  t.test("a stop is no success either, whatever the code", async (t) => {
    const gate = path();
    const polite = `trap 'exit 0' TERM; ${gated(gate)[2]}`;
    const head = tell(launcher, ["sh", "-c", polite]);
    await head.said("waits");
    const next = follow(head, ["true"], onSuccess);
    head.process.kill(5000);
    t.match(await head.done, { end: { ...done, stopped: "killed" } });
    t.match(await next.done, { isReturned: true });
  });

  t.test("a file where none may be is up to the agent", async (t) => {
    for (const make of ["touch", "ln -s /nowhere"]) {
      const file = path();
      const head = tell(launcher, ["sh", "-c", `${make} ${file}`]);
      const next = follow(head, ["true"], { isCondition: true, absent: file });
      t.match(await head.done, { end: done });
      t.match(await next.done, { isReturned: true });
    }
    const head = tell(launcher, ["true"]);
    const next = follow(head, ["true"], { isCondition: true, absent: path() });
    t.match(await next.done, { end: done, isReturned: false });
  });

  t.test("behind a slow one only what counts on it stays", async (t) => {
    const gate = path();
    const head = tell(launcher, gated(gate));
    const stays = follow(head, ["echo", "stays"], onSuccess);
    const goes = follow(stays, ["true"], hasty);
    const goesToo = follow(goes, ["true"], onSuccess);
    for (const one of [goes, goesToo]) t.match(await one.done, { isReturned: true });
    const late = follow(stays, ["true"], hasty);
    t.match(await late.done, { isReturned: true });
    t.notOk(existsSync(gate), "the head still runs");
    const counts = follow(stays, ["echo", "counts"], onSuccess);
    writeFileSync(gate, "");
    for (const one of [head, stays, counts])
      t.match(await one.done, { end: done, isReturned: false });
  });

  t.test("a slow one inside of a line is slow, too", async (t) => {
    const gate = path();
    const head = tell(launcher, ["true"]);
    const slow = follow(head, gated(gate), onSuccess);
    const goes = follow(slow, ["true"], hasty);
    t.match(await goes.done, { isReturned: true });
    writeFileSync(gate, "");
    t.match(await slow.done, { end: done });
  });

  t.test("behind one that has ended nothing begins", async (t) => {
    const head = tell(launcher, ["true"]);
    await head.done;
    for (const how of [free, onSuccess]) {
      t.match(await follow(head, ["true"], how).done, { isReturned: true, ends: 1 });
    }
  });

  t.test("a condition is about the one right before", async (t) => {
    const gate = path();
    const head = tell(launcher, gated(gate));
    const next = follow(head, ["true"], onSuccess);
    t.match(await follow(head, ["true"], onSuccess).done, { isReturned: true });
    writeFileSync(gate, "");
    t.match(await next.done, { end: done });
  });

  t.test("one is taken out before its turn, with what counts on it", async (t) => {
    const gate = path();
    const head = tell(launcher, gated(gate));
    const one = follow(head, ["true"], onSuccess);
    const two = follow(one, ["true"], onSuccess);
    const three = follow(two, ["true"], onSuccess);
    two.process.kill(0);
    for (const gone of [two, three]) t.match(await gone.done, { isReturned: true, ends: 1 });
    const four = follow(one, ["echo", "four"], onSuccess);
    writeFileSync(gate, "");
    for (const rest of [head, one, four])
      t.match(await rest.done, { end: done, isReturned: false });
    t.equal((await four.done).stdout.toString(), "four\n");
  });

  t.test("with its head the launcher dies: that one is lost, the others come back", async (t) => {
    const head = tell(launcher, gated(path()));
    const next = follow(head, ["true"], onSuccess);
    await head.said("waits");
    process.kill(launcher.pid, "SIGKILL");
    t.match(await head.done, { end: { kind: "lost" }, isReturned: false });
    t.match(await next.done, { isReturned: true });
    t.match(await follow(head, ["true"], free).done, { isReturned: true });
  });

  t.test("when the agent goes nothing begins any more", async (t) => {
    const token = newToken();
    const file = path();
    const more = { env: envWith(token) };
    const head = tell(launcher, gated(path()), more);
    const next = follow(head, ["touch", file], free, more);
    await head.said("waits");
    await launcher.close();
    t.match(await head.done, { isReturned: false });
    t.match(await next.done, { isReturned: true });
    t.notOk(existsSync(file));
    t.strictSame(survivors(token), []);
  });

  t.test("what cannot be sent has not begun", async (t) => {
    const gate = path();
    const head = tell(launcher, gated(gate));
    t.match(await follow(head, ["echo", "a\0b"], onSuccess).done, { isReturned: true });
    writeFileSync(gate, "");
    t.match(await head.done, { end: done });
  });
});
