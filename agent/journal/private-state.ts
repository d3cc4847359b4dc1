// What lies in the state folder is for the agent's user: parameters, results, logs. The folder itself
// may be somebody else's choice (systemd makes it 0755), so what is made in it is closed.
import { chmodSync } from "node:fs";
import { dirname } from "node:path";
import {
  agentLogPath,
  journalPath,
  lockPath,
  quarantineDir,
  runsDir,
} from "../../protocol/state-paths.ts";

/** With lock and database open: SQLite gives the files that it makes beside them the same rights. */
export function closeState(stateDir: string): void {
  const journal = journalPath(stateDir);
  // Whoever may read the lock can hold a lock on it, and then no agent starts. It is not opened here:
  // closing it would drop our own.
  for (const path of [lockPath(stateDir), journal, `${journal}-wal`, `${journal}-shm`]) {
    restrict(path, 0o600);
  }
  for (const path of [
    runsDir(stateDir),
    quarantineDir(stateDir),
    `${stateDir}/artifacts`,
    dirname(agentLogPath(stateDir)),
  ]) {
    restrict(path, 0o700);
  }
}

/** Also what a release of before left open. */
function restrict(path: string, mode: number): void {
  try {
    chmodSync(path, mode);
  } catch (error) {
    // Not there yet; or not ours, and then it is not for us to say.
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "ENOENT" && code !== "EPERM" && code !== "EROFS") throw error;
  }
}
