// Limits and figures of whole trees, with cgroups and without: a task that went over a limit has
// failed for that, whatever its exit code. And a warmed process that gets its task later.
import t from "tap";
import type { ProcessEnd } from "../../agent/exec/launcher/process.ts";
import {
  envWith,
  fixture,
  newToken,
  run,
  startLauncher,
  startWithCgroups,
  survivors,
  tell,
} from "./launcher-rig.ts";

function factsOf(end: ProcessEnd) {
  if (end.kind !== "exited") throw new Error(`not an exit: ${JSON.stringify(end)}`);
  return end.facts;
}

const python = "/usr/bin/python3";
const hungry = [python, "-c", "x = [bytearray(1 << 20) for _ in range(300)]; input()"];
const burning = ["sh", "-c", "(while :; do :; done); exit 0"];
const crowd = "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.5 & done 2>/dev/null; wait; exit 0";

const probe = await startWithCgroups();
const { version, why } = probe.cgroups;
await probe.close();

const kinds = [
  { name: "with a cgroup", cgroup: true, skip: version === 0 ? `no cgroups here: ${why}` : false },
  { name: "without", cgroup: false, skip: false as const },
];
for (const { name, cgroup, skip } of kinds) {
  t.test(`limits of a tree, ${name}`, { skip }, async (t) => {
    const launcher = await startWithCgroups();
    t.teardown(() => launcher.close());

    t.test("memory", async (t) => {
      const limits = { memoryBytes: 64 << 20 };
      // It would wait for ever once it has its memory.
      const { end } = await run(launcher, hungry, {
        cgroup,
        limits,
        relay: true,
        isChannelStdio: true,
      });
      t.match(end, { kind: "exited", stopped: "memory" });
      t.ok((factsOf(end).peakMemoryBytes ?? 0) >= 60 << 20);
    });

    t.test("processor time, of children too", async (t) => {
      const { end } = await run(launcher, burning, { cgroup, limits: { cpuTimeMs: 200 } });
      t.match(end, { kind: "exited", stopped: "cpu-time" });
      const { cpuUserMs = 0, cpuSystemMs = 0 } = factsOf(end);
      t.ok(cpuUserMs + cpuSystemMs >= 200, `${cpuUserMs} + ${cpuSystemMs} ms`);
    });

    t.test("processor time that was over only when it ended", async (t) => {
      const script = "import time\nwhile time.process_time() < 0.08: pass";
      const { end } = await run(launcher, [python, "-c", script], {
        cgroup,
        limits: { cpuTimeMs: 20 },
      });
      t.match(end, { stopped: "cpu-time" });
    });

    t.test("processes", async (t) => {
      const { end } = await run(launcher, ["sh", "-c", crowd], { cgroup, limits: { pids: 5 } });
      t.match(end, { kind: "exited", stopped: "pids" });
    });

    t.test("what stays below its limits is not touched", async (t) => {
      const limits = { memoryBytes: 64 << 20, pids: 20, cpuTimeMs: 60_000, cpus: 1 };
      const { end } = await run(launcher, ["sh", "-c", crowd], { cgroup, limits });
      t.match(end, { exitCode: 0, stopped: undefined, facts: { peakPids: 10 } });
    });

    t.test("figures while it runs, when asked, and at the end", async (t) => {
      const script = `
import os
x = bytearray(50 << 20)
open("/etc/passwd").read()
os.write(3, b"full")
os.read(3, 1)`;
      const more = { cgroup, sampled: true, relay: true };
      const told = tell(launcher, [python, "-c", script], more);
      await told.said("full");
      const usage = await told.process.usage?.();
      t.ok((usage?.memoryBytes ?? 0) > 50 << 20, "memory");
      t.ok((usage?.peakMemoryBytes ?? 0) >= (usage?.memoryBytes ?? 0), "its peak");
      t.ok((usage?.cpuUserMs ?? -1) >= 0 && usage?.pids === 1, "cpu and processes");
      t.ok((usage?.readBytes ?? 0) > 1000, "bytes");
      t.ok(Math.abs((usage?.at ?? 0) - Date.now()) < 10_000);
      // The next sample is no more than 100 ms away; the process waits for us.
      while (told.samples.length === 0) await told.process.usage?.();
      told.process.send?.(Buffer.from("x"));
      const { end, samples } = await told.done;
      t.ok(samples.length >= 1 && (samples[0]?.peakMemoryBytes ?? 0) > 0);
      t.match(end, { exitCode: 0 });
      const facts = factsOf(end);
      t.ok((facts.peakMemoryBytes ?? 0) > 50 << 20);
      t.ok((facts.readBytes ?? 0) > 1000 && (facts.writtenBytes ?? 0) > 3);
      t.equal(facts.peakPids, 1);
      t.equal(await told.process.usage?.(), undefined, "of a process that has ended");
    });

    t.test("armed, it has limits and figures from then on", async (t) => {
      const script = `
import os, time
while time.process_time() < 0.3: pass
os.write(3, b"warm")
os.read(3, 1)
os.write(1, b"12345")
os.write(3, b"said")
while True: pass`;
      const told = tell(launcher, [python, "-c", script], {
        cgroup,
        relay: true,
        graceMs: 0,
        timeoutMs: 3_600_000,
        outputLimitBytes: 0,
        limits: { pids: 10 },
      });
      await told.said("warm");
      const arming = { graceMs: 0, outputLimitBytes: 5, limits: { cpuTimeMs: 250, pids: 10 } };
      t.equal(await told.process.arm?.(arming), undefined);
      told.process.send?.(Buffer.from("x"));
      await told.said("said");
      const usage = await told.process.usage?.();
      t.ok((usage?.cpuUserMs ?? 1e9) < 250, `${usage?.cpuUserMs} ms since it was armed`);
      const { end, stdout } = await told.done;
      t.equal(stdout.toString(), "12345");
      t.match(end, { stopped: "cpu-time", facts: { stdoutBytes: 5, droppedBytes: undefined } });
    });
  });
}

