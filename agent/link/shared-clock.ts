// A few numbers that the agent's main thread and the link thread both see without messages, so that
// the link thread knows how long the main thread has been busy even when that sends nothing.
// All values are 32-bit; times count from a base and wrap after 49 days, which differences survive.

const slots = { aliveAt: 0, wakeWanted: 1, outboxDepth: 2 } as const;

export class SharedClock {
  readonly #cells: Int32Array<SharedArrayBuffer>;
  readonly #baseMs: number;
  /** Bytes and frames to the master. */
  readonly #sent: BigInt64Array<SharedArrayBuffer>;

  constructor(memory: SharedMemory) {
    this.#cells = new Int32Array(memory.buffer);
    this.#baseMs = memory.baseMs;
    this.#sent = new BigInt64Array(memory.buffer, 4 * 4);
  }

  static create(): SharedMemory {
    const memory = { buffer: new SharedArrayBuffer(4 * 4 + 2 * 8), baseMs: steadyMs() };
    new SharedClock(memory).turned();
    return memory;
  }

  /** Main thread: its event loop turns. */
  turned(): void {
    Atomics.store(this.#cells, slots.aliveAt, (steadyMs() - this.#baseMs) | 0);
  }

  /** Link thread: milliseconds since the main thread's loop was last seen turning. */
  sinceTurnMs(): number {
    const aliveAt = Atomics.load(this.#cells, slots.aliveAt);
    return ((steadyMs() - this.#baseMs) | 0) - aliveAt;
  }

  /** Link thread: from now on the next `takeWake` of the main thread must send a message. */
  wantWake(): void {
    Atomics.store(this.#cells, slots.wakeWanted, 1);
  }

  /** Main thread: true at most once per `wantWake`, so that a busy thread gets no flood. */
  takeWake(): boolean {
    return Atomics.exchange(this.#cells, slots.wakeWanted, 0) === 1;
  }

  set outboxDepth(depth: number) {
    Atomics.store(this.#cells, slots.outboxDepth, Math.min(depth, 0x7fffffff));
  }

  /** Link thread. A thread that was started anew goes on counting. */
  addSent(bytes: number, frames: number): void {
    Atomics.add(this.#sent, 0, BigInt(bytes));
    Atomics.add(this.#sent, 1, BigInt(frames));
  }

  get sentBytes(): number {
    return Number(Atomics.load(this.#sent, 0));
  }

  get sentFrames(): number {
    return Number(Atomics.load(this.#sent, 1));
  }

  get outboxDepth(): number {
    return Atomics.load(this.#cells, slots.outboxDepth);
  }
}

/** What is handed to the thread at its start. */
export interface SharedMemory {
  buffer: SharedArrayBuffer;
  baseMs: number;
}

/** The same in all threads, and does not jump with the wall clock. */
function steadyMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
