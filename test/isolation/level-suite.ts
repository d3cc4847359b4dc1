// What every level that the agent's launcher holds must do, told once and run for each: commands and
// runners inside, limits with their cause, and nothing that is left.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { OneCall } from "../../agent/exec/isolation/attempt/one-call.ts";
import { type Box, type BoxEnd, BoxError, type BoxLimits } from "../../agent/exec/isolation/box.ts";
import type { WarmBox } from "../../agent/exec/isolation/pool/box-pool.ts";
import { until } from "../rig/until.ts";
import { isRoot, kindOf, newFolder, root, runIn, smallLimits } from "./isolation-rig.ts";
import { boxProcesses, type LevelParts, leftOf, startParts } from "./level-rig.ts";

const MiB = 2 ** 20;
type LauncherLevel = "subprocess" | "seccomp";

const fillMemory = "b = []\nwhile True: b.append(bytearray(4 << 20))";
const fork =
  "import os, time\nfor _ in range(200): os.fork() == 0 and (time.sleep(30), os._exit(0))\ntime.sleep(30)";

/** The limit that ended it, whether the process or the whole box tells. */
async function exceededBy(
  warm: WarmBox<OneCall>,
  limits: BoxLimits,
  argv: string[],
): Promise<string | undefined> {
  const { box } = warm;
  const ended = Promise.withResolvers<BoxEnd>();
  box.onEnd = ended.resolve;
  await box.arm(limits, { graceMs: 0 });
  const { end } = await runIn(box, argv);
  if (end.kind === "exited" && end.stopped !== undefined) return end.stopped;
  if (end.kind === "lost") return (await ended.promise).exceeded;
  const usage = await box.usage();
  return usage?.exceeded;
}

