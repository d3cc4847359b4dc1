// Tasks that do not go on although their agent would adopt: killed without a trace, settled as lost,
// and tried again like any other lost attempt.
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import t, { type Test } from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { journalPath } from "../../protocol/state-paths.ts";
import { Box } from "../rig/box.ts";
import type { Cli } from "../rig/cli.ts";
import { until } from "../rig/until.ts";
import { agentLines, exists, holders, noHolders, startAgent, written } from "./reattach-rig.ts";

/** One task, whose first attempt waits for ever and whose second one ends. */
async function waitingTask(box: Box, before = ""): Promise<string> {
  return await box.write(
    "dag/ends.yaml",
    `
dag: ends
env: { DIR: "${box.dir}" }
tasks:
  one:
    retries: { lost: 1, backoff: 1ms }
    shell: |
      ${before}
      echo attempt $EDGEDAG_ATTEMPT
      touch "$DIR/begun.$EDGEDAG_ATTEMPT"
      [ $EDGEDAG_ATTEMPT = 2 ] || { sleep 1000 & sleep 1000; }
`,
  );
}

async function killWhenBegun(box: Box, agent: Cli): Promise<void> {
  await exists(box.path("begun.1"), agent);
  await agent.stop("SIGKILL");
}

function nothingRuns(box: Box): Promise<string[]> {
  return until(
    "nothing runs any more",
    () => box.processes(),
    (left) => left.length === 0,
  );
}

