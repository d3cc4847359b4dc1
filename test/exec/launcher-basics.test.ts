// One process from spec to end, the same suite for the launcher and for the plain client.
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { ProcessEnd } from "../../agent/exec/launcher/process.ts";
import { envWith, fixture, newToken, run, starters, survivors, tell } from "./launcher-rig.ts";

function exited(end: ProcessEnd) {
  if (end.kind !== "exited") throw new Error(`not an exit: ${JSON.stringify(end)}`);
  return end;
}

for (const { name, start } of starters) {
  t.test(name, async (t) => {
    const starter = await start();
    t.teardown(() => starter.close());

    t.test("tells exit codes and signals, never both", async (t) => {
      for (const code of [0, 1, 3, 255]) {
        const { end, ends } = await run(starter, ["sh", "-c", `exit ${code}`]);
        t.match(exited(end), { exitCode: code, signal: undefined, stopped: undefined });
        t.equal(exited(end).facts.exitCode, code);
        t.equal(ends, 1);
      }
      for (const signal of ["TERM", "KILL", "SEGV", "USR1"]) {
        const { end } = await run(starter, ["sh", "-c", `kill -${signal} $$`]);
        t.match(exited(end), { exitCode: undefined, signal: `SIG${signal}`, stopped: undefined });
      }
    });

    t.test("passes stdout and stderr on, each exactly", async (t) => {
      const story = await run(starter, [fixture("writes-binary")]);
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      t.ok(story.stdout.equals(Buffer.concat(Array.from({ length: 16 }, () => bytes))));
      t.ok(
        story.stderr.equals(
          Buffer.concat(Array.from({ length: 16 }, () => Buffer.from(bytes).reverse())),
        ),
      );
      t.match(exited(story.end).facts, { stdoutBytes: 4096, stderrBytes: 4096 });
    });

    t.test("gives the environment, arguments and folder that were asked for", async (t) => {
      const env = { PATH: "/usr/bin:/bin", ZÜRICH: "grüezi\nmitenand", EMPTY: "" };
      const { stdout } = await run(starter, ["env", "-0"], { env });
      t.strictSame(
        stdout
          .toString()
          .split("\0")
          // tap adds its own to whatever is started through node:child_process
          .filter((line) => line !== "" && !/^(NODE_OPTIONS|_TAPJS_)/.test(line))
          .sort(),
        Object.entries(env)
          .map(([key, value]) => `${key}=${value}`)
          .sort(),
      );
      const words = ["a b", "", "ü'\"$x", "\n"];
      const said = await run(starter, ["printf", "%s|", ...words]);
      t.equal(said.stdout.toString(), `${words.join("|")}|`);
      const folder = realpathSync(mkdtempSync(join(tmpdir(), "edgedag-t-")));
      t.teardown(() => rmSync(folder, { recursive: true }));
      t.equal((await run(starter, ["pwd"], { cwd: folder })).stdout.toString(), `${folder}\n`);
      const stdin = await run(starter, ["sh", "-c", "cat; readlink /proc/$$/fd/0"]);
      t.equal(stdin.stdout.toString(), "/dev/null\n");
    });

    t.test("says why a program could not be started", async (t) => {
      const failures: [string[], string, string][] = [
        [["no-such-program"], "/", "ENOENT"],
        [["/no/such/program"], "/", "ENOENT"],
        [["/etc/passwd"], "/", "EACCES"],
        [[fixture("missing-interpreter")], "/", "ENOENT"],
        [["true"], "/no/such/folder", "ENOENT"],
      ];
      for (const [argv, cwd, errno] of failures) {
        const { end, ends } = await run(starter, argv, { cwd });
        t.match(end, { kind: "spawn-failed", errno, detail: /\w/ }, argv.join(" "));
        t.equal(ends, 1);
      }
    });

    t.test("measures what it can", async (t) => {
      const before = Date.now();
      const { end, pid, startedAt } = await run(starter, ["sleep", "0.05"]);
      const { facts } = exited(end);
      t.ok((facts.wallMs ?? 0) >= 49 && (facts.wallMs ?? 0) < Date.now() - before + 10);
      t.ok(startedAt >= before - 5 && startedAt <= Date.now());
      t.equal(facts.startedAt, startedAt);
      t.equal(facts.pid, pid);
      t.notOk(facts.leaked);
      t.notOk(facts.forced);
    });

    t.test("ends a process that does not end, with TERM or with KILL", async (t) => {
      const polite = await run(starter, ["sleep", "1000"], { timeoutMs: 50, graceMs: 60_000 });
      t.match(exited(polite.end), { signal: "SIGTERM", stopped: "timeout" });
      t.notOk(exited(polite.end).facts.forced);
      const token = newToken();
      const rude = tell(starter, [fixture("ignores-term")], { env: envWith(token) });
      await rude.said("ready");
      rude.process.kill(100);
      const { end } = await rude.done;
      t.match(exited(end), { signal: "SIGKILL", stopped: "killed", facts: { forced: true } });
      t.strictSame(survivors(token), []);
      const cleaner = tell(starter, [fixture("cleans-up-on-term")]);
      await cleaner.said("ready");
      cleaner.process.kill(60_000);
      const cleaned = await cleaner.done;
      t.match(exited(cleaned.end), { exitCode: 0, stopped: "killed" });
      t.match(cleaned.stdout.toString(), /cleaned/);
    });

    t.test("wakes a stopped process to end it", async (t) => {
      const told = tell(starter, [fixture("stops-itself")], { graceMs: 60_000 });
      await told.said("ready");
      told.process.kill(60_000);
      t.match(exited((await told.done).end), { signal: "SIGTERM", stopped: "killed" });
    });

    t.test("cuts output at its limit and ends the process", async (t) => {
      const story = await run(starter, ["yes"], { outputLimitBytes: 1001 });
      t.equal(story.stdout.toString(), `${"y\n".repeat(500)}y`);
      const end = exited(story.end);
      t.equal(end.stopped, "output");
      t.equal(end.facts.stdoutBytes, 1001 + (end.facts.droppedBytes ?? 0));
      const exact = await run(starter, ["printf", "1234"], { outputLimitBytes: 4 });
      t.match(exited(exact.end), { exitCode: 0, stopped: undefined });
    });

    t.test("kills the child that a leader leaves behind, and says so", async (t) => {
      const token = newToken();
      const { end, stdout } = await run(starter, [fixture("leaks-child")], { env: envWith(token) });
      t.equal(stdout.toString(), "done\n");
      t.match(exited(end), { exitCode: 0, facts: { leaked: true } });
      t.strictSame(survivors(token), []);
    });

    t.test("waits for a leader that closed its pipes", async (t) => {
      const { end, stdout } = await run(starter, [fixture("closes-pipes"), "0.1"]);
      t.equal(stdout.toString(), "closing\n");
      t.match(exited(end), { exitCode: 0 });
      t.ok((exited(end).facts.wallMs ?? 0) >= 100);
    });

    t.test("runs many at once", async (t) => {
      const stories = await Promise.all(
        Array.from({ length: 50 }, (_, i) => run(starter, ["sh", "-c", `echo ${i}; exit ${i}`])),
      );
      t.strictSame(
        stories.map((s) => [s.stdout.toString(), exited(s.end).exitCode]),
        stories.map((_, i) => [`${i}\n`, i]),
      );
    });
  });

  t.test(`${name}: close kills what runs, tells it, and starts nothing more`, async (t) => {
    const starter = await start();
    const token = newToken();
    const told = tell(starter, [fixture("ignores-term")], { env: envWith(token) });
    await told.said("ready");
    await starter.close();
    t.match((await told.done).end, { kind: "exited", signal: "SIGKILL", stopped: "killed" });
    t.strictSame(survivors(token), []);
    t.match((await run(starter, ["true"])).end, { kind: "lost" });
  });
}
