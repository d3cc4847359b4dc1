// The isolation of an agent, started when something first asks for it: a node whose DAGs run at level
// `none` pays nothing for it, neither imports nor checks.
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import { hasLeftBoxes } from "./boxes-folder.ts";
import type { Attempt, AttemptListener } from "./exec/attempt.ts";
import type { SandboxSpec } from "./exec/isolation/sandbox-spec.ts";
import type { Isolation, IsolationOptions } from "./isolation.ts";

export class LazyIsolation {
  readonly #options: IsolationOptions | undefined;
  #starting: Promise<Result<Isolation>> | undefined;
  #current: Isolation | undefined;
  #isClosed = false;

  /** Undefined: there is no launcher, and without one no sandbox. */
  constructor(options: IsolationOptions | undefined) {
    this.#options = options;
    if (options === undefined) return;
    const { config, tag, say } = options;
    // An earlier agent was killed: what it left goes now, whatever this one is to run.
    if (!hasLeftBoxes(config.runtimeDir, tag)) return;
    this.open().then(
      (opened) => {
        if (!opened.ok) say("warn", `sandboxes of an earlier agent: ${messageOf(opened)}`);
      },
      (error: unknown) => say("warn", `sandboxes of an earlier agent: ${String(error)}`),
    );
  }

  /** Once it has been opened. */
  get current(): Isolation | undefined {
    return this.#current;
  }

  /** One that could not be had is tried again at the next call. */
  open(): Promise<Result<Isolation>> {
    this.#starting ??= this.#open().then((opened) => {
      if (opened.ok) this.#current = opened.value;
      else this.#starting = undefined;
      return opened;
    });
    return this.#starting;
  }

  start(spec: SandboxSpec, listener: AttemptListener): Attempt {
    if (this.#current !== undefined) return this.#current.start(spec, listener);
    let attempt: Attempt | undefined;
    let isStopped = false;
    const fail = (detail: string) => {
      const { level } = spec.kind;
      const failure = { reason: "sandbox", level, detail } as const;
      listener.ended({ outcome: { kind: "failed", failure }, facts: {} });
    };
    this.open().then(
      (opened) => {
        if (isStopped) listener.ended("returned");
        else if (opened.ok) attempt = opened.value.start(spec, listener);
        else fail(messageOf(opened));
      },
      (error: unknown) => fail(String(error)),
    );
    return {
      stop: (graceMs) => {
        isStopped = true;
        attempt?.stop(graceMs);
      },
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const started = await this.#starting?.catch(() => undefined); // whoever asked was told
    if (started?.ok === true) await started.value.close();
  }

  async #open(): Promise<Result<Isolation>> {
    if (this.#options === undefined) {
      return refusal("there is no launcher, and without one no sandbox", "Build the launcher.");
    }
    if (this.#isClosed) return refusal("the agent is ending", "Start it again.");
    const { Isolation } = await import("./isolation.ts");
    return await Isolation.start(this.#options);
  }
}

function refusal(message: string, remedy: string): { ok: false; diagnostics: Diagnostic[] } {
  return { ok: false, diagnostics: [{ code: "E_SANDBOX", path: "", message, remedy }] };
}

function messageOf({ diagnostics }: { diagnostics: readonly Diagnostic[] }): string {
  return diagnostics.map(({ message, remedy }) => `${message}. ${remedy}`).join("; ");
}
