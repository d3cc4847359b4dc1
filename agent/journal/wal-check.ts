// Whether commits are lost in the write-ahead log. SQLite goes on silently from the last frame whose
// checksum fits, which is right after a loss of power and hides damage in the middle of the file.
// Reads only, before SQLite opens the database. https://www.sqlite.org/walformat.html
import { readFileSync } from "node:fs";

export interface WalState {
  /** Frames of the file that SQLite will use. */
  soundFrames: number;
  /** Frames that the index of the last user says were committed; undefined when it does not say. */
  committedFrames: number | undefined;
}

/** Undefined: there is no log, or none that was ever used. Throws what the file system throws. */
export function readWal(databasePath: string): WalState | undefined {
  const wal = readIfThere(`${databasePath}-wal`);
  if (wal === undefined || wal.length < headerBytes) return undefined;
  const index = readIfThere(`${databasePath}-shm`);
  const isLittle = wal.readUInt32BE(0) === 0x377f0682;
  if (!isLittle && wal.readUInt32BE(0) !== 0x377f0683) {
    return { soundFrames: 0, committedFrames: committedIn(index, undefined) };
  }
  let sums = checksum(wal, 0, 24, [0, 0], isLittle);
  if (sums[0] !== wal.readUInt32BE(24) || sums[1] !== wal.readUInt32BE(28)) {
    return { soundFrames: 0, committedFrames: committedIn(index, undefined) };
  }
  const pageBytes = wal.readUInt32BE(8);
  const salts = wal.subarray(16, 24);
  const committedFrames = committedIn(index, salts);
  let soundFrames = 0;
  const frameBytes = pageBytes + frameHeaderBytes;
  for (let at = headerBytes; at + frameBytes <= wal.length; at += frameBytes) {
    if (!wal.subarray(at + 8, at + 16).equals(salts)) break;
    sums = checksum(wal, at, 8, sums, isLittle);
    sums = checksum(wal, at + frameHeaderBytes, pageBytes, sums, isLittle);
    if (sums[0] !== wal.readUInt32BE(at + 16) || sums[1] !== wal.readUInt32BE(at + 20)) break;
    soundFrames += 1;
  }
  return { soundFrames, committedFrames };
}

/** mxFrame of the index's header, which outlives a kill; without salts it is not asked whose it is. */
function committedIn(index: Buffer | undefined, salts: Buffer | undefined): number | undefined {
  if (index === undefined || index.length < 96) return undefined;
  const copy = index.subarray(0, 48);
  if (!copy.equals(index.subarray(48, 96))) return undefined;
  // Both are in the machine's order; the salts are copied as bytes.
  const isInitialised = copy[12] === 1;
  const [low, high] = checksum(copy, 0, 40, [0, 0], isLittleMachine);
  const read = (at: number) => (isLittleMachine ? copy.readUInt32LE(at) : copy.readUInt32BE(at));
  if (!isInitialised || low !== read(40) || high !== read(44)) return undefined;
  if (salts !== undefined && !copy.subarray(32, 40).equals(salts)) return undefined;
  return read(16);
}

function checksum(
  bytes: Buffer,
  from: number,
  length: number,
  [first, second]: readonly [number, number],
  isLittle: boolean,
): readonly [number, number] {
  const view = new DataView(bytes.buffer, bytes.byteOffset + from, length);
  let s0 = first;
  let s1 = second;
  for (let at = 0; at < length; at += 8) {
    s0 = (s0 + view.getUint32(at, isLittle) + s1) >>> 0;
    s1 = (s1 + view.getUint32(at + 4, isLittle) + s0) >>> 0;
  }
  return [s0, s1];
}

const headerBytes = 32;
const frameHeaderBytes = 24;
const isLittleMachine = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
