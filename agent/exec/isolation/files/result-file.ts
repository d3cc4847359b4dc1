// Reads what a task left as its result, after everything in the box was dead: a stranger's file in a
// stranger's folder, so what is looked at is what is read, and neither its kind, its size nor its
// depth can hurt. A large one is kept as a file of ours.
import { constants } from "node:fs";
import { mkdir, open, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Json } from "../../../../protocol/json.ts";
import { isTooDeep, maxJsonDepth } from "../../../../protocol/json-depth.ts";
import type { ResultFile } from "../../attempt.ts";

export type ReadResult =
  | { kind: "none" }
  | { kind: "value"; result: Json }
  | { kind: "file"; file: ResultFile }
  | { kind: "bad"; detail: string };

/** Larger ones travel as files. */
const inlineBytes = 64 * 1024;
/** What is parsed in one go, while everything else waits. */
const maxBytes = 32 * 2 ** 20;

export async function readResultFile(
  folder: string,
  name: string,
  { keepAt, what }: { keepAt: string; what: string },
): Promise<ReadResult> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;
  const bad = (detail: string): ReadResult => ({ kind: "bad", detail: `${what} ${detail}` });
  try {
    // The folder belongs to the task: it may have put a link in its place.
    await using dir = await open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const path = join(`/proc/self/fd/${dir.fd}`, name);
    await using file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const stat = await file.stat();
    if (!stat.isFile()) return bad("is not a regular file");
    if (stat.nlink > 1) return bad("has other names (hard links)");
    if (stat.size > maxBytes) return bad(`has ${stat.size} bytes; at most ${maxBytes} can be read`);
    const bytes = Buffer.alloc(stat.size);
    const { bytesRead } = await file.read(bytes, 0, stat.size, 0);
    const text = bytes.toString("utf8", 0, bytesRead);
    if (text.trim() === "") return { kind: "none" };
    // Brackets alone are cheap to write and dear to parse.
    if (isNestedDeep(bytes)) return bad(tooDeep);
    const result = JSON.parse(text) as Json; // JSON.parse gives nothing but Json
    if (isTooDeep(result)) return bad(tooDeep);
    if (bytesRead <= inlineBytes) return { kind: "value", result };
    await mkdir(dirname(keepAt), { recursive: true, mode: 0o700 });
    await writeFile(keepAt, bytes.subarray(0, bytesRead), { mode: 0o600 });
    return { kind: "file", file: { path: keepAt, sizeBytes: bytesRead } };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") return { kind: "none" };
    if (code === "ELOOP" || code === "ENXIO" || code === "ENOTDIR") {
      return bad("is not a regular file");
    }
    return bad(`is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const tooDeep = `is nested more than ${maxJsonDepth} levels deep`;

/** The brackets that are open at a time, texts left out. */
function isNestedDeep(bytes: Buffer): boolean {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isText) {
      if (byte === 0x5c) at += 1;
      else if (byte === 0x22) isText = false;
    } else if (byte === 0x22) {
      isText = true;
    } else if (byte === 0x5b || byte === 0x7b) {
      depth += 1;
      if (depth > maxJsonDepth) return true;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth -= 1;
    }
  }
  return false;
}
