// A package.json above the state folder says nothing about the tasks of a run.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { run } from "../../cli/run.ts";

t.test("TypeScript functions are modules wherever the state lies", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ed-package-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "package.json"), '{"type": "commonjs"}');
  const dag = join(folder, "dag");
  mkdirSync(dag);
  writeFileSync(
    join(dag, "f.ts"),
    'import { basename } from "node:path";\nexport const f = (): string => basename("/a/b");\n',
  );
  writeFileSync(join(dag, "dag.yaml"), "dag: modules\ntasks:\n  f: { node: 'f.ts:f' }\n");
  let stdout = "";
  let stderr = "";
  const exitCode = await run(
    join(dag, "dag.yaml"),
    {
      params: {},
      json: true,
      quiet: true,
      state: join(folder, "state"),
      env: process.env,
    },
    {
      stdout: { write: (text: string) => (stdout += text) },
      stderr: { write: (text: string) => (stderr += text) },
    },
  );
  t.equal(exitCode, 0, stderr);
  t.match(JSON.parse(stdout), { tasks: { f: { result: "b" } } });
});
