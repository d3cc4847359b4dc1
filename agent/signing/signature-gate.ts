// Lets only those artifacts run that somebody trusted has signed for this node. Looked at when a run is
// taken, whoever brings it, and again when a run goes on after a restart. Not made where signatures
// are off.
import type { DagArtifact } from "../../protocol/artifact.ts";
import { artifactDigest } from "../../protocol/canonical.ts";
import type { Diagnostic, Result } from "../../protocol/diagnostic.ts";
import { signingProblem } from "../../protocol/signing/codes.ts";
import type { Envelope } from "../../protocol/signing/dsse.ts";
import { judgeSignatures, provenTime } from "../../protocol/signing/judge.ts";
import type { TrustedKeys } from "../../protocol/signing/public-key.ts";
import type { GateConfig } from "./gate-mode.ts";
import { readTrustedKeys } from "./key-files.ts";

/** What the journal keeps of the signature that a run was taken with. */
export interface SignatureUse {
  id: string;
  key: string;
  once: boolean;
  envelope: Envelope;
  /** A time that has passed, as far as the signer and this clock agree. */
  provenAt?: number;
}

/** What the journal knows of signatures. */
export interface UsedSignatures {
  /** The run that a signature for one run was used for. */
  usedBy(signature: { id: string; signedAt: number }): string | undefined;
  /** Unix milliseconds; 0: nothing is known. */
  readonly provenAt: number;
}

export type GateJudgement =
  | { ok: true; use: SignatureUse | undefined; warnings: Diagnostic[] }
  | { ok: false; diagnostics: Diagnostic[] };

export class SignatureGate {
  readonly #trusted: TrustedKeys;
  readonly #node: string;
  readonly isRequired: boolean;

  private constructor(trusted: TrustedKeys, { node, signatures }: GateConfig) {
    this.#trusted = trusted;
    this.#node = node;
    this.isRequired = signatures !== "warn";
  }

  /** Fails with E_SIGNATURE_KEYS. */
  static open(config: GateConfig): Result<SignatureGate> {
    const trusted = readTrustedKeys(config.trustedKeys);
    return trusted.ok ? { ok: true, value: new SignatureGate(trusted.value, config) } : trusted;
  }

  /** Whether the run may be taken. `warn`: what is wrong is said, and it may. */
  judge(run: string, artifact: DagArtifact, used: UsedSignatures): GateJudgement {
    const now = Date.now();
    const { signatures } = artifact;
    const judged = judgeSignatures(
      { signatures, digest: artifactDigest(artifact) },
      {
        trusted: this.#trusted,
        node: this.#node,
        now,
        provenAt: used.provenAt,
        usedBy: (signature) => {
          const by = used.usedBy(signature);
          return by === run ? undefined : by;
        },
      },
    );
    if (!judged.ok) return this.#refused(judged.diagnostics);
    const { signature, envelope } = judged;
    const { id, key, once } = signature;
    const provenAt = provenTime(signature, now);
    const use: SignatureUse = {
      id,
      key,
      once: once === true,
      envelope,
      ...(provenAt === undefined ? {} : { provenAt }),
    };
    return { ok: true, use, warnings: [] };
  }

  /**
   * Whether a run that was taken may go on: its signature must still be of a trusted key, about this
   * artifact and for this node. Time and use were looked at when it was taken.
   */
  judgeAgain(digest: string, envelope: Envelope | undefined): GateJudgement {
    const judged = judgeSignatures(
      { signatures: envelope === undefined ? undefined : [envelope], digest },
      { trusted: this.#trusted, node: this.#node },
    );
    if (judged.ok) return { ok: true, use: undefined, warnings: [] };
    return this.#refused(judged.diagnostics);
  }

  /** Why snippets, which nobody signs, are not run. */
  refuseSnippets(): Diagnostic | undefined {
    if (!this.isRequired) return undefined;
    return signingProblem(
      "E_SIGNATURE_SNIPPET",
      "snippets are not signed, and EDGEDAG_SIGNATURES=require runs only what is",
      "Set EDGEDAG_SNIPPET_SLOTS=0, or EDGEDAG_SIGNATURES=warn or off where snippets are to run.",
      "EDGEDAG_SIGNATURES",
    );
  }

  #refused(diagnostics: Diagnostic[]): GateJudgement {
    return this.isRequired
      ? { ok: false, diagnostics }
      : { ok: true, use: undefined, warnings: diagnostics };
  }
}
