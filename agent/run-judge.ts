// Whether this node takes a run, before anything of it is written: signature, secrets, and what the
// node's levels, languages and policy have against the document.
import type { DagArtifact } from "../protocol/artifact.ts";
import type { DagDocument } from "../protocol/dag.ts";
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { Config } from "./config.ts";

import type { Journal } from "./journal/journal.ts";
import type { LazyIsolation } from "./lazy-isolation.ts";
import { checkPolicy } from "./policy.ts";
import type { DagSource } from "./sandbox-config.ts";
import { needsSandbox } from "./sandbox-plan.ts";
import { realPath } from "./sandbox-settings.ts";
import type { NodeSecrets } from "./secrets/node-secrets.ts";
import { checkSecrets } from "./secrets/run-secrets.ts";
import type { SignatureGate, SignatureUse } from "./signing/signature-gate.ts";

export interface RunJudgeParts {
  config: Config;
  journal: Journal;
  gate: SignatureGate | undefined;
  isolation: LazyIsolation;
  secrets: NodeSecrets;
  say(level: LogLevel, text: string): void;
}

export class RunJudge {
  readonly #parts: RunJudgeParts;

  constructor(parts: RunJudgeParts) {
    this.#parts = parts;
  }

  /** All that the node has against the document, but for its signature; the levels are tried. */
  async judge(document: DagDocument, source: DagSource): Promise<Diagnostic[]> {
    const judged = await this.#levels(document, source);
    const secrets = checkSecrets(document, this.#parts.secrets);
    this.#warnOfOpenSecrets(document);
    return [...judged, ...secrets];
  }

  /** First, and before anything that the document asks for is tried. */
  judgeSignature(run: string, artifact: DagArtifact): Result<SignatureUse | undefined> {
    // One that was taken before is told its answer again, whatever has become of its signature.
    const { gate, journal } = this.#parts;
    if (gate === undefined || journal.knowsRun(run)) {
      return { ok: true, value: undefined };
    }
    const judged = gate.judge(run, artifact, journal.signatures);
    if (!judged.ok) return judged;
    this.warn(run, judged.warnings);
    return { ok: true, value: judged.use };
  }

  /** What is wrong with a signature that is not required. */
  warn(run: string, warnings: readonly Diagnostic[]): void {
    for (const { code, message } of warnings) {
      this.#parts.say("warn", `run ${run} goes on all the same: ${code}: ${message}`);
    }
  }

  /** At level subprocess tasks see the host's files, as users of their own. */
  #warnOfOpenSecrets(document: DagDocument): void {
    if (!document.nodes.some(({ attributes }) => attributes.isolation === "subprocess")) return;
    const open = this.#parts.secrets.openFiles();
    if (open.length === 0) return;
    const what = `${open.join(", ")}: every user of this machine may read it, tasks too`;
    this.#parts.say("warn", `${what}; make secrets files of mode 0600`);
  }

  /** What the levels, languages and policy of this node have against the document. */
  async #levels(document: DagDocument, source: DagSource): Promise<Diagnostic[]> {
    const { config, isolation } = this.#parts;
    const needed = document.nodes.some(({ attributes }) => needsSandbox(attributes));
    const opened = needed ? await isolation.open() : undefined;
    if (opened?.ok === false) return [...opened.diagnostics];
    await opened?.value.prepare(document);
    return checkPolicy({
      source,
      document,
      held: opened?.value.held() ?? ["none"],
      config,
      languages: opened?.value,
      realPath,
    });
  }
}