async function isTriedAgain(t: Test, box: Box, agent: Cli): Promise<void> {
  const end = await agent.ended;
  t.equal(end.code, exitCodes.ok, end.stderr);
  t.match(agentLines(box), /one#1 was lost with the agent/);
  t.match(written(box, "one", { attempt: 2 }), /attempt 2\n$/);
  await noHolders(box);
  await box.empty();
  t.same(await box.shmFolders(), []);
}

// Agents are started one after another, and on a busy machine each takes its time.
t.setTimeout(110_000);

t.test("no agent comes in time: nothing is left, and the next one tries again", async (t) => {
  await using box = await Box.create();
  const dag = await waitingTask(box);
  await killWhenBegun(box, startAgent(box, dag, { env: { EDGEDAG_ORPHANS_FOR: "200ms" } }));
  await nothingRuns(box);
  await noHolders(box);
  await isTriedAgain(t, box, startAgent(box, dag));
});

t.test("with EDGEDAG_ORPHANS=kill they end with their agent", async (t) => {
  await using box = await Box.create();
  const dag = await waitingTask(box);
  const env = { EDGEDAG_ORPHANS: "kill" };
  const agent = startAgent(box, dag, { env });
  await exists(box.path("begun.1"), agent);
  t.same(holders(box), [], "there is no second launcher");
  await agent.stop("SIGKILL");
  await nothingRuns(box);
  await isTriedAgain(t, box, startAgent(box, dag, { env }));
});

t.test("an agent that is told to kill ends what one that adopts has left", async (t) => {
  await using box = await Box.create();
  const dag = await waitingTask(box);
  await killWhenBegun(box, startAgent(box, dag));
  t.equal(holders(box).length, 1);
  const next = startAgent(box, dag, { env: { EDGEDAG_ORPHANS: "kill" } });
  await isTriedAgain(t, box, next);
  t.match(next.stderr, /1 tasks of an earlier agent are killed/);
});

t.test("a task that has come to the store does not go on with an empty one", async (t) => {
  await using box = await Box.create();
  const connect = `python3 -c 'from edgedag import store; store.set("k", "1"); print(store.get("k"))'`;
  const dag = await waitingTask(box, connect);
  await killWhenBegun(box, startAgent(box, dag));
  await nothingRuns(box);
  await isTriedAgain(t, box, startAgent(box, dag));
});

t.test("one that comes to the store after its agent's death finds the next agent's", async (t) => {
  await using box = await Box.create();
  const dag = await box.write(
    "dag/store.yaml",
    `
dag: store
env: { DIR: "${box.dir}" }
tasks:
  one:
    shell: |
      touch "$DIR/begun.1"
      while [ ! -e "$DIR/go" ]; do sleep 0.02; done
      python3 -c 'from edgedag import artifact, store; store.set("k", "1"); print(store.get("k"))'
      echo content > made.txt
      python3 -c 'from edgedag import artifact, progress; artifact("made.txt"); progress(0.5)'
  two: { needs: [one], shell: 'cat made.txt; python3 -c "from edgedag import store; print(store.get(\\"k\\"))"' }
`,
  );
  await killWhenBegun(box, startAgent(box, dag));
  const next = startAgent(box, dag);
  await until(
    "it goes on",
    () => agentLines(box),
    (lines) => lines.includes("one#1 goes on"),
  );
  writeFileSync(box.path("go"), "");
  const end = await next.ended;
  t.equal(
    end.code,
    exitCodes.ok,
    `${end.stderr}\n${agentLines(box)}\n${written(box, "one", { stream: "stderr" })}`,
  );
  t.match(written(box, "one"), /1/);
  t.match(written(box, "two"), /^content\n.*1/);
  await noHolders(box);
});

t.test("a journal that does not know them: they are killed before anything starts", async (t) => {
  await using box = await Box.create();
  const dag = await waitingTask(box);
  await killWhenBegun(box, startAgent(box, dag));
  for (const name of readdirSync(box.state)) {
    if (`${box.state}/${name}`.startsWith(journalPath(box.state))) rmSync(`${box.state}/${name}`);
  }
  const other = await box.write("dag/other.yaml", "dag: other\ntasks: { a: { shell: echo a } }\n");
  const end = await startAgent(box, other).ended;
  t.equal(end.code, exitCodes.ok, end.stderr);
  await noHolders(box);
  await box.empty();
});

t.test("an agent with another state folder leaves them alone", async (t) => {
  await using box = await Box.create();
  const dag = await waitingTask(box);
  await killWhenBegun(box, startAgent(box, dag));
  const other = await box.write("dag/other.yaml", "dag: other\ntasks: { a: { shell: echo a } }\n");
  const env = { EDGEDAG_STATE: box.path("elsewhere") };
  t.equal((await startAgent(box, other, { env }).ended).code, exitCodes.ok);
  t.equal(holders(box).length, 1);
  t.ok((await box.processes()).length > 0, "they live");
  await isTriedAgain(t, box, startAgent(box, dag, { env: { EDGEDAG_ORPHANS: "kill" } }));
});

t.test(
  "agent and launcher are both killed: the next agent clears up what tasks had started",
  async (t) => {
    await using box = await Box.create();
    const dag = await waitingTask(box);
    await killWhenBegun(box, startAgent(box, dag));
    const [launcher = 0] = holders(box);
    process.kill(launcher, "SIGKILL");
    await until(
      "the leader is gone",
      () => box.processes(),
      (left) => left.every((line) => !line.includes("sh -c")),
    );
    t.ok((await box.processes()).length > 0, "the kernel kills only the leader");
    const next = startAgent(box, dag);
    await isTriedAgain(t, box, next);
    t.match(next.stderr, /processes of lost tasks were killed/);
  },
);

t.test("functions and calls in flight are tried again, while commands go on", async (t) => {
  await using box = await Box.create();
  await box.write(
    "dag/t.py",
    `
import os, time
def wait(dir):
    open(f"{dir}/call.{os.environ['EDGEDAG_ATTEMPT']}", "w").close()
    while not os.path.exists(f"{dir}/go"):
        time.sleep(0.02)
    return int(os.environ["EDGEDAG_ATTEMPT"])
`,
  );
  const dag = await box.write(
    "dag/both.yaml",
    `
dag: both
env: { DIR: "${box.dir}" }
tasks:
  call: { python: "t.py:wait", args: { dir: "${box.dir}" }, retries: { lost: 1, backoff: 1ms } }
  command: { shell: 'touch "$DIR/begun.1"; while [ ! -e "$DIR/go" ]; do sleep 0.02; done; echo $EDGEDAG_ATTEMPT' }
`,
  );
  const first = startAgent(box, dag);
  await exists(box.path("begun.1"), first);
  await exists(box.path("call.1"), first);
  await first.stop("SIGKILL");
  const second = startAgent(box, dag);
  await exists(box.path("call.2"), second);
  writeFileSync(box.path("go"), "");
  const end = await second.ended;
  t.equal(end.code, exitCodes.ok, end.stderr);
  t.match(agentLines(box), /call#1 was lost with the agent/);
  t.match(agentLines(box), /command#1 goes on/);
  t.equal(written(box, "command"), "1\n");
  await noHolders(box);
});
