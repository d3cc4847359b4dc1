// What commands write to, and the exit codes of those that read documents (from sysexits.h).
// Commands never touch `process` themselves, so that tests can run them.

export interface Io {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
}

export const exitCodes = {
  ok: 0,
  /** The document is bad. */
  dataErr: 65,
  /** The file is not there or cannot be read. */
  noInput: 66,
  /** The output file cannot be written. */
  cantCreat: 73,
} as const;
