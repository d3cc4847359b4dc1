// The Python client: its own unittest suite against a real `edgedag serve`, from the source tree and as
// pip installs it, and a service that is killed while a program waits for its answer.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Service } from "../doors/serve-rig.ts";
import { root } from "../rig/cli.ts";

const sdk = join(root, "sdk", "python");
const keys = ["key-of-the-first", "key-of-the-second"] as const;
const service = await Service.start({
  EDGEDAG_API_KEYS: `first=${keys[0]},second=${keys[1]}`,
  EDGEDAG_CALLBACKS: "off",
});
t.teardown(() => service.end());

interface Python {
  program?: string;
  args: readonly string[];
  path?: string;
}

async function python({ program = "python3", args, path }: Python) {
  const child = spawn(program, args, {
    cwd: join(sdk, "tests"),
    env: {
      PATH: process.env.PATH,
      PYTHONDONTWRITEBYTECODE: "1",
      EDGEDAG_TEST_SERVICE: service.url,
      EDGEDAG_TEST_KEYS: keys.join(" "),
      EDGEDAG_MASTER: service.url,
      EDGEDAG_API_KEY: keys[0],
      ...(path === undefined ? {} : { PYTHONPATH: path }),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = once(child, "close").then(([code]: unknown[]) => ({ code, output }));
  return { child, ended, said: () => output };
}

const suite = ["-W", "error", "-m", "unittest", "-v", "test_client_service"];

t.test("it does with a real service what it says", async (t) => {
  const { code, output } = await (await python({ args: suite, path: sdk })).ended;
  t.match(output, /Ran [1-9]\d* tests/);
  t.notMatch(output, /skipped/);
  t.equal(code, 0, output);
});

t.test("pip install gives it, with its types, and it is the same", async (t) => {
  mkdirSync(join(root, "build"), { recursive: true });
  const folder = mkdtempSync(join(root, "build", "client-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  // pip builds in the folder that it is given: a copy, so that the tree stays as it is.
  cpSync(sdk, join(folder, "sdk"), { recursive: true });
  const venv = join(folder, "venv");
  const program = join(venv, "bin", "python");
  t.equal(spawnSync("python3", ["-m", "venv", venv]).status, 0);
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  const installed = spawnSync(program, [...pip, join(folder, "sdk")], { encoding: "utf8" });
  if (/No matching distribution found for (setuptools|wheel)/.test(installed.stderr)) {
    t.pass("pip installs it", { skip: "pip cannot get setuptools here" });
    return;
  }
  t.equal(installed.status, 0, installed.stderr);
  rmSync(join(folder, "sdk"), { recursive: true });
  const where = ["-c", "import edgedag; print(edgedag.__file__)"];
  const { output } = await (await python({ program, args: where })).ended;
  t.ok(output.startsWith(venv), output);
  t.ok(existsSync(join(output.trim(), "..", "py.typed")));
  const end = await (await python({ program, args: suite })).ended;
  t.equal(end.code, 0, end.output);
});

t.test("a caller that waits does not notice that the service was killed", async (t) => {
  const program = [
    "from edgedag import Executor",
    "with Executor() as executor:",
    "    handle = executor.submit('sh', ['-c', 'sleep 1; echo done'])",
    "    print('accepted', handle.id, flush=True)",
    "    print(executor.get_result(handle, timeout=100).stdout, flush=True)",
    "    print(executor.submit('echo', ['again']).result(100).stdout, flush=True)",
  ];
  const caller = await python({ args: ["-c", program.join("\n")], path: sdk });
  t.teardown(() => caller.child.kill("SIGKILL"));
  while (!caller.said().includes("accepted")) await once(caller.child.stdout, "data");
  await service.kill();
  await service.startAgain();
  const { code, output } = await caller.ended;
  t.match(output, /^accepted \S+\ndone\n\nagain\n\n$/);
  t.equal(code, 0);
});
