// Level docker, with a dockerd of the test's own and containers of an image that is made here.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { OneCall } from "../../agent/exec/isolation/attempt/one-call.ts";
import {
  type Box,
  type BoxEnd,
  BoxError,
  type BoxKind,
  type BoxLimits,
} from "../../agent/exec/isolation/box.ts";
import { until } from "../rig/until.ts";
import { containersOf, dockerBoxes, image, openFolders, startEngine } from "./docker-rig.ts";
import { kindOf, newFolder, processesWith, root, runIn, smallLimits } from "./isolation-rig.ts";

const MiB = 2 ** 20;
const runsc = join(root, "build", "runsc");
const hasRunsc = existsSync(runsc);
const engine = await startEngine(hasRunsc ? runsc : "");
const skip = typeof engine === "string" && engine;
const socketPath = typeof engine === "string" ? "" : engine.socketPath;
t.teardown(async () => {
  if (typeof engine !== "string") await engine.stop();
});

const fillMemory = "b = []\nwhile True: b.append(bytearray(4 << 20))";
const fork =
  "import os, time\nfor _ in range(200): os.fork() == 0 and (time.sleep(30), os._exit(0))";

t.test("what runs in a container", { skip }, async (t) => {
  const tag = `t${process.pid}a`;
  const boxes = dockerBoxes(socketPath, tag);
  const folders = await openFolders(newFolder(t));
  await boxes.check(["python", "node", "shell"]);

  const inBox = async <T>(use: (box: Box) => Promise<T>, more: Partial<BoxKind> = {}) => {
    const folder = await folders.take();
    const box = await boxes.make(kindOf("docker", more), folder, smallLimits);
    try {
      return await use(box);
    } finally {
      await box.destroy();
      await folder.dispose();
    }
  };

  await t.test("a command, with the image's environment, as a user without power", async (t) => {
    await inBox(async (box) => {
      await box.arm(smallLimits, { graceMs: 0 });
      await writeFile(join(box.folder.io, "in"), "from the host", { mode: 0o644 });
      const script =
        'pwd; cat "$0/in"; echo; echo done >out; env; id -u; grep -E "Cap|NoNew|Secc" /proc/self/status';
      const { stdout, end } = await runIn(box, ["sh", "-c", script, box.inside.io]);
      t.match(end, { kind: "exited", exitCode: 0 });
      t.match(stdout, "/work\nfrom the host\n");
      t.match(stdout, "PATH=/usr/local/bin:/usr/bin:/bin\n", "the image's");
      t.notMatch(stdout, "SECRET");
      t.match(stdout, `\n${box.folder.uid}\n`);
      t.equal(stdout.match(/^Cap\w+:\t0+$/gm)?.length, 5, "no capability");
      t.match(stdout, /^NoNewPrivs:\t1$/m);
      t.match(stdout, /^Seccomp:\t2$/m);
      t.equal(await readFile(join(box.folder.work, "out"), "utf8"), "done\n");
      const usage = await box.usage();
      t.ok((usage?.peakMemoryBytes ?? 0) > 0 && (usage?.cpuSystemMs ?? -1) >= 0, "is measured");
    });
  });

  await t.test("nothing but its own folders can be written, and there is no network", async (t) => {
    await inBox(async (box) => {
      const script = [
        "for f in / /usr /etc /edgedag /edgedag/workers /sys/fs/cgroup/pids /proc/sys/kernel; do",
        "  touch $f/x 2>/dev/null && echo written $f; done",
        `touch /tmp/x ${box.inside.work}/x /run/edgedag/x && echo own; ls /sys/class/net`,
        "mount -t tmpfs none /tmp 2>&1 | tail -1; unshare -U true; kill -9 1; ls /proc/1/root",
      ].join("\n");
      const { stdout } = await runIn(box, ["bash", "-c", script]);
      t.match(stdout, /^own\nlo$/m);
      t.notMatch(stdout, "written");
      t.match(await runIn(box, ["true"]), { end: { kind: "exited", exitCode: 0 } }, "it lives");
    });
  });

  for (const [name, argv, expected] of [
    ["memory", ["python3", "-c", fillMemory], "memory"],
    ["processes", ["python3", "-c", fork], "pids"],
    ["time on the processor", ["python3", "-c", "while True: pass"], "cpu-time"],
  ] as const) {
    await t.test(`a limit of ${name} that came with the task is the cause`, async (t) => {
      const limits: BoxLimits = { ...smallLimits, memoryBytes: 64 * MiB, pids: 20, cpuTimeMs: 500 };
      await inBox(async (box) => {
        const ended = Promise.withResolvers<BoxEnd>();
        box.onEnd = ended.resolve;
        const samples: number[] = [];
        box.onSample = (usage) => samples.push(usage.at);
        await box.arm(limits, { graceMs: 0 });
        const { end } = await runIn(box, [...argv]);
        const exceeded =
          end.kind === "lost" ? (await ended.promise).exceeded : (await box.usage())?.exceeded;
        t.equal(exceeded, expected);
        const usage = await box.usage();
        t.ok((usage?.peakMemoryBytes ?? 0) <= 64 * MiB);
        t.ok((usage?.peakPids ?? 0) <= 20, `${usage?.peakPids} processes`);
        if (expected === "cpu-time") {
          const usedMs = (usage?.cpuUserMs ?? 0) + (usage?.cpuSystemMs ?? 0);
          t.ok(usedMs > 500 && usedMs < 1500, `${usedMs} ms`);
          t.ok(samples.length >= 2, "samples on the way");
        }
      });
    });
  }

  await t.test("limits can be raised, and usage counts from then on", async (t) => {
    await inBox(async (box) => {
      await runIn(box, ["python3", "-c", "bytearray(150 << 20)"]);
      await box.arm({ ...smallLimits, memoryBytes: 512 * MiB, pids: 300 }, { graceMs: 0 });
      t.ok(((await box.usage())?.peakMemoryBytes ?? 0) < 100 * MiB, "not what was before");
      const { end } = await runIn(box, ["python3", "-c", "bytearray(300 << 20)"]);
      t.match(end, { kind: "exited", exitCode: 0 });
      const usage = await box.usage();
      t.equal(usage?.exceeded, undefined);
      t.ok((usage?.peakMemoryBytes ?? 0) > 290 * MiB, `${usage?.peakMemoryBytes}`);
    });
  });

  for (const runtime of ["python", "node"] as const) {
    await t.test(`a ${runtime} runner waits inside, and serves one call`, async (t) => {
      await inBox(
        async (box) => {
          const worker = await OneCall.warm(box, runtime, {});
          await box.arm(smallLimits, { graceMs: 0 });
          const code =
            runtime === "python"
              ? "import os\ndef main(a):\n  print('hi')\n  return [a, os.getcwd()]\n"
              : "export function main({a}) { console.log('hi'); return [a, process.cwd()]; }\n";
          let said = "";
          const call = worker.call(
            {
              ...{ task: "t", attempt: 1, run: "r", code, function: "main", args: { a: 7 } },
              ...{ env: { ...box.env }, cwd: box.inside.work, graceMs: 0 },
              ...{ timeoutMs: 20_000, outputLimitBytes: 10_000 },
            },
            {
              started: () => {},
              output: (_stream, bytes) => {
                said += bytes.toString();
              },
            },
          );
          t.match(await call.ran, { result: [7, "/work"], failure: undefined });
          t.equal(said, "hi\n");
        },
        { language: runtime },
      );
    });
  }

  await t.test("much output comes out whole", async (t) => {
    await inBox(async (box) => {
      const { stdout } = await runIn(box, ["sh", "-c", "seq 1 500000"]);
      t.equal(stdout.length, 3_388_895);
      t.equal(stdout.slice(-7), "500000\n");
    });
  });

  await boxes.close();
  t.equal(await containersOf(socketPath, tag), 0, "no container is left");
  await folders.close();
});

