// Folders of boxes: with the launcher's tmpfs as root, and as plain folders.
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { BoxError } from "../../agent/exec/isolation/box.ts";
import { BoxFolders, mountsBelow } from "../../agent/exec/isolation/files/box-folder.ts";
import { LauncherKeeper } from "../../agent/exec/launcher/keeper.ts";
import { launcherPath } from "../exec/launcher-rig.ts";
import { isRoot, newFolder } from "./isolation-rig.ts";

const MiB = 2 ** 20;
const needsRoot = { skip: !isRoot && "only root can mount" };

t.test("a slot is a tmpfs of its own user, of limited size", needsRoot, async (t) => {
  const keeper = await LauncherKeeper.start({ path: launcherPath(), onDeath: () => {} });
  t.teardown(() => keeper.close());
  const root = join(newFolder(t), "boxes");
  const folders = await BoxFolders.open({ root, mounter: keeper, uidBase: 920_000 });
  const [first, second] = await Promise.all([folders.take(MiB), folders.take(MiB)]);
  t.same([first.uid, second.uid].sort(), [920_000, 920_001]);
  t.equal(mountsBelow(root).length, 2);
  for (const path of [first.work, first.io]) {
    t.match(statSync(path), { uid: first.uid, gid: first.uid });
    t.equal(statSync(path).mode & 0o777, 0o700);
  }
  t.match(statSync(join(first.work, "..")), { uid: 0 }, "the task cannot rename its folders");
  const before = await first.usedBytes();
  writeFileSync(join(first.work, "f"), Buffer.alloc(MiB / 2));
  t.equal((await first.usedBytes()) - before, MiB / 2);
  t.equal(await first.isFull(), false);
  t.throws(() => writeFileSync(join(first.io, "g"), Buffer.alloc(MiB)), { code: "ENOSPC" });
  t.equal(await first.isFull(), true);
  await first.setLimit(4 * MiB);
  t.equal(await first.isFull(), false);
  await t.rejects(first.setLimit(MiB / 4), "what is in use cannot be taken away");
  await Promise.all([first.dispose(), first.dispose(), second.dispose()]);
  t.strictSame(readdirSync(root), []);
  t.strictSame(mountsBelow(root), []);
  const again = await folders.take(MiB);
  t.equal(again.uid, 920_000, "the slot serves again");
  t.strictSame(readdirSync(again.work), []);
  await again.dispose();
  await folders.close();
  t.notOk(existsSync(root));
});

t.test("what an earlier agent left is removed", needsRoot, async (t) => {
  const keeper = await LauncherKeeper.start({ path: launcherPath(), onDeath: () => {} });
  t.teardown(() => keeper.close());
  const root = join(newFolder(t), "bo xes");
  const earlier = await BoxFolders.open({ root, mounter: keeper, uidBase: 920_000 });
  const left = [await earlier.take(MiB), await earlier.take(MiB)];
  for (const { work } of left) writeFileSync(join(work, "f"), "x");
  mkdirSync(join(root, "7", "work"), { recursive: true });
  const next = await BoxFolders.open({ root, mounter: keeper, uidBase: 920_000 });
  await next.cleanUp();
  t.strictSame(mountsBelow(root), []);
  t.strictSame(readdirSync(root), []);
  const folder = await next.take(MiB);
  t.strictSame(readdirSync(folder.work), []);
  await folder.dispose();
});

t.test("a plain folder is emptied whatever its modes are", async (t) => {
  const root = join(newFolder(t), "boxes");
  const folders = await BoxFolders.open({ root, mounter: undefined, uidBase: undefined });
  const folder = await folders.take(MiB);
  t.equal(folder.uid, undefined);
  mkdirSync(join(folder.work, "a/b"), { recursive: true });
  writeFileSync(join(folder.work, "a/b/c"), Buffer.alloc(100_000));
  t.ok((await folder.usedBytes()) >= 100_000);
  chmodSync(join(folder.work, "a/b"), 0);
  chmodSync(join(folder.work, "a"), 0o500);
  await folder.setLimit(1);
  t.equal(await folder.isFull(), false);
  await folder.dispose();
  t.strictSame(readdirSync(root), []);
  t.equal(folders.count, 0);
});

t.test("says which folder keeps users of boxes out", needsRoot, async (t) => {
  const closed = join(newFolder(t), "closed");
  mkdirSync(closed, { mode: 0o700 });
  const root = join(closed, "boxes");
  const opened = BoxFolders.open({ root, mounter: undefined, uidBase: 920_000 });
  const error = await opened.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  t.ok(error instanceof BoxError && error.remedy.includes(`chmod o+x ${closed}`));
});

t.test("tells a taker why there is no folder", async (t) => {
  const root = join(newFolder(t), "boxes");
  const folders = await BoxFolders.open({ root, mounter: undefined, uidBase: undefined });
  writeFileSync(join(root, "0"), "in the way");
  await t.rejects(folders.take(MiB), BoxError);
  t.equal(folders.count, 0);
});
