// `edgedag sign ARTIFACT --key K`: adds a signature to a packed artifact; those that are there stay, so
// that an artifact can carry one of the old key and one of the new.
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { readSigningKey } from "../../agent/signing/key-files.ts";
import { artifactDigest, canonicalJson } from "../../protocol/canonical.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import {
  type Conditions,
  isNodePattern,
  mostSignatures,
  signArtifact,
} from "../../protocol/signing/artifact-signature.ts";
import { timeText } from "../../protocol/signing/judge.ts";
import type { Io } from "../io.ts";
import { isArtifactFile, loadPath, report } from "../load.ts";
import { printDiagnostics } from "../print.ts";
import { readTime } from "./read-time.ts";

/** EX_CANTCREAT. */
const cannotCreate = 73;

export interface SignOptions {
  key: string;
  notBefore?: string;
  expires?: string;
  node: string[];
  once: boolean;
  /** Absent: back into the artifact's own file. */
  out?: string;
  json: boolean;
}

export async function sign(path: string, options: SignOptions, io: Io): Promise<number> {
  const now = Date.now();
  const conditions = readConditions(options, now);
  if (typeof conditions === "string") {
    io.stderr.write(`edgedag: ${conditions}\n`);
    return exitCodes.usage;
  }
  const key = readSigningKey(options.key);
  if (!key.ok) {
    printDiagnostics(io, key.diagnostics);
    return exitCodes.noInput;
  }
  const loaded = await loadPath(path);
  if (!loaded.ok) return report(path, loaded.diagnostics, io);
  const artifact = loaded.value;
  if (options.out === undefined && !(await isArtifactFile(path))) {
    io.stderr.write("edgedag: say with -o where the signed artifact of a document goes\n");
    return exitCodes.usage;
  }
  const before = artifact.signatures ?? [];
  if (before.length >= mostSignatures) {
    io.stderr.write(`edgedag: ${path} has ${before.length} signatures, and more are not taken\n`);
    return exitCodes.badDocument;
  }
  const digest = artifactDigest(artifact);
  const about = { digest, dag: artifact.dag.attributes.dag };
  const { envelope, signature } = signArtifact(about, conditions, key.value, now);
  const out = options.out ?? path;
  const text = `${canonicalJson({ ...artifact, signatures: [...before, envelope] })}\n`;
  if (out === "-") io.stdout.write(text);
  else {
    const part = `${out}.part-${process.pid}`;
    try {
      // Renamed into place: a full disk must not cost the artifact that is there.
      writeFileSync(part, text, { flush: true });
      renameSync(part, out);
    } catch (error) {
      rmSync(part, { force: true });
      const why = error instanceof Error ? error.message : String(error);
      io.stderr.write(`edgedag: ${out} cannot be written: ${why}\n`);
      return cannotCreate;
    }
  }
  const told = options.json
    ? JSON.stringify({ artifact: digest, ...signature })
    : `${out}: artifact ${digest} signed by ${signature.key}\n  ${conditionsText(signature)}`;
  (out === "-" ? io.stderr : io.stdout).write(`${told}\n`);
  return exitCodes.ok;
}

/** `from 2026-01-01T00:00:00.000Z, until ..., for nodes a, b, for one run`. */
export function conditionsText({ notBefore, expires, nodes, once }: Conditions): string {
  const parts = [
    notBefore === undefined ? "" : `from ${timeText(notBefore)}`,
    expires === undefined ? "without expiry" : `until ${timeText(expires)}`,
    nodes === undefined ? "for all nodes" : `for ${nodes.join(", ")}`,
    once === true ? "for one run of each" : "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function readConditions(options: SignOptions, now: number): Conditions | string {
  const conditions: Conditions = {};
  for (const name of ["notBefore", "expires"] as const) {
    const text = options[name];
    if (text === undefined) continue;
    const time = readTime(text, now);
    if (time === undefined) {
      return `${text} is no time: write 2026-12-31T00:00:00Z, or a duration from now like 30d`;
    }
    conditions[name] = time;
  }
  const { notBefore = now, expires } = conditions;
  if (expires !== undefined && expires <= notBefore) return "it would expire before it is valid";
  const bad = options.node.find((node) => !isNodePattern(node));
  if (bad !== undefined) return `--node ${bad} is neither the name of a node nor a pattern with *`;
  if (options.node.length > 0) conditions.nodes = options.node;
  if (options.once) conditions.once = true;
  return conditions;
}