t.test("what is not measured has no figures", async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());
  t.match(launcher.cgroups, { version: 0 });
  const told = tell(launcher, ["sleep", "1000"]);
  await told.started;
  t.equal(await told.process.usage?.(), undefined);
  const limits = "cat /proc/self/limits; exec sleep 1000";
  const armed = tell(launcher, ["sh", "-c", `echo ready; read x <&3; ${limits}`], { relay: true });
  await armed.said("ready");
  const rlimits = [
    { name: "nofile", soft: 77, hard: 77 },
    { name: "cpu", soft: 9, hard: 10 },
  ] as const;
  t.equal(await armed.process.arm?.({ graceMs: 0, timeoutMs: 300, rlimits }), undefined);
  armed.process.send?.(Buffer.from("\n"));
  const { end, stdout } = await armed.done;
  t.match(end, { stopped: "timeout" });
  t.match(stdout.toString(), /Max open files +77 +77 /);
  t.match(stdout.toString(), /Max cpu time +9 +10 /);
  const bad = [{ name: "core", soft: 2, hard: 1 }] as const;
  t.equal(await told.process.arm?.({ graceMs: 0, rlimits: bad }), "EINVAL");
  t.match((await told.done).end, { stopped: "killed" });
  t.equal(await told.process.arm?.({ graceMs: 0 }), "ESRCH");
});

const notRoot = process.getuid?.() === 0 ? false : "needs root to be another user";
t.test("armed as another user, who never may signal the launcher", { skip: notRoot }, async (t) => {
  const launcher = await startLauncher();
  t.teardown(() => launcher.close());
  const uid = 900_777;
  const options = { relay: true, confine: { uid, gid: uid } };
  const watching = `import os, threading
hits, tries, parent = 0, 0, os.getppid()
threading.Thread(target=lambda: (os.read(3, 1), os._exit(print(hits, tries, flush=True) or 0))).start()
while True:
  tries += 1
  if tries == 100: os.write(3, b"ready")
  try: os.kill(parent, 0); hits += 1
  except PermissionError: pass`;
  const watcher = tell(launcher, [python, "-c", watching], options);
  const limits = "read x <&3; cat /proc/self/limits";
  const armed = tell(launcher, ["sh", "-c", `echo ready >&3; ${limits}`], options);
  await watcher.said("ready");
  await armed.said("ready");
  for (let n = 600; n >= 77; n--) {
    const rlimits = [
      { name: "nofile", soft: n, hard: n },
      { name: "core", soft: 0, hard: 0 },
    ] as const;
    const error = await armed.process.arm?.({ graceMs: 0, rlimits });
    if (error !== undefined) t.fail(error);
  }
  armed.process.send?.(Buffer.from("\n"));
  const { stdout } = await armed.done;
  t.match(stdout.toString(), /Max open files +77 +77 /);
  t.match(stdout.toString(), /Max core file size +0 +0 /);
  watcher.process.send?.(Buffer.from("\n"));
  const [hits, tries] = (await watcher.done).stdout.toString().trim().split(" ").map(Number);
  t.equal(hits, 0);
  t.ok((tries ?? 0) > 100, `${tries} tries`);
});

t.test("a cgroup ends with its leader", { skip: kinds[0]?.skip ?? false }, async (t) => {
  const launcher = await startWithCgroups();
  t.teardown(() => launcher.close());
  const token = newToken();
  for (const name of ["setsid-daemon", "many-sessions"]) {
    const told = tell(launcher, [fixture(name)], { env: envWith(token), cgroup: true, graceMs: 0 });
    if (name === "many-sessions") {
      await told.said("ready");
      told.process.kill(0);
    }
    await told.done;
    t.strictSame(survivors(token), [], name);
  }
});

const isRoot = process.getuid?.() === 0;
t.test(
  "a PID namespace and a user without rights",
  { skip: !isRoot && "needs root" },
  async (t) => {
    const launcher = await startWithCgroups();
    t.teardown(() => launcher.close());
    const { stdout, end } = await run(launcher, ["sh", "-c", "echo $$; id -u; id -G"], {
      newPidNamespace: true,
      confine: { uid: 65534, gid: 65534 },
    });
    t.match(end, { exitCode: 0 });
    t.equal(stdout.toString(), "1\n65534\n65534\n");
    const orphaning = "sleep 1000 & exec sleep 0.05";
    const alone = await run(launcher, ["sh", "-c", orphaning], { newPidNamespace: true });
    t.match(alone.end, { exitCode: 0, facts: { leaked: undefined } }, "the kernel killed the rest");
  },
);
