// Who is at fault when what is around a task dies: the sandbox, or the agent's launcher.
import { readFileSync } from "node:fs";
import t from "tap";
import { childrenOf } from "../exec/launcher-rig.ts";
import { failureOf, levels, SandboxRig } from "./sandbox-rig.ts";

function launcherPid(): number {
  const pids = childrenOf(process.pid).map(Number);
  const found = pids.find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("launcher"),
  );
  if (found === undefined) throw new Error("there is no launcher below this process");
  return found;
}

const sleeper = { kind: "command", argv: ["sh", "-c", "echo up; exec sleep 1000"] } as const;

for (const level of levels) {
  t.test(`a task of level ${level} is lost with the agent's launcher`, async (t) => {
    await using rig = await SandboxRig.start(t, level);
    const { told, output } = rig.start(sleeper);
    await output;
    process.kill(launcherPid(), "SIGKILL");
    t.match(failureOf(await told), { reason: "lost" });
  });
}

t.test("a box that is killed is the sandbox's failure", async (t) => {
  await using rig = await SandboxRig.start(t, "seccomp");
  const { told, output } = rig.start(sleeper);
  await output;
  for (const pid of childrenOf(launcherPid()).map(Number)) process.kill(pid, "SIGKILL");
  t.match(failureOf(await told), { reason: "sandbox", level: "seccomp", detail: /SIGKILL/ });
});
