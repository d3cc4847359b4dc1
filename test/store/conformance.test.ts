// The same command lines and the same expected replies for our store and a real redis-server.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parseScript, runScript } from "./conformance/script.ts";
import { missing, startRedis, startStore } from "./rig.ts";

const folder = join(import.meta.dirname, "conformance");
const adapters = [
  { name: "our store", start: () => startStore(), skip: false as const },
  { name: "redis-server", start: () => startRedis(), skip: missing("redis-server") },
];

for (const { name, start, skip } of adapters) {
  t.test(`${name} replies as the scripts say`, { skip }, async (t) => {
    await using server = await start();
    for (const file of readdirSync(folder).filter((file) => file.endsWith(".resp"))) {
      const steps = parseScript(readFileSync(join(folder, file), "utf8"));
      t.ok(
        steps.every((step) => step.expected || !["call", "read"].includes(step.kind)),
        `${file}: every command has its reply`,
      );
      await runScript(server.socketPath, steps, (step, reply) => {
        // One assertion a file keeps the report short; a difference has its own line.
        if (reply !== step.expected)
          t.equal(reply, step.expected, `${file}:${step.line} ${step.text}`);
      });
      t.pass(file);
    }
  });
}
