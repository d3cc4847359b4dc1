// The data of one run: keys, deadlines, subscriptions, watched and awaited keys, and the quota.
// The only place where keys are put and removed, so that accounting, WATCH and expiry hold.
// Must never know sockets or the protocol; a session is known here only as an identity.

import {
  type HashValue,
  IndexedMap,
  ListValue,
  memberBytes,
  type SetValue,
} from "./collections.ts";
import { Expiry } from "./expiry.ts";

export type Value = string | HashValue | ListValue | SetValue;

/** What a keyspace knows of a session that watches keys. */
export interface Watcher {
  isDirty: boolean;
}

/** What a keyspace knows of a session that waits for an element in a list. */
export interface Waiter {
  /** Serves the session from the list of `key`; false when it cannot be served from it. */
  serve(key: string): boolean;
}

/** Bounds of one sweep of expired keys, and the least pause between two sweeps. */
const sweepLimit = 5_000;
const sweepPauseMs = 100;
const longestTimerMs = 2 ** 31 - 1;

/** Estimated cost of a key beside its own characters and its value. */
const keyBytes = memberBytes + 32;

export class Keyspace {
  readonly quotaBytes: number;
  /** Estimate of the memory in use, in bytes. */
  bytes = 0;
  readonly entries = new IndexedMap<Value>();
  readonly expiry = new Expiry();
  /** Sessions that wait for a list, by key, first come first served. */
  readonly waiters = new Map<string, Set<Waiter>>();
  readonly #watchers = new Map<string, Set<Watcher>>();
  #readyLists: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(quotaBytes: number) {
    this.quotaBytes = quotaBytes;
  }

  find(key: string): Value | undefined {
    const value = this.entries.get(key);
    if (value === undefined || this.expiry.size === 0) return value;
    const deadline = this.expiry.get(key);
    if (deadline === undefined || deadline > Date.now()) return value;
    this.remove(key);
    return undefined;
  }

  /** Puts a value in place of whatever the key held. The deadline goes unless it is kept. */
  put(key: string, value: Value, keepsDeadline = false): void {
    const old = this.entries.set(key, value);
    this.bytes += valueBytes(value);
    if (old === undefined) this.bytes += key.length + keyBytes;
    else this.bytes -= valueBytes(old);
    if (!keepsDeadline && this.expiry.size > 0) this.expiry.delete(key);
    if (value instanceof ListValue) this.signalList(key);
    this.touch(key);
  }

  remove(key: string): boolean {
    const old = this.entries.delete(key);
    if (old === undefined) return false;
    this.bytes -= valueBytes(old) + key.length + keyBytes;
    if (this.expiry.size > 0) this.expiry.delete(key);
    this.touch(key);
    return true;
  }

  /** After a container was changed in place: `before` is what its `bytes` were. */
  settle(key: string, value: Exclude<Value, string>, before: number): void {
    this.bytes += value.bytes - before;
    if (value.size === 0) this.remove(key);
    else this.touch(key);
  }

  expireAt(key: string, at: number): void {
    this.expiry.set(key, at);
    this.touch(key);
    this.#arm();
  }

  persist(key: string): boolean {
    if (!this.expiry.delete(key)) return false;
    this.touch(key);
    return true;
  }

  clear(): void {
    for (const key of this.#watchers.keys()) if (this.entries.has(key)) this.touch(key);
    // A new map would lose the identity of the readonly field; removal from the end is O(1).
    for (let at = this.entries.size - 1; at >= 0; at--) {
      this.entries.delete(this.entries.keys[at] ?? "");
    }
    this.expiry.clear();
    this.bytes = 0;
    this.#disarm();
  }

  /** True when `moreBytes` on top of what is held would be above the quota. */
  isFullWith(moreBytes: number): boolean {
    return this.bytes + moreBytes > this.quotaBytes;
  }

  watch(key: string, watcher: Watcher): void {
    this.find(key);
    let watchers = this.#watchers.get(key);
    if (watchers === undefined) {
      watchers = new Set();
      this.#watchers.set(key, watchers);
    }
    watchers.add(watcher);
  }

  unwatch(key: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(key);
    if (watchers?.delete(watcher) && watchers.size === 0) this.#watchers.delete(key);
  }

  touch(key: string): void {
    if (this.#watchers.size === 0) return;
    for (const watcher of this.#watchers.get(key) ?? []) watcher.isDirty = true;
  }

  /** Notes that a list got elements; those who wait for it are served after the command. */
  signalList(key: string): void {
    if (this.waiters.size > 0 && this.waiters.has(key)) this.#readyLists.push(key);
  }

  get hasReadyLists(): boolean {
    return this.#readyLists.length > 0;
  }

  takeReadyLists(): string[] {
    const ready = this.#readyLists;
    this.#readyLists = [];
    return ready;
  }

  close(): void {
    this.clear();
    this.waiters.clear();
    this.#watchers.clear();
  }

  #arm(): void {
    const earliest = this.expiry.earliest();
    if (earliest === undefined) {
      this.#disarm();
      return;
    }
    if (earliest >= this.#timerAt) return;
    this.#disarm();
    this.#timerAt = earliest;
    const delayMs = Math.max(earliest - Date.now(), sweepPauseMs);
    this.#timer = setTimeout(() => this.#sweep(), Math.min(delayMs, longestTimerMs));
    this.#timer.unref();
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #sweep(): void {
    this.#disarm();
    const now = Date.now();
    for (let swept = 0; swept < sweepLimit; swept++) {
      const key = this.expiry.due(now);
      if (key === undefined) break;
      if (!this.remove(key)) this.expiry.delete(key);
    }
    this.#arm();
  }
}

/** Estimated bytes of a value; a string costs its characters and its header. */
export function valueBytes(value: Value): number {
  return typeof value === "string" ? value.length + 24 : value.bytes;
}
