// The frames between the agent and the launcher (PROTOCOL.md): encoding of commands,
// decoding of events. No I/O. Output bytes are handed on as views of the chunk that was read.
import { constants } from "node:os";
import type { Facts } from "../../../protocol/outcome.ts";
import type { ProcessEnd, ProcessSpec, RlimitName } from "./process.ts";

export const launcherProtocol = 1;

const headerBytes = 9;
const spawnFixedBytes = 34;
const rlimitBytes = 17;
const maxFrameBytes = 8 * 1024 * 1024;

const commandSpawn = 1;
const commandKill = 2;
const eventHello = 128;
const eventStarted = 129;
const eventStdout = 130;
const eventStderr = 131;
const eventMark = 132;
const eventEnded = 133;
const eventSpawnFailed = 134;
/** Bodies of all events but output have one size each. */
const bodyBytes: Readonly<Record<number, number>> = {
  [eventHello]: 8,
  [eventStarted]: 12,
  [eventMark]: 5,
  [eventEnded]: 72,
  [eventSpawnFailed]: 5,
};

const rlimitCodes: Readonly<Record<RlimitName, number>> = {
  as: 0,
  cpu: 1,
  core: 2,
  fsize: 3,
  nofile: 4,
  nproc: 5,
  stack: 6,
};
const stops = [undefined, "timeout", "output", "killed"] as const;
const noLimit = 0xffff_ffff_ffff_ffffn;
const u32Max = 0xffff_ffff;

const signalNames = new Map<number, string>();
for (const [name, number] of Object.entries(constants.signals)) {
  if (!signalNames.has(number)) signalNames.set(number, name);
}

function clampU32(n: number): number {
  return Math.min(Math.max(Math.ceil(n), 0), u32Max);
}

function toU64(n: number): bigint {
  return n < Number.MAX_SAFE_INTEGER ? BigInt(Math.max(0, Math.trunc(n))) : noLimit;
}

/** The environment as the launcher wants it: `name=value` with a NUL after each. */
export interface EncodedEnv {
  bytes: Buffer;
  count: number;
}

/** Absent when a name or a value holds a NUL, or a name is empty or holds `=`. */
export function encodeEnv(env: Readonly<Record<string, string>>): EncodedEnv | undefined {
  let text = "";
  let count = 0;
  for (const name in env) {
    const value = env[name];
    if (value === undefined) continue;
    if (name === "" || name.includes("=") || name.includes("\0") || value.includes("\0")) {
      return undefined;
    }
    text += `${name}=${value}\0`;
    count++;
  }
  return { bytes: Buffer.from(text), count };
}

/** What cannot be put into a frame, in the words of a failed spawn. */
export interface Unsendable {
  errno: string;
  detail: string;
}

/** Collects commands; `take` gives all of them as one buffer that is the caller's to keep. */
export class CommandEncoder {
  #buffer = Buffer.allocUnsafe(16 * 1024);
  #length = 0;

