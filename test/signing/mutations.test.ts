// Thousands of changes to signed artifacts, none of which is accepted. A million and more:
// `edgedag verify ARTIFACT --trusted KEYS --mutations 1000000`.
import t from "tap";
import { mutateBytes } from "../../cli/signing/mutations.ts";
import { Random } from "../../cli/signing/mutators.ts";
import { canonicalJson } from "../../protocol/canonical.ts";
import type { Conditions } from "../../protocol/signing/artifact-signature.ts";
import { releasedAt } from "../../protocol/signing/judge.ts";
import { artifactOf } from "../agent/agent-rig.ts";
import { newKey, signed } from "./signed.ts";

const dag = `dag: weather
params: { n: 3, city: "Z\u00fcrich \ufffd" }
tasks:
  fetch: { shell: "echo {{ params.city }}", timeout: 60s, retries: { limit: 2 } }
  clean: { command: [wc, -l], needs: [fetch], env: { A: "1" } }
  months: { shell: "echo {{ item }}", needs: [clean], map: [1, 2, 3] }
`;

t.test("no mutation of a signed artifact is accepted", async (t) => {
  const key = newKey();
  const now = releasedAt + 1;
  const conditions: Conditions = {
    notBefore: 1,
    expires: now + 1e6,
    nodes: ["pump-*"],
    once: true,
  };
  const artifact = signed(await artifactOf(dag), key, conditions, now);
  const original = Buffer.from(`${canonicalJson(artifact)}\n`);
  const trusted = new Map([[key.id, key]]);
  const circumstances = { trusted, node: "pump-7", now };
  const { accepted, codes, counts } = await mutateBytes(original, {
    circumstances,
    count: 6_000,
    seed: 20261126,
  });
  t.strictSame(accepted, []);
  t.ok(counts.size >= 33, `kinds: ${[...counts.keys()].join(" ")}`);
  const reached = [
    "E_SIGNATURE_FORM",
    "E_SIGNATURE_INVALID",
    "E_SIGNATURE_KEY",
    "E_SIGNATURE_DIGEST",
  ];
  for (const code of reached) t.ok((codes.get(code) ?? 0) > 20, `${code} was reached`);
});

t.test("what was mutated is accepted by who does not look: the mutations can fail", async (t) => {
  const key = newKey();
  const artifact = signed(await artifactOf(dag), key, {}, releasedAt);
  const original = Buffer.from(canonicalJson(artifact));
  // Not a mutation: the same bytes count as accepted, which the run above would have reported.
  const trusted = new Map([[key.id, key]]);
  const same = { name: "same", make: () => Buffer.from(`${original}\n`) };
  const { accepted } = await mutateBytes(
    original,
    { circumstances: { trusted, now: releasedAt }, count: 1, seed: 1 },
    undefined,
    [same],
  );
  t.equal(accepted.length, 1);
});

t.test("the same seed makes the same mutations", async (t) => {
  const numbers = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 20 }, () => random.below(1000));
  };
  t.strictSame(numbers(7), numbers(7));
  t.notSame(numbers(7), numbers(8));
});
