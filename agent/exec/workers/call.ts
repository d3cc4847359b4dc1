// A call of a function in a warm worker: what is asked, what is told about it, and how it is
// written on the channel. Shared by pool and worker.
import type { Json } from "../../../protocol/json.ts";
import type { Facts, Failure } from "../../../protocol/outcome.ts";
import type { ResultFile } from "./messages.ts";

/** A value that may hold references: see `values.ts`. */
export interface CallSpec {
  task: string;
  attempt: number;
  run: string;
  /** Absolute path of the function's file; else `code`. */
  file?: string | undefined;
  code?: string | undefined;
  function: string;
  /** Absent: the function is called with nothing. */
  args?: { [name: string]: Json } | undefined;
  inputs?: { [name: string]: Json };
  /**
   * The environment that the calls of a run share. Sent only when it is another object than that
   * of the call before: keep one object a run, and never change it. The worker itself adds
   * EDGEDAG_TASK and EDGEDAG_ATTEMPT.
   */
  env: Readonly<Record<string, string>>;
  /** What only this call has, on top of `env`. */
  own?: Readonly<Record<string, string>> | undefined;
  cwd: string;
  /** Run only if the call just before it in the same worker ended well; else it is skipped. */
  after?: boolean;
  timeoutMs?: number | undefined;
  /** From TERM to KILL when it has timed out. */
  graceMs: number;
}

export type CallEnd =
  | { kind: "succeeded"; result?: Json; resultFile?: ResultFile; facts: Facts }
  | { kind: "failed"; failure: Failure; facts: Facts }
  | { kind: "skipped" }
  /** Never begun: give it to another worker. */
  | { kind: "returned" };

export interface CallListener {
  /**
   * Unix milliseconds with fractions. A short call is told only when it is done: `isOver`, its end
   * follows at once.
   */
  started(at: number, isOver: boolean): void;
  /** `bytes` are valid only during the call. */
  output(stream: "stdout" | "stderr", bytes: Buffer): void;
  /** Exactly once, last: every byte of its output has been told. */
  finished(end: CallEnd): void;
}

export interface CallHandle {
  /** For `refToCall` in the arguments of a call behind it. */
  readonly id: number;
  /**
   * Not begun: `returned`; what waits behind it in the same worker may be returned with it.
   * Running: TERM, after `graceMs` KILL, and the end tells the signal.
   */
  cancel(graceMs: number): void;
}

/** A call on its way. */
export interface Call {
  readonly id: number;
  readonly spec: CallSpec;
  readonly listener: CallListener;
  startedAt: number | undefined;
  end: CallEnd | undefined;
  /** Its end is known, and no marks come for it. */
  isUnmarked: boolean;
  stdoutBytes: number;
  stderrBytes: number;
  /**
   * Its number on the worker's claim page: ascending, u32 that wraps. 0: it was sent to a worker
   * that had nothing to do, so it cannot be taken back.
   */
  claim: number;
  /** Set when it is to be cancelled as soon as it runs. */
  cancelGraceMs: number | undefined;
}

/** What the last call that was written to a channel had, which need not be said again. */
export interface Said {
  function: string | undefined;
  file: string | undefined;
  code: string | undefined;
  env: object | undefined;
  run: string | undefined;
  cwd: string | undefined;
}

/** Of a channel on which nothing was said. */
export function nothingSaid(): Said {
  return {
    function: undefined,
    file: undefined,
    code: undefined,
    env: undefined,
    run: undefined,
    cwd: undefined,
  };
}

/** The call as JSON text; brings `said` up to date. */
export function writeCall({ id, spec, claim }: Call, said: Said): string {
  let text = `{"id":${id},"task":${JSON.stringify(spec.task)},"attempt":${spec.attempt}`;
  if (!isSaid(spec, said)) {
    said.function = spec.function;
    said.file = spec.file;
    said.code = spec.code;
    text += `,"function":${JSON.stringify(spec.function)}`;
    if (spec.file !== undefined) text += `,"file":${JSON.stringify(spec.file)}`;
    else if (spec.code !== undefined) text += `,"code":${JSON.stringify(spec.code)}`;
  }
  if (spec.args !== undefined) text += `,"args":${JSON.stringify(spec.args)}`;
  if (spec.inputs !== undefined) text += `,"inputs":${JSON.stringify(spec.inputs)}`;
  if (spec.own !== undefined) text += `,"own":${JSON.stringify(spec.own)}`;
  if (claim !== 0) text += `,"claim":${claim}`;
  if (spec.after === true) text += `,"after":true`;
  if (said.run !== spec.run) {
    said.run = spec.run;
    text += `,"run":${JSON.stringify(spec.run)}`;
  }
  if (said.cwd !== spec.cwd) {
    said.cwd = spec.cwd;
    text += `,"cwd":${JSON.stringify(spec.cwd)}`;
  }
  if (said.env !== spec.env) {
    said.env = spec.env;
    text += `,"env":${JSON.stringify(spec.env)}`;
  }
  return `${text}}`;
}

/** Whether it calls the same function as the call before, from the same file or code. */
function isSaid(spec: CallSpec, said: Said): boolean {
  return said.function === spec.function && said.file === spec.file && said.code === spec.code;
}
