// Isolation as a user meets it: a DAG whose tasks run at several levels and pass values and files on,
// the doctor, the policy, and what is left after a kill -9 of the agent: nothing.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { boxesFolder } from "../../agent/boxes-folder.ts";
import { outsideTag } from "../../agent/outside.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { groupsNamed } from "../isolation/control-groups.ts";
import { findTestRunsc } from "../isolation/gvisor-rig.ts";
import { Box } from "../rig/box.ts";
import { runJson } from "../rig/run-json.ts";
import { until } from "../rig/until.ts";

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : "sandbox levels are tried as root";

const document = (last: string) => `dag: levels
tasks:
  function: { python: "tasks.py:add", args: { a: 1, b: 2 }, isolation: seccomp }
  files:
    shell: "cat given.txt helper.txt > out/both.txt; id -u; echo '{\\"n\\": 5}' > $EDGEDAG_RESULT"
    inputs: { given.txt: "sum {{ needs.function.result }}\\n", out/keep: "" }
    outputs: ["out/*.txt"]
    needs: [function]
    isolation: subprocess
  node: { node: { code: "export const main = ({ n }) => n * 2;" }, args: { n: "{{ needs.files.result.n }}" }, needs: [files], isolation: seccomp }
  reads: { command: [cat, out/both.txt], needs: [files], isolation: ${last} }
  plain: { shell: "cat out/both.txt; cat", stdin: "{{ needs.node.result }}", needs: [files, node] }
  compiled:
    code: { language: c, code: "#include <stdio.h>\\nint main(int c, char **v) { printf(\\"%s\\\\n\\", v[1]); return 0; }", args: ["{{ needs.node.result }}"] }
    needs: [node]
    isolation: ${last}
    limits: { memory: 512Mi }
  unboxed: { code: { language: bash, code: "read -r line; echo \\"got $line\\"" }, stdin: "a line\\n" }
  bomb: { shell: "x=x; while :; do x=$x$x; done", isolation: seccomp, limits: { memory: 64Mi }, allow_failure: true }
`;

t.test("values and files go from level to level", { skip }, async (t) => {
  await using box = await Box.create();
  await box.write("dag/tasks.py", "def add(a, b):\n    print('adding')\n    return a + b\n");
  await box.write("dag/helper.txt", "helper\n");
  const runsc = findTestRunsc();
  const last = "path" in runsc ? "gvisor" : "seccomp";
  const env = { EDGEDAG_LEVELS: "auto", EDGEDAG_RUNSC: "path" in runsc ? runsc.path : undefined };
  const yaml = `${document(last)}`.replace("dag: levels\n", "dag: levels\nfiles: [helper.txt]\n");
  const { code, summary, stderr } = await runJson(box, yaml, { env });
  t.equal(code, exitCodes.ok, stderr);
  t.equal(summary.tasks.function?.result, 3);
  t.same(summary.tasks.files?.result, { n: 5 });
  t.equal(summary.tasks.node?.result, 10);
  t.match(summary.tasks.bomb?.outcome, {
    kind: "failed",
    failure: { reason: "out-of-memory", limitBytes: 64 * 2 ** 20 },
  });
  const artifact = summary.artifacts.find(({ name }) => name === "out/both.txt");
  t.equal(await readFile(artifact?.path ?? "", "utf8"), "sum 3\nhelper\n");
  const said = await box.run(["logs", summary.run, "--state", box.state]);
  for (const line of [/adding/, /sum 3/, /helper/, /10/, /got a line/]) t.match(said.stdout, line);
  t.match(said.stdout, /\b900\d{3}\b/, "a user of its own ran the task");
  await box.empty();
  t.same(leftOf(box), []);
});

t.test("a document may not ask for what is not held or not allowed", { skip }, async (t) => {
  await using box = await Box.create();
  const path = await box.write(
    "dag.yaml",
    `dag: bold
tasks:
  a: { shell: "true", isolation: docker }
  b: { shell: "true", isolation: seccomp, sandbox: { network: true, syscalls: [ptrace] } }
  c: { shell: "true", isolation: subprocess }
  d: { code: { language: cobol, code: x }, isolation: seccomp }
`,
  );
  const env = { EDGEDAG_LEVELS: "auto", EDGEDAG_MIN_ISOLATION: "cli=seccomp" };
  const { code, stderr } = await box.run(["run", path], { env });
  t.equal(code, exitCodes.badDocument, stderr);
  t.match(stderr, /E_DAG_ISOLATION[\s\S]*docker/);
  t.match(stderr, /E_DAG_POLICY[\s\S]*network/);
  t.match(stderr, /E_DAG_POLICY[\s\S]*ptrace/);
  t.match(stderr, /E_DAG_POLICY[\s\S]*subprocess/);
  t.match(stderr, /E_DAG_LANGUAGE[\s\S]*cobol/);
  t.same(leftOf(box), []);
});

