// How a box of gVisor says that a process could not be started for the limit of processes: the
// kernel inside counts them (RLIMIT_NPROC) but keeps no count of refusals, so it logs the system
// calls that start processes, and the refusals are looked for in that log. Used by gvisor.ts.
import { closeSync, openSync, readSync, truncateSync } from "node:fs";

/** For runsc: which system calls it logs, and where. A file for each of its processes. */
export function forkLogFlags(folder: string): string[] {
  return [
    "--strace",
    "--strace-syscalls=clone,clone3,fork,vfork",
    `--debug-log=${folder}/%COMMAND%.log`,
  ];
}

/** One line ends with the error of a call; names of processes stand before the call, in 15 bytes. */
const refusal = / X (?:clone3?|v?fork)\(.*\) = .*errno=11\b/;
const truncateAtBytes = 16 * 1024 * 1024;

export class ForkLog {
  readonly #path: string;
  #offset = 0;
  #rest = "";
  #isRefused = false;

  constructor(folder: string) {
    this.#path = `${folder}/boot.log`;
  }

  /** Whether a process was refused so far. Reads what is new. */
  isRefused(): boolean {
    if (!this.#isRefused) this.#read();
    return this.#isRefused;
  }

  #read(): void {
    let fd: number;
    try {
      fd = openSync(this.#path, "r");
    } catch {
      return; // Not written yet, or the box is gone with its folder.
    }
    try {
      const buffer = Buffer.allocUnsafe(64 * 1024);
      let count = readSync(fd, buffer, 0, buffer.length, this.#offset);
      while (count > 0 && !this.#isRefused) {
        this.#offset += count;
        this.#look(buffer.toString("latin1", 0, count));
        count = readSync(fd, buffer, 0, buffer.length, this.#offset);
      }
    } finally {
      closeSync(fd);
    }
    // It is opened for appending: what follows begins at the start again.
    if (this.#offset < truncateAtBytes) return;
    truncateSync(this.#path);
    this.#offset = 0;
  }

  #look(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    this.#isRefused = lines.some((line) => refusal.test(line));
  }
}
