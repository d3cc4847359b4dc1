// Control groups without a launcher: the driver cgroup.c, as its own process for each command, on
// this machine's hierarchies and on the same machine as if it had no version 2 mount.
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";

const MIB = 1024 * 1024;
const here = import.meta.dirname;
const launcher = join(here, "../../agent/exec/launcher");
const folder = mkdtempSync(join(tmpdir(), "edgedag-cgroup-"));
const program = join(folder, "cgroup");
const mountinfo = readFileSync("/proc/self/mountinfo", "utf8");
const onlyVersion1 = join(folder, "mountinfo");
writeFileSync(onlyVersion1, mountinfo.replaceAll(/^.* - cgroup2 .*\n/gm, ""));
t.teardown(() => rmSync(folder, { recursive: true }));

type Facts = Readonly<Record<string, number>>;
type Ran = {
  readonly version: string;
  readonly why: string;
  readonly facts: Facts;
  readonly lines: string[];
};

let names = 0;
const nextName = () => `edgedag-t${process.pid}-${++names}`;

function drive(name: string, mounts: string, command: string, figure = ""): Ran {
  const args = [name, mounts, "/proc/self/cgroup", command, figure];
  // Into a file: a daemon that is left behind would hold a pipe open.
  const output = join(folder, "output");
  const file = openSync(output, "w");
  const { status, signal } = spawnSync(program, args, {
    stdio: ["ignore", file, file],
    timeout: 60_000,
  });
  closeSync(file);
  const stdout = readFileSync(output, "utf8");
  if (status !== 0) throw new Error(`${args.join(" ")}: ${signal ?? status}: ${stdout}`);
  const lines = stdout.split("\n");
  const value = (key: string) =>
    lines.find((line) => line.startsWith(`${key} `))?.slice(key.length + 1) ?? "";
  const facts = Object.fromEntries(
    lines
      .flatMap((line) => (/^\w+ -?[\d.]+$/.test(line) ? [line.split(" ")] : []))
      .map(([k, v]) => [k, Number(v)]),
  );
  return { version: value("version"), why: value("why"), facts, lines };
}

/** Our groups of this name: in each hierarchy below the group that we are in. */
function folders(name: string): string[] {
  const own = readFileSync("/proc/self/cgroup", "utf8")
    .split("\n")
    .map((line) => line.split(":").slice(2).join(":"));
  const below = readdirSync("/sys/fs/cgroup", { withFileTypes: true })
    .filter((e) => e.isDirectory())
    .map((e) => join("/sys/fs/cgroup", e.name));
  const paths = ["/sys/fs/cgroup", ...below].flatMap((mount) =>
    [...new Set(["/", ...own])].map((path) => join(mount, path, name)),
  );
  return [...new Set(paths)].filter((path) => existsSync(path));
}

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return "needs root to make control groups";
  if (!existsSync("/sys/fs/cgroup")) return "no control groups are mounted";
  const sources = readdirSync(launcher).filter((file) => /^cgroup.*\.c$/.test(file));
  const inputs = [join(here, "cgroup.c"), ...sources.map((file) => join(launcher, file))];
  execFileSync("cc", [
    "-std=gnu11",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-o",
    program,
    ...inputs,
  ]);
  const { version, why } = drive(nextName(), "/proc/self/mountinfo", "none");
  return version === "0" ? why : false;
}

const skip = whyNot();
const variants: [string, string][] = [["as mounted", "/proc/self/mountinfo"]];
if (onlyVersion1 && / - cgroup .*\bmemory\b/.test(mountinfo) && / - cgroup2 /.test(mountinfo))
  variants.push(["without the mount of version 2", onlyVersion1]);

for (const [title, mounts] of variants)
  t.test(title, { skip }, async (t) => {
    const name = nextName();
    const run = (command: string, figure?: string) => drive(name, mounts, command, figure);
    t.afterEach(() => t.strictSame(folders(name), [], "nothing is left"));

    t.test("a process over the limit of memory is killed, and it is counted", async (t) => {
      const { facts } = run("memory");
      t.equal(facts.signal, 9);
      t.ok((facts.oom_kills ?? 0) >= 1);
      t.ok((facts.peak ?? Infinity) <= 33 * MIB);
    });

    t.test("a baseline forgets the peak of before", async (t) => {
      const { lines } = run("peak", String(64 * MIB));
      const peaks = lines
        .filter((line) => line.startsWith("peak "))
        .map((line) => Number(line.slice(5)));
      t.equal(peaks.length, 2);
      t.ok((peaks[0] ?? 0) >= 64 * MIB, "what it used");
      t.ok((peaks[1] ?? Infinity) < 16 * MIB, "what it used after");
    });

    t.test("the limit of memory moves, but not below what is in use", async (t) => {
      const { facts } = run("lower");
      t.equal(facts.set_512, 0);
      t.equal(facts.set_128, 0);
      t.equal(facts.set_50, 16, "EBUSY");
      t.equal(facts.set_0, 0);
      t.equal(facts.set_300, 0);
      t.equal(facts.oom_kills, 0);
      t.equal(facts.left, 0);
    });

    t.test("a fork bomb is bounded, seen, and killed", async (t) => {
      const { facts } = run("forks");
      t.ok((facts.pids_hits ?? 0) >= 100, "hits stay known after the kill");
      t.ok((facts.peak_pids ?? Infinity) <= 20);
      t.equal(facts.left, 0);
    });

    t.test("daemons and the stopped are killed", async (t) => t.equal(run("daemon").facts.left, 0));

    t.test("a share of a core", async (t) => {
      const { facts } = run("cpu", "250");
      const used = (facts.user_ms ?? 0) + (facts.system_ms ?? 0);
      // It burns for a second by the clock. More than a quarter, for the slices of the last period;
      // no lower bound, since a busy machine may give it next to nothing.
      t.ok(used > 0 && used < 500, `used ${used} ms`);
    });

    t.test("what a killed driver has left goes with the next", async (t) => {
      run("abandon");
      t.not(folders(name).length, 0, "it is there");
      run("none");
    });

    t.test("somebody else's group is read and killed, not removed", async (t) => {
      run("abandon");
      const parent = folders(name).find((path) => /pids/.test(path)) ?? folders(name)[0] ?? "";
      const group = readdirSync(parent, { withFileTypes: true })
        .filter((e) => e.isDirectory())
        .map((e) => e.name)
        .find((e) => readFileSync(join(parent, e, "cgroup.procs"), "utf8") !== "");
      const root = /^(\/sys\/fs\/cgroup\/[^/]*)/.exec(parent)?.[1] ?? "";
      const path = join(parent.slice(root.length), group ?? "");
      const other = nextName();
      const { facts } = drive(other, mounts, "watch", path);
      t.equal(facts.left, 0);
      t.ok(existsSync(join(parent, group ?? "")), "its folder stays");
      t.strictSame(folders(other), []);
      run("none");
    });

    t.test("many groups leave no descriptor and no folder", async (t) => {
      const { facts } = run("rounds", "200");
      t.equal(facts.fds, 0);
      t.ok((facts.groups ?? Infinity) <= 16, `${facts.groups} made ahead, of at most READY_MOST`);
    });
  });

t.test("no control groups: told, with a reason", { skip }, async (t) => {
  const empty = join(folder, "empty");
  writeFileSync(empty, "");
  const none = drive(nextName(), empty, "none");
  t.equal(none.version, "0");
  t.match(none.why, /no cgroup file system is mounted/);
  const missing = drive(nextName(), join(folder, "missing"), "none");
  t.equal(missing.version, "0");
  t.match(missing.why, /cannot be read/);
});
