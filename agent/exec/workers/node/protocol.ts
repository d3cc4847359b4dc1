// What passes between the runner's parts: a call as the agent sends it, and where the SDK looks.

export type Value = null | boolean | number | string | Value[] | { [name: string]: Value };

/** What is called. */
export interface Callee {
  /** Empty: `main`, or the only function that there is. */
  function: string;
  file?: string;
  code?: string;
}

/**
 * As in PROTOCOL.md; what is called (all three of it), `env`, `run` and `cwd` are those of the call
 * before when they are absent.
 */
export interface Call extends Partial<Callee> {
  id: number;
  task: string;
  attempt: number;
  args?: { [name: string]: Value };
  inputs?: { [name: string]: Value };
  run?: string;
  cwd?: string;
  env?: { [name: string]: string };
  own?: { [name: string]: string };
  after?: true;
  /** Its number on the claim page. */
  claim?: number;
}

/** The SDK finds it under `Symbol.for("edgedag.worker")` of globalThis. */
export interface WorkerContext {
  call: Call | undefined;
  env: { [name: string]: string };
  resolve(value: Value): Value;
  /** What the SDK still waits for, awaited by the task or not: the call ends after it. */
  pending: Set<Promise<void>>;
  /** Sends the answers that are held back: to be called before anything that may wait. */
  flush(): void;
}

export const contextKey = Symbol.for("edgedag.worker");

/** The text is for people and needs no stack. */
export class Refusal extends Error {}
