// What becomes of processes when the launcher itself dies, again and again.
import { chmodSync, rmSync, symlinkSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { findLauncher } from "../../agent/exec/launcher/find.ts";
import { LauncherKeeper } from "../../agent/exec/launcher/keeper.ts";
import type { ProcessEnd, ProcessSpec } from "../../agent/exec/launcher/process.ts";
import { root } from "../rig/cli.ts";

const found = findLauncher({ root });
if (!found.found) throw new Error(found.detail);
const spec: ProcessSpec = { argv: ["/bin/true"], env: {}, cwd: "/", graceMs: 0 };
const stopper: ProcessSpec = {
  argv: ["/bin/sh", "-c", "kill -9 $PPID; sleep 60"],
  env: { PATH: "/usr/bin:/bin" },
  cwd: "/",
  graceMs: 0,
};

function ended(keeper: LauncherKeeper, what: ProcessSpec, kill = false): Promise<ProcessEnd> {
  return new Promise((resolve) => {
    const listener = { started: () => {}, output: () => {}, mark: () => {}, ended: resolve };
    const process = keeper.spawn(what, listener);
    if (kill) process.kill(0);
    keeper.flush();
  });
}

t.test(
  "a launcher that cannot be had again fails what is started, every time, and comes back",
  async (t) => {
    const dir = await mkdtemp("/tmp/keep-");
    const path = join(dir, "launcher");
    symlinkSync(found.path, path);
    const deaths: number[] = [];
    const keeper = await LauncherKeeper.start({ path, onDeath: (_, n) => deaths.push(n) });
    rmSync(path);
    t.strictSame(await ended(keeper, stopper), { kind: "lost" });
    t.match(await ended(keeper, spec), { kind: "spawn-failed" });
    t.match(await ended(keeper, spec), { kind: "spawn-failed" });
    t.match(await ended(keeper, spec, true), { kind: "spawn-failed" });
    symlinkSync(found.path, path);
    chmodSync(path, 0o755);
    t.match(await ended(keeper, spec), { kind: "exited", exitCode: 0 });
    await keeper.close();
    t.match(await ended(keeper, spec), { kind: "spawn-failed" });
    await rm(dir, { recursive: true });
  },
);
