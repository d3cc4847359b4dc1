// Receipts of real runs: made by an agent that is killed in the middle, shipped through a real master,
// and checked on the command line.
import { readFile } from "node:fs/promises";
import t from "tap";
import { type VerifyReceiptOptions, verifyReceipt } from "../../cli/signing/verify-receipt.ts";
import { canonicalJson } from "../../protocol/canonical.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { seal } from "../../protocol/signing/dsse.ts";
import { openReceipt, type Receipt } from "../../protocol/signing/receipt.ts";
import { AgentRig, artifactOf } from "../agent/agent-rig.ts";
import { Box } from "../rig/box.ts";
import { RealMaster } from "../rig/master.ts";
import { until } from "../rig/until.ts";
import { inlineOf, newKey, pem, signed } from "./signed.ts";

const document = `dag: press
params: { city: Oslo }
tasks:
  first: { shell: "seq 1 2000; echo '{\\"n\\": 1}' > $EDGEDAG_RESULT; echo out > made.txt", outputs: [made.txt] }
  wait: { shell: "echo waiting; while [ ! -e {{ params.flag }} ]; do sleep 0.05; done", needs: [first] }
  months: { shell: "echo {{ item }}", needs: [wait], map: [1, 2] }
  fails: { shell: "exit 3", needs: [wait] }
  never: { shell: "true", needs: [fails] }
`.replace("city: Oslo", "flag: none");

t.test("a run that was killed in the middle has a receipt of all of it", async (t) => {
  await using box = await Box.create();
  const master = await RealMaster.start(box);
  const dag = await box.write("dag.yaml", document);
  const state = box.path("state");
  const env = {
    ...master.env,
    EDGEDAG_NODE: "pump-7",
    EDGEDAG_STATE: state,
    EDGEDAG_RECEIPTS: "on",
  };
  const first = box.start(["agent"], { env });
  await master.connected("pump-7");
  const flag = box.path("flag");
  const args = ["submit", dag, "--node", "pump-7", "-p", `flag=${flag}`];
  const run = (await box.run(args, { env: master.env })).stdout.trim();
  await until(
    "the second task runs",
    () => box.run(["logs", run], { env: master.env }),
    ({ stdout }) => stdout.includes("waiting"),
  );
  const early = await box.run(["receipt", run], { env: master.env });
  t.equal(early.code, exitCodes.noInput, "there is none before the end");
  t.match(early.stderr, /no receipt/);
  await first.stop("SIGKILL");
  box.start(["agent"], { env });
  await box.write("flag", "");
  await until(
    "the run ends",
    () => master.run(run),
    (seen) => seen.outcome !== undefined,
  );

  const client = (...words: string[]) => box.run(words, { env: master.env });
  t.equal((await client("receipt", run, "-o", "receipt.json")).code, exitCodes.ok);
  const kept = await client("receipt", run, "--state", state);
  t.equal(kept.stdout, await readFile(box.path("receipt.json"), "utf8"), "the node keeps it, too");
  const log = (await client("logs", run, "--json")).stdout;
  await box.write("log.ndjson", log);
  await client("pack", dag, "-o", "dag.json");
  const verify = (...more: string[]) =>
    client("verify", "receipt", "receipt.json", "--trusted", `${state}/receipt.pub`, ...more);
  const good = await verify("--log", "log.ndjson", "--artifact", "dag.json", "--node", "pump-7");
  t.equal(good.code, exitCodes.ok, good.stderr);
  t.match(good.stdout, /failed, ended[\s\S]*are what the node wrote/);
  /** In this process: starting a command for each takes longer than all of them. */
  const look = async (more: Partial<VerifyReceiptOptions>) => {
    const said = { stdout: "", stderr: "" };
    const code = await verifyReceipt(
      box.path("receipt.json"),
      { trusted: `${state}/receipt.pub`, allowGaps: false, json: false, env: {}, ...more },
      {
        stdout: { write: (text: string) => (said.stdout += text) },
        stderr: { write: (text: string) => (said.stderr += text) },
      },
    );
    return { code, ...said };
  };
  const json = JSON.parse((await look({ json: true, log: box.path("log.ndjson") })).stdout);
  const receipt: Receipt = json.receipt;
  t.equal(json.verifiedLines, log.trim().split("\n").length);
  const { task: _, ...made } = receipt.artifacts[0] ?? { task: "" };
  t.match(made, { name: "made.txt", attempt: 1, sizeBytes: 4 }, "made before the kill");
  t.match(Object.fromEntries(receipt.tasks.map(({ task, ...rest }) => [task, rest])), {
    first: { outcome: { kind: "succeeded" }, attempts: 1, result: /^[0-9a-f]{64}$/ },
    wait: { outcome: { kind: "succeeded" } },
    "months[1]": { outcome: { kind: "succeeded" }, attempts: 1 },
    fails: { outcome: { kind: "failed", failure: { reason: "exit-code", code: 3 } } },
    never: { outcome: { kind: "skipped" }, attempts: 0 },
  });

  const bent = await box.write("bent.ndjson", log.replace("waiting", "watching"));
  const refused = await look({ log: bent });
  t.equal(refused.code, exitCodes.badDocument);
  t.match(refused.stderr, /E_RECEIPT_LOG: lines \d+ to \d+ are not what the node wrote/);
  const short = await box.write("short.ndjson", log.split("\n").slice(0, -3).join("\n"));
  t.match((await look({ log: short })).stderr, /E_RECEIPT_LOG_GAP/);
  t.equal((await look({ log: short, allowGaps: true })).code, exitCodes.ok);
  const text = "dag: other\ntasks: { a: { command: ['true'] } }\n";
  const other = await box.write("other.yaml", text);
  t.match((await look({ artifact: other })).stderr, /E_RECEIPT_ARTIFACT/);
  t.match((await look({ node: "north" })).stderr, /E_SIGNATURE_NODE/);
  t.match((await look({ trusted: inlineOf(newKey()) })).stderr, /E_SIGNATURE_KEY/);
});

