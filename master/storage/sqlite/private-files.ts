// The master's databases hold results and logs of all nodes, and digests of keys: they are for its
// user alone, also in a folder that was made open (systemd makes it 0755).
import { chmodSync } from "node:fs";

/** With the database open in WAL mode. */
export function closeToOthers(path: string): void {
  for (const file of [path, `${path}-wal`]) {
    try {
      chmodSync(file, 0o600);
    } catch (error) {
      // The log comes with the first write and takes the rights of the database; a file of another
      // owner (a mounted volume) has the rights that were chosen there.
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code !== "ENOENT" && code !== "EPERM") throw error;
    }
  }
}
