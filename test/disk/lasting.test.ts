// A disk that is full or broken for a while: health is red with the cause as long as it lasts, the run
// goes on, nothing is lost, and all is well again without a restart.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { root } from "../rig/cli.ts";
import { type FaultKind, faultEnv, noFaults, readReport } from "../rig/faults/faults.ts";
import { RealMaster } from "../rig/master.ts";
import { until } from "../rig/until.ts";

const document = (go: string): string => `dag: lasting
tasks:
  first: { shell: "echo ready; while [ ! -e ${go} ]; do sleep 0.02; done; seq 100; echo 1 > $EDGEDAG_RESULT" }
  second: { needs: [first], shell: "echo second; echo file > f.txt; echo 2 > $EDGEDAG_RESULT", outputs: [f.txt] }
  third: { needs: [second], shell: "seq -s, 30000 | sed 's/.*/[&]/' > $EDGEDAG_RESULT" }
  last: { needs: [third], shell: "echo the last" }
`;

interface Case {
  what: string;
  kind: FaultKind;
  only: string;
  cause: RegExp;
}

const cases: Case[] = [
  { what: "no room for anything", kind: "enospc", only: "/", cause: /E_STATE_FULL.*no space/s },
  {
    what: "a journal that cannot be written",
    kind: "eio",
    only: "journal.db-wal",
    cause: /E_STATE_(IO|CORRUPT)/,
  },
  {
    what: "a log that cannot be written",
    kind: "eio",
    only: ".ndjson",
    cause: /log of the run.*EIO/,
  },
  {
    what: "no room for objects",
    kind: "enospc",
    only: "/objects/",
    cause: /result or artifact.*ENOSPC/,
  },
];

for (const { what, kind, only, cause } of cases) {
  t.test(`${what}: red with the cause, and well again by itself`, noFaults, async (t) => {
    await using box = await Box.create();
    const master = await RealMaster.start(box);
    const go = box.path("go");
    const broken = box.path("broken");
    const report = box.path("report");
    const dag = await box.write("dag.yaml", document(go));
    const plan = { under: box.state, kind, only, while: broken, times: 0, report };
    const agent = box.start(["agent"], {
      env: { ...master.env, ...faultEnv(plan), EDGEDAG_DAG: dag, EDGEDAG_AFTER: "exit" },
    });
    await until(
      "the first line is there",
      async () => {
        const [run] = await master.runs();
        const lines = run === undefined ? [] : await master.log(run.id);
        return lines.some(({ text }) => text === "ready");
      },
      (isThere) => isThere,
    );
    writeFileSync(broken, "");
    writeFileSync(go, "");
    const red = await until(
      "health is red",
      () => health(box.state),
      ({ status }) => status === exitCodes.unavailable,
    );
    t.match(red.stderr, /the agent is not well: E_STATE_\w+/, "with a code");
    t.match(red.stderr, cause, "and the cause");
    t.match(red.stderr, /\(.+\)/, "and a remedy");
    t.notOk(agent.hasEnded, "it goes on");
    const [run] = await master.runs();
    t.not(run?.outcome?.kind, "succeeded", "nothing is told that is not kept");
    rmSync(broken);
    const { code, stderr } = await agent.ended;
    t.equal(code, exitCodes.ok, stderr.slice(-2000));
    t.match(stderr, /the state can be written again/, "it says that it is over");
    t.equal(problemIn(box.state), undefined, "health is green");
    const { hits } = readReport(report);
    t.ok(hits.length > 0, `${hits.length} operations failed`);
    const { id, outcome } = await master.finishedRun();
    t.equal(outcome?.kind, "succeeded");
    const results = new Map((await master.results(id)).map(({ task, value }) => [task, value]));
    t.same([results.get("first"), results.get("second")], [1, 2]);
    const large = await (await master.get(`/api/runs/${id}/results/third`)).json();
    t.equal((large as number[]).length, 30_000);
    const files = await until(
      "the file is checked",
      () => master.artifacts(id),
      (found) => found.length === 1 && found[0]?.state !== "whole",
    );
    t.equal(files[0]?.state, "verified");
    const lines = await master.log(id);
    t.same(
      lines.map(({ seq }) => seq),
      lines.map((_, index) => index + 1),
      "no line is missing",
    );
    const said = lines.filter(({ task }) => task === "first").map(({ text }) => text);
    t.same(said, ["ready", ...Array.from({ length: 100 }, (_, index) => String(index + 1))]);
    t.equal((await master.node())?.missingRecords, 0);
  });
}

t.test(
  "while the journal cannot be written, nothing begins that may begin only once",
  noFaults,
  async (t) => {
    await using box = await Box.create();
    const go = box.path("go");
    const broken = box.path("broken");
    const ran = box.path("ran");
    const report = box.path("report");
    await box.write(
      "t.py",
      `def f():\n    open(${JSON.stringify(ran)}, "a").write("function\\n")\n`,
    );
    const dag = await box.write(
      "dag.yaml",
      `dag: once
tasks:
  first: { shell: "echo first >> ${ran}; while [ ! -e ${go} ]; do sleep 0.02; done" }
  plain: { needs: [first], shell: "echo plain >> ${ran}" }
  program: { needs: [first], shell: "echo program >> ${ran}", retries: { lost: 0 } }
  function: { needs: [first], python: "t.py:f", retries: { lost: 0 } }
`,
    );
    const only = "journal.db-wal";
    const plan = { under: box.state, kind: "eio", only, while: broken, times: 0, report } as const;
    const agent = box.start(["agent"], {
      env: { ...faultEnv(plan), EDGEDAG_DAG: dag, EDGEDAG_AFTER: "exit" },
    });
    const lines = () => (existsSync(ran) ? readFileSync(ran, "utf8").split("\n") : []);
    const has = (line: string) =>
      until(
        `${line} has run`,
        async () => lines().includes(line),
        (is) => is,
      );
    await has("first");
    writeFileSync(broken, "");
    writeFileSync(go, "");
    await has("plain");
    await until(
      "health is red",
      () => health(box.state),
      ({ status }) => status === exitCodes.unavailable,
    );
    t.same(lines(), ["first", "plain", ""], "the others wait");
    rmSync(broken);
    const { code, stderr } = await agent.ended;
    t.equal(code, exitCodes.ok, stderr.slice(-2000));
    t.same(lines().sort(), ["", "first", "function", "plain", "program"], "each has begun once");
  },
);

function health(state: string): { status: number | null; stderr: string } {
  const env = { PATH: process.env.PATH };
  const { status, stderr } = spawnSync(`${root}/bin/edgedag`, ["health", "--state", state], {
    env,
  });
  return { status, stderr: String(stderr) };
}

function problemIn(state: string): string | undefined {
  return JSON.parse(readFileSync(`${state}/health.json`, "utf8")).problem;
}
