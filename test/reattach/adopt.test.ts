// The agent is killed while tasks run, and the next one goes on with them: real agents, real kills.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { until } from "../rig/until.ts";
import {
  agentLines,
  exists,
  holders,
  logBytes,
  logOf,
  noHolders,
  startAgent,
  written,
} from "./reattach-rig.ts";

/** A document with the box's folder in its environment; apart from what tasks leave there. */
function document(box: Box, tasks: string, more = ""): Promise<string> {
  const text = `dag: adopt\nenv: { DIR: "${box.dir}" }\n${more}tasks:\n${tasks}`;
  return box.write("dag/adopt.yaml", text);
}

/** Says that it has begun, waits until it may go on, and does so. */
const waiting = (name: string) =>
  `touch "$DIR/${name}.begun"; while [ ! -e "$DIR/go" ]; do sleep 0.02; done`;

// Agents are started one after another, and on a busy machine each takes its time.
t.setTimeout(110_000);

t.test("a task outlives its agent, and the next one has output, result and facts", async (t) => {
  await using box = await Box.create();
  const dag = await document(
    box,
    `
  before: { shell: "echo 7 > $EDGEDAG_RESULT" }
  long:
    needs: [before]
    env: { N: "{{ needs.before.result }}" }
    shell: |
      echo first; printf 'half a '
      ${waiting("long")}
      echo line; echo second >&2
      echo "{\\"n\\": $N}" > "$EDGEDAG_RESULT"
  after: { needs: [long], shell: "echo n is {{ needs.long.result.n }}" }
`,
    "defaults: { retries: { lost: 0 } }\n",
  );
  const first = startAgent(box, dag);
  await exists(box.path("long.begun"), first);
  await first.stop("SIGKILL");
  t.equal(holders(box).length, 1, "its launcher lives");
  writeFileSync(box.path("go"), "");
  const second = await startAgent(box, dag).ended;
  t.equal(second.code, exitCodes.ok, second.stderr);
  t.equal(written(box, "long"), "first\nhalf a line\n");
  t.equal(written(box, "long", { stream: "stderr" }), "second\n");
  t.equal(written(box, "after"), "n is 7\n");
  t.match(agentLines(box), /long#1 goes on: it has outlived the agent/);
  t.notMatch(agentLines(box), /was lost/);
  await noHolders(box);
  await box.empty();
  t.same(await box.shmFolders(), []);
});

t.test("no byte is lost or doubled, however often the agent is killed", async (t) => {
  await using box = await Box.create();
  const lines = 100_000;
  const dag = await document(
    box,
    `
  flood: { shell: "seq ${lines}; seq ${lines} | sed s/^/error/ >&2" }
  slow: { shell: "for i in $(seq 300); do printf \\"$i \\"; sleep 0.005; done" }
`,
  );
  let kills = 0;
  for (const afterBytes of [1000, 1_500_000, 4_000_000, 8_000_000, 14_000_000]) {
    const agent = startAgent(box, dag);
    await until(
      `the log has ${afterBytes} bytes`,
      () => ({ bytes: logBytes(box), isOver: agent.hasEnded }),
      ({ bytes, isOver }) => bytes >= afterBytes || isOver,
    );
    if (agent.hasEnded) break;
    await agent.stop("SIGKILL");
    kills += 1;
  }
  const last = await startAgent(box, dag).ended;
  t.equal(last.code, exitCodes.ok, last.stderr);
  t.ok(kills >= 3, `${kills} kills`);
  const expected = Array.from({ length: lines }, (_, i) => `${i + 1}\n`);
  t.ok(written(box, "flood") === expected.join(""), "stdout");
  const errors = expected.map((line) => `error${line}`).join("");
  t.ok(written(box, "flood", { stream: "stderr" }) === errors, "stderr");
  t.equal(written(box, "slow"), expected.slice(0, 300).join(" ").replaceAll("\n", "").concat(" "));
  t.notMatch(agentLines(box), /was lost/);
  const seqs = logOf(box).map(({ seq }) => seq);
  t.ok(
    seqs.every((seq, i) => seq === i + 1),
    "the log has no gap",
  );
  await noHolders(box);
});

t.test("what ended while there was no agent has its own outcome", async (t) => {
  await using box = await Box.create();
  await box.write("again/README", "");
  const dag = await document(
    box,
    `
  fails:
    retries: { limit: 1, backoff: 1ms }
    shell: |
      touch "$DIR/again/$EDGEDAG_ATTEMPT"; touch "$DIR/fails.begun"
      [ $EDGEDAG_ATTEMPT = 2 ] && exit 0
      while [ ! -e "$DIR/go" ]; do sleep 0.02; done
      exit 9
  late: { shell: 'touch "$DIR/late.begun"; exec sleep 100', timeout: 700ms, grace: 10ms, retries: 0 }
`,
    "",
  );
  const first = startAgent(box, dag);
  await exists(box.path("fails.begun"), first);
  await exists(box.path("late.begun"), first);
  await first.stop("SIGKILL");
  writeFileSync(box.path("go"), "");
  await until(
    "both have ended",
    () => box.processes(),
    (left) => left.length === 0,
  );
  const second = await startAgent(box, dag).ended;
  t.equal(second.code, exitCodes.runFailed, second.stderr);
  t.match(agentLines(box), /fails#1 failed: .*9/);
  t.match(agentLines(box), /late#1 failed: .*700 ms/);
  t.same(readdirSync(box.path("again")).sort(), ["1", "2", "README"]);
  await noHolders(box);
});

t.test("the agent is killed again while it takes over", async (t) => {
  await using box = await Box.create();
  const dag = await document(box, `  long: { shell: 'echo one; ${waiting("long")}; echo two' }\n`);
  const first = startAgent(box, dag);
  await exists(box.path("long.begun"), first);
  await first.stop("SIGKILL");
  for (const afterMs of [250, 350, 450, 550]) {
    const next = startAgent(box, dag);
    await new Promise((resolve) => setTimeout(resolve, afterMs)); // any moment will do
    await next.stop("SIGKILL");
  }
  writeFileSync(box.path("go"), "");
  const last = await startAgent(box, dag).ended;
  t.equal(last.code, exitCodes.ok, last.stderr);
  t.equal(written(box, "long"), "one\ntwo\n");
  t.notMatch(agentLines(box), /was lost/);
  await noHolders(box);
});

t.test("a large result that the agent had moved before it died is the result", async (t) => {
  await using box = await Box.create();
  const dag = await document(
    box,
    `
  large:
    shell: |
      ${waiting("large")}
      { printf '"'; head -c 100000 /dev/zero | tr '\\0' x; printf '"'; } > "$EDGEDAG_RESULT"
  size: { needs: [large], shell: "echo {{ needs.large.result }} | wc -c" }
`,
  );
  const first = startAgent(box, dag);
  await exists(box.path("large.begun"), first);
  await first.stop("SIGKILL");
  writeFileSync(box.path("go"), "");
  await until(
    "it has ended",
    () => box.processes(),
    (left) => left.length === 0,
  );
  const [shm = ""] = await box.shmFolders();
  const [result = ""] = readdirSync(shm).filter((name) => name.endsWith(".result"));
  writeFileSync(`${shm}/${result.replace(".result", ".json")}`, readFileSync(`${shm}/${result}`));
  rmSync(`${shm}/${result}`);
  const second = await startAgent(box, dag).ended;
  t.equal(second.code, exitCodes.ok, second.stderr);
  t.equal(written(box, "size").trim(), "100001");
});

t.test("a drain leaves what still runs to the next agent; a second signal ends it", async (t) => {
  await using box = await Box.create();
  const dag = await document(box, `  long: { shell: 'echo one; ${waiting("long")}; echo two' }\n`);
  const env = { EDGEDAG_DRAIN: "100ms" };
  const first = startAgent(box, dag, { env });
  await exists(box.path("long.begun"), first);
  const left = await first.stop("SIGTERM");
  t.equal(left.code, exitCodes.unfinished, left.stderr);
  t.match(left.stderr, /tasks go on without the agent \(1\)/);
  t.equal(holders(box).length, 1);
  const second = startAgent(box, dag, { env: { EDGEDAG_DRAIN: "60s" } });
  await until(
    "it goes on",
    () => agentLines(box),
    (lines) => lines.includes("goes on: it has"),
  );
  second.kill("SIGTERM");
  await second.says(/draining/);
  second.kill("SIGTERM");
  t.equal((await second.ended).code, exitCodes.unfinished);
  await noHolders(box);
  await box.empty();
});
