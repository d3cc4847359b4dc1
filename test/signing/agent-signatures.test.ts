// An agent with trusted keys: what it takes, what it says, and what it does with it after a restart.
import { rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { Agent } from "../../agent/agent.ts";
import type { Config } from "../../agent/config.ts";
import type { DagArtifact } from "../../protocol/artifact.ts";
import { journalPath } from "../../protocol/state-paths.ts";
import { AgentRig, artifactOf } from "../agent/agent-rig.ts";
import { root } from "../rig/cli.ts";
import { until } from "../rig/until.ts";
import { inlineOf, newKey, pem, signed } from "./signed.ts";

const key = newKey();
const short = await artifactOf("dag: short\ntasks:\n  a: { command: ['true'] }\n");
const long = await artifactOf("dag: long\ntasks:\n  a: { command: [sleep, '60'] }\n");
const signatures: Partial<Config> = { trustedKeys: inlineOf(key), node: "pump-7" };

async function codesOf(rig: AgentRig, run: string, artifact: DagArtifact): Promise<string[]> {
  const accepted = await rig.agent.accept(run, artifact, {}, "gateway");
  return accepted.ok ? [] : accepted.diagnostics.map(({ code }) => code);
}

t.test("with trusted keys only what they have signed is run", async (t) => {
  await using rig = await AgentRig.start(signatures);
  t.strictSame(await codesOf(rig, "plain", short), ["E_SIGNATURE_MISSING"]);
  t.strictSame(await codesOf(rig, "other", signed(short, newKey())), ["E_SIGNATURE_KEY"]);
  const elsewhere = signed(short, key, { nodes: ["north"] });
  t.strictSame(await codesOf(rig, "north", elsewhere), ["E_SIGNATURE_NODE"]);
  const late = signed(short, key, { expires: Date.now() - 1 });
  t.strictSame(await codesOf(rig, "late", late), ["E_SIGNATURE_EXPIRED"]);
  const early = signed(short, key, { notBefore: Date.now() + 60_000 });
  t.strictSame(await codesOf(rig, "early", early), ["E_SIGNATURE_NOT_YET"]);
  const bent = { ...long, signatures: signed(short, key).signatures ?? [] };
  t.strictSame(await codesOf(rig, "bent", bent), ["E_SIGNATURE_DIGEST"]);
  t.strictSame(rig.agent.openRuns(), [], "nothing of it was taken");
  t.strictSame(await codesOf(rig, "good", signed(short, key, { nodes: ["pump-*"] })), []);
  t.equal((await rig.end("good")).outcome.kind, "succeeded");
});

t.test("a signature for one run is used up by it, also after a restart and for ever", async (t) => {
  await using rig = await AgentRig.start(signatures);
  const once = signed(short, key, { once: true });
  const both = await Promise.all([codesOf(rig, "a", once), codesOf(rig, "b", once)]);
  const [taken] = both[0].length === 0 ? ["a", "b"] : ["b", "a"];
  t.strictSame(both.flat(), ["E_SIGNATURE_REPLAYED"], "two at once: one of them");
  await rig.end(taken);
  t.strictSame(await codesOf(rig, "c", once), ["E_SIGNATURE_REPLAYED"]);
  await rig.stop();
  await rig.begin();
  t.strictSame(await codesOf(rig, "d", once), ["E_SIGNATURE_REPLAYED"]);
  t.strictSame(
    await codesOf(rig, "e", signed(short, key, { once: true })),
    [],
    "a new one is good",
  );
  await rig.end("e");
  t.strictSame(await codesOf(rig, "f", signed(short, key)), [], "so is one for any number of runs");
  await rig.end("f");
});

t.test("after a damaged journal no signature for one run of before is good any more", async (t) => {
  await using rig = await AgentRig.start(signatures);
  const used = signed(short, key, { once: true });
  const unused = signed(short, key, { once: true });
  t.strictSame(await codesOf(rig, "a", used), []);
  await rig.end("a");
  await rig.stop();
  const path = journalPath(rig.config.stateDir);
  rmSync(`${path}-wal`, { force: true });
  writeFileSync(path, Buffer.alloc(16_384, 7));
  await rig.begin();
  t.strictSame(await codesOf(rig, "b", used), ["E_SIGNATURE_REPLAYED"]);
  t.strictSame(await codesOf(rig, "c", unused), ["E_SIGNATURE_REPLAYED"], "nobody can tell");
  t.strictSame(await codesOf(rig, "d", signed(short, key, { once: true })), [], "made since");
  await rig.end("d");
});

t.test("a run that was taken goes on after a restart, also when its time is over", async (t) => {
  await using rig = await AgentRig.start(signatures);
  const expires = Date.now() + 500;
  const soon = signed(long, key, { expires, once: true });
  t.strictSame(await codesOf(rig, "long", soon), []);
  await rig.stop();
  await until("it has expired", Date.now, (now) => now > expires);
  t.strictSame(await rig.begin().then(() => rig.agent.openRuns()), ["long"]);
  t.strictSame(await codesOf(rig, "again", soon), ["E_SIGNATURE_EXPIRED"]);
});

t.test(
  "a run does not go on when its key is no longer trusted, or its signature is gone",
  async (t) => {
    for (const how of ["key", "signature", "never"] as const) {
      await using rig = await AgentRig.start(how === "never" ? {} : signatures);
      t.strictSame(await codesOf(rig, "long", how === "never" ? long : signed(long, key)), []);
      await rig.stop();
      if (how === "signature") {
        const database = new DatabaseSync(journalPath(rig.config.stateDir));
        database.exec("DELETE FROM run_signatures");
        database.close();
      }
      const now = how === "key" ? newKey() : key;
      await rig.begin({ ...signatures, trustedKeys: inlineOf(now) });
      t.strictSame(rig.agent.openRuns(), [], how);
      t.match(
        rig.said.join("\n"),
        how === "key"
          ? /run long cannot go on: .*E_SIGNATURE_KEY/
          : /cannot go on: .*E_SIGNATURE_MISSING/,
      );
    }
  },
);

t.test("`warn` says what `require` refuses, `off` says nothing", async (t) => {
  for (const mode of ["warn", "off"] as const) {
    await using rig = await AgentRig.start({ ...signatures, signatures: mode });
    t.strictSame(await codesOf(rig, "plain", short), []);
    await rig.end("plain");
    const said = rig.said.join("\n");
    if (mode === "warn") t.match(said, /warn run plain .*E_SIGNATURE_MISSING/);
    else t.notMatch(said, /E_SIGNATURE/);
  }
});

t.test("snippets, which nobody signs, are not run where signatures are required", async (t) => {
  await using rig = await AgentRig.start(signatures);
  const opened = await rig.agent.openSnippets({ isLinked: true });
  t.match(opened, { ok: false, diagnostics: [{ code: "E_SIGNATURE_SNIPPET" }] });
});

t.test("keys come from files and folders; what is no key stops the start", async (t) => {
  await using rig = await AgentRig.start();
  await rig.stop();
  const folder = join(rig.dir, "keys");
  await mkdir(folder);
  const start = async (trustedKeys: string, mode: Config["signatures"] = "auto") => {
    const config = { ...rig.config, trustedKeys, signatures: mode };
    const started = await Agent.start({
      config,
      root,
      version: "0.0.0",
      hostEnv: { PATH: process.env.PATH ?? "" },
      say: () => {},
    });
    if (!started.ok) return started.diagnostics.map(({ code }) => code);
    const accepted = await started.value.accept("r", signed(long, key), {}, "file");
    await started.value.close({ flushMs: 0 });
    rmSync(rig.config.stateDir, { recursive: true });
    return accepted.ok ? "taken" : accepted.diagnostics.map(({ code }) => code);
  };
  t.strictSame(await start(folder), ["E_SIGNATURE_KEYS"], "an empty folder");
  writeFileSync(join(folder, "a.pub"), pem(newKey()).public);
  t.strictSame(await start(folder), ["E_SIGNATURE_KEY"]);
  writeFileSync(join(folder, "b.pub"), pem(key).public);
  t.equal(await start(folder), "taken");
  t.equal(await start(`${join(folder, "a.pub")}, ${inlineOf(key)}`), "taken", "a list");
  t.equal(await start(pem(key).public), "taken", "PEM text");
  writeFileSync(join(folder, "c.pub"), pem(key).private);
  t.strictSame(await start(folder), ["E_SIGNATURE_KEYS"], "a private key");
  t.strictSame(await start(join(folder, "none.pub")), ["E_SIGNATURE_KEYS"]);
  t.strictSame(await start("", "require"), ["E_SIGNATURE_KEYS"], "nothing could ever run");
  t.equal(await start("", "off"), "taken");
});
