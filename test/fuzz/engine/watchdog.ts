// A thread that ends the process when one input takes too long: the main thread may be in a loop
// that nothing else interrupts. The parent finds the input in the file of the current input.
import { writeSync } from "node:fs";
import { isMainThread, Worker, workerData } from "node:worker_threads";

interface Shared {
  /** [number of the input, 1 while it runs]. */
  cells: Int32Array<SharedArrayBuffer>;
  boundMs: number;
}

export class Watchdog {
  readonly #cells = new Int32Array(new SharedArrayBuffer(8));
  readonly #thread: Worker;

  constructor(boundMs: number) {
    const shared: Shared = { cells: this.#cells, boundMs };
    this.#thread = new Worker(new URL(import.meta.url), { workerData: shared });
    this.#thread.unref();
  }

  begin(): void {
    Atomics.add(this.#cells, 0, 1);
    Atomics.store(this.#cells, 1, 1);
  }

  end(): void {
    Atomics.store(this.#cells, 1, 0);
  }
}

function watch({ cells, boundMs }: Shared): void {
  let seen = -1;
  let since = 0;
  let cpuSince = 0;
  setInterval(() => {
    const current = Atomics.load(cells, 0);
    if (current !== seen || Atomics.load(cells, 1) === 0) {
      seen = current;
      since = performance.now();
      cpuSince = cpuMs();
    } else if (isOver(performance.now() - since, cpuMs() - cpuSince, boundMs)) {
      writeSync(2, `hang: an input takes more than ${boundMs} ms\n`);
      process.kill(process.pid, "SIGKILL");
    }
  }, 50);
}

/** A busy machine must not look like a hang: who waits for the processor gets more time. */
function isOver(wallMs: number, cpuMs: number, boundMs: number): boolean {
  return wallMs > boundMs && (cpuMs > boundMs * 0.6 || wallMs > boundMs * 6);
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

if (!isMainThread) watch(workerData as Shared); // given above
