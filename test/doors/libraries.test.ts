// Libraries that the operator has installed can be used by code in sandboxes, and by nothing else.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Service } from "./serve-rig.ts";

// Not below /tmp, where sandboxes have a folder of their own.
const folder = mkdtempSync("/var/tmp/edgedag-modules-");
const modules = join(folder, "node_modules");
mkdirSync(join(modules, "sums"), { recursive: true, mode: 0o755 });
writeFileSync(
  join(modules, "sums", "index.js"),
  "exports.sum = (l) => l.reduce((a, b) => a + b, 0);\n",
);

for (const path of [folder, modules, join(modules, "sums")]) chmodSync(path, 0o755);
const service = await Service.start({ EDGEDAG_NODE_MODULES: modules });
t.teardown(async () => {
  await service.end();
  rmSync(folder, { recursive: true, force: true });
});

t.test("a function and a program require a package of EDGEDAG_NODE_MODULES", async (t) => {
  const code = 'const { sum } = require("sums");\nfunction main({ l }) { return sum(l); }\n';
  t.match(await service.run("nodejs", code, { l: [1, 2, 3] }), {
    status: "success",
    result: { value: 6 },
  });
  const { value } = await service.post<{ task_id: string }>("/submit", {
    language: "nodejs",
    code: 'console.log(require("sums").sum([4, 5]))',
  });
  const ended = await service.get<{ stdout: string }>(`/result/${value.task_id}?wait=60s`);
  t.match(ended.value, { stdout: "9\n" });
});

t.test(
  "the package cannot be changed, and one that is not there is the program's own error",
  async (t) => {
    const write = `require("fs").writeFileSync(${JSON.stringify(join(modules, "sums/index.js"))}, "")`;
    t.match(await service.run("nodejs", `function main() { ${write}; }`), {
      status: /error|access/,
    });
    t.match(await service.run("nodejs", 'require("nothing-like-it"); function main() {}'), {
      status: "program_error",
      stderr: /nothing-like-it/,
    });
  },
);

t.test("Python finds the packages of its interpreter", async (t) => {
  const code =
    "import sys\ndef main():\n    return [p for p in sys.path if p.endswith('-packages')]\n";
  const { result } = await service.run("python", code);
  t.ok(Array.isArray(result?.value) && result.value.length > 0, JSON.stringify(result));
});
