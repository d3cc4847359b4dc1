// The frames from a launcher to the agent (PROTOCOL.md): decoding of events. No I/O.
// Output bytes are handed on as views of the chunk that was read. What a launcher inside a sandbox
// says is hostile: every size and every number is looked at before it is used.
import { constants } from "node:os";
import type { Facts } from "../../../protocol/outcome.ts";
import type { HeldProcess, LimitName, ProcessEnd, Usage } from "./process.ts";

export const launcherProtocol = 4;

const headerBytes = 9;
const eventHello = 128;
const eventStarted = 129;
const eventStdout = 130;
const eventStderr = 131;
const eventMark = 132;
const eventEnded = 133;
const eventSpawnFailed = 134;
const eventChannel = 135;
const eventSample = 136;
const eventUsage = 137;
const eventDone = 138;
const eventRoom = 139;
const eventHeld = 140;
const eventReturned = 141;
/** Bodies that are passed on in pieces may be this long, those of all others `maxTextBytes` more. */
const maxStreamedBytes = 16 * 1024 * 1024;
const maxTextBytes = 512;
/** Smallest bodies; `hello`, `spawn-failed` and `held` end in a text, all others have one size. */
const bodyBytes: Readonly<Record<number, number>> = {
  [eventHello]: 12,
  [eventStarted]: 12,
  [eventMark]: 5,
  [eventEnded]: 104,
  [eventSpawnFailed]: 5,
  [eventSample]: 73,
  [eventUsage]: 73,
  [eventDone]: 4,
  [eventRoom]: 4,
  [eventHeld]: 61,
  [eventReturned]: 0,
};
const limitNames: readonly (LimitName | undefined)[] = [
  undefined,
  undefined,
  undefined,
  undefined,
  "memory",
  "pids",
  "cpu-time",
];
const stops = [undefined, "timeout", "output", "killed", "memory", "pids", "cpu-time"] as const;

const signalNames = new Map<number, string>();
for (const [name, number] of Object.entries(constants.signals)) {
  if (!signalNames.has(number)) signalNames.set(number, name);
}

export interface LauncherHello {
  protocol: number;
  pid: number;
  /** 0: none, and then `why`. */
  cgroupVersion: number;
  why: string;
}

type Stream = "stdout" | "stderr" | "channel";

export interface LauncherEvents {
  hello(hello: LauncherHello): void;
  started(id: number, pid: number, startedAt: number): void;
  output(id: number, stream: "stdout" | "stderr", bytes: Buffer): void;
  mark(id: number, stream: "stdout" | "stderr", markId: number): void;
  /** `undefined`: the process has closed it. */
  channel(id: number, bytes: Buffer | undefined): void;
  /** The process has taken so many bytes from its channel. */
  room(id: number, bytes: number): void;
  sample(id: number, usage: Usage): void;
  usage(id: number, usage: Usage): void;
  done(id: number, errno: number): void;
  /** `undefined`: that was all. */
  held(process: HeldProcess | undefined): void;
  ended(id: number, end: Extract<ProcessEnd, { kind: "exited" }>): void;
  spawnFailed(id: number, stage: number, errno: number, why: string): void;
  /** It was to follow another one, and has not begun. */
  returned(id: number): void;
}

/** Decodes a stream of events. Frames may be cut anywhere; output is passed on in pieces then. */
export class EventDecoder {
  readonly #events: LauncherEvents;
  /** A header or a small frame that was cut off by the end of a chunk. */
  readonly #kept = Buffer.alloc(headerBytes + 104 + maxTextBytes);
  #keptLength = 0;
  #streamLeft = 0;
  #streamId = 0;
  #stream: Stream = "stdout";

  constructor(events: LauncherEvents) {
    this.#events = events;
  }

  /** Throws when the bytes are no frames of this protocol; nothing after them can be read then. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#streamLeft > 0) {
        const end = Math.min(chunk.length, at + this.#streamLeft);
        this.#streamLeft -= end - at;
        const bytes = chunk.subarray(at, end);
        if (this.#stream === "channel") this.#events.channel(this.#streamId, bytes);
        else this.#events.output(this.#streamId, this.#stream, bytes);
        at = end;
        continue;
      }
      if (this.#keptLength === 0) {
        const next = this.#frame(chunk, at, chunk.length);
        if (next > at) {
          at = next;
          continue;
        }
      }
      // One byte at a time is enough here: it happens at most once a chunk, for one small frame.
      this.#kept[this.#keptLength++] = chunk[at++] ?? 0;
      if (this.#frame(this.#kept, 0, this.#keptLength) > 0) this.#keptLength = 0;
    }
  }

  /** Where the next frame starts, or `at` when this one is not complete. */
  #frame(b: Buffer, at: number, end: number): number {
    if (end - at < headerBytes) return at;
    const size = b.readUInt32LE(at) - 5;
    const type = b.readUInt8(at + 4);
    const id = b.readUInt32LE(at + 5);
    const body = at + headerBytes;
    if (type === eventStdout || type === eventStderr || type === eventChannel) {
      if (size < 0 || size > maxStreamedBytes) throw refused(type, size);
      this.#streamLeft = size;
      this.#streamId = id;
      this.#stream = type === eventStdout ? "stdout" : type === eventStderr ? "stderr" : "channel";
      if (size === 0 && type === eventChannel) this.#events.channel(id, undefined);
      return body;
    }
    const least = bodyBytes[type];
    const hasText = type === eventHello || type === eventSpawnFailed || type === eventHeld;
    if (least === undefined || size < least || size > least + (hasText ? maxTextBytes : 0)) {
      throw refused(type, size);
    }
    if (end - body < size) return at;
    if (type === eventStarted) {
      this.#events.started(id, b.readUInt32LE(body), b.readDoubleLE(body + 4));
    } else if (type === eventMark) {
      const stream = b.readUInt8(body) === 0 ? "stdout" : "stderr";
      this.#events.mark(id, stream, b.readUInt32LE(body + 1));
    } else if (type === eventEnded) {
      this.#events.ended(id, decodeEnd(b, body));
    } else if (type === eventSpawnFailed) {
      const why = textOf(b, body + least, body + size);
      this.#events.spawnFailed(id, b.readUInt8(body), b.readUInt32LE(body + 1), why);
    } else if (type === eventSample) {
      this.#events.sample(id, decodeUsage(b, body));
    } else if (type === eventUsage) {
      this.#events.usage(id, decodeUsage(b, body));
    } else if (type === eventDone) {
      this.#events.done(id, b.readUInt32LE(body));
    } else if (type === eventHeld) {
      this.#events.held(id === 0 ? undefined : decodeHeld(b, { id, body, end: body + size }));
    } else if (type === eventReturned) {
      this.#events.returned(id);
    } else if (type === eventRoom) {
      this.#events.room(id, b.readUInt32LE(body));
    } else {
      this.#events.hello({
        protocol: b.readUInt32LE(body),
        pid: b.readUInt32LE(body + 4),
        cgroupVersion: b.readUInt32LE(body + 8),
        why: textOf(b, body + least, body + size),
      });
    }
    return body + size;
  }
}

