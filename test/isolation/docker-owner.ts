// An agent's part in small: makes two boxes in an engine, starts something in one, says so, and
// waits to be killed. Arguments: the engine's socket, a folder, a tag.

import { dockerBoxes, openFolders } from "./docker-rig.ts";
import { kindOf, runIn, smallLimits } from "./isolation-rig.ts";

const [socketPath = "", folder = "", tag = ""] = process.argv.slice(2);
const boxes = dockerBoxes(socketPath, tag);
const folders = await openFolders(folder);
const kind = kindOf("docker");
const [busy] = await Promise.all(
  [0, 1].map(async () => await boxes.make(kind, await folders.take(), smallLimits)),
);
if (busy === undefined) throw new Error("no box");
await busy.arm(smallLimits, { graceMs: 0 });
// Never ends before the kill.
const story = runIn(busy, ["sh", "-c", "setsid sleep 5432 & sleep 5432"]);
process.stdout.write("ready\n");
await story;
