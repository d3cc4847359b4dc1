// keygen, sign and verify as people use them, and signed artifacts on their way through a real master
// to a real agent.
import { readFile, stat } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { journalPath } from "../../protocol/state-paths.ts";
import { Box } from "../rig/box.ts";
import { RealMaster } from "../rig/master.ts";

const document = `dag: press
params: { city: Oslo }
tasks:
  a: { shell: "echo {{ params.city }}" }
`;

t.test("keys are made once, sign artifacts, and verify them", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", document);
  const edgedag = (...args: string[]) => box.run(args, { cwd: box.dir });
  t.equal((await edgedag("keygen", "-o", "ops")).code, exitCodes.ok);
  t.equal((await stat(box.path("ops.key"))).mode & 0o777, 0o600);
  const before = await readFile(box.path("ops.key"), "utf8");
  const again = await edgedag("keygen", "-o", "ops");
  t.equal(again.code, 73);
  t.match(again.stderr, /E_KEY_FILE at ops.key: there is such a file/);
  t.equal(await readFile(box.path("ops.key"), "utf8"), before, "never overwritten");
  t.notMatch(again.stdout + again.stderr, /PRIVATE/);

  t.equal((await edgedag("sign", dag, "--key", "ops.key")).code, exitCodes.usage, "a document");
  const args = ["--key", "ops.key", "--expires", "30d", "--node", "pump-*", "-o", "signed.json"];
  const signed = await edgedag("sign", dag, ...args);
  t.equal(signed.code, exitCodes.ok, signed.stderr);
  const verify = (...more: string[]) => edgedag("verify", "signed.json", "--trusted", ".", ...more);
  t.equal((await verify("--node", "pump-7")).code, exitCodes.ok);
  const refusals: [string[], RegExp][] = [
    [["--node", "north"], /E_SIGNATURE_NODE/],
    [["--at", "400d"], /E_SIGNATURE_EXPIRED/],
    [["--at", "2020-01-01"], /E_SIGNATURE_CLOCK/],
  ];
  for (const [more, code] of refusals) {
    const refused = await verify(...more);
    t.equal(refused.code, exitCodes.badDocument);
    t.match(refused.stderr, code);
  }
  t.equal((await verify("--at", "soon")).code, exitCodes.usage);
  const mutated = await verify("--mutations", "300");
  t.match(mutated.stdout, /accepted: 0/);
  t.equal(mutated.code, exitCodes.ok);

  await edgedag("keygen", "-o", "next");
  const second = await edgedag("sign", "signed.json", "--key", "next.key", "--json");
  t.match(JSON.parse(second.stdout), { id: /^[0-9a-f-]{36}$/ });
  t.equal(JSON.parse(await readFile(box.path("signed.json"), "utf8")).signatures.length, 2);
  t.equal((await edgedag("verify", "signed.json", "--trusted", "next.pub")).code, exitCodes.ok);

  const env = { EDGEDAG_TRUSTED_KEYS: box.path("next.pub") };
  t.equal((await box.run(["run", "signed.json"], { env })).code, exitCodes.ok);
  const unsigned = await box.run(["run", dag], { env });
  t.equal(unsigned.code, exitCodes.badDocument);
  t.match(unsigned.stderr, /E_SIGNATURE_MISSING/);
  const none = { EDGEDAG_SIGNATURES: "require" };
  t.equal((await box.run(["run", dag], { env: none })).code, exitCodes.config);
  const noKey = await box.run(["run", dag], { env: { EDGEDAG_RECEIPT_KEY: box.path("none.key") } });
  t.equal(noKey.code, exitCodes.config);
  t.match(noKey.stderr, /E_KEY_FILE/);
});

t.test("a node with trusted keys tells the master why it refuses a run", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  const dag = await box.write("dag.yaml", document);
  await box.run(["keygen", "-o", "ops"]);
  const sign = ["sign", dag, "--key", "ops.key"];
  await box.run([...sign, "-o", "good.json", "--once"]);
  await box.run([...sign, "-o", "north.json", "--node", "north"]);
  const text = await readFile(box.path("good.json"), "utf8");
  await box.write("bent.json", text.replace("echo", "ECHO"));
  const state = box.path("state");
  box.start(["agent"], {
    env: {
      ...master.env,
      EDGEDAG_NODE: "pump-7",
      EDGEDAG_STATE: state,
      EDGEDAG_TRUSTED_KEYS: box.path("ops.pub"),
    },
  });
  await master.connected("pump-7");
  const submit = (file: string) =>
    box.run(["submit", file, "--node", "pump-7", "--wait", "-p", "city=Rome"], { env: master.env });

  const good = await submit("good.json");
  t.equal(good.code, exitCodes.ok, good.stderr);
  const database = new DatabaseSync(journalPath(state), { readOnly: true });
  const row = database.prepare("SELECT envelope FROM run_signatures").get();
  database.close();
  const [envelope] = JSON.parse(text).signatures;
  t.equal(row?.envelope, JSON.stringify(envelope), "the envelope came as it was sent");

  const refused: [string, RegExp][] = [
    ["good.json", /E_SIGNATURE_REPLAYED/],
    ["north.json", /E_SIGNATURE_NODE/],
    ["bent.json", /E_SIGNATURE_DIGEST/],
    ["dag.yaml", /E_SIGNATURE_MISSING/],
  ];
  for (const [file, code] of refused) {
    const answer = await submit(box.path(file));
    t.equal(answer.code, exitCodes.badDocument, file);
    t.match(answer.stderr, code);
  }
  const log = await readFile(`${state}/log/agent.ndjson`, "utf8");
  t.match(log, /run .* was refused: .*it is for north, and this is pump-7/, "and the log");
});