t.test("a network and mounts come only when they are asked for", { skip }, async (t) => {
  const folder = newFolder(t);
  const boxes = dockerBoxes(socketPath, `t${process.pid}n`, { networkMode: "host" });
  const folders = await openFolders(folder);
  await writeFile(join(folder, "seen"), "from a mount");
  const mount = { source: join(folder, "seen"), target: "/data/seen", isWritable: false };
  const kind = kindOf("docker", { network: true, mounts: [mount] });
  const box = await boxes.make(kind, await folders.take(), smallLimits);
  const script = "cat /data/seen; ls /sys/class/net | wc -l; grep -c . /proc/net/dev";
  const { stdout } = await runIn(box, ["sh", "-c", script]);
  t.match(stdout, /^from a mount/);
  const lines = (await readFile("/proc/net/dev", "utf8")).trim().split("\n").length;
  t.equal(Number(stdout.trim().split("\n").at(-1)), lines, "the host's devices");
  await boxes.close();
});

t.test(
  "gVisor as a runtime of the engine is level gvisor",
  {
    skip: skip || (!hasRunsc && "no build/runsc"),
  },
  async (t) => {
    const tag = `t${process.pid}g`;
    const boxes = dockerBoxes(socketPath, tag, { runtime: "runsc", level: "gvisor" });
    await boxes.check(["python"]);
    const folders = await openFolders(newFolder(t));
    const box = await boxes.make(kindOf("gvisor"), await folders.take(), smallLimits);
    await box.arm({ ...smallLimits, cpuTimeMs: 20_000 }, { graceMs: 0 });
    const { stdout } = await runIn(box, [
      "sh",
      "-c",
      `cat /proc/version; echo it >${box.inside.work}/f`,
    ]);
    t.not(stdout, await readFile("/proc/version", "utf8"), "another kernel");
    t.equal(await readFile(join(box.folder.work, "f"), "utf8"), "it\n");
    t.ok(((await box.usage())?.memoryBytes ?? 0) > 0, "the host measures it");
    await box.destroy();
    await boxes.close();
    t.equal(await containersOf(socketPath, tag), 0);
  },
);

