// File systems of limited size, made, resized and taken away by the launcher outside.
import { mkdirSync, mkdtempSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { LauncherKeeper } from "../../agent/exec/launcher/keeper.ts";
import { launcherPath, startLauncher } from "./launcher-rig.ts";

const isRoot = process.getuid?.() === 0;
const size = { bytes: 1024 * 1024, inodes: 20, uid: 4711, gid: 4712 };

const skip = isRoot ? false : "needs root to mount";
t.test("a folder with a size", { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "edgedag-t-"));
  const path = join(folder, "slot");
  mkdirSync(path);
  const keeper = await LauncherKeeper.start({
    path: launcherPath(),
    onDeath: (detail) => t.fail(detail),
  });
  t.teardown(async () => {
    await keeper.unmountTmpfs(path); // tells EINVAL where the test has done so
    await keeper.close();
    rmSync(folder, { recursive: true });
  });
  t.equal(await keeper.mountTmpfs(path, size), undefined);
  const { uid, gid, mode } = statSync(path);
  t.strictSame([uid, gid, mode & 0o777], [4711, 4712, 0o700]);
  const { bsize, blocks, files } = statfsSync(path);
  t.strictSame([bsize * blocks, files], [size.bytes, 20]);
  const write = (name: string, bytes: number) => writeFileSync(join(path, name), "x".repeat(bytes));
  t.throws(() => write("big", 2_000_000), { code: "ENOSPC" });
  rmSync(join(path, "big"));
  t.equal(await keeper.resizeTmpfs(path, { bytes: 4 * 1024 * 1024, inodes: 50 }), undefined);
  write("big", 2_000_000);
  t.throws(
    () => {
      for (let i = 0; i < 60; i++) write(`f${i}`, 1);
    },
    { code: "ENOSPC" },
  );
  t.equal(statSync(path).uid, 4711, "its owner has not changed");
  const shrink = { bytes: 1024 * 1024, inodes: 50 };
  t.equal(await keeper.resizeTmpfs(path, shrink), "EINVAL", "below what is in use");
  t.equal(await keeper.unmountTmpfs(path), undefined);
  t.equal(statSync(path).uid, 0, "the folder below it");
});

t.test("what cannot be is told", async (t) => {
  const launcher = await startLauncher();
  t.equal(await launcher.mountTmpfs("/no/such/folder", size), isRoot ? "ENOENT" : "EPERM");
  t.equal(await launcher.mountTmpfs("/no\0such", size), "EINVAL");
  t.equal(await launcher.unmountTmpfs("/no/such/folder"), isRoot ? "ENOENT" : "EPERM");
  const lost = launcher.mountTmpfs("/no/such/folder", size);
  process.kill(launcher.pid, "SIGKILL");
  t.equal(await lost, "ECHILD");
  t.equal(await launcher.resizeTmpfs("/no/such/folder", size), "ECHILD");
});
