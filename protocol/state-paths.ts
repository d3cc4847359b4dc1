// Where things lie in the state directory. Pure string functions, shared by everybody who reads or
// writes there; nobody else may spell these names.

/** Ids of runs become folder names: a master that sends another one is refused. */
export const runIdPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export function lockPath(stateDir: string): string {
  return `${stateDir}/lock`;
}

export function journalPath(stateDir: string): string {
  return `${stateDir}/journal.db`;
}

/** The node's keys: a secret. */
export function identityPath(stateDir: string): string {
  return `${stateDir}/identity.json`;
}

/** Sockets of launchers whose processes outlive the agent, and their tokens. */
export function orphansDir(stateDir: string): string {
  return `${stateDir}/orphans`;
}

export function agentLogPath(stateDir: string): string {
  return `${stateDir}/log/agent.ndjson`;
}

export function runsDir(stateDir: string): string {
  return `${stateDir}/runs`;
}

export function runDir(stateDir: string, run: string): string {
  return `${stateDir}/runs/${run}`;
}

export function runLogDir(stateDir: string, run: string): string {
  return `${stateDir}/runs/${run}/log`;
}

/** Segments of the combined log are numbered from 1; the highest is the one being written. */
export function segmentPath(stateDir: string, run: string, segment: number): string {
  return `${stateDir}/runs/${run}/log/${segment}.ndjson`;
}

/** Digests of the segments that are full, where there are receipts. */
export function logChainPath(stateDir: string, run: string): string {
  return `${stateDir}/runs/${run}/log-chain.ndjson`;
}

/** The private key of receipts, where no other is named; `.pub` beside it. */
export function receiptKeyPath(stateDir: string): string {
  return `${stateDir}/receipt.key`;
}

export function receiptPath(stateDir: string, run: string): string {
  return `${stateDir}/runs/${run}/receipt.json`;
}

export function runObjectsDir(stateDir: string, run: string): string {
  return `${stateDir}/runs/${run}/objects`;
}

/** Journals that were damaged, each in a folder named by the time at which that was found. */
export function quarantineDir(stateDir: string): string {
  return `${stateDir}/quarantine`;
}