t.test("what is missing is told with a remedy", async (t) => {
  const refused = async (made: Promise<unknown>, message: RegExp, remedy: RegExp) => {
    const error = await made.then(
      () => undefined,
      (caught: unknown) => caught,
    );
    if (!(error instanceof BoxError)) throw error;
    t.match(error.message, message);
    t.match(error.remedy, remedy);
  };
  const folder = newFolder(t);
  const nobody = dockerBoxes(join(folder, "no.sock"), "x");
  await refused(nobody.check(["python"]), /there is no .*no\.sock/, /EDGEDAG_DOCKER_SOCKET/);
  await refused(nobody.cleanUp(), /ENOENT/, /docker -H/);
  await nobody.close();
  if (skip) return;

  const wrong = { images: { python: image, c: "no/such-image:1" } };
  const boxes = dockerBoxes(socketPath, `t${process.pid}m`, wrong);
  await boxes.check(["python"]);
  await refused(boxes.check(["python", "c"]), /no image no\/such-image:1 for c/, /docker pull/);
  await refused(boxes.check(["rust"]), /no image is known for .* rust/, /rust=IMAGE/);
  const folders = await openFolders(folder);
  const slot = await folders.take();
  const make = async (more: Partial<BoxKind>) =>
    await boxes.make(kindOf("docker", { language: "python", ...more }), slot, smallLimits);
  await refused(make({ language: "c" }), /no image no\/such-image:1/, /docker pull/);
  const mount = { source: "/no/such/folder", target: "/data", isWritable: false };
  await refused(make({ mounts: [mount] }), /\/no\/such\/folder/, /./);
  t.equal(await containersOf(socketPath, `t${process.pid}m`), 0);
  await boxes.close();
  const runtime = dockerBoxes(socketPath, "x", { runtime: "kata" });
  await refused(runtime.check([]), /no runtime kata/, /daemon\.json/);
  await runtime.close();
});

t.test(
  "after kill -9 of the agent nothing runs, and the next removes the rest",
  { skip },
  async (t) => {
    const tag = `t${process.pid}k`;
    const owner = spawn(
      process.execPath,
      [
        "--disable-warning=ExperimentalWarning",
        join(import.meta.dirname, "docker-owner.ts"),
        ...[socketPath, newFolder(t), tag],
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const exit = once(owner, "exit");
    await once(owner.stdout, "data");
    owner.kill("SIGKILL");
    await exit;
    const sleeping = () => processesWith("sleep\x005432");
    await until("nothing runs", sleeping, (found) => found.length === 0);
    t.equal(await containersOf(socketPath, tag), 2, "but the containers are there");
    const next = dockerBoxes(socketPath, tag);
    await next.cleanUp();
    t.equal(await containersOf(socketPath, tag), 0);
    await next.close();
  },
);

t.test(
  "when the engine is killed its boxes end, and it is used again when it is back",
  { skip },
  async (t) => {
    if (typeof engine === "string") return;
    const tag = `t${process.pid}e`;
    const boxes = dockerBoxes(socketPath, tag);
    t.teardown(() => boxes.close());
    const groupsBefore = new Set(containerGroups());
    const folders = await openFolders(newFolder(t));
    const kind = kindOf("docker");
    const waiting = await boxes.make(kind, await folders.take(), smallLimits);
    const busy = await boxes.make(kind, await folders.take(), smallLimits);
    const ends = [waiting, busy].map((box) => {
      const ended = Promise.withResolvers<BoxEnd>();
      box.onEnd = ended.resolve;
      return ended.promise;
    });
    await busy.arm(smallLimits, { graceMs: 0 });
    const story = runIn(busy, ["sh", "-c", "setsid sleep 6543 & sleep 6543"]);
    await until(
      "it runs",
      () => processesWith("sleep\x006543").length,
      (count) => count === 2,
    );
    process.kill(engine.pid, "SIGKILL");
    t.match((await story).end, { kind: "lost" });
    for (const end of await Promise.all(ends)) t.match(end.detail, /engine/);
    await until(
      "nothing runs",
      () => processesWith("sleep\x006543").length,
      (count) => count === 0,
    );
    const made = boxes.make(kind, await folders.take(), smallLimits);
    await t.rejects(made, { name: "BoxError", message: /engine cannot be used/ });

    await engine.startAgain();
    const box = await boxes.make(kind, await folders.take(), smallLimits);
    t.match(await runIn(box, ["true"]), { end: { kind: "exited", exitCode: 0 } });
    await boxes.close();
    t.equal(await containersOf(socketPath, tag), 0, "also those of before are removed");
    t.strictSame(
      containerGroups().filter((group) => !groupsBefore.has(group)),
      [],
      "and their groups",
    );
  },
);

/** Of all engines on this machine, in all hierarchies. */
function containerGroups(): string[] {
  return readdirSync("/sys/fs/cgroup")
    .map((name) => join("/sys/fs/cgroup", name, "docker"))
    .filter(existsSync)
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((path) => /\/[0-9a-f]{64}$/.test(path));
}
