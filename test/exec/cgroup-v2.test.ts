// Control groups of version 2 where this machine has none: the driver cgroup.c with fake-cgroup2.c
// below it, which gives a temp folder the rules of the kernel for who may be where. What the
// controllers do to processes is not in it.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";

const here = import.meta.dirname;
const launcher = join(here, "../../agent/exec/launcher");
const folder = mkdtempSync(join(tmpdir(), "edgedag-cgroup-v2-"));
t.teardown(() => rmSync(folder, { recursive: true }));
const program = join(folder, "cgroup");
const sources = readdirSync(launcher).filter((file) => /^cgroup.*\.c$/.test(file));
const inputs = [
  join(here, "cgroup.c"),
  join(here, "fake-cgroup2.c"),
  ...sources.map((file) => join(launcher, file)),
];
const wraps = ["openat", "mkdirat", "unlinkat", "write", "getxattr"];
const flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-format-truncation"];
execFileSync("cc", [...flags, "-o", program, ...inputs, `-Wl,--wrap=${wraps.join(",--wrap=")}`]);

type Machine = {
  /** Our own group; "" is the root. */
  readonly own: string;
  readonly controllers?: string;
  /** Processes beside the driver in our own group. */
  readonly others?: readonly number[];
  readonly env?: Readonly<Record<string, string>>;
};

const NAME = "edgedag-fake";
let machines = 0;

function newGroup(path: string, controllers: string, on: string, pids: readonly number[]): void {
  mkdirSync(path);
  writeFileSync(join(path, "cgroup.procs"), pids.map((pid) => `${pid}\n`).join(""));
  writeFileSync(join(path, "cgroup.controllers"), controllers);
  writeFileSync(join(path, "cgroup.subtree_control"), on);
}

function drive(machine: Machine, command: string, figure = "") {
  const { own, controllers = "memory pids cpu io", others = [], env = {} } = machine;
  const at = join(folder, String(++machines));
  const isRoot = own === "";
  newGroup(at, "memory pids cpu io", isRoot ? "" : controllers, isRoot ? others : []);
  if (!isRoot) {
    newGroup(join(at, own), controllers, "", others);
    writeFileSync(join(at, own, "cgroup.type"), "domain\n");
  }
  const mountinfo = `${at}.mounts`;
  const self = `${at}.self`;
  writeFileSync(mountinfo, `30 20 0:26 / ${at} rw,nosuid - cgroup2 cgroup2 rw\n`);
  writeFileSync(self, `0::${own || "/"}\n`);
  const { status, stdout, stderr } = spawnSync(program, [NAME, mountinfo, self, command, figure], {
    encoding: "utf8",
    timeout: 30_000,
    env: { FAKE_ROOT: at, FAKE_OWN: own, ...env },
  });
  const value = (key: string) =>
    [...stdout.matchAll(new RegExp(`^${key} (.*)$`, "gm"))].map((match) => match[1] ?? "");
  const ownProcs = readFileSync(join(at, own, "cgroup.procs"), "utf8")
    .trim()
    .split("\n");
  const left = [at, join(at, own)].filter((path) => existsSync(join(path, NAME)));
  const on = readFileSync(join(at, own, "cgroup.subtree_control"), "utf8").trim();
  return { status, output: stdout + stderr, value, ownProcs, left, on };
}

type Driven = ReturnType<typeof drive>;

function serves(t: Test, driven: Driven, left = "0.000"): void {
  t.equal(driven.status, 0, driven.output);
  t.strictSame(driven.value("version"), ["2"]);
  t.strictSame(driven.value("left"), [left], "killed");
  t.strictSame(driven.value("closed"), ["1"]);
  t.strictSame(driven.left, [], "no group is left");
}

const unit = "/unit";
const delegated = { own: unit, others: [process.pid], env: { FAKE_DELEGATED: "1" } };

