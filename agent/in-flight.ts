// An attempt in flight, as the shell sees it: what it stands behind, where its output goes, what is
// to be taken away after it. One object, listener included, since attempts cost microseconds.
import type { CancelledBy } from "../protocol/outcome.ts";
import type { Instance } from "./core/events.ts";
import type { Attempt, AttemptEnd, AttemptListener } from "./exec/attempt.ts";
import type { GpuShare } from "./gpus.ts";
import type { HeldFlight } from "./holding.ts";

/** Where one stream of an attempt goes. */
export interface Output {
  write(bytes: Buffer): void;
  end(): void;
  /** See `LogStream`; absent where what comes in is not what goes out. */
  readonly givenBytes?: number;
}

/** Is told what becomes of an attempt. */
export interface FlightKeeper {
  /** `isOver`: its end follows at once. */
  started(entry: InFlight, isOver: boolean): void;
  output(entry: InFlight, stream: "stdout" | "stderr", bytes: Buffer): void;
  ended(entry: InFlight, end: AttemptEnd | "returned"): void;
}

export class InFlight implements AttemptListener {
  readonly instance: Instance;
  readonly number: number;
  attempt: Attempt | undefined = undefined;
  stdout: Output | undefined = undefined;
  stderr: Output | undefined = undefined;
  /** When that ended which made this attempt possible; Unix milliseconds with fractions. */
  readonly cause: number | undefined;
  /** Unix milliseconds with fractions, once it has ended. */
  endedAt: number | undefined = undefined;
  /** What it was handed out behind, and what was handed out behind it. */
  before: InFlight | undefined = undefined;
  next: InFlight | undefined = undefined;
  stoppedBy: CancelledBy | undefined = undefined;
  gpu: GpuShare | undefined = undefined;
  /** Its process outlives this agent. */
  flight: HeldFlight | undefined = undefined;
  /** Paths of what it left in the working folder, by way of a sandbox. */
  artifacts: string[] | undefined = undefined;
  /** It does not count on what it was handed out behind. */
  readonly isFree: boolean;
  /** Takes away what only the attempt may have. */
  cleanUp: (() => void) | undefined = undefined;
  readonly #keeper: FlightKeeper;

  constructor(
    keeper: FlightKeeper,
    of: { task: Instance; attempt: number; isFree?: true },
    cause: number | undefined,
  ) {
    this.#keeper = keeper;
    this.instance = of.task;
    this.number = of.attempt;
    this.isFree = of.isFree === true;
    this.cause = cause;
  }

  started({ isOver }: { isOver?: boolean }): void {
    this.#keeper.started(this, isOver === true);
  }

  output(stream: "stdout" | "stderr", bytes: Buffer): void {
    this.#keeper.output(this, stream, bytes);
  }

  ended(end: AttemptEnd | "returned"): void {
    this.#keeper.ended(this, end);
  }
}
