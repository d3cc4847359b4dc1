// Started by a test, to be killed: an owner of boxes of gVisor with a process each.
// Arguments: folder, tag, path of runsc.
import { startGvisor } from "./gvisor-rig.ts";
import { kindOf, smallLimits } from "./isolation-rig.ts";

const [folder = "", tag = "", runsc = ""] = process.argv.slice(2);
const parts = await startGvisor(folder, tag, runsc);
for (const _ of [1, 2]) {
  const slot = await parts.folders.take(smallLimits.diskBytes);
  const box = await parts.maker.make(kindOf("gvisor"), slot, smallLimits);
  const argv = ["sh", "-c", "setsid sleep 5433 & exec sleep 5433"];
  box.spawn(
    { argv, env: box.env, cwd: box.inside.work, graceMs: 0 },
    { started: () => {}, output: () => {}, mark: () => {}, ended: () => {} },
  );
}
process.stdout.write("ready\n");
