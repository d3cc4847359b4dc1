// The frames from the agent to a launcher (PROTOCOL.md): encoding of commands. No I/O.
import type {
  Arming,
  Following,
  HoldNote,
  ProcessSpec,
  ResourceLimits,
  RlimitName,
  StreamBytes,
  TmpfsSize,
} from "./process.ts";

const headerBytes = 9;
const spawnFixedBytes = 71;
const followFixedBytes = 9;
const armFixedBytes = 41;
const tmpfsFixedBytes = 25;
const rlimitBytes = 17;
const maxFrameBytes = 8 * 1024 * 1024;

const commandSpawn = 1;
const commandKill = 2;
const commandChannel = 3;
const commandArm = 4;
const commandUsage = 5;
const commandTmpfs = 6;
const commandBye = 7;
const commandAttach = 8;
const commandKeep = 9;
const commandTake = 10;
const commandLogged = 11;
const commandForget = 12;
const commandDrop = 13;
const commandLetGo = 14;
const commandFollow = 15;

const withRelay = 1;
const withCgroup = 2;
const withNewPid = 4;
const withPrivileges = 8;
const withSeccomp = 16;
const withLandlock = 32;
const withSamples = 64;
const withChannelStdio = 128;

const rlimitCodes: Readonly<Record<RlimitName, number>> = {
  as: 0,
  cpu: 1,
  core: 2,
  fsize: 3,
  nofile: 4,
  nproc: 5,
  stack: 6,
};
const tmpfsCodes = { mount: 1, resize: 2, unmount: 3 } as const;
const noLimit = 0xffff_ffff_ffff_ffffn;
const u32Max = 0xffff_ffff;

function clampU32(n: number): number {
  return Math.min(Math.max(Math.ceil(n), 0), u32Max);
}

function toU64(n: number): bigint {
  return n < Number.MAX_SAFE_INTEGER ? BigInt(Math.max(0, Math.trunc(n))) : noLimit;
}

