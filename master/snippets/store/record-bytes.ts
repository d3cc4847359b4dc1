// A finished record as bytes, for caches outside of this process: a head of JSON, then output and files
// as they are. What cannot be read is no record: a cache may hold what another release wrote.
//   byte 0: version; bytes 1 to 4: length of the head; the head; stdout, stderr, files one after another
import type { SnippetEnd, SnippetRecord } from "../snippet.ts";

const version = 1;
const headAt = 5;

/** The record with the lengths of its bytes in their place. */
type Head = Omit<SnippetRecord, "end"> & {
  end: Omit<SnippetEnd, "stdout" | "stderr" | "files"> & {
    stdout: number;
    stderr: number;
    files: { name: string; sizeBytes: number; content: number }[];
  };
};

/** Undefined: it has not ended. */
export function bytesOf(record: SnippetRecord): Buffer | undefined {
  const { end } = record;
  if (end === undefined) return undefined;
  const { stdout, stderr, files } = end;
  const head: Head = {
    ...record,
    end: {
      ...end,
      stdout: stdout.length,
      stderr: stderr.length,
      files: files.map((file) => ({ ...file, content: file.content.length })),
    },
  };
  const text = Buffer.from(JSON.stringify(head));
  const start = Buffer.alloc(headAt);
  start.writeUInt8(version, 0);
  start.writeUInt32BE(text.length, 1);
  return Buffer.concat([start, text, stdout, stderr, ...files.map(({ content }) => content)]);
}

/** Undefined: these are not the bytes of the record with that id. */
export function recordFrom(bytes: Uint8Array, id: string): SnippetRecord | undefined {
  if (bytes.length < headAt || bytes[0] !== version) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = headAt + view.readUInt32BE(1);
  // Copies: the whole may be a piece of a much larger buffer, which would be held with it.
  const take = (length: number): Uint8Array => {
    at += length;
    return new Uint8Array(view.subarray(at - length, at));
  };
  try {
    // Written above, by this service or another one like it.
    const head = JSON.parse(view.toString("utf8", headAt, at)) as Head;
    if (head.snippet.id !== id || head.state !== "finished") return undefined;
    const { stdout, stderr, files, ...end } = head.end;
    const record: SnippetRecord = {
      ...head,
      end: {
        ...end,
        stdout: take(stdout),
        stderr: take(stderr),
        files: files.map((file) => ({ ...file, content: take(file.content) })),
      },
    };
    return at === view.length ? record : undefined;
  } catch {
    return undefined;
  }
}