  take(): Buffer | undefined {
    if (this.#length === 0) return undefined;
    const taken = this.#buffer.subarray(0, this.#length);
    // What follows goes behind it, or into a fresh buffer: the socket may still hold this one.
    this.#buffer =
      this.#buffer.length - this.#length >= 4096
        ? this.#buffer.subarray(this.#length)
        : Buffer.allocUnsafe(16 * 1024);
    this.#length = 0;
    return taken;
  }

  kill(id: number, graceMs: number): void {
    const at = this.#header(commandKill, id, 4);
    this.#buffer.writeUInt32LE(clampU32(graceMs), at);
  }

  spawn(id: number, spec: ProcessSpec, env: EncodedEnv): Unsendable | undefined {
    let text = `${spec.cwd}\0${spec.channel ?? ""}\0`;
    for (const word of spec.argv) text += `${word}\0`;
    const rlimits = spec.rlimits ?? [];
    // A NUL inside a word would make one word two.
    let ends = 0;
    for (let i = text.indexOf("\0"); i >= 0; i = text.indexOf("\0", i + 1)) ends++;
    if (spec.argv.length === 0 || ends !== spec.argv.length + 2) {
      return {
        errno: "EINVAL",
        detail:
          spec.argv.length === 0 ? "the command is empty" : "the command holds a NUL character",
      };
    }
    const textBytes = Buffer.byteLength(text);
    const size = spawnFixedBytes + rlimits.length * rlimitBytes + textBytes + env.bytes.length;
    if (size > maxFrameBytes) {
      return { errno: "E2BIG", detail: `command and environment are ${size} bytes long` };
    }
    let at = this.#header(commandSpawn, id, size);
    const b = this.#buffer;
    const wanted = spec.timeoutMs ?? u32Max;
    // 0 says none; what does not fit into the field (49 days) must not become a shorter timeout.
    const timeoutMs = wanted >= u32Max ? 0 : Math.max(1, clampU32(wanted));
    at = b.writeUInt32LE(timeoutMs, at);
    at = b.writeUInt32LE(clampU32(spec.graceMs), at);
    at = b.writeBigUInt64LE(
      spec.outputLimitBytes === undefined ? noLimit : toU64(spec.outputLimitBytes),
      at,
    );
    at = b.writeUInt8(spec.mark === undefined ? 0 : 1, at);
    if (spec.mark === undefined) b.fill(0, at, at + 8);
    else b.set(spec.mark.subarray(0, 8), at);
    at = b.writeUInt8(rlimits.length, at + 8);
    at = b.writeUInt32LE(spec.argv.length, at);
    at = b.writeUInt32LE(env.count, at);
    for (const limit of rlimits) {
      at = b.writeUInt8(rlimitCodes[limit.name], at);
      at = b.writeBigUInt64LE(toU64(limit.soft), at);
      at = b.writeBigUInt64LE(toU64(limit.hard), at);
    }
    at += b.write(text, at);
    b.set(env.bytes, at);
    return undefined;
  }

  #header(type: number, id: number, size: number): number {
    const need = headerBytes + size;
    if (this.#buffer.length - this.#length < need) {
      const larger = Buffer.allocUnsafe(Math.max((this.#length + need) * 2, 16 * 1024));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    const at = this.#length;
    this.#buffer.writeUInt32LE(5 + size, at);
    this.#buffer.writeUInt8(type, at + 4);
    this.#buffer.writeUInt32LE(id, at + 5);
    this.#length += need;
    return at + headerBytes;
  }
}

export interface LauncherEvents {
  hello(protocol: number, pid: number): void;
  started(id: number, pid: number, startedAt: number): void;
  output(id: number, stream: "stdout" | "stderr", bytes: Buffer): void;
  mark(id: number, stream: "stdout" | "stderr", markId: number): void;
  ended(id: number, end: Extract<ProcessEnd, { kind: "exited" }>): void;
  spawnFailed(id: number, stage: number, errno: number): void;
}

/** Decodes a stream of events. Frames may be cut anywhere; output is passed on in pieces then. */
export class EventDecoder {
  readonly #events: LauncherEvents;
  /** A header or a small frame that was cut off by the end of a chunk. */
  readonly #kept = Buffer.alloc(128);
  #keptLength = 0;
  #outputLeft = 0;
  #outputId = 0;
  #outputStream: "stdout" | "stderr" = "stdout";

  constructor(events: LauncherEvents) {
    this.#events = events;
  }

  /** Throws when the bytes are no frames of this protocol: that is a bug, not the world. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#outputLeft > 0) {
        const end = Math.min(chunk.length, at + this.#outputLeft);
        this.#outputLeft -= end - at;
        this.#events.output(this.#outputId, this.#outputStream, chunk.subarray(at, end));
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
      // One byte at a time is enough here: it happens at most once a chunk, for at most 81 bytes.
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
    if (type === eventStdout || type === eventStderr) {
      this.#outputLeft = size;
      this.#outputId = id;
      this.#outputStream = type === eventStdout ? "stdout" : "stderr";
      return body;
    }
    if (size !== bodyBytes[type]) throw new Error(`launcher sent frame ${type} of ${size} bytes`);
    if (end - body < size) return at;
    if (type === eventStarted) {
      this.#events.started(id, b.readUInt32LE(body), b.readDoubleLE(body + 4));
    } else if (type === eventMark) {
      const stream = b.readUInt8(body) === 0 ? "stdout" : "stderr";
      this.#events.mark(id, stream, b.readUInt32LE(body + 1));
    } else if (type === eventEnded) {
      this.#events.ended(id, decodeEnd(b, body));
    } else if (type === eventSpawnFailed) {
      this.#events.spawnFailed(id, b.readUInt8(body), b.readUInt32LE(body + 1));
    } else {
      this.#events.hello(b.readUInt32LE(body), b.readUInt32LE(body + 4));
    }
    return body + size;
  }
}

function decodeEnd(b: Buffer, at: number): Extract<ProcessEnd, { kind: "exited" }> {
  const bySignal = b.readUInt8(at) === 1;
  const stopped = stops[b.readUInt8(at + 1)];
  const flags = b.readUInt8(at + 2);
  const code = b.readUInt32LE(at + 4);
  const dropped = b.readDoubleLE(at + 64);
  const facts: Facts = {
    startedAt: b.readDoubleLE(at + 8),
    wallMs: b.readDoubleLE(at + 16),
    cpuUserMs: b.readDoubleLE(at + 24),
    cpuSystemMs: b.readDoubleLE(at + 32),
    maxRssBytes: b.readDoubleLE(at + 40),
    stdoutBytes: b.readDoubleLE(at + 48),
    stderrBytes: b.readDoubleLE(at + 56),
  };
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