/** 0 says none; what does not fit into the field (49 days) must not become a shorter timeout. */
function toTimeout(ms: number | undefined): number {
  return ms === undefined || ms >= u32Max ? 0 : Math.max(1, clampU32(ms));
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

/** When a process starts that is to follow another one. */
export type Turn = Following & {
  /** Id of the one right before it. */
  behind: number;
};

/** What cannot be put into a frame, in the words of a failed spawn. */
export interface Unsendable {
  errno: string;
  detail: string;
}

function flagsOf({ confine, ...spec }: ProcessSpec): number {
  let flags = 0;
  if (spec.relay === true) flags |= withRelay;
  if (spec.cgroup === true) flags |= withCgroup;
  if (spec.newPidNamespace === true) flags |= withNewPid;
  if (spec.sampled === true) flags |= withSamples;
  if (spec.isChannelStdio === true) flags |= withChannelStdio;
  if (confine !== undefined) flags |= withPrivileges;
  if (confine?.seccomp !== undefined) flags |= withSeccomp;
  if (confine?.writable !== undefined) flags |= withLandlock;
  return flags;
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

  /** No bytes: the channel is closed. */
  channel(id: number, bytes: Uint8Array): void {
    const at = this.#header(commandChannel, id, bytes.length);
    this.#buffer.set(bytes, at);
  }

  usage(id: number): void {
    this.#header(commandUsage, id, 0);
  }

  /** To a holder: it ends, with all that it holds. Of every version of the protocol since 3. */
  bye(): void {
    this.#header(commandBye, 0, 0);
  }

  /** The first word to a holder that was found. Of every version of the protocol since 3. */
  attach(token: string): void {
    const at = this.#header(commandAttach, 0, token.length);
    this.#buffer.write(token, at, "latin1");
  }

  /** Stands right before the spawn of a process that is to be held. */
  keep(id: number, tag: string, note: HoldNote): void {
    const bytes = Buffer.from(tag);
    const at = this.#numbers(this.#header(commandKeep, id, 16 + bytes.length), note);
    this.#buffer.set(bytes, at);
  }

  takeOver(id: number, from: StreamBytes, note: HoldNote): void {
    this.#numbers(this.#numbers(this.#header(commandTake, id, 32), from), note);
  }

  logged(id: number, upTo: StreamBytes, note: HoldNote): void {
    this.#numbers(this.#numbers(this.#header(commandLogged, id, 32), upTo), note);
  }

  forget(id: number): void {
    this.#header(commandForget, id, 0);
  }

  drop(id: number): void {
    this.#header(commandDrop, id, 0);
  }

  letGo(id: number): void {
    this.#header(commandLetGo, id, 0);
  }

  #numbers(at: number, [first, second]: readonly [number, number]): number {
    return this.#buffer.writeBigUInt64LE(
      toU64(second),
      this.#buffer.writeBigUInt64LE(toU64(first), at),
    );
  }

  arm(id: number, arming: Arming): void {
    const rlimits = arming.rlimits ?? [];
    const size = armFixedBytes + rlimits.length * rlimitBytes;
    let at = this.#header(commandArm, id, size);
    at = this.#times(at, arming);
    at = this.#limits(at, arming.limits);
    at = this.#buffer.writeUInt8(rlimits.length, at);
    this.#rlimits(at, rlimits);
  }

  /** False when the path holds a NUL. */
  tmpfs(id: number, what: keyof typeof tmpfsCodes, path: string, size: TmpfsSize): boolean {
    if (path.includes("\0")) return false;
    const text = `${path}\0`;
    let at = this.#header(commandTmpfs, id, tmpfsFixedBytes + Buffer.byteLength(text));
    const b = this.#buffer;
    at = b.writeUInt8(tmpfsCodes[what], at);
    at = b.writeBigUInt64LE(toU64(size.bytes), at);
    at = b.writeBigUInt64LE(toU64(size.inodes), at);
    at = b.writeUInt32LE(size.uid ?? 0, at);
    at = b.writeUInt32LE(size.gid ?? 0, at);
    b.write(text, at);
    return true;
  }

  /** With `turn` it starts when another process has ended. */
  spawn(id: number, spec: ProcessSpec, env: EncodedEnv, turn?: Turn): Unsendable | undefined {
    const allow = spec.confine?.seccomp?.allow.join(",") ?? "";
    const writable = spec.confine?.writable ?? [];
    let text = `${spec.cwd}\0${spec.channel ?? ""}\0${spec.stdin ?? ""}\0${allow}\0`;
    for (const path of writable) text += `${path}\0`;
    for (const word of spec.argv) text += `${word}\0`;
    const rlimits = spec.rlimits ?? [];
    // A NUL inside a word would make one word two.
    let ends = 0;
    for (let i = text.indexOf("\0"); i >= 0; i = text.indexOf("\0", i + 1)) ends++;
    if (spec.argv.length === 0) return { errno: "EINVAL", detail: "the command is empty" };
    if (ends !== spec.argv.length + writable.length + 4) {
      return { errno: "EINVAL", detail: "the command holds a NUL character" };
    }
    if (writable.length > 255) return { errno: "E2BIG", detail: "more than 255 writable folders" };
    const textBytes = Buffer.byteLength(text);
    const absent = turn === undefined ? undefined : Buffer.from(`${turn.absent ?? ""}\0`);
    const turnBytes = absent === undefined ? 0 : followFixedBytes + absent.length;
    const ownBytes = rlimits.length * rlimitBytes + textBytes + env.bytes.length;
    const size = turnBytes + spawnFixedBytes + ownBytes;
    if (size > maxFrameBytes) {
      return { errno: "E2BIG", detail: `command and environment are ${size} bytes long` };
    }
    let at = this.#header(turn === undefined ? commandSpawn : commandFollow, id, size);
    const b = this.#buffer;
    if (turn !== undefined && absent !== undefined) {
      at = b.writeUInt32LE(turn.behind, at);
      at = b.writeUInt32LE(clampU32(turn.patienceMs ?? u32Max), at);
      at = b.writeUInt8(turn.isCondition ? 1 : 0, at);
      at += absent.copy(b, at);
    }
    at = this.#times(at, spec);
    at = b.writeUInt8(spec.mark === undefined ? 0 : 1, at);
    if (spec.mark === undefined) b.fill(0, at, at + 8);
    else b.set(spec.mark.subarray(0, 8), at);
    at = b.writeUInt8(rlimits.length, at + 8);
    at = b.writeUInt32LE(spec.argv.length, at);
    at = b.writeUInt32LE(env.count, at);
    at = b.writeUInt32LE(flagsOf(spec), at);
    at = b.writeUInt32LE(spec.confine?.uid ?? u32Max, at);
    at = b.writeUInt32LE(spec.confine?.gid ?? u32Max, at);
    at = this.#limits(at, spec.limits);
    at = b.writeUInt8(writable.length, at);
    at = this.#rlimits(at, rlimits);
    at += b.write(text, at);
    b.set(env.bytes, at);
    return undefined;
  }

  #times(at: number, of: Pick<Arming, "timeoutMs" | "graceMs" | "outputLimitBytes">): number {
    const b = this.#buffer;
    const limit = of.outputLimitBytes === undefined ? noLimit : toU64(of.outputLimitBytes);
    const next = b.writeUInt32LE(
      clampU32(of.graceMs),
      b.writeUInt32LE(toTimeout(of.timeoutMs), at),
    );
    return b.writeBigUInt64LE(limit, next);
  }

  /** 0 says none in each, so a limit of less than one unit becomes one. */
  #limits(at: number, limits: ResourceLimits | undefined): number {
    const b = this.#buffer;
    if (limits === undefined) {
      b.fill(0, at, at + 24);
      return at + 24;
    }
    const { memoryBytes, cpuTimeMs, cpus, pids } = limits;
    const some = (n: number | undefined) => (n === undefined ? 0n : toU64(Math.max(1, n)));
    let next = b.writeBigUInt64LE(some(memoryBytes), at);
    next = b.writeBigUInt64LE(some(cpuTimeMs), next);
    next = b.writeUInt32LE(cpus === undefined ? 0 : Math.max(1, clampU32(cpus * 1000)), next);
    return b.writeUInt32LE(pids === undefined ? 0 : Math.max(1, clampU32(pids)), next);
  }

  #rlimits(at: number, rlimits: NonNullable<ProcessSpec["rlimits"]>): number {
    let next = at;
    for (const limit of rlimits) {
      next = this.#buffer.writeUInt8(rlimitCodes[limit.name], next);
      next = this.#buffer.writeBigUInt64LE(toU64(limit.soft), next);
      next = this.#buffer.writeBigUInt64LE(toU64(limit.hard), next);
    }
    return next;
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
