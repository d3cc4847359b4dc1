// Level gvisor with the real runsc: what runs inside, limits with their cause, what is denied, and
// that nothing is left.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { OneCall } from "../../agent/exec/isolation/attempt/one-call.ts";
import { type Box, type BoxEnd, BoxError, type BoxLimits } from "../../agent/exec/isolation/box.ts";
import { mountsBelow } from "../../agent/exec/isolation/files/box-folder.ts";
import { findRunsc } from "../../agent/exec/isolation/gvisor/runsc.ts";
import { findTestRunsc, runscProcesses, startGvisor } from "./gvisor-rig.ts";
import { newFolder, root, runIn, smallLimits } from "./isolation-rig.ts";

const MiB = 2 ** 20;
const found = findTestRunsc();
const runsc = "path" in found ? found.path : "";
const options = "reason" in found ? { skip: found.reason } : {};

/** Debian 12's: our Node.js runner never says hello in it (docs/isolation.md). */
const isOld = runsc !== "" && execFileSync(runsc, ["--version"]).includes("2022");

/** The limit that ended it, whether the process or the whole box tells. */
async function exceededBy(box: Box, limits: BoxLimits, argv: string[]) {
  const ended = Promise.withResolvers<BoxEnd>();
  box.onEnd = ended.resolve;
  await box.arm(limits, { graceMs: 0 });
  const { end } = await runIn(box, argv);
  if (end.kind === "exited" && end.stopped !== undefined) return end.stopped;
  if (end.kind === "lost") return (await ended.promise).exceeded;
  // With its task the whole box may have been killed: then its end tells.
  const usage = await box.usage();
  return usage === undefined ? (await ended.promise).exceeded : usage.exceeded;
}

const fillMemory = "b = []\nwhile True: b.append(bytearray(4 << 20))";
const forkMany =
  "import os, time\nfor _ in range(200): os.fork() == 0 and (time.sleep(30), os._exit(0))";
/** Is refused one process only, takes no notice of it, and ends well. */
const forkAndHide =
  "import os, time\nkids = []\ntry:\n  while True:\n    p = os.fork()\n    if p == 0: time.sleep(30)\n" +
  "    kids.append(p)\nexcept OSError: pass\nfor k in kids: os.kill(k, 9)";

