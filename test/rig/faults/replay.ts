// Builds a folder as it would be found after a loss of power: from the record of faults.c, what was
// synced is there, and of everything else nothing, all, or by a seed some, torn at sectors. Names are as
// durable as their folder's last sync, in their order; data as its file's last sync, in any order.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export interface DiskEvent {
  op:
    | "write"
    | "truncate"
    | "create"
    | "mkdir"
    | "rename"
    | "unlink"
    | "sync-begins"
    | "sync"
    | "mark";
  path: string;
  to: string;
  at: number;
  bytes: number;
  /** Milliseconds of a clock that does not jump. */
  ms: number;
  data?: Buffer;
  /** What a mark says. */
  [more: string]: unknown;
}

export function readRecord(path: string): DiskEvent[] {
  const bytes = readFileSync(path);
  const events: DiskEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at);
    const event = JSON.parse(bytes.toString("utf8", at, end)) as DiskEvent; // written by faults.c
    at = end + 1;
    if (event.op === "write") {
      event.data = bytes.subarray(at, at + event.bytes);
      at += event.bytes;
    }
    events.push(event);
  }
  return events;
}

/** What becomes of what was not synced: "lost", "kept", or chances by a seed. */
export type Unsynced = "lost" | "kept" | number;

interface File {
  synced: Buffer;
  pending: DiskEvent[];
}

type Name = { event: DiskEvent; file: File | undefined };

/** Takes the events one after another; what would be found can be asked at any point. */
export class Disk {
  readonly #files = new Map<string, File>();
  /** Folder -> changes of names in it that are not durable yet. */
  readonly #names = new Map<string, Name[]>();
  readonly #durable = new Map<string, File | "folder">();
  readonly #begun = new Map<string, number[]>();
  #count = 0;

  apply(event: DiskEvent): void {
    this.#count += 1;
    const { op, path, to } = event;
    const file = this.#files.get(path);
    switch (op) {
      case "write":
      case "truncate":
        file?.pending.push({ ...event, order: this.#count });
        break;
      case "create": {
        const made: File = { synced: Buffer.alloc(0), pending: [] };
        this.#files.set(path, made);
        this.#name(path, { event, file: made });
        break;
      }
      case "mkdir":
        this.#name(path, { event, file: undefined });
        break;
      case "rename":
        this.#files.delete(path);
        if (file !== undefined) this.#files.set(to, file);
        this.#name(to, { event, file });
        break;
      case "unlink":
        this.#files.delete(path);
        this.#name(path, { event, file: undefined });
        break;
      case "sync-begins":
        this.#begun.set(path, [...(this.#begun.get(path) ?? []), this.#count]);
        break;
      case "sync":
        this.#sync(path.replace(/(\/\.\.?)+$/, (dots) => dots));
        break;
      case "mark":
        break;
    }
  }

  #name(path: string, name: Name): void {
    const folder = dirname(path);
    this.#names.set(folder, [
      ...(this.#names.get(folder) ?? []),
      { ...name, event: { ...name.event, order: this.#count } },
    ]);
  }

  #sync(path: string): void {
    const [upTo = 0, ...later] = this.#begun.get(path) ?? [];
    this.#begun.set(path, later);
    const file = this.#files.get(path);
    if (file !== undefined) {
      const covered = file.pending.filter(({ order }) => Number(order) < upTo);
      for (const change of covered) file.synced = changed(file.synced, change);
      file.pending = file.pending.filter(({ order }) => Number(order) >= upTo);
      return;
    }
    const folder = normal(path);
    const names = this.#names.get(folder) ?? [];
    for (const name of names.filter(({ event }) => Number(event.order) < upTo)) {
      rename(this.#durable, name);
    }
    this.#names.set(
      folder,
      names.filter(({ event }) => Number(event.order) >= upTo),
    );
  }

  /** Path -> content, as found afterwards. */
  after(unsynced: Unsynced): Map<string, Buffer | "folder"> {
    const random = typeof unsynced === "number" ? randomFrom(unsynced) : undefined;
    const names = new Map(this.#durable);
    const left = [...this.#names.values()].flatMap((inFolder) => {
      const share = random === undefined ? (unsynced === "kept" ? 1 : 0) : random();
      return inFolder.slice(0, Math.round(share * inFolder.length));
    });
    left.sort((a, b) => Number(a.event.order) - Number(b.event.order));
    for (const name of left) rename(names, name);
    const found = new Map<string, Buffer | "folder">();
    for (const [path, file] of names) {
      if (file === "folder") {
        found.set(path, "folder");
        continue;
      }
      let content = file.synced;
      for (const change of file.pending) {
        const chance = random === undefined ? (unsynced === "kept" ? 1 : 0) : random();
        if (chance > 0.6) content = changed(content, change);
        else if (chance > 0.3) content = changed(content, torn(change, random ?? Math.random));
      }
      found.set(path, content);
    }
    return found;
  }
}

/** Writes the folder `under` as it would be found now, below `to` instead. */
export function writeAfterPowerLoss(
  disk: Disk,
  { under, to, unsynced }: { under: string; to: string; unsynced: Unsynced },
): void {
  mkdirSync(to, { recursive: true });
  const found = [...disk.after(unsynced)].sort(([a], [b]) => (a < b ? -1 : 1));
  const folders = new Set([under]);
  for (const [path, content] of found) {
    // A name in a folder that is not there itself is not there.
    if (path !== under && !folders.has(dirname(path))) continue;
    // The index of SQLite's log is shared memory, and the lock is of a process.
    if (path.endsWith("-shm") || path === `${under}/lock`) continue;
    const place = to + path.slice(under.length);
    if (content === "folder") {
      folders.add(path);
      mkdirSync(place, { recursive: true });
    } else {
      writeFileSync(place, content);
    }
  }
}

function rename(names: Map<string, File | "folder">, { event, file }: Name): void {
  switch (event.op) {
    case "create":
      if (file !== undefined) names.set(event.path, file);
      break;
    case "mkdir":
      names.set(event.path, "folder");
      break;
    case "rename":
      names.delete(event.path);
      if (file !== undefined) names.set(event.to, file);
      break;
    default:
      names.delete(event.path);
  }
}

function changed(content: Buffer, { op, at, data }: DiskEvent): Buffer {
  if (op === "truncate") {
    return at <= content.length
      ? content.subarray(0, at)
      : Buffer.concat([content, Buffer.alloc(at - content.length)]);
  }
  if (data === undefined) return content;
  const grown = Buffer.alloc(Math.max(content.length, at + data.length));
  content.copy(grown);
  data.copy(grown, at);
  return grown;
}

function torn(change: DiskEvent, random: () => number): DiskEvent {
  const { data } = change;
  if (data === undefined) return change;
  const sectors = Math.floor((random() * data.length) / 512);
  return { ...change, data: data.subarray(0, sectors * 512) };
}

/** `a/b/..` is `a`: folders are synced by such names. */
function normal(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** mulberry32: small, and the same everywhere. */
export function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
