// Started by a test, to be killed: an owner of boxes that hold a file and a process each.
// Arguments: folder, tag, level.
import { kindOf, runIn, smallLimits } from "./isolation-rig.ts";
import { startParts } from "./level-rig.ts";

const [folder = "", tag = "", level] = process.argv.slice(2);
if (level !== "subprocess" && level !== "seccomp") throw new Error(`no level: ${level}`);
const parts = await startParts(folder, tag);
const pool = parts.pool({ size: 1 });
for (const _ of [1, 2]) {
  const { box } = await pool.take(kindOf(level), smallLimits);
  await runIn(box, ["sh", "-c", "echo x >f"]);
  const script = "setsid sleep 5432 & (setsid sleep 5432 &); exec sleep 5432";
  box.spawn(
    { argv: ["sh", "-c", script], env: box.env, cwd: box.inside.work, graceMs: 0 },
    { started: () => {}, output: () => {}, mark: () => {}, ended: () => {} },
  );
}
await pool.warm(kindOf(level, { language: "python" }), 1);
process.stdout.write("ready\n");