function refused(type: number, size: number): Error {
  return new Error(`launcher sent frame ${type} of ${size} bytes`);
}

/** A NUL-ended string; absent is empty. */
function textOf(b: Buffer, from: number, to: number): string {
  const nul = b.subarray(from, to).indexOf(0);
  return b.toString("utf8", from, nul < 0 ? to : from + nul);
}

/** Negative stands for unknown; what is no number at all is not believed either. */
function figure(b: Buffer, at: number): number | undefined {
  const n = b.readDoubleLE(at);
  return n >= 0 && n < Number.POSITIVE_INFINITY ? n : undefined;
}

function decodeHeld(b: Buffer, at: { id: number; body: number; end: number }): HeldProcess {
  const { id, body, end } = at;
  const pair = (offset: number): readonly [number, number] => [
    Number(b.readBigUInt64LE(body + offset)),
    Number(b.readBigUInt64LE(body + offset + 8)),
  ];
  return {
    id,
    pid: b.readUInt32LE(body),
    startedAt: figure(b, body + 4) ?? 0,
    from: pair(12),
    to: pair(28),
    note: pair(44),
    hasEnded: b.readUInt8(body + 60) === 1,
    tag: b.toString("utf8", body + 61, end),
  };
}

function decodeUsage(b: Buffer, at: number): Usage {
  const usage: Usage = { at: figure(b, at) ?? 0 };
  const put = (key: Exclude<keyof Usage, "at" | "exceeded">, offset: number) => {
    const n = figure(b, at + offset);
    if (n !== undefined) usage[key] = n;
  };
  put("cpuUserMs", 8);
  put("cpuSystemMs", 16);
  put("memoryBytes", 24);
  put("peakMemoryBytes", 32);
  put("pids", 40);
  put("peakPids", 48);
  put("readBytes", 56);
  put("writtenBytes", 64);
  const exceeded = limitNames[b.readUInt8(at + 72)];
  if (exceeded !== undefined) usage.exceeded = exceeded;
  return usage;
}

function decodeEnd(b: Buffer, at: number): Extract<ProcessEnd, { kind: "exited" }> {
  const bySignal = b.readUInt8(at) === 1;
  const stopped = stops[b.readUInt8(at + 1)];
  const flags = b.readUInt8(at + 2);
  const code = b.readUInt32LE(at + 4);
  const dropped = figure(b, at + 64) ?? 0;
  const facts: Facts = {
    startedAt: figure(b, at + 8) ?? 0,
    wallMs: figure(b, at + 16) ?? 0,
    cpuUserMs: figure(b, at + 24) ?? 0,
    cpuSystemMs: figure(b, at + 32) ?? 0,
    maxRssBytes: figure(b, at + 40) ?? 0,
    stdoutBytes: figure(b, at + 48) ?? 0,
    stderrBytes: figure(b, at + 56) ?? 0,
  };
  const peakMemory = figure(b, at + 72);
  const peakPids = figure(b, at + 80);
  const read = figure(b, at + 88);
  const written = figure(b, at + 96);
  if (peakMemory !== undefined) facts.peakMemoryBytes = peakMemory;
  if (peakPids !== undefined) facts.peakPids = peakPids;
  if (read !== undefined) facts.readBytes = read;
  if (written !== undefined) facts.writtenBytes = written;
  if (dropped > 0) facts.droppedBytes = dropped;
  if ((flags & 1) !== 0) facts.leaked = true;
  if ((flags & 2) !== 0) facts.forced = true;
  const end: Extract<ProcessEnd, { kind: "exited" }> = { kind: "exited", facts };
  if (bySignal) {
    end.signal = signalNames.get(code) ?? `SIG${code}`;
    facts.signal = end.signal;
  } else {
    end.exitCode = code;
    facts.exitCode = code;
  }
  if (stopped !== undefined) end.stopped = stopped;
  return end;
}
