// Types of errors.js.
import { EdgedagError } from "../sdk/node/index.js";

export interface ErrorDiagnostic {
  code: string;
  path: string;
  message: string;
  remedy: string;
}

export class ExecutorError extends EdgedagError {
  constructor(
    code: string,
    message: string,
    remedy: string,
    diagnostics?: readonly ErrorDiagnostic[],
  );
  /** Stable, for programs. */
  readonly code: string;
  readonly remedy: string;
  /** Of bad input: all that is wrong with it. */
  readonly diagnostics: readonly ErrorDiagnostic[];
}

/** What was asked for is not valid. */
export class ValidationError extends ExecutorError {}
/** It is not allowed. */
export class SecurityError extends ExecutorError {}
/** There is not enough of something: room in the queue, memory, processors. */
export class ResourceError extends ExecutorError {}
/** A task is not known, or could not be run. */
export class ExecutionError extends ExecutorError {}
/** Something took longer than it may. */
export class TimeoutError extends ExecutorError {}
/** No sandbox could be had. */
export class SandboxError extends ExecutorError {}
/** Figures were asked for that are not kept. */
export class MonitoringError extends ExecutorError {}
/** The executor cannot be made as it is configured. */
export class ConfigurationError extends ExecutorError {}
