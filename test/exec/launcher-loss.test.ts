// The ends of launcher and agent, and what is left after many tasks: nothing.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import t from "tap";
import {
  childrenOf,
  envWith,
  fdsOf,
  fixture,
  launcherPath,
  newToken,
  root,
  run,
  startLauncher,
  survivors,
  tell,
  until,
} from "./launcher-rig.ts";

t.test("a killed launcher loses its processes, once each, and none lives on", async (t) => {
  const exits: string[] = [];
  const launcher = await startLauncher((detail) => exits.push(detail));
  const token = newToken();
  const env = envWith(token);
  const told = ["ignores-term", "double-forks", "ignores-term"].map((name) =>
    tell(launcher, [fixture(name)], { env }),
  );
  await Promise.all(told.map((one) => one.said("ready")));
  process.kill(launcher.pid, "SIGKILL");
  for (const one of told) {
    const { end, ends } = await one.done;
    t.strictSame(end, { kind: "lost" });
    t.equal(ends, 1);
  }
  await until(() => survivors(token).length === 0);
  t.match(exits, [/was killed by SIGKILL/]);
  t.equal(exits.length, 1);
  t.strictSame((await run(launcher, ["true"])).end, { kind: "lost" });
  await launcher.close();
});

t.test("an agent that dies takes every tree with it", async (t) => {
  const token = newToken();
  const script = `
    import { Launcher } from ${JSON.stringify(`${root}/agent/exec/launcher/launcher.ts`)};
    const launcher = await Launcher.start({ path: ${JSON.stringify(launcherPath())}, onExit() {} });
    for (const name of ["setsid-daemon", "double-forks", "ignores-term", "stops-itself"]) {
      const argv = [${JSON.stringify(fixture("."))} + "/" + name];
      launcher.spawn({ argv, env: ${JSON.stringify(envWith(token))}, cwd: "/", graceMs: 60000 }, {
        started() {}, mark() {}, output(stream, bytes) { process.stdout.write(bytes); }, ended() {},
      });
    }
    setInterval(() => {}, 1000);
  `;
  const agent = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
    env: {},
  });
  await readies(agent, 3);
  t.ok(survivors(token).length >= 3);
  agent.kill("SIGKILL");
  await once(agent, "close");
  await until(() => survivors(token).length === 0);
  t.strictSame(survivors(token), []);
});

/** Leaves stdout open: a task that finds it closed would die of that. */
async function readies(child: ChildProcess, count: number): Promise<void> {
  const heard = Promise.withResolvers<void>();
  let text = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    if (text.split("ready").length > count) heard.resolve();
  });
  child.once("exit", () => heard.reject(new Error(`it ended early: ${text}`)));
  await heard.promise;
}

t.test("500 tasks leave fds and children where they were", async (t) => {
  const launcher = await startLauncher();
  await run(launcher, ["true"]);
  const fds = fdsOf(launcher.pid);
  const ours = readdirSync("/proc/self/fd").length;
  let left = 500;
  const next = async (): Promise<void> => {
    while (left-- > 0) {
      const isBad = left % 10 === 0;
      const { end } = await run(launcher, [isBad ? "no-such-program" : "/bin/true"]);
      if (isBad) t.equal(end.kind, "spawn-failed");
      else t.match(end, { exitCode: 0, facts: { leaked: undefined } });
    }
  };
  await Promise.all([next(), next()]);
  t.strictSame(fdsOf(launcher.pid), fds);
  t.equal(readdirSync("/proc/self/fd").length, ours);
  t.strictSame(childrenOf(launcher.pid), []);
  await launcher.close();
  await launcher.close();
});

t.test("a binary that is no launcher is refused with a reason", async (t) => {
  const { Launcher } = await import("../../agent/exec/launcher/launcher.ts");
  const start = (path: string) =>
    Launcher.start({ path, onExit: () => t.fail("onExit is for launchers that ran") });
  await t.rejects(start("/no/such/launcher"), { message: /cannot start .*ENOENT/ });
  await t.rejects(start("/bin/true"), { message: /exited with code 0/ });
});

t.test("the binary speaks to people", async (t) => {
  const launcher = (...words: string[]) => spawnSync(launcherPath(), words, { encoding: "utf8" });
  t.match(launcher("--version"), { status: 0, stdout: /protocol 4/ });
  t.match(launcher(), { status: 64, stderr: /fd 3 must be a socket/ });
  t.match(launcher("--nonsense"), { status: 64, stderr: /unknown argument/ });
});

t.test("as init it forwards TERM, reaps, and exits as its program does", async (t) => {
  const init = (...words: string[]) =>
    spawnSync(launcherPath(), ["--init", "--", ...words], { encoding: "utf8" });
  t.match(init("sh", "-c", "echo out; exit 7"), { status: 7, stdout: "out\n" });
  t.equal(init("sh", "-c", "kill -9 $$").status, 137);
  t.match(init("no-such-program"), { status: 127, stderr: /cannot start no-such-program/ });
  const child = spawn(launcherPath(), ["--init", "--", fixture("cleans-up-on-term")]);
  await readies(child, 1);
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  t.equal(code, 0);
});
