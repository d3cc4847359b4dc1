// What the library throws: one class for each kind of trouble, so that a caller can tell whose it is.
// Plain JavaScript and never bundled: a caller and the engine must mean the same classes.
import { EdgedagError } from "../sdk/node/errors.js";

/** With `code`, `remedy`, and of bad input all `diagnostics`. */
export class ExecutorError extends EdgedagError {
  constructor(code, message, remedy, diagnostics = []) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.remedy = remedy;
    this.diagnostics = diagnostics;
  }
}

export class ValidationError extends ExecutorError {}
export class SecurityError extends ExecutorError {}
export class ResourceError extends ExecutorError {}
export class ExecutionError extends ExecutorError {}
export class TimeoutError extends ExecutorError {}
export class SandboxError extends ExecutorError {}
export class MonitoringError extends ExecutorError {}
export class ConfigurationError extends ExecutorError {}
