// Conformance of limits, usage and stopping: the right cause with its figure, on every level.
import type { Test } from "tap";
import type { Usage } from "../../agent/exec/launcher/process.ts";
import { until } from "../rig/until.ts";
import { failsWith, isSuccess, python, type Subject, shell } from "./subject.ts";

const mebibyte = 2 ** 20;

export async function limits(t: Test, subject: Subject): Promise<void> {
  /** What a level without cgroups and folders of its own does not promise. */
  const ofTrees = {
    skip: subject.level === "none" && "level none measures and limits time and output only",
  };

  await t.test("over its time it fails with timeout", async (t) => {
    const story = await subject.run(shell("sleep 60"), { timeoutMs: 400, graceMs: 200 });
    t.equal(failsWith(t, story, "timeout")?.limitMs, 400);
    t.ok((story.end.facts.wallMs ?? 0) >= 390, "not before its time");
    t.ok((story.end.facts.wallMs ?? 1e9) < 10_000);
  });

  await t.test("over its processor time it fails with cpu-time", ofTrees, async (t) => {
    const told = { limits: { cpuTimeMs: 1000 } };
    const story = await subject.run(python("while True: pass"), told);
    t.equal(failsWith(t, story, "cpu-time")?.limitMs, 1000);
  });

  await t.test("over its memory it fails with out-of-memory", ofTrees, async (t) => {
    const told = { limits: { memoryBytes: 96 * mebibyte } };
    const code = "x = []\nwhile True: x.append(b'x' * (4 << 20))";
    const story = await subject.run(python(code), told);
    t.equal(failsWith(t, story, "out-of-memory")?.limitBytes, 96 * mebibyte);
  });

  await t.test("over its processes it fails with pids-limit", ofTrees, async (t) => {
    const code = "import os, time\nfor _ in range(50):\n  if os.fork() == 0: time.sleep(60)";
    const story = await subject.run(python(code), { limits: { pids: 16 } });
    t.equal(failsWith(t, story, "pids-limit")?.limit, 16);
  });

  await t.test("over its output it fails with output-limit, and the rest is dropped", async (t) => {
    const story = await subject.run(shell("yes"), { outputLimitBytes: 100_000, graceMs: 0 });
    t.equal(failsWith(t, story, "output-limit")?.limitBytes, 100_000);
    t.equal(story.stdout.length, 100_000);
    t.ok((story.end.facts.droppedBytes ?? 0) > 0);
  });

  await t.test("over its disk it fails with disk-limit", ofTrees, async (t) => {
    const told = { limits: { diskBytes: 8 * mebibyte } };
    const story = await subject.run(shell("head -c 20000000 /dev/zero >big"), told);
    t.equal(failsWith(t, story, "disk-limit")?.limitBytes, 8 * mebibyte);
    const file = await subject.run(shell("head -c 3000000 /dev/zero >big"), {
      limits: { fileSizeBytes: mebibyte },
    });
    t.equal(failsWith(t, file, "disk-limit")?.limitBytes, mebibyte);
  });

  await t.test("below its limits nothing is felt of them", async (t) => {
    const code = "x = b'x' * (32 << 20)\nimport os\nif os.fork() == 0: os._exit(0)\nos.wait()";
    isSuccess(
      t,
      await subject.run(python(code), {
        limits: { memoryBytes: 128 * mebibyte, pids: 16, cpuTimeMs: 20_000 },
      }),
    );
  });

  await t.test("usage is measured", ofTrees, async (t) => {
    const code = `
import os, time
held = b"x" * (64 << 20)
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0: time.sleep(0.4); os._exit(0)
    children.append(pid)
end = time.process_time() + 0.3
while time.process_time() < end: pass
for pid in children: os.waitpid(pid, 0)`;
    const story = await subject.run(python(code));
    isSuccess(t, story);
    const { facts } = story.end;
    const cpuMs = (facts.cpuUserMs ?? 0) + (facts.cpuSystemMs ?? 0);
    t.ok(cpuMs >= 270 && cpuMs < 5_000, `processor time ${cpuMs} ms`);
    const peak = facts.peakMemoryBytes ?? 0;
    t.ok(peak >= 60 * mebibyte && peak < 400 * mebibyte, `peak memory ${peak}`);
    t.ok((facts.peakPids ?? 0) >= 5 && (facts.peakPids ?? 0) < 64, `peak pids ${facts.peakPids}`);
    t.ok((facts.wallMs ?? 0) >= 300);
  });

  await t.test("a running task is sampled", ofTrees, async (t) => {
    const started = subject.start(python("print('up', flush=True)\nwhile True: pass"));
    await started.said("up");
    const cpuOf = (sample: Usage | undefined) =>
      (sample?.cpuUserMs ?? 0) + (sample?.cpuSystemMs ?? 0);
    const samples = await until(
      "five samples, of which the last has used more processor time than the first",
      () => started.samples() ?? [],
      (list) => list.length >= 5 && cpuOf(list.at(-1)) > cpuOf(list[0]),
    );
    t.ok(samples.every((s) => s.at > 1e12));
    t.ok((samples.at(-1)?.memoryBytes ?? 1) > 0);
    started.attempt.stop(0);
    await started.story;
  });

  await t.test("a stop is polite first, and the end is told as cancelled", async (t) => {
    const code = `
import signal, sys, time
def bye(*_): print("bye", flush=True); sys.exit(5)
signal.signal(signal.SIGTERM, bye)
print("up", flush=True)
time.sleep(60)`;
    const started = subject.start(python(code));
    await started.said("up");
    started.attempt.stop(5_000);
    const story = await started.story;
    t.equal(story.end.outcome.kind, "cancelled");
    t.match(story.stdout.toString(), /bye/);
  });

  await t.test("who does not hear is killed after the grace period", async (t) => {
    const started = subject.start(shell("trap '' TERM; echo up; while :; do sleep 1; done"));
    await started.said("up");
    started.attempt.stop(200);
    const story = await started.story;
    t.equal(story.end.outcome.kind, "cancelled");
  });
}