t.test(
  "a receipt names the signature that let the run in, and the key that was given",
  async (t) => {
    const author = newKey();
    const node = newKey();
    await using box = await Box.create();
    const receiptKey = await box.write("node.key", pem(node).private);
    await using rig = await AgentRig.start({
      trustedKeys: inlineOf(author),
      receiptKey,
      node: "pump-7",
    });
    const artifact = signed(await artifactOf("dag: d\ntasks:\n  a: { shell: 'exit 0' }\n"), author);
    const accepted = await rig.agent.accept("r", artifact, {}, "cli");
    t.ok(accepted.ok);
    await rig.end("r");
    const path = `${rig.config.stateDir}/runs/r/receipt.json`;
    const text = await readFile(path, "utf8");
    const opened = openReceipt(JSON.parse(text), new Map([[node.id, node]]));
    if ("code" in opened) throw new Error(opened.why);
    t.match(opened.receipt, { run: "r", node: "pump-7", signature: { key: author.id } });
    t.match(rig.said.join("\n"), new RegExp(node.id));

    const envelope = JSON.parse(text);
    const trusted = new Map([[node.id, node]]);
    const payload = Buffer.from(envelope.payload, "base64").toString();
    const codeOf = (value: unknown) => {
      const seen = openReceipt(value, trusted);
      return "code" in seen ? seen.code : undefined;
    };
    t.equal(codeOf(envelope), undefined);
    const forged = payload.replace("succeeded", "cancelled");
    const bent = { ...envelope, payload: Buffer.from(forged).toString("base64") };
    t.equal(codeOf(bent), "E_SIGNATURE_INVALID");
    const other = newKey();
    t.equal(codeOf(seal(forged, { id: other.id, key: other.privateKey })), "E_SIGNATURE_KEY");
    const id = { id: node.id, key: node.privateKey };
    t.equal(codeOf(seal(canonicalJson({ a: 1 }), id)), "E_RECEIPT_FORM");
    const [signature] = artifact.signatures ?? [];
    const own = new Map([[author.id, author]]);
    t.match(openReceipt(signature, own), { code: "E_RECEIPT_FORM" }, "a signature is no receipt");
  },
);

t.test(
  "without receipts nothing of it is there; a key that cannot be read stops the start",
  async (t) => {
    await using rig = await AgentRig.start();
    await rig.accept("r", "dag: d\ntasks:\n  a: { shell: 'exit 0' }\n");
    await rig.end("r");
    const path = `${rig.config.stateDir}/runs/r/receipt.json`;
    await t.rejects(readFile(path), { code: "ENOENT" });
    await rig.stop();
    await t.rejects(rig.begin({ receiptKey: "/nowhere/key" }), /E_KEY_FILE/);
    await rig.begin({ receipts: "on" });
    const first = rig.said.join("\n").match(/a new key ([0-9a-f]{64})/)?.[1];
    await rig.stop();
    await rig.begin({ receipts: "on" });
    t.match(rig.said.join("\n"), new RegExp(`signed with the key ${first}`), "it is made once");
  },
);
