// What the process says when it ends; BSD sysexits where one fits. Anything else is 1.

export const exitCodes = {
  /** Everything that was asked for was done; a run succeeded; a drain was clean. */
  ok: 0,
  /** The run failed: some task failed. */
  runFailed: 1,
  /** Wrong command line. */
  usage: 64,
  /** The DAG document or artifact is not valid. */
  badDocument: 65,
  /** A file that was named does not exist or cannot be read. */
  noInput: 66,
  /** Something that is needed is missing or cannot be reached (launcher, interpreter, master). */
  unavailable: 69,
  /** A bug of ours. */
  internal: 70,
  /** The state directory cannot be written, is full, held, or has another DAG's open run. */
  state: 73,
  /** The run did not end by itself: it was drained before its end and can be resumed. */
  unfinished: 75,
  /** The master refused the node (token, version, twin). */
  refused: 77,
  /** The configuration is not valid. */
  config: 78,
  /** The run was cancelled. */
  cancelled: 130,
} as const;