export function levelSuite(level: LauncherLevel): void {
  const tag = `t${process.pid}${level}`;

  t.test(`${level}: what runs in a box`, async (t) => {
    const folder = newFolder(t);
    await using parts = await startParts(folder, tag);
    const pool = parts.pool();
    const kind = kindOf(level);

    const inBox = async <T>(use: (box: Box, warm: WarmBox<OneCall>) => Promise<T>): Promise<T> => {
      const warm = await pool.take(kind, smallLimits);
      try {
        return await use(warm.box, warm);
      } finally {
        await warm.release();
      }
    };

    await t.test("a command, with the box's environment and folders", async (t) => {
      await inBox(async (box) => {
        await box.arm(smallLimits, { graceMs: 0 });
        await writeFile(join(box.folder.io, "in"), "from the host", { mode: 0o644 });
        const script = 'pwd; cat "$0/in"; echo done >out; env';
        const { stdout, end } = await runIn(box, ["sh", "-c", script, box.inside.io]);
        t.match(end, { kind: "exited", exitCode: 0, stopped: undefined });
        t.match(stdout, `${box.inside.work}\nfrom the host`);
        t.notMatch(stdout, "SECRET");
        t.equal(await readFile(join(box.folder.work, "out"), "utf8"), "done\n");
        const usage = await box.usage();
        // Without cgroups only what is there at a look is seen.
        if (parts.keeper.cgroups.version === 0) return;
        t.ok((usage?.peakMemoryBytes ?? 0) > 0 && (usage?.peakPids ?? 0) > 0, "usage is measured");
      });
    });

    await t.test(
      "as a user of its own, without any power",
      { skip: !isRoot && "not root" },
      async (t) => {
        await inBox(async (box) => {
          const { stdout } = await runIn(box, [
            "sh",
            "-c",
            "id -u; grep -E 'Cap|NoNewPrivs' /proc/self/status",
          ]);
          const [uid, ...rest] = stdout.trim().split("\n");
          t.equal(Number(uid), box.folder.uid);
          const powers = rest.filter((line) => line.startsWith("Cap")).map((line) => line.slice(8));
          t.ok(powers.length === 5 && powers.every((power) => Number(`0x${power}`) === 0));
          t.match(rest.at(-1), /NoNewPrivs:\t1/);
        });
      },
    );

    for (const [name, argv, expected] of [
      ["memory", ["python3", "-c", fillMemory], "memory"],
      ["processes", ["python3", "-c", fork], "pids"],
      ["time on the processor", ["python3", "-c", "while True: pass"], "cpu-time"],
    ] as const) {
      await t.test(`a limit of ${name} holds and is the cause`, async (t) => {
        const own = {
          memory: { memoryBytes: 64 * MiB },
          pids: { pids: 20 },
          "cpu-time": { cpuTimeMs: 500 },
        };
        // Where forks that share their memory are counted in full, that must not be the cause.
        const limits = { ...smallLimits, memoryBytes: 4096 * MiB, ...own[expected] };
        const program = ["/usr/bin/python3", ...argv.slice(1)];
        await inBox(async (_box, warm) => {
          t.equal(await exceededBy(warm, limits, program), expected);
        });
      });
    }

    await t.test("a limit of disk holds", { skip: !isRoot && "not root" }, async (t) => {
      await inBox(async (box) => {
        await box.arm({ ...smallLimits, diskBytes: MiB }, { graceMs: 0 });
        t.equal(await box.folder.isFull(), false);
        const { end, stderr } = await runIn(box, ["sh", "-c", "head -c 4000000 /dev/zero >big"]);
        t.match(end, { kind: "exited", exitCode: 1 });
        t.match(stderr, "No space left");
        t.equal(await box.folder.isFull(), true);
        const used = await box.folder.usedBytes();
        t.ok(used > 0.9 * MiB && used <= MiB, `${used} bytes`);
      });
      await inBox(async (box) => {
        await box.arm({ ...smallLimits, diskBytes: MiB }, { graceMs: 0 });
        const script = "i=0; while [ $i -lt 1000 ]; do : >f$i || exit 3; i=$((i+1)); done";
        await runIn(box, ["sh", "-c", script]);
        t.equal(await box.folder.isFull(), true, "and of the number of files");
      });
    });

    await t.test("limits of each process hold", async (t) => {
      await inBox(async (box) => {
        const limits = { ...smallLimits, openFiles: 16, fileSizeBytes: 1000 };
        await box.arm(limits, { graceMs: 0 });
        const { stdout } = await runIn(box, ["sh", "-c", "ulimit -n; ulimit -f; ulimit -c"]);
        t.equal(stdout, "16\n1\n0\n");
      });
    });

    for (const runtime of ["python", "node"] as const) {
      await t.test(`a ${runtime} runner waits inside, and serves one call`, async (t) => {
        const taken = await pool.take(kindOf(level, { language: runtime }), smallLimits);
        const { box, worker } = taken;
        if (worker === undefined) throw new Error("nothing waits inside");
        await box.arm({ ...smallLimits, openFiles: 200 }, { graceMs: 0 });
        const code =
          runtime === "python"
            ? "import os\ndef main(a):\n  print('hi')\n  return [a, os.getcwd()]\n"
            : "export function main({a}) { console.log('hi'); return [a, process.cwd()]; }\n";
        let said = "";
        const call = worker.call(
          {
            task: "t",
            attempt: 1,
            run: "r",
            code,
            function: "main",
            args: { a: 7 },
            env: { ...box.env },
            cwd: box.inside.work,
            timeoutMs: 20_000,
            graceMs: 0,
            outputLimitBytes: 10_000,
          },
          {
            started: () => {},
            output: (_stream, bytes) => {
              said += bytes.toString();
            },
          },
        );
        const ran = await call.ran;
        t.match(ran, { result: [7, box.inside.work], failure: undefined });
        t.equal(said, "hi\n");
        await taken.release();
      });
    }

    await t.test("what a task leaves running ends with its box", async (t) => {
      await inBox(async (box) => {
        const script = "setsid sleep 4321 & (setsid sleep 4321 &) & exit 0";
        await runIn(box, ["sh", "-c", script]);
      });
      await until(
        "no sleep is left",
        () => boxProcesses(tag, "4321"),
        (found) => found.length === 0,
      );
      t.pass();
    });

    const others = { skip: !isRoot && "its processes cannot be told from those of others" };
    await t.test("a box that dies while it waits is replaced", others, async (t) => {
      const python = kindOf(level, { language: "python" });
      await pool.warm(python, 1);
      const figures = () => pool.metrics().find(({ language }) => language === "python");
      for (const pid of boxProcesses(tag, "runner.py")) process.kill(pid, "SIGKILL");
      await until("it was seen", figures, (now) => (now?.died ?? 0) >= 1);
      await until("it was replaced", figures, (now) => (now?.ready ?? 0) >= 1);
      t.pass();
    });

    await pool.close();
    t.equal(parts.folders.count, 0);
    t.strictSame(
      leftOf(folder, tag).filter((what) => !what.startsWith("/sys/fs/cgroup")),
      [],
    );
  });

  t.test(`${level}: why a box cannot be made`, async (t) => {
    const folder = newFolder(t);
    await using parts = await startParts(folder, tag);
    const slot = await parts.folders.take(MiB);
    const kind = kindOf(level, {
      mounts: [{ source: "/no/such/folder", target: "/data", isWritable: false }],
    });
    if (level === "seccomp") {
      const made = parts.makers.seccomp.make(kind, slot, smallLimits);
      await t.rejects(made, BoxError);
      await t.rejects(made, { message: /\/no\/such\/folder/ });
    }
    await slot.dispose();
  });

  t.test(`${level}: nothing is left after kill -9 of the owner`, async (t) => {
    const folder = newFolder(t);
    const node = join(root, "node_modules/node/bin/node");
    const owner = spawn(
      node,
      [
        "--disable-warning=ExperimentalWarning",
        join(import.meta.dirname, "box-owner.ts"),
        folder,
        tag,
        level,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const exit = once(owner, "exit");
    await once(owner.stdout, "data");
    t.ok(existsSync(join(folder, "boxes", "0", "work", "f")), "it has boxes");
    owner.kill("SIGKILL");
    await exit;
    const parts: LevelParts = await startParts(folder, tag);
    await parts[Symbol.asyncDispose]();
    // What is dead may wait a moment for whoever reaps it.
    await until(
      "nothing is left",
      () => [...leftOf(folder, tag), ...boxProcesses(tag, "5432")],
      (left) => left.length === 0,
    );
  });
}
