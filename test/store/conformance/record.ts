// Writes the replies of a real redis-server into the conformance scripts.
// Usage: node test/store/conformance/record.ts <script.resp>...

import { readFileSync, writeFileSync } from "node:fs";
import { startRedis } from "../rig.ts";
import { parseScript, runScript } from "./script.ts";

await using redis = await startRedis();
for (const path of process.argv.slice(2)) {
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => !line.startsWith("< "));
  const out = new Map<number, string>();
  const steps = parseScript(lines.join("\n"));
  await runScript(redis.socketPath, steps, (step, reply) => out.set(step.line, reply));
  const written = lines.flatMap((line, at) => {
    const reply = out.get(at + 1);
    if (reply === undefined) return [line];
    return /^[0-9]?</.test(line) ? [`${line.split("<")[0]}< ${reply}`] : [line, `< ${reply}`];
  });
  writeFileSync(path, written.join("\n"));
  console.log(`${path}: ${out.size} replies`);
}
