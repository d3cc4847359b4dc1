// A log file that can never fill the disk: two files of half the bound each, the older one replaced
// when the newer is full. When the disk takes nothing, lines are counted and dropped.
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export class BoundedFile {
  readonly #path: string;
  readonly #halfBytes: number;
  #fd: number;
  #sizeBytes: number;
  #droppedLines = 0;

  /** Throws when the file cannot be opened. */
  constructor(path: string, limitBytes: number) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#path = path;
    this.#halfBytes = Math.floor(limitBytes / 2);
    this.#fd = openSync(path, "a");
    this.#sizeBytes = fstatSync(this.#fd).size;
  }

  /** Lines that the disk did not take. */
  get droppedLines(): number {
    return this.#droppedLines;
  }

  /** One line with its newline. */
  write(line: string): void {
    try {
      if (this.#sizeBytes >= this.#halfBytes) {
        this.#rotate();
      }
      this.#sizeBytes += writeSync(this.#fd, line);
    } catch {
      // There is no place left to report it to but the counter: the log itself is what fails.
      this.#droppedLines += 1;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #rotate(): void {
    renameSync(this.#path, olderPath(this.#path));
    const fd = openSync(this.#path, "a");
    closeSync(this.#fd);
    this.#fd = fd;
    this.#sizeBytes = 0;
  }
}

/** `agent.ndjson` becomes `agent.1.ndjson`. */
export function olderPath(path: string): string {
  return path.replace(/(\.[^./]*)?$/, ".1$1");
}