t.test("the doctor says what holds, what does not, and what would help", { skip }, async (t) => {
  await using box = await Box.create();
  const env = { EDGEDAG_LEVELS: "auto" };
  const { code, stdout, stderr } = await box.run(["doctor", "--json"], { env });
  t.equal(code, exitCodes.ok, stderr);
  const { levels, cgroups, languages } = JSON.parse(stdout);
  const holds = Object.fromEntries(
    levels.map(({ level, holds }: { level: string; holds: boolean }) => [level, holds]),
  );
  t.match(holds, { subprocess: true, seccomp: true, docker: false });
  t.ok(cgroups.version >= 1);
  t.match(languages, { bash: /\d/, python: /\d/ });
  const docker = await box.run(["doctor"], { env: { EDGEDAG_LEVELS: "docker" } });
  t.equal(docker.code, exitCodes.unavailable);
  t.match(docker.stdout, /docker +NOT held.*\n +.*EDGEDAG_DOCKER_IMAGES/);
  const wrong = await box.run(["doctor"], { env: { EDGEDAG_SANDBOX_MEMORY: "lots" } });
  t.equal(wrong.code, exitCodes.config);
});

t.test(
  "after a kill -9 the next start takes the sandboxes away and goes on",
  { skip },
  async (t) => {
    await using box = await Box.create();
    const marks = await box.write("marks/.keep", "");
    const folder = join(marks, "..");
    const path = await box.write(
      "dag.yaml",
      `dag: killed
defaults: { retries: { lost: 5, backoff: 10ms } }
tasks:
  boxed: { shell: "echo up; sleep 2", isolation: seccomp }
  limited: { shell: "echo up; sleep 2", isolation: subprocess }
  last: { shell: "echo done > ${folder}/done", needs: [boxed, limited] }
`,
    );
    const env = { EDGEDAG_LEVELS: "auto", EDGEDAG_DAG: path };
    const first = box.start(["agent"], { env });
    const log = () => logText(box);
    await until("both tasks run", log, (text) => (text.match(/"up"/g) ?? []).length >= 2);
    t.ok(leftOf(box).length > 0, "there are sandboxes");
    first.kill("SIGKILL");
    await first.ended;
    const second = await box.run(["agent"], { env });
    t.equal(second.code, exitCodes.ok, second.stderr);
    t.ok(existsSync(join(folder, "done")));
    await box.empty();
    t.same(leftOf(box), []);
  },
);

t.test("the health file says how the pools are", { skip }, async (t) => {
  await using box = await Box.create();
  const path = await box.write(
    "dag.yaml",
    'dag: pools\ntasks:\n  a: { python: { code: "import time\\ndef main(): time.sleep(2)" }, isolation: seccomp }\n',
  );
  const env = { EDGEDAG_LEVELS: "auto", EDGEDAG_DAG: path };
  const agent = box.start(["agent"], { env });
  const health = () => {
    const file = join(box.state, "health.json");
    const all = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).sandboxes : undefined;
    return all?.find(({ language }: { language: string }) => language === "python");
  };
  const pool = await until("a box is in use", health, (now) => now?.inUse === 1);
  t.match(pool, { level: "seccomp", failed: 0, died: 0 });
  t.equal((await agent.ended).code, exitCodes.ok);
});

/** Everything outside of its state that the agent of this box could have left. */
function leftOf(box: Box): string[] {
  const tag = outsideTag(box.state, false);
  const folder = boxesFolder(box.runtime, tag);
  const mounts = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .filter((line) => line.includes(`edgedag.boxes-${tag}`));
  const groups = groupsNamed(`edgedag-${tag}`);
  return [...(existsSync(folder) ? [folder] : []), ...mounts, ...groups];
}

function logText(box: Box): string {
  const runs = join(box.state, "runs");
  if (!existsSync(runs)) return "";
  return readdirSync(runs, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.endsWith("/log"))
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
    .join("");
}
