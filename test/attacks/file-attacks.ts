// Attacks by the files that a task leaves: the agent must neither read nor write elsewhere for it.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Aftermath, type Attack, bash, python } from "./attack.ts";

const outputs = { patterns: ["out/**", "*.txt"] };

/** No kept file holds a secret, and none is anything but a regular file. */
function keptNothingForeign({ end, bait, keepIn }: Aftermath): string | undefined {
  for (const { path, keptAt, sizeBytes } of end.outputs?.artifacts ?? []) {
    if (!statSync(keptAt).isFile()) return `${path} was kept as something else than a file`;
    if (sizeBytes < 1e6 && readFileSync(keptAt, "utf8").includes(bait.secret))
      return `${path} holds the secret`;
    if (!keptAt.startsWith(keepIn)) return `${path} was kept outside, at ${keptAt}`;
    if (/^root:/m.test(readFileSync(keptAt, "utf8").slice(0, 200)))
      return `${path} is the host's /etc/passwd`;
  }
  return existsSync(join(bait.openFolder, "planted"))
    ? "a file was planted on the host"
    : undefined;
}

export const fileAttacks: readonly Attack[] = [
  {
    name: "output-symlink",
    does: "leaves a symbolic link to a file of the host",
    outputs,
    after: keptNothingForeign,
    run: bash(
      "mkdir out; ln -s {CLOSED}/secret out/a; ln -s /etc/passwd out/b; ln -s {OPEN}/secret c.txt",
    ),
  },
  {
    name: "output-folder-link",
    does: "leaves a folder that is a link to the host's",
    outputs,
    after: keptNothingForeign,
    run: bash("ln -s {CLOSED} out; ln -s /etc d.txt"),
  },
  {
    name: "output-parent",
    does: "leaves links and folders that lead upwards",
    outputs: { patterns: ["out/**", "../**", "out/../../**"] },
    after: keptNothingForeign,
    run: bash(
      "mkdir out; ln -s .. out/up; ln -s ../../../../../../../../etc/passwd out/p; touch 'out/..a'",
    ),
  },
  {
    name: "output-proc-link",
    does: "leaves links into /proc",
    outputs,
    after: keptNothingForeign,
    run: bash(
      "mkdir out; ln -s /proc/self/environ out/e; ln -s /proc/self/root{CLOSED}/secret out/r; ln -s /proc/1/root/etc/passwd out/q",
    ),
  },
  {
    name: "output-hard-link",
    does: "leaves a hard link to a file that is not its own",
    outputs,
    after: keptNothingForeign,
    run: bash(
      "mkdir out; ln {OPEN}/secret out/h 2>/dev/null; ln {CLOSED}/secret out/k 2>/dev/null; ln /etc/passwd out/l 2>/dev/null; true",
    ),
  },
  {
    name: "output-fifo",
    does: "leaves a named pipe, to make the reader wait",
    outputs,
    after: keptNothingForeign,
    run: bash("mkdir out; mkfifo out/f out/g.txt h.txt 2>/dev/null || true"),
  },
  {
    name: "output-socket",
    does: "leaves a socket",
    outputs,
    after: keptNothingForeign,
    run: python(`os.makedirs("out"); socket.socket(socket.AF_UNIX).bind("out/s")`),
  },
  {
    name: "output-device",
    does: "leaves a device",
    outputs,
    after: keptNothingForeign,
    run: bash("mkdir out; mknod out/z c 1 5 2>/dev/null; mknod out/n c 1 3 2>/dev/null; true"),
  },
  {
    name: "output-sparse",
    does: "leaves a file of a terabyte that holds nothing",
    outputs,
    after: (aftermath) =>
      aftermath.end.outputs?.artifacts.some((kept) => kept.sizeBytes > 2 ** 30)
        ? "a terabyte was kept"
        : keptNothingForeign(aftermath),
    run: bash(
      "mkdir out; truncate -s 1T out/big 2>/dev/null; truncate -s 900M out/less 2>/dev/null; true",
    ),
  },
  {
    name: "output-many",
    does: "leaves tens of thousands of files",
    outputs: { patterns: ["out/**"], maxCount: 20 },
    after: (aftermath) =>
      (aftermath.end.outputs?.artifacts.length ?? 0) > 20
        ? "more than 20 files were kept"
        : keptNothingForeign(aftermath),
    run: python(`
os.makedirs("out")
try:
    for i in range(30000): os.close(os.open("out/%d" % i, os.O_CREAT | os.O_WRONLY))
except OSError as e: print(e)`),
  },
  {
    name: "output-too-much",
    does: "leaves more bytes than may be kept",
    outputs: { patterns: ["out/**"], maxBytes: 1 << 20 },
    after: ({ end }) =>
      (end.outputs?.artifacts ?? []).reduce((sum, kept) => sum + kept.sizeBytes, 0) > 1 << 20
        ? "more than 1 MiB was kept"
        : undefined,
    run: bash("mkdir out; for i in 1 2 3 4 5 6; do head -c 500000 /dev/zero >out/$i; done"),
  },
  {
    name: "output-race",
    does: "swaps files for links while its outputs are read, from a daemon that should be dead",
    outputs,
    after: keptNothingForeign,
    run: python(`
os.makedirs("out"); open("out/a", "w").write("mine")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        while True:
            try:
                os.symlink("{CLOSED}/secret", "out/t"); os.rename("out/t", "out/a")
                open("out/u", "w").close(); os.rename("out/u", "out/a")
                os.rename("out", "o2"); os.symlink("{CLOSED}", "out"); os.unlink("out"); os.rename("o2", "out")
            except OSError: pass
    os._exit(0)
os.wait()`),
  },
  {
    name: "result-symlink",
    does: "makes its result file a link to the host's",
    after: (aftermath) =>
      JSON.stringify(aftermath.end).includes(aftermath.bait.secret)
        ? "the result is the secret"
        : undefined,
    ends: ["bad-result"],
    run: bash(`ln -sf {CLOSED}/secret.json "$EDGEDAG_RESULT"; ls -l "$EDGEDAG_RESULT"`),
  },
  {
    name: "result-fifo",
    does: "makes its result file a pipe",
    ends: ["bad-result"],
    // A pipe made in gVisor is one of its own kernel: the host sees no file there.
    endsAt: { gvisor: ["bad-result", "succeeded"] },
    run: bash(`rm -f "$EDGEDAG_RESULT"; mkfifo "$EDGEDAG_RESULT"`),
  },
  {
    name: "result-folder",
    does: "makes its result file a folder",
    ends: ["bad-result"],
    run: bash(`rm -f "$EDGEDAG_RESULT"; mkdir "$EDGEDAG_RESULT"`),
  },
  {
    name: "result-deep",
    does: "nests its result a million deep",
    ends: ["bad-result"],
    run: python(`open(os.environ["EDGEDAG_RESULT"], "w").write("[" * 1000000 + "]" * 1000000)`),
  },
  {
    name: "result-huge",
    does: "writes a result of hundreds of megabytes",
    run: python(`
try:
    with open(os.environ["EDGEDAG_RESULT"], "wb") as f:
        f.write(b'"')
        for _ in range(600): f.write(b"x" * (1 << 20))
except OSError as e: print(e); sys.exit(1)`),
  },
  {
    name: "io-folder-swapped",
    does: "replaces the folder of its result by a link to the host's",
    after: (aftermath) =>
      existsSync(join(aftermath.bait.openFolder, "planted")) ||
      !readdirSync(aftermath.bait.closedFolder).includes("secret")
        ? "the host's folder was used"
        : undefined,
    run: bash(
      `d=$(dirname "$EDGEDAG_RESULT"); rm -rf "$d"/* 2>/dev/null; mv "$d" "$d.x" 2>/dev/null && ln -s {OPEN} "$d"; rm -rf ./* ; true`,
    ),
  },
  {
    name: "result-hard-link",
    does: "makes its result file a hard link to the host's",
    after: (aftermath) =>
      JSON.stringify(aftermath.end).includes(aftermath.bait.secret)
        ? "the result is the secret"
        : undefined,
    run: bash(
      `rm -f "$EDGEDAG_RESULT"; ln {CLOSED}/secret.json "$EDGEDAG_RESULT" || ln {OPEN}/secret "$EDGEDAG_RESULT"; true`,
    ),
  },
  {
    name: "work-swapped",
    does: "replaces its working folder by a link to the host's",
    outputs: { patterns: ["**"] },
    after: keptNothingForeign,
    run: bash(
      'w=$PWD; cd /; mv "$w" "$w.x"; rmdir "$w"; ln -s {CLOSED} "$w" || ln -sfn {CLOSED} "$w"; ls -ld "$w"; true',
    ),
  },
  {
    name: "input-overwritten",
    does: "turns its input files into links before the agent reads outputs of the same names",
    files: [{ path: "in/a", content: "mine" }],
    outputs: { patterns: ["in/**"] },
    after: keptNothingForeign,
    run: bash("ln -sf {CLOSED}/secret in/a; ln -s {CLOSED} in/folder; ls -l in"),
  },
];
