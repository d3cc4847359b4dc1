// A state folder that is named relative to where the command was called.
import { writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import t from "tap";
import { run } from "../../cli/run.ts";

t.test("a relative --state is meant from the current folder, for tasks too", async (t) => {
  // Below the current folder: a path with `..` could lead to the same place from elsewhere.
  const folder = t.testdir();
  writeFileSync(
    join(folder, "dag.yaml"),
    [
      "dag: relative",
      "tasks:",
      "  a: { shell: 'pwd; echo [1] > $EDGEDAG_RESULT' }",
      "  b: { python: { code: 'def f(): return 2', function: f } }",
      "  c: { node: { code: 'export const f = () => 3;', function: f } }",
      "",
    ].join("\n"),
  );
  let stdout = "";
  let stderr = "";
  const exitCode = await run(
    join(folder, "dag.yaml"),
    {
      params: {},
      json: true,
      quiet: true,
      state: relative(process.cwd(), join(folder, "state")),
      env: process.env,
    },
    {
      stdout: { write: (text: string) => (stdout += text) },
      stderr: { write: (text: string) => (stderr += text) },
    },
  );
  t.equal(exitCode, 0, stderr);
  t.match(JSON.parse(stdout), {
    tasks: { a: { result: [1] }, b: { result: 2 }, c: { result: 3 } },
  });
});
