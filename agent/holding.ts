// What a run says of the processes that are to outlive this agent: how much of their output is in the
// log, that their end is in the journal. Decides nothing about the run; where nothing is held it
// costs a look at an empty set.
import type { HeldHandle, HoldNote, StreamBytes } from "./exec/launcher/process.ts";
import type { LogEnd } from "./log/run-log.ts";

/** So much output is told at once: the launcher keeps 1 MiB of a process before it waits. */
const tellBytes = 256 * 1024;
/** A note that is further back would make the next agent read much of the log. */
const noteBytes = 4 * 1024 * 1024;
/** As long as a tag may be (PROTOCOL.md, "keep"). */
const maxTagBytes = 512;

/** As `LogStream` counts. */
interface Given {
  readonly givenBytes?: number;
}

/** An attempt whose process is held. */
export interface HeldFlight {
  readonly held: HeldHandle;
  /** What the log had of it when this agent took it over; nothing of one that it started. */
  readonly from: StreamBytes;
  readonly streams: { readonly stdout: Given | undefined; readonly stderr: Given | undefined };
}

/** The identity of an attempt, as a launcher keeps it for the next agent. */
export interface HeldName {
  run: string;
  task: string;
  attempt: number;
  /** File name of the store's socket, which the process knows. */
  socket: string;
}

export function nameOfTag(tag: string): HeldName | undefined {
  try {
    const read: unknown = JSON.parse(tag);
    if (!Array.isArray(read)) return undefined;
    const [run, task, attempt, socket] = read as unknown[];
    if (typeof run !== "string" || typeof task !== "string") return undefined;
    if (typeof attempt !== "number" || typeof socket !== "string") return undefined;
    return /^[\w.-]+$/.test(socket) ? { run, task, attempt, socket } : undefined;
  } catch {
    return undefined; // a tag of another release: it fits nothing
  }
}

interface Told {
  upTo: StreamBytes;
  note: LogEnd;
}

export class Holding {
  readonly #run: Pick<HeldName, "run" | "socket">;
  readonly #position: () => LogEnd;
  readonly #flights = new Map<HeldFlight, Told>();
  #settled: HeldHandle[] = [];

  /** `position`: where the log ends. */
  constructor(run: Pick<HeldName, "run" | "socket">, position: () => LogEnd) {
    this.#run = run;
    this.#position = position;
  }

  /** What is to stand in the spec of a process that outlives this agent; absent: it cannot. */
  mark(task: string, attempt: number): { tag: string; note: HoldNote } | undefined {
    const tag = JSON.stringify([this.#run.run, task, attempt, this.#run.socket]);
    return Buffer.byteLength(tag) > maxTagBytes
      ? undefined
      : { tag, note: noteOf(this.#position()) };
  }

  /** What a launcher is to tell the next agent of the place up to which the log is known. */
  get note(): HoldNote {
    return noteOf(this.#position());
  }

  begin(flight: HeldFlight): void {
    this.#flights.set(flight, { upTo: flight.from, note: this.#position() });
  }

  /** Everything that was given to the log is in its files. */
  logged(): void {
    if (this.#flights.size === 0) return;
    const end = this.#position();
    for (const [flight, told] of this.#flights) {
      const upTo = reached(flight);
      const bytes = upTo[0] - told.upTo[0] + upTo[1] - told.upTo[1];
      const isFar = end.segment !== told.note.segment || end.offset - told.note.offset > noteBytes;
      if (bytes < tellBytes && !isFar) continue;
      flight.held.logged(upTo, noteOf(end));
      this.#flights.set(flight, { upTo, note: end });
    }
  }

  /** Something that they may have to do with ends with this agent: so do they. */
  letGo(): void {
    for (const flight of this.#flights.keys()) flight.held.letGo();
    this.#flights.clear();
  }

  /** It has ended, and that will be in the journal's next commit. */
  ended(flight: HeldFlight): void {
    this.#flights.delete(flight);
    this.#settled.push(flight.held);
  }

  /** What has ended since the last call. */
  takeSettled(): HeldHandle[] {
    const settled = this.#settled;
    if (settled.length > 0) this.#settled = [];
    return settled;
  }

  get size(): number {
    return this.#flights.size;
  }

  has(flight: HeldFlight): boolean {
    return this.#flights.has(flight);
  }
}

function noteOf({ segment, offset }: LogEnd): HoldNote {
  return [segment, offset];
}

function reached({ from, streams }: HeldFlight): StreamBytes {
  const { stdout, stderr } = streams;
  return [from[0] + (stdout?.givenBytes ?? 0), from[1] + (stderr?.givenBytes ?? 0)];
}
