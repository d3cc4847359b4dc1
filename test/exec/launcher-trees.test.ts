// No process of a task outlives it, however it tries. Only the launcher can promise this.
import t from "tap";
import {
  childrenOf,
  envWith,
  fixture,
  newToken,
  run,
  startLauncher,
  survivors,
  tell,
  until,
} from "./launcher-rig.ts";

t.test("a tree is gone when its end is told", async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());

  t.test("a daemon in a session of its own dies with its leader", async (t) => {
    const token = newToken();
    const { end } = await run(launcher, [fixture("setsid-daemon")], { env: envWith(token) });
    t.match(end, { kind: "exited", exitCode: 0, facts: { leaked: true } });
    t.strictSame(survivors(token), []);
  });

  t.test("a double fork stays below its leader, and dies with it", async (t) => {
    const token = newToken();
    const told = tell(launcher, [fixture("double-forks")], { env: envWith(token) });
    await told.said("ready");
    await until(() => childrenOf(launcher.pid).length === 1);
    t.equal(childrenOf(launcher.pid).length, 1, "nothing was reparented to the launcher");
    told.process.kill(0);
    t.match((await told.done).end, { signal: "SIGKILL", facts: { forced: true } });
    t.strictSame(survivors(token), []);
  });

  t.test("a tree that ignores TERM and stops itself again and again is killed", async (t) => {
    const token = newToken();
    const told = tell(launcher, [fixture("stops-everything")], {
      env: envWith(token),
      timeoutMs: 300,
      graceMs: 100,
    });
    const { end } = await told.done;
    t.match(end, { signal: "SIGKILL", stopped: "timeout", facts: { forced: true } });
    t.strictSame(survivors(token), []);
  });

  t.test("a hundred descendants in fifty sessions are killed", async (t) => {
    const token = newToken();
    const told = tell(launcher, [fixture("many-sessions")], { env: envWith(token) });
    await told.said("ready");
    told.process.kill(50);
    t.match((await told.done).end, { signal: "SIGKILL", facts: { forced: true } });
    t.strictSame(survivors(token), []);
  });

  t.test("a process that forks and dies all the time is caught", async (t) => {
    const token = newToken();
    const { end } = await run(launcher, [fixture("hops")], { env: envWith(token) });
    t.match(end, { kind: "exited", exitCode: 0, facts: { leaked: true } });
    t.strictSame(survivors(token), []);
  });

  t.test("orphans of a stopped task keep the rest of its grace period", async (t) => {
    const script = `${fixture("cleans-up-on-term")}; true`; // the shell dies of TERM at once
    const told = tell(launcher, ["sh", "-c", script]);
    await told.said("ready");
    told.process.kill(60_000);
    const { end, stdout } = await told.done;
    t.equal(stdout.toString(), "ready\ncleaned\n");
    t.match(end, { signal: "SIGTERM", stopped: "killed" });
    t.notOk(end.kind === "exited" && (end.facts.leaked || end.facts.forced));
  });

  t.test("orphans that outstay the grace period are killed", async (t) => {
    const token = newToken();
    const told = tell(launcher, ["sh", "-c", `${fixture("ignores-term")}; true`], {
      env: envWith(token),
    });
    await told.said("ready");
    told.process.kill(100);
    t.match((await told.done).end, { signal: "SIGTERM", facts: { forced: true } });
    t.strictSame(survivors(token), []);
  });

  t.test("a second kill brings the end nearer", async (t) => {
    const told = tell(launcher, [fixture("ignores-term")]);
    await told.said("ready");
    told.process.kill(3_600_000);
    told.process.kill(0);
    t.match((await told.done).end, { signal: "SIGKILL", stopped: "killed" });
    told.process.kill(0);
  });

  t.test("cleaning up after one task spares another", async (t) => {
    const bystander = tell(launcher, [fixture("double-forks")]);
    await bystander.said("ready");
    for (let i = 0; i < 10; i++) await run(launcher, [fixture("setsid-daemon")]);
    bystander.process.kill(60_000);
    const { end } = await bystander.done;
    t.match(end, { signal: "SIGTERM", stopped: "killed" });
  });

  t.strictSame(childrenOf(launcher.pid), []);
});
