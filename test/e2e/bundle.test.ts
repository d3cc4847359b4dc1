// The bundle of dist/, as devices have it: what it loads only when it is needed must be in it.
import { existsSync } from "node:fs";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { root } from "../rig/cli.ts";

const skip = existsSync(`${root}/dist/edgedag.mjs`) ? false : "dist/ is not built (scripts/build)";

t.test("the bundle explains a bad document in YAML and in JSON", { skip }, async (t) => {
  await using box = await Box.create();
  const files = [
    await box.write("bad.yaml", "dag: 3\ntasks: { a: { cmd: x } }\n"),
    await box.write("worse.yaml", "dag: [\n"),
    await box.write("bad.json", '{"dag": "d", "tasks": {"a": {}}}'),
  ];
  for (const file of files) {
    // Empty: as if it were not set.
    const said = await box.run(["validate", file], { env: { EDGEDAG_FROM_SOURCE: "" } });
    t.equal(said.code, exitCodes.badDocument, said.stderr.slice(-500));
    t.match(said.stderr, /E_DAG_/);
  }
});
