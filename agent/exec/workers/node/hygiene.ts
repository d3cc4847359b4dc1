// What a call may leave behind in a Node.js worker that lives on. Child processes are killed; what
// cannot be taken back (timers, sockets) is named, and the worker is then retired.
import { fstatSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";

const childrenBytes = 4096;

/** `_handle` is older than every supported version; @types/node leaves it out. */
type StdStream = NodeJS.WriteStream & { _handle?: { setBlocking?(isBlocking: boolean): void } };

export class Hygiene {
  readonly #baseline = process.getActiveResourcesInfo().length;
  readonly #streams = [identityOf(1), identityOf(2)];
  readonly #argv = [...process.argv];
  // The kernel's list of the main thread's children: 0.7 us a look, also for those that no Node.js
  // code has started, and for what a dead child leaves to the subreaper.
  readonly #children = openSync(`/proc/${process.pid}/task/${process.pid}/children`, "r");
  readonly #bytes = Buffer.allocUnsafe(childrenBytes);

  readonly #opened: { stdout?: StdStream; stderr?: StdStream } = {};

  constructor() {
    this.#watchOutput("stdout");
    this.#watchOutput("stderr");
  }

  /** Resolves when what the task has written to its streams has left the process. */
  unwrittenOutput(): Promise<unknown> | undefined {
    const { stdout, stderr } = this.#opened;
    if ((stdout?.writableLength ?? 0) === 0 && (stderr?.writableLength ?? 0) === 0)
      return undefined;
    const streams = [stdout, stderr].filter((stream) => stream !== undefined);
    return Promise.all(
      streams.map((stream) => new Promise<void>((resolve) => stream.write("", () => resolve()))),
    );
  }

  /** Why the worker may not be used again, or undefined. Kills child processes. */
  leftover(): string | undefined {
    let left: string | undefined;
    if (process.getActiveResourcesInfo().length > this.#baseline) {
      const kinds = new Set(process.getActiveResourcesInfo());
      // Standard streams that the task used stay open, and are none of its leftovers.
      for (const kind of ["PipeWrap", "TTYWrap", "CloseReq"]) kinds.delete(kind);
      if (kinds.size > 0) left = `the task left ${[...kinds].join(", ")} behind`;
    }
    let hasChildren = true;
    try {
      hasChildren = readSync(this.#children, this.#bytes, 0, childrenBytes, 0) > 0;
    } catch {
      left = "the task closed a descriptor of the worker";
    }
    if (hasChildren && killChildren()) {
      left = "the task left child processes behind; they were killed";
    }
    if (process.argv.length !== this.#argv.length) process.argv = [...this.#argv];
    return left;
  }

  /** Makes the stream blocking when a task first uses it: it costs a millisecond to make one. */
  #watchOutput(name: "stdout" | "stderr"): void {
    const original = Object.getOwnPropertyDescriptor(process, name)?.get;
    if (original === undefined) return;
    const get = (): unknown => {
      const known = this.#opened[name];
      if (known !== undefined) return known;
      const stream = original.call(process) as StdStream; // what Node.js itself makes
      stream._handle?.setBlocking?.(true);
      this.#opened[name] = stream;
      return stream;
    };
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get });
  }

  streamsReplaced(): string | undefined {
    for (const [index, identity] of this.#streams.entries()) {
      const fd = index + 1;
      const now = identityOf(fd);
      if (now === "") return `the task closed descriptor ${fd}`;
      if (now !== identity) return `the task put another file in the place of descriptor ${fd}`;
    }
    return undefined;
  }
}

function identityOf(fd: number): string {
  try {
    const { dev, ino } = fstatSync(fd);
    return `${dev}:${ino}`;
  } catch {
    return "";
  }
}

/** True when one was alive. Zombies are left to Node.js, which waits for them itself. */
function killChildren(): boolean {
  let hasKilled = false;
  for (let round = 0; round < 100; round++) {
    const alive = descendants(process.pid).filter(isAlive);
    if (alive.length === 0) return hasKilled;
    for (const pid of alive) {
      try {
        process.kill(pid, "SIGKILL");
        hasKilled = true;
      } catch {
        // It has ended by itself meanwhile.
      }
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }
  return hasKilled;
}

function descendants(root: number): number[] {
  const found: number[] = [];
  const todo = [root];
  for (let pid = todo.pop(); pid !== undefined; pid = todo.pop()) {
    for (const thread of list(`/proc/${pid}/task`)) {
      const words = text(`/proc/${pid}/task/${thread}/children`).trim();
      const children = words === "" ? [] : words.split(" ").map(Number);
      found.push(...children);
      todo.push(...children);
    }
  }
  return found;
}

function isAlive(pid: number): boolean {
  const stat = text(`/proc/${pid}/stat`);
  const state = stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
  return state !== "" && state !== "Z" && state !== "X";
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function text(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
