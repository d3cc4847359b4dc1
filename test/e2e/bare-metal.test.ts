// Installing on bare metal: a staged install runs, its unit is valid, and uninstalling leaves nothing.
import { access, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { edgedag, root, run } from "./command.ts";

const folder = `${root}/environments/bare-metal`;
const install = `${folder}/install.sh`;

// scripts/test builds before it tests; alone, this test builds what is missing.
if (!(await exists(`${root}/dist/edgedag.mjs`))) {
  const built = await run(`${root}/scripts/build`, []);
  t.equal(built.code, 0, `the build ${built.stderr}`);
}

t.test("a staged install runs, and uninstalling leaves nothing", async (t) => {
  const stage = await stagingFolder(t);
  const installed = await run(install, ["--root", stage, "--prefix", "/usr"]);
  t.equal(installed.code, 0, installed.stderr);

  const version = await run(`${stage}/usr/bin/edgedag`, ["--version"], { cwd: stage });
  t.equal(version.code, 0, version.stderr);
  const source = await run(edgedag, ["--version"]);
  t.equal(version.stdout, source.stdout, "the installed program is the one that was built");
  t.match(version.stdout, /\d+\.\d+\.\d+/);

  const environment = await stat(`${stage}/etc/edgedag/agent.env`);
  t.equal(environment.mode & 0o777, 0o600, "only root reads what may hold a token");

  const removed = await run(install, ["--uninstall", "--root", stage, "--prefix", "/usr"]);
  t.equal(removed.code, 0, removed.stderr);
  t.same(await readdir(stage), [], "nothing is left");
});

t.test("a staged install runs a DAG of each kind of task", async (t) => {
  const stage = await stagingFolder(t);
  const installed = await run(install, ["--root", stage, "--no-systemd"]);
  t.equal(installed.code, 0, installed.stderr);
  await writeFile(
    `${stage}/dag.yaml`,
    [
      "dag: kinds",
      "tasks:",
      "  command: { command: [sh, -c, 'test -n \"$EDGEDAG_RUN\"'] }",
      "  python: { python: 'tasks.py:double', args: { value: 21 } }",
      "  node: { node: 'tasks.ts:half', args: { value: '{{ needs.python.result }}' }, needs: [python] }",
      "",
    ].join("\n"),
  );
  await writeFile(`${stage}/tasks.py`, "def double(value):\n    return value * 2\n");
  await writeFile(
    `${stage}/tasks.ts`,
    "export const half = ({ value }: { value: number }): number => value / 2;\n",
  );
  const args = ["run", `${stage}/dag.yaml`, "--state", `${stage}/state`, "--json"];
  const ended = await run(`${stage}/usr/local/bin/edgedag`, args, { cwd: stage });
  t.equal(ended.code, 0, ended.stderr);
  t.equal(JSON.parse(ended.stdout).tasks.node.result, 21);
});

t.test("installing again keeps a changed configuration, and so does uninstalling", async (t) => {
  const stage = await stagingFolder(t);
  const config = `${stage}/etc/edgedag/agent.env`;
  t.equal((await run(install, ["--root", stage])).code, 0);
  await writeFile(config, "EDGEDAG_NODE=press-7\n");
  t.equal((await run(install, ["--root", stage])).code, 0);
  t.equal(await readFile(config, "utf8"), "EDGEDAG_NODE=press-7\n", "an upgrade keeps it");

  const kept = await run(install, ["--uninstall", "--root", stage]);
  t.match(kept.stdout, /kept .*agent\.env.*--purge/);
  t.same(await readdir(stage), ["etc"]);
  t.equal((await run(install, ["--uninstall", "--purge", "--root", stage])).code, 0);
  t.same(await readdir(stage), [], "a purge leaves nothing");
});

t.test("the unit names the prefix and is valid", async (t) => {
  const stage = await stagingFolder(t);
  t.equal((await run(install, ["--root", stage, "--prefix", "/usr"])).code, 0);
  const unit = `${stage}/etc/systemd/system/edgedag-agent.service`;
  const text = await readFile(unit, "utf8");
  t.match(text, /^ExecStart=\/usr\/bin\/edgedag agent$/m);
  t.notMatch(text, /@PREFIX@/);
  if (!(await exists("/usr/bin/systemd-analyze"))) {
    t.comment("systemd-analyze is not here: the unit was not verified");
    return;
  }
  // systemd-analyze wants the program to exist at its path, so the unit points into the stage.
  await writeFile(unit, text.replace("ExecStart=", `ExecStart=${stage}`));
  const verified = await run("/usr/bin/systemd-analyze", ["verify", unit]);
  const about = verified.stderr.split("\n").filter((line) => line.includes("edgedag-agent"));
  t.same(about, [], "no complaint about our unit");
});

t.test("bad usage is refused with the usage text", async (t) => {
  for (const args of [["--what"], ["--prefix"], ["--root"]]) {
    const refused = await run(install, args);
    t.equal(refused.code, 64, args.join(" "));
    t.match(refused.stderr, /usage: install\.sh/);
  }
  const relative = await run(install, ["--prefix", "usr"]);
  t.equal(relative.code, 1);
  t.match(relative.stderr, /prefix 'usr' is relative\n {4}give an absolute path/);
});

t.test("check-environment gives a remedy on stdout for each problem on stderr", async (t) => {
  const good = await run(`${folder}/check-environment.sh`, [await stagingFolder(t)]);
  t.equal(good.code, 0, good.stderr);
  t.equal(
    good.stdout.split("\n").length,
    good.stderr.split("\n").length - 1,
    "as many remedies as findings; 'ready' has none",
  );
  // Copied without its source tree, it finds neither Node.js nor a launcher.
  const alone = await stagingFolder(t);
  await writeFile(`${alone}/check.sh`, await readFile(`${folder}/check-environment.sh`));
  const bad = await run("sh", [`${alone}/check.sh`, alone]);
  t.equal(bad.code, 1);
  t.match(bad.stderr, /problem: the pinned Node\.js is missing/);
  t.match(bad.stderr, /problem: there is no launcher/);
  t.match(bad.stdout, /npm ci[\s\S]*npm run build/);
});

async function stagingFolder(t: Test): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "edgedag-stage-"));
  t.teardown(() => rm(made, { recursive: true, force: true }));
  return made;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
