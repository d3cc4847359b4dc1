// The launcher's reader of the agent's frames: the C program itself, built with the address and
// undefined-behaviour sanitizers, fed through its pipes. It runs in namespaces of its own on a
// read-only root, because a frame may ask for mounts and programs of any name.
import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { CommandEncoder, encodeEnv } from "../../../agent/exec/launcher/launcher-commands.ts";
import { mutateBytes } from "../engine/bytes.ts";
import { frameOf, mutateFrames } from "../engine/frames.ts";
import { Missing, must, type Target } from "../target.ts";

const root = join(import.meta.dirname, "../../..");
const sources = join(root, "agent/exec/launcher");
const built = join(root, "build/launcher-sanitized");

async function build(): Promise<void> {
  const files = readdirSync(sources).filter((name) => /\.[ch]$/.test(name));
  const newest = Math.max(...files.map((name) => statSync(join(sources, name)).mtimeMs));
  if (existsSync(built) && statSync(built).mtimeMs > newest) return;
  mkdirSync(join(root, "build"), { recursive: true });
  const flags = [
    "-std=gnu11",
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
  ];
  const code = files.filter((name) => name.endsWith(".c")).map((name) => join(sources, name));
  await promisify(execFile)("cc", [...flags, "-o", built, ...code]).catch((error: Error) => {
    throw new Missing(`no compiler with sanitizers: ${error.message.slice(0, 200)}`);
  });
}

const enter =
  "mount --make-rprivate / && mount -o remount,bind,ro / && mount -t tmpfs t /tmp && mount -t tmpfs t /dev/shm && exec";
const inside = ["--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "sh", "-c"];

function commands(fill: (encoder: CommandEncoder) => void): Buffer {
  const encoder = new CommandEncoder();
  fill(encoder);
  return encoder.take() ?? Buffer.alloc(0);
}

export async function open(): Promise<Target> {
  await build();
  try {
    execFileSync("unshare", [...inside, `${enter} true`], { stdio: "pipe" });
  } catch (error) {
    throw new Missing(`no namespaces of our own: ${String(error).slice(0, 200)}`);
  }
  const env = encodeEnv({ PATH: "/bin", A: "b" });
  if (env === undefined) throw new Error("no environment");
  const base = { argv: ["/bin/true"], env: {}, cwd: "/", graceMs: 10 };
  const seeds = [
    commands((c) => c.spawn(1, base, env)),
    commands((c) => {
      c.spawn(
        1,
        {
          ...base,
          argv: ["echo", "x"],
          timeoutMs: 100,
          outputLimitBytes: 3,
          mark: Buffer.alloc(8, 1),
        },
        env,
      );
      c.kill(1, 0);
      c.usage(1);
    }),
    commands((c) => {
      c.spawn(
        2,
        { ...base, argv: ["/bin/cat"], relay: true, isChannelStdio: true, sampled: true },
        env,
      );
      c.channel(2, Buffer.from("hello"));
      c.channel(2, Buffer.alloc(0));
      c.arm(2, { graceMs: 1, timeoutMs: 5, rlimits: [{ name: "nofile", soft: 10, hard: 20 }] });
    }),
    commands((c) => {
      const seccomp = { allow: ["read", "write", "exit_group", "execve"] };
      c.spawn(
        3,
        { ...base, confine: { uid: 65534, gid: 65534, seccomp, writable: ["/tmp"] } },
        env,
      );
    }),
    commands((c) => {
      c.spawn(
        4,
        { ...base, newPidNamespace: true, limits: { memoryBytes: 2 ** 24, pids: 4, cpuTimeMs: 5 } },
        env,
      );
      c.tmpfs(5, "mount", "/tmp/x", { bytes: 65536, inodes: 10 });
      c.tmpfs(6, "resize", "/tmp/x", { bytes: 131072, inodes: 10 });
      c.tmpfs(7, "unmount", "/tmp/x", { bytes: 0, inodes: 0 });
    }),
    commands((c) => {
      c.spawn(
        8,
        {
          ...base,
          channel: "/tmp/none",
          stdin: "/etc/hostname",
          rlimits: [{ name: "cpu", soft: 1, hard: 1 }],
        },
        env,
      );
      c.spawn(8, base, env);
    }),
    commands((c) => {
      c.spawn(10, { ...base, argv: ["/bin/sleep", "0.02"] }, env);
      c.spawn(11, base, env, { behind: 10, isCondition: true, absent: "/tmp/none" });
      c.spawn(12, { ...base, argv: ["echo", "x"] }, env, {
        behind: 11,
        isCondition: false,
        patienceMs: 5,
      });
      c.spawn(13, base, env, { behind: 12, isCondition: true });
      c.kill(12, 0);
    }),
    frameOf(Buffer.from([9, 1, 0, 0, 0])),
  ];
  return {
    boundMs: 20_000,
    maxBytes: 4096,
    grows: false,
    dictionary: [
      "/bin/true",
      "/bin/echo",
      "PATH=",
      "EDGEDAG_WORKER_CLAIM=/tmp/c",
      "\0",
      "read,write",
      "/tmp",
    ],
    seeds: () => seeds,
    mutate: (input, random, other) =>
      random.once(4)
        ? mutateBytes(input, random, other, ["\0", "/bin/true"])
        : mutateFrames(input, random, other, (body, donor) =>
            mutateBytes(body, random, donor, ["\0", "PATH="]),
          ),
    run: (input) => feed(input),
  };
}

function feed(input: Buffer): Promise<void> {
  const child = spawn("unshare", [...inside, `${enter} ${built} --serve`], {
    stdio: ["pipe", "pipe", "pipe"],
    // Tasks never die of the sanitizer's own allocations; a leak is looked at elsewhere.
    env: {
      PATH: process.env.PATH ?? "/usr/bin:/bin",
      ASAN_OPTIONS: "detect_leaks=0:exitcode=99:abort_on_error=0",
      UBSAN_OPTIONS: "print_stacktrace=1:exitcode=99",
    },
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-6000);
  });
  child.stdout.resume();
  // It may be gone before all is written.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      try {
        must(!/Sanitizer|runtime error:/.test(said), `the launcher: ${said}`);
        must(
          code === 0 || (code === 70 && said.startsWith("launcher: ")),
          `the launcher ended with ${code ?? signal}: ${said}`,
        );
        resolve();
      } catch (error) {
        reject(error);
      }
    });
  });
}