t.test("gvisor boxes", options, async (t) => {
  const folder = newFolder(t);
  const tag = `g${process.pid}`;
  await using parts = await startGvisor(folder, tag, runsc);
  t.match(await parts.maker.platform(), /^(systrap|ptrace)$/);

  await t.test("a command, files in and out, usage", async (t) => {
    await parts.inBox(async (box) => {
      await box.arm(smallLimits, { graceMs: 0 });
      writeFileSync(join(box.folder.io, "in"), "from the host", { mode: 0o644 });
      const script = 'pwd; cat "$0/in"; echo done >out; env; id -u; exit 3';
      const { stdout, end } = await runIn(box, ["sh", "-c", script, box.inside.io]);
      t.match(end, { kind: "exited", exitCode: 3 });
      t.match(stdout, `${box.inside.work}\nfrom the host`);
      t.match(stdout, `\n${box.folder.uid}\n`);
      t.notMatch(stdout, "SECRET");
      t.equal(readFileSync(join(box.folder.work, "out"), "utf8"), "done\n");
      const usage = await box.usage();
      t.ok((usage?.peakMemoryBytes ?? 0) > MiB, "memory is measured");
      t.ok((usage?.cpuUserMs ?? 0) + (usage?.cpuSystemMs ?? 0) > 0, "so is time");
      t.ok((usage?.peakPids ?? 0) >= 1 && (usage?.peakPids ?? 0) < 10, "of the task's processes");
    });
  });

  for (const runtime of ["python", "node"] as const) {
    const skip = runtime === "node" && isOld && "this runsc of 2022 does not run it";
    await t.test(`a ${runtime} runner waits inside, and serves one call`, { skip }, async (t) => {
      await parts.inBox(
        async (box) => {
          const worker = await OneCall.warm(box, runtime);
          await box.arm(smallLimits, { graceMs: 0 });
          const code =
            runtime === "python"
              ? "import os\ndef main(a):\n  print('hi')\n  return [a, os.getcwd()]\n"
              : "export function main({a}) { console.log('hi'); return [a, process.cwd()]; }\n";
          let said = "";
          const call = worker.call(
            {
              ...{ task: "t", attempt: 1, run: "r", code, function: "main", args: { a: 7 } },
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
          t.match(await call.ran, { result: [7, box.inside.work], failure: undefined });
          t.equal(said, "hi\n");
        },
        { language: runtime },
      );
    });
  }

  for (const [name, program, expected] of [
    ["memory", fillMemory, "memory"],
    ["processes", forkMany, "pids"],
    ["processes, although the task hides it,", forkAndHide, "pids"],
    ["time on the processor", "while True: pass", "cpu-time"],
  ] as const) {
    await t.test(`a limit of ${name} holds and is the cause`, async (t) => {
      const limits = { ...smallLimits, memoryBytes: 64 * MiB, pids: 20, cpuTimeMs: 3_000 };
      await parts.inBox(async (box) => {
        t.equal(await exceededBy(box, limits, ["python3", "-c", program]), expected);
      });
    });
  }

  await t.test("a timeout, and limits of disk and of each process", async (t) => {
    await parts.inBox(async (box) => {
      const limits = { ...smallLimits, diskBytes: MiB, openFiles: 16 };
      await box.arm(limits, { graceMs: 0 });
      const { end } = await runIn(box, ["sleep", "30"], { timeoutMs: 200 });
      t.match(end, { kind: "exited", stopped: "timeout" });
      const { stdout } = await runIn(box, ["sh", "-c", "ulimit -n; ulimit -c"]);
      t.equal(stdout, "16\n0\n");
      const filled = await runIn(box, ["sh", "-c", "head -c 4000000 /dev/zero >big"]);
      t.match(filled.stderr, "No space left");
      t.equal(await box.folder.isFull(), true);
    });
  });

  await t.test("no network, no capabilities, no writing, no other kernel's files", async (t) => {
    await parts.inBox(async (box) => {
      await box.arm(smallLimits, { graceMs: 0 });
      const says = async (script: string) => (await runIn(box, ["sh", "-c", script])).stdout;
      const caps = await says("grep Cap /proc/self/status");
      t.match(caps, /^(Cap\w+:\t0+\n)+$/);
      t.equal(await says("touch /usr/x /x /etc/x 2>/dev/null || echo no"), "no\n");
      t.equal(await says("unshare -Ur true 2>/dev/null || echo no"), "no\n");
      t.equal(await says(`ls /root /home '${root}' 2>/dev/null; echo`), "\n");
      const connect =
        "import socket\ntry: socket.create_connection(('127.0.0.1', 22), 2)\nexcept OSError: print('no')";
      t.equal((await runIn(box, ["python3", "-c", connect])).stdout, "no\n");
      const names = "import os; print([n for n in os.listdir('/sys/class/net') if n != 'lo'])";
      t.match((await runIn(box, ["python3", "-c", names])).stdout, /^(\[\]\n)?$/);
    });
  });

  await t.test("the host's network where it is asked for", async (t) => {
    const server = createServer((socket) => socket.end("hello"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await parts.inBox(
      async (box) => {
        await box.arm(smallLimits, { graceMs: 0 });
        const read = `import socket; print(socket.create_connection(("127.0.0.1", ${port})).recv(9))`;
        t.equal((await runIn(box, ["python3", "-c", read])).stdout, "b'hello'\n");
      },
      { network: true },
    );
    server.close();
  });

  await t.test("mounts of the task", async (t) => {
    const data = join(folder, "data");
    mkdirSync(data);
    writeFileSync(join(data, "f"), "seen");
    const mounts = [{ source: data, target: "/data/set", isWritable: false }];
    await parts.inBox(
      async (box) => {
        await box.arm(smallLimits, { graceMs: 0 });
        const { stdout } = await runIn(box, ["sh", "-c", "cat /data/set/f; : >/data/set/g"]);
        t.equal(stdout, "seen");
        t.notOk(existsSync(join(data, "g")));
      },
      { mounts },
    );
  });

  await t.test("why a box cannot be made", async (t) => {
    const missing = [{ source: "/no/such/folder", target: "/data", isWritable: false }];
    await t.rejects(
      parts.inBox(async () => {}, { mounts: missing }),
      BoxError,
    );
  });

  t.strictSame(runscProcesses(tag), [], "no process is left");
  const left = readdirSync(join(folder, "runsc")).filter((name) => name.startsWith("edgedag-"));
  t.strictSame(left, [], "and no bundle");
});

t.test("gvisor: nothing is left after kill -9 of the owner", options, async (t) => {
  const folder = newFolder(t);
  const tag = `gk${process.pid}`;
  const node = join(root, "node_modules/node/bin/node");
  const file = join(import.meta.dirname, "gvisor-owner.ts");
  const owner = spawn(node, ["--disable-warning=ExperimentalWarning", file, folder, tag, runsc], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(owner, "exit");
  await once(owner.stdout, "data");
  t.ok(runscProcesses(tag).length >= 2, "it has boxes");
  owner.kill("SIGKILL");
  await exit;
  const parts = await startGvisor(folder, tag, runsc);
  t.strictSame(runscProcesses(tag), []);
  t.strictSame(mountsBelow(folder), []);
  t.equal(await parts.inBox(async () => "well"), "well");
  await parts[Symbol.asyncDispose]();
  t.notOk(existsSync(join(folder, "runsc")));
});

t.test("a runsc that is not there", async (t) => {
  t.match(findRunsc({ root: "/no/such", searchPath: "/no/bin" }), {
    found: false,
    detail: "there is no runsc in PATH",
  });
  t.match(findRunsc({ root: "/", searchPath: "", explicit: "/no/runsc" }), { found: false });
});
