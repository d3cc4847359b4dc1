// kill -9 of the agent at random moments, with a master connected. After the restarts the run has
// succeeded, what had finished was not run again, and the master has every line, result and file once.

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { RealMaster } from "../rig/master.ts";
import { nodeLog } from "../rig/node-log.ts";
import { until } from "../rig/until.ts";

const rounds = 20;
const seed = Number(process.env.SEED ?? 20261123);
const items = 40;

/** Each attempt leaves a file of its own when it begins, and one when it has done its work. */
const document = (marks: string) => `
dag: killed
env: { MARKS: "${marks}" }
defaults: { retries: { limit: 5, lost: 100, backoff: 20ms, max_backoff: 50ms } }
tasks:
  list: { python: "t.py:numbers" }
  each:
    needs: [list]
    map: "{{ needs.list.result }}"
    shell: |
      echo begin > "$MARKS/$EDGEDAG_TASK#$EDGEDAG_ATTEMPT.begin"
      seq 200
      sleep 0.17
      echo {{ item }} > "$EDGEDAG_RESULT"
      echo end > "$MARKS/$EDGEDAG_TASK#$EDGEDAG_ATTEMPT.end"
  python: { python: "t.py:square", needs: [list], map: "{{ needs.list.result }}", args: { n: "{{ item }}" } }
  node: { node: "t.ts:cube", needs: [python], map: "{{ needs.python.result }}", args: { n: "{{ item }}" } }
  flaky: { shell: "echo attempt $EDGEDAG_ATTEMPT; [ $EDGEDAG_ATTEMPT -ge 3 ]", needs: [list] }
  file: { shell: "seq 50000 > big.txt; seq 10", outputs: [big.txt], needs: [each] }
  large: { python: "t.py:large", needs: [node] }
  size: { python: "t.py:size_of", needs: [large], args: { value: "{{ needs.large.result }}" } }
exit:
  last: { shell: "echo the run {{ run.outcome }}" }
`;

const python = `
import os, time
def mark(kind):
    path = f"{os.environ['MARKS']}/{os.environ['EDGEDAG_TASK']}#{os.environ['EDGEDAG_ATTEMPT']}.{kind}"
    open(path, "w").close()
def numbers():
    return list(range(${items}))
def square(n):
    mark("begin")
    print("squaring", n)
    time.sleep(0.02)
    mark("end")
    return n * n
def large():
    return ["x" * 100] * 5000
def size_of(value):
    return len(value)
`;

const nodeJs = `
export async function cube({ n }: { n: number }) {
  console.log("cubing", n);
  await new Promise((resolve) => setTimeout(resolve, 20));
  return n ** 1.5;
}
`;

t.test(`${rounds} times kill -9 at random moments (SEED=${seed})`, async (t) => {
  await using box = await Box.create();
  const random = randomFrom(seed);
  await box.write("marks/.keep", "");
  const dag = await box.write("dag.yaml", document(box.path("marks")));
  await box.write("t.py", python);
  await box.write("t.ts", nodeJs);
  const master = await RealMaster.start(box);
  const submitted = await box.run(["submit", dag, "--node", "box"], { env: master.env });
  const id = submitted.stdout.trim();
  let agent = box.start(["agent"], { env: master.env });
  let kills = 0;
  while (kills < rounds) {
    // Mostly from the moment when it is at work; some kills fall into the start, too.
    const isEarly = random() < 0.25;
    if (!isEarly) await agent.says(/connected to/);
    await pause(random() * (isEarly ? 600 : 250));
    if ((await master.run(id)).outcome !== undefined) break;
    await agent.stop("SIGKILL");
    kills += 1;
    agent = box.start(["agent"], { env: master.env });
  }
  const run = await master.finishedRun();
  // Before that a TERM may come before anybody listens to it.
  await agent.says(/connected to/);
  const { code, stderr } = await agent.stop();
  t.equal(code, exitCodes.ok, stderr.slice(-3000));
  t.ok(kills >= rounds / 4, `${kills} kills before the run was over`);
  t.notMatch(stderr, /a bug of edgedag/);

  t.equal(run.outcome?.kind, "succeeded");

  // What was reported as succeeded ran to its end exactly once.
  const marks = await readdir(box.path("marks"));
  for (const { task, attempts } of run.tasks) {
    const succeeded = attempts.filter((attempt) => attempt.outcome?.kind === "succeeded");
    const isFanOut = task === "each" || task === "python" || task === "node";
    if (!isFanOut) t.equal(succeeded.length, 1, `${task} succeeded in one attempt`);
    if (!/^(each|python)\[/.test(task)) continue;
    const [good] = succeeded;
    const later = marks.filter(
      (name) => name.startsWith(`${task}#`) && attemptOf(name) > (good?.attempt ?? 0),
    );
    t.same(later, [], `${task}: no attempt after the one that succeeded`);
    t.ok(marks.includes(`${task}#${good?.attempt}.end`), `${task}: it ran to its end`);
  }

  const results = new Map((await master.results(run.id)).map((result) => [result.task, result]));
  const values = (task: string) => results.get(task)?.items?.map((item) => item.value);
  const numbers = Array.from({ length: items }, (_, index) => index);
  t.same(values("each"), numbers);
  t.same(
    values("python"),
    numbers.map((n) => n * n),
  );
  t.same(
    values("node"),
    numbers.map((n) => (n * n) ** 1.5),
  );
  t.equal(results.get("size")?.value, 5000);

  t.strictSame(await master.log(run.id), await nodeLog(box.state, run.id), "the log is the node's");
  const seqs = (await master.log(run.id)).map((line) => line.seq);
  t.strictSame(
    seqs,
    seqs.map((_, index) => index + 1),
    "without gaps or repetitions",
  );

  const artifacts = await until(
    "the file is checked",
    () => master.artifacts(run.id),
    (found) => found.every((artifact) => artifact.state === "verified"),
  );
  t.equal(artifacts.length, 1);
  const wanted = Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join("");
  t.equal(artifacts[0]?.sha256, createHash("sha256").update(wanted).digest("hex"));
  const large = await (await master.get(`/api/runs/${run.id}/results/large`)).json();
  t.same(large, Array(5000).fill("x".repeat(100)));
  const node = await master.node();
  t.equal(node?.missingRecords, 0);
  const metrics = await (await master.get("/metrics")).text();
  const stored = Number(/^edgedag_records_total (\d+)$/m.exec(metrics)?.[1]);
  t.equal(stored, node?.ackedSeq, "each record is stored once");

  await master.stop();
  const journal = new DatabaseSync(`${box.state}/journal.db`, { readOnly: true });
  t.same(journal.prepare("SELECT * FROM outbox WHERE seq > ?").all(node?.ackedSeq ?? 0), []);
  journal.close();
  await box.empty();
  t.same(await box.shmFolders(), [], "no folder in shared memory");
  t.same(await readdir(box.runtime), [], "no socket");
  t.same(JSON.parse(await readFile(`${box.state}/health.json`, "utf8")).problem, undefined);
});

function attemptOf(name: string): number {
  return Number(/#(\d+)\./.exec(name)?.[1]);
}

/** The moment of a kill: any is right, none is waited for. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** mulberry32: small, and the same everywhere. */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
