// Folders with names that others can guess, in places where everybody may make one (/tmp, /dev/shm):
// somebody else's must be neither used nor cleaned up. In such a place nobody can put another folder
// into the place of ours, so one look is enough.
import { lstatSync } from "node:fs";

/** A real folder of our own user that nobody else can write. */
export function isOwnFolder(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isDirectory()) return false;
  return stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0;
}

/** Something is there, and it is not for us. */
export function isTaken(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined && !isOwnFolder(path);
}