t.test("in the root group", async (t) => {
  const driven = drive({ own: "" }, "serve", "7");
  serves(t, driven);
  t.strictSame(driven.value("why"), [""]);
  t.strictSame(driven.value("pids"), ["1.000", "1.000"]);
  t.strictSame(driven.value("user_ms"), ["2.000", "0.000"], "a baseline");
  t.strictSame(driven.value("peak"), ["65536.000", "8192.000"], "reset");
});

t.test("in a unit that was given to us: moves to a leaf and back", async (t) => {
  const driven = drive(delegated, "serve", "7");
  serves(t, driven);
  t.ok(driven.ownProcs.includes(String(process.pid)), "back where it was");
  t.equal(driven.on, "", "what was switched on is off");
});

t.test("in a unit that was given to us, with a process that is not ours", async (t) => {
  const sleeper = spawn("sleep", ["100"], { stdio: "ignore" });
  t.teardown(() => sleeper.kill("SIGKILL"));
  const others = [process.pid, sleeper.pid ?? 0];
  const driven = drive({ ...delegated, others }, "serve", "7");
  serves(t, driven);
  t.ok(driven.ownProcs.includes(String(sleeper.pid)), "it is back too");

  const notGiven = drive({ own: unit, others }, "serve", "7");
  serves(t, notGiven);
  t.ok(
    notGiven.ownProcs.includes(String(sleeper.pid)),
    "never moved: root made its groups elsewhere",
  );
  t.equal(notGiven.on, "");
});

t.test("only controllers that a thread root may have", async (t) => {
  serves(t, drive({ ...delegated, controllers: "pids cpu" }, "serve", "6"));
});

t.test("not given: no version, and what to do", async (t) => {
  for (const denied of ["mkdir", "cgroup.subtree_control"]) {
    const driven = drive({ ...delegated, env: { FAKE_DENY: denied } }, "serve", "7");
    t.equal(driven.status, 0, driven.output);
    t.strictSame(driven.value("version"), ["0"]);
    t.match(
      driven.value("why")[0],
      /\/unit\/edgedag-fake cannot .*Permission denied.*Delegate=yes/,
    );
    t.strictSame(driven.left, []);
    t.ok(driven.ownProcs.includes(String(process.pid)));
  }
  const none = drive({ ...delegated, controllers: "" }, "serve", "7");
  t.strictSame(none.value("version"), ["0"]);
  t.match(none.value("why")[0], /no memory or pids controller is given .*Delegate=yes/);
});

t.test("a controller that cannot be switched on is not used", async (t) => {
  for (const [refused, others] of [
    ["cpu", "3"],
    ["memory", "6"],
    ["pids", "5"],
  ] as const) {
    const machine = { ...delegated, env: { FAKE_DELEGATED: "1", FAKE_REFUSE: refused } };
    const driven = drive(machine, "serve", others);
    serves(t, driven, refused === "pids" ? "-1.000" : "0.000"); // nobody counts them then
    t.match(driven.value("why")[0], `no ${refused} controller: Invalid argument`);
    const wanted = drive(machine, "serve", "7");
    t.equal(wanted.status, 70);
    t.match(wanted.value("failed")[0], /take: Operation not supported/);
  }
});

t.test("files of younger kernels that are not there", async (t) => {
  const peak = drive(
    { ...delegated, env: { FAKE_DELEGATED: "1", FAKE_LACK: "memory.peak" } },
    "serve",
    "7",
  );
  serves(t, peak);
  t.strictSame(peak.value("peak"), ["8192.000", "8192.000"], "the most that was seen");
  const env = { FAKE_DELEGATED: "1", FAKE_LACK: "cgroup.kill" };
  serves(t, drive({ ...delegated, env }, "serve", "7"));
  const moved = drive({ ...delegated, env: { ...env, FAKE_MOVED: "1" } }, "moved");
  t.strictSame(moved.value("signal"), ["15.000"], "7 is not 71");
  t.strictSame(drive({ ...delegated, env }, "moved").value("signal"), ["9.000"]);
});
