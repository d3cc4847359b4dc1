// The records of snippets that ended lately, least recently used first to go: bounded by number and by
// bytes, since one end may be as large as a thousand others. Holds what it is given, and copies nothing.
import type { SnippetRecord } from "../snippet.ts";

export interface RecentEndsLimits {
  count: number;
  bytes: number;
}

interface Entry {
  record: SnippetRecord;
  bytes: number;
}

export class RecentEnds {
  readonly #limits: RecentEndsLimits;
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(limits: RecentEndsLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(id: string): SnippetRecord | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    // Last in the order of a Map is what was set last.
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    return entry.record;
  }

  put(record: SnippetRecord): void {
    const { id } = record.snippet;
    this.delete(id);
    const bytes = sizeOf(record);
    if (bytes > this.#limits.bytes || this.#limits.count < 1) return;
    this.#entries.set(id, { record, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#limits.count && this.#bytes <= this.#limits.bytes) return;
      this.delete(oldest);
    }
  }

  delete(id: string): void {
    this.#bytes -= this.#entries.get(id)?.bytes ?? 0;
    this.#entries.delete(id);
  }
}

/** About what a value takes in memory. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return 24 + value.length;
  if (value instanceof Uint8Array) return 96 + value.byteLength;
  if (typeof value !== "object" || value === null) return 8;
  let bytes = 32;
  // In a loop of its own for each kind: results may be lists of a million numbers.
  if (Array.isArray(value)) for (const item of value) bytes += sizeOf(item);
  else for (const [name, field] of Object.entries(value)) bytes += 8 + name.length + sizeOf(field);
  return bytes;
}
