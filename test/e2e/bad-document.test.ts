// A document that is not valid: every command that takes one says all that is wrong at once, with a
// remedy each, ends with the documented code, and leaves nothing.
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";
import { RealMaster } from "../rig/master.ts";

const bad = `
dag: bad
tasks:
  a: { shell: "true", needs: [c] }
  b: { shell: "true", needs: [a, nobody] }
  c: { shell: "true", needs: [b] }
  d: { shell: "true", needs: [d], timeout: "5 apples" }
  e: { shel: "true" }
  f: { python: "missing.py:f" }
  g: { shell: "true", isolation: locked }
`;

const findings = [
  /E_DAG_CYCLE at \S+: .*a.*c.*\n {4}\S/,
  /E_DAG_UNKNOWN_TASK at tasks\.b\.needs\[1\]: .*nobody.*\n {4}\S/,
  /E_DAG_SELF_LOOP at tasks\.d\S*: .*\n {4}\S/,
  /E_DAG_DURATION at tasks\.d\.timeout: .*\n {4}\S/,
  /E_DAG_FIELD at tasks\.e\.shel: .*\n {4}.*shell/,
  /E_DAG_ISOLATION at tasks\.g\.isolation: .*\n {4}\S/,
];

t.test("run, validate, pack, submit and agent report all findings and end with 65", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("bad.yaml", bad);
  const commands: { args: string[]; env?: { [name: string]: string } }[] = [
    { args: ["run", dag] },
    { args: ["validate", dag] },
    { args: ["pack", dag, "--out", box.path("out.json")] },
    { args: ["submit", dag, "--any"] },
    { args: ["agent"], env: { EDGEDAG_DAG: dag } },
  ];
  for (const { args, env = {} } of commands) {
    const { code, stdout, stderr } = await box.run(args, { env });
    t.equal(code, exitCodes.badDocument, `${args[0]}: exit code`);
    for (const finding of findings) t.match(stderr, finding, `${args[0]}: ${finding}`);
    t.notMatch(stdout + stderr, /\n {4}at /, `${args[0]}: no stack trace`);
  }
  await box.empty();
  t.same(await box.shmFolders(), []);
});

t.test("a document or a code file that does not exist", async (t) => {
  await using box = await Box.create();
  for (const args of [
    ["run", "nope.yaml"],
    ["validate", "nope.yaml"],
    ["submit", "nope.yaml", "--any"],
  ]) {
    const { code, stderr } = await box.run(args);
    t.equal(code, exitCodes.noInput, `${args[0]}: exit code`);
    t.match(stderr, /E_DAG_FILE: .*nope\.yaml.*\n {4}\S/, `${args[0]}: names it, with a remedy`);
  }
  const agent = await box.run(["agent"], { env: { EDGEDAG_DAG: "nope.yaml" } });
  t.equal(agent.code, exitCodes.noInput);
  t.match(agent.stderr, /E_DAG_FILE: .*nope\.yaml/);

  const dag = await box.write(
    "dag.yaml",
    'dag: files\ntasks:\n  a: { python: "gone.py:f" }\n  b: { node: "gone.ts:f" }\n',
  );
  const { code, stderr } = await box.run(["run", dag]);
  t.equal(code, exitCodes.badDocument);
  t.match(stderr, /E_DAG_FILE at tasks\.a: .*gone\.py.*\n {4}\S/);
  t.match(stderr, /E_DAG_FILE at tasks\.b: .*gone\.ts.*\n {4}\S/);
});

t.test("text that is no YAML, and an artifact that was changed", async (t) => {
  await using box = await Box.create();
  const broken = await box.run(["run", await box.write("x.yaml", "dag: [\n  tasks: {")]);
  t.equal(broken.code, exitCodes.badDocument);
  t.match(broken.stderr, /E_DAG_SYNTAX.*\n {4}\S/);

  const dag = await box.write("dag.yaml", 'dag: p\ntasks:\n  a: { python: "t.py:f" }\n');
  await box.write("t.py", "def f():\n    return 1\n");
  const packed = await box.run(["pack", dag, "--out", box.path("p.json")]);
  t.equal(packed.code, exitCodes.ok, packed.stderr);
  const { readFile } = await import("node:fs/promises");
  const text = await readFile(box.path("p.json"), "utf8");
  await box.write("changed.json", text.replace("return 1", "return 2"));
  const changed = await box.run(["run", "changed.json"]);
  t.equal(changed.code, exitCodes.badDocument);
  t.match(changed.stderr, /E_DAG_ARTIFACT at .*t\.py.*\n {4}\S|E_DAG_ARTIFACT.*\n {4}\S/);
});

t.test("params that the document does not declare", async (t) => {
  await using box = await Box.create();
  const dag = await box.write(
    "dag.yaml",
    'dag: p\nparams: { city: Oslo }\ntasks:\n  a: { shell: "echo {{ params.city }}" }\n',
  );
  const run = await box.run(["run", dag, "-p", "cty=Rome", "-p", "town=Bern"]);
  t.equal(run.code, exitCodes.badDocument);
  t.match(run.stderr, /E_DAG_PARAM at params\.cty: .*\n {4}.*city/, "the nearest name");
  t.match(run.stderr, /E_DAG_PARAM at params\.town/, "all at once");

  const usage = await box.run(["run", dag, "-p", "city"]);
  t.equal(usage.code, exitCodes.usage);
  t.match(usage.stderr, /--param city is not name=value/);

  const agent = await box.run(["agent"], {
    env: { EDGEDAG_DAG: dag, EDGEDAG_PARAMS: '{"cty":1}' },
  });
  t.equal(agent.code, exitCodes.badDocument);
  t.match(agent.stderr, /E_DAG_PARAM at params\.cty/);

  await using master = await withAgent(box);
  const submitted = await box.run(["submit", dag, "--any", "--wait", "-p", "cty=Rome"], {
    env: master.env,
  });
  t.equal(submitted.code, exitCodes.badDocument, "a node that refuses ends the wait");
  t.match(submitted.stderr, /cty/);
});

t.test("an isolation level that the node does not hold is refused, never lowered", async (t) => {
  await using box = await Box.create();
  const dag = await box.write(
    "dag.yaml",
    'dag: tight\ntasks:\n  a: { shell: "touch ran", isolation: gvisor }\n  b: { shell: "touch ran" }\n',
  );
  const run = await box.run(["run", dag]);
  t.equal(run.code, exitCodes.badDocument);
  t.match(
    run.stderr,
    /E_DAG_ISOLATION at tasks\.a\.isolation: .*gvisor.*\n {4}Held here: none\. .*doctor/,
  );

  await using master = await withAgent(box);
  const submitted = await box.run(["submit", dag, "--node", "box", "--wait"], { env: master.env });
  t.equal(submitted.code, exitCodes.badDocument);
  t.match(submitted.stderr, /isolation|gvisor/);
  const any = await box.run(["submit", dag, "--any"], { env: master.env });
  t.equal(any.code, exitCodes.ok, "for any node: it waits for one that holds the level");
  const shown = await box.run(["runs", any.stdout.trim()], { env: master.env });
  t.match(shown.stdout, /waits .*gvisor|waits .*isolation/, "and says why it waits");
});

/** A master and an agent that takes runs from it. */
async function withAgent(box: Box): Promise<{ env: { [name: string]: string } } & AsyncDisposable> {
  const master = await RealMaster.start(box);
  const agent = box.start(["agent"], { env: master.env });
  await master.connected();
  return {
    env: master.env,
    [Symbol.asyncDispose]: async () => {
      await agent.stop();
      await master.stop();
    },
  };
}
