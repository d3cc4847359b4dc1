// Changes a signed artifact in many ways, by bytes and by structure, and sees that none of them is
// accepted by the code that nodes use. Seeded: the same seed makes the same mutations.
import { generateKeyPairSync, sign as signBytes } from "node:crypto";
import type { DagArtifact } from "../../protocol/artifact.ts";
import { artifactDigest, canonicalJson } from "../../protocol/canonical.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { type Envelope, preAuthentication, statementType } from "../../protocol/signing/dsse.ts";
import { type Circumstances, judgeSignatures } from "../../protocol/signing/judge.ts";
import type { Io } from "../io.ts";
import { loadBytes } from "../load.ts";
import { type Mutation, mutationsOf, Random, type Rival } from "./mutators.ts";

export interface MutateOptions {
  circumstances: Circumstances;
  count: number;
  seed: number;
}

/** Of several signatures only `envelope` stays: another one would be good enough for a mutation. */
export async function mutate(
  { artifact, envelope }: { artifact: DagArtifact; envelope: Envelope },
  options: MutateOptions,
  io: Io,
): Promise<number> {
  const original = Buffer.from(`${canonicalJson({ ...artifact, signatures: [envelope] })}\n`);
  const { counts, codes, accepted } = await mutateBytes(original, options, (done) => {
    io.stderr.write(`${done} of ${options.count} mutations\n`);
  });
  const list = (found: ReadonlyMap<string, number>) =>
    [...found].map(([name, count]) => `${name} ${count}`).join(", ");
  io.stdout.write(`mutations ${options.count}, seed ${options.seed}: ${list(counts)}\n`);
  io.stdout.write(`refused: ${list(codes)}\naccepted: ${accepted.length}\n`);
  for (const { what, at } of accepted) io.stderr.write(`accepted: mutation ${at}, ${what}\n`);
  return accepted.length === 0 ? exitCodes.ok : exitCodes.internal;
}

export interface Mutated {
  /** How many of each kind. */
  counts: Map<string, number>;
  /** With which first code they were refused. */
  codes: Map<string, number>;
  accepted: { what: string; at: number; bytes: Buffer }[];
}

export async function mutateBytes(
  original: Buffer,
  { circumstances, count, seed }: MutateOptions,
  tell: (done: number) => void = () => {},
  mutations: readonly Mutation[] = mutationsOf(original.toString("utf8"), rival()),
): Promise<Mutated> {
  const random = new Random(seed);
  const result: Mutated = { counts: new Map(), codes: new Map(), accepted: [] };
  const add = (to: Map<string, number>, name: string) => to.set(name, (to.get(name) ?? 0) + 1);
  for (let at = 0; at < count; at++) {
    const mutation = random.of(mutations);
    const bytes = mutation.make(original, random);
    if (bytes.equals(original) || bytes.equals(withoutNewline(original))) {
      at--; // no mutation
      continue;
    }
    add(result.counts, mutation.name);
    const code = await refusalOf(bytes, circumstances);
    if (code === undefined) result.accepted.push({ what: mutation.name, at, bytes });
    else add(result.codes, code);
    if ((at + 1) % 100_000 === 0) tell(at + 1);
  }
  return result;
}

/** One newline at the end is the only thing that a signed artifact may have or not have. */
function withoutNewline(bytes: Buffer): Buffer {
  return bytes.at(-1) === 10 ? bytes.subarray(0, -1) : bytes;
}

async function refusalOf(bytes: Buffer, circumstances: Circumstances): Promise<string | undefined> {
  const loaded = await loadBytes(bytes);
  if (!loaded.ok) return loaded.diagnostics[0]?.code ?? "refused";
  const { signatures } = loaded.value;
  const judged = judgeSignatures(
    { signatures, digest: artifactDigest(loaded.value) },
    circumstances,
  );
  return judged.ok ? undefined : (judged.diagnostics[0]?.code ?? "refused");
}

/** Somebody with keys of his own, which nobody trusts. */
function rival(): Rival {
  const { privateKey } = generateKeyPairSync("ed25519");
  const curve448 = generateKeyPairSync("ed448").privateKey;
  const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const over = (payload: string) =>
    preAuthentication(statementType, Buffer.from(payload, "base64"));
  return {
    ed25519: (payload) => signBytes(null, over(payload), privateKey),
    ed448: (payload) => signBytes(null, over(payload), curve448),
    p256: (payload) => signBytes("sha256", over(payload), p256),
  };
}
