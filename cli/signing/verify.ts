// `edgedag verify ARTIFACT`: whether a node that trusts these keys would run it, by the same code.
import { readTrustedKeys } from "../../agent/signing/key-files.ts";
import { artifactDigest } from "../../protocol/canonical.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { type Circumstances, judgeSignatures } from "../../protocol/signing/judge.ts";
import type { TrustedKeys } from "../../protocol/signing/public-key.ts";
import type { Io } from "../io.ts";
import { loadPath, report } from "../load.ts";
import { printDiagnostics } from "../print.ts";
import { readTime } from "./read-time.ts";
import { conditionsText } from "./sign.ts";

export interface VerifyOptions {
  trusted?: string;
  node?: string;
  at?: string;
  json: boolean;
  /** Mutate the signed artifact so often; none may be accepted. */
  mutations?: number;
  seed?: number;
  env: Readonly<Record<string, string | undefined>>;
}

export async function verify(path: string, options: VerifyOptions, io: Io): Promise<number> {
  const keys = trustedKeys(options, io);
  if (typeof keys === "number") return keys;
  const now = options.at === undefined ? Date.now() : readTime(options.at, Date.now());
  if (now === undefined) {
    io.stderr.write(`edgedag: --at ${options.at} is no time: write 2026-12-31T00:00:00Z\n`);
    return exitCodes.usage;
  }
  const loaded = await loadPath(path);
  if (!loaded.ok) return report(path, loaded.diagnostics, io);
  const { node } = options;
  const circumstances: Circumstances = {
    trusted: keys,
    now,
    ...(node === undefined ? {} : { node }),
  };
  const digest = artifactDigest(loaded.value);
  const judged = judgeSignatures({ ...loaded.value, digest }, circumstances);
  if (!judged.ok) return report(path, judged.diagnostics, io);
  const { signature, envelope } = judged;
  io.stdout.write(
    options.json
      ? `${JSON.stringify({ artifact: digest, ...signature })}\n`
      : `${path}: artifact ${digest} is signed by ${signature.key}\n  ${conditionsText(signature)}\n`,
  );
  if (options.mutations === undefined) return exitCodes.ok;
  const { mutate } = await import("./mutations.ts");
  const { mutations: count, seed = 1 } = options;
  return mutate({ artifact: loaded.value, envelope }, { circumstances, count, seed }, io);
}

/** Of `--trusted`, else of EDGEDAG_TRUSTED_KEYS; an exit code when there are none. */
export function trustedKeys(
  { trusted, env }: Pick<VerifyOptions, "trusted" | "env">,
  io: Io,
): TrustedKeys | number {
  const spec = trusted ?? env.EDGEDAG_TRUSTED_KEYS ?? "";
  if (spec === "") {
    io.stderr.write(
      "edgedag: say with --trusted (or EDGEDAG_TRUSTED_KEYS) which keys are trusted\n",
    );
    return exitCodes.usage;
  }
  const keys = readTrustedKeys(spec, trusted === undefined ? "EDGEDAG_TRUSTED_KEYS" : "--trusted");
  if (keys.ok) return keys.value;
  printDiagnostics(io, keys.diagnostics);
  return exitCodes.noInput;
}
