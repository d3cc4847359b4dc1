// Types of the SDK; the words are those of the Python SDK.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
/** What a store command takes. Numbers are written in decimal, text as UTF-8. */
export type Argument = string | number | Uint8Array;

export class EdgedagError extends Error {}
/** This code was not started by edgedag. */
export class OutsideOfRun extends EdgedagError {
  constructor(variable: string);
}
/** The store cannot be reached, or has closed the connection. */
export class StoreUnreachable extends EdgedagError {}
/** The store has answered with an error, whose text this is. */
export class StoreError extends EdgedagError {}
/** The event did not come in time. */
export class WaitTimeout extends EdgedagError {}

/** The store that all tasks of a run share: the commands of Redis by their own names. */
export const store: {
  /** Any command; replies as they are: Buffer, number, null, array. */
  execute(...command: Argument[]): Promise<unknown>;
  get(key: string): Promise<string | null>;
  /** `ttl` in seconds. */
  set(key: string, value: Argument, options?: { ttl?: number }): Promise<void>;
  /** null also when there is no such key. */
  getJson(key: string): Promise<Json>;
  setJson(key: string, value: Json, options?: { ttl?: number }): Promise<void>;
  delete(...keys: string[]): Promise<number>;
  incr(key: string, by?: number): Promise<number>;
  /** `ttl` in seconds. */
  expire(key: string, ttl: number): Promise<boolean>;
  hset(key: string, field: string, value: Argument): Promise<number>;
  hget(key: string, field: string): Promise<string | null>;
  hgetall(key: string): Promise<Record<string, string>>;
  lpush(key: string, ...values: Argument[]): Promise<number>;
  rpush(key: string, ...values: Argument[]): Promise<number>;
  /** Key and value, or null after `timeout` seconds; 0 waits for ever. */
  blpop(keys: string | string[], timeout?: number): Promise<[string, string] | null>;
  sadd(key: string, ...members: Argument[]): Promise<number>;
  smembers(key: string): Promise<Set<string>>;
};

/** `data` is the publication as JSON, or its text when it is none. */
export interface Event {
  channel: string;
  data: Json;
}

/** Events from the moment when `ready` has resolved. */
export interface Subscription extends AsyncIterable<Event> {
  readonly ready: Promise<void>;
  /** Rejects with WaitTimeout. */
  next(options?: { timeoutMs?: number }): Promise<Event>;
  close(): void;
}

export const events: {
  /** Sends `data` as JSON; gives how many subscribers of the store got it. */
  publish(channel: string, data?: Json): Promise<number>;
  subscribe(...channels: string[]): Subscription;
  /** The next event on `channel` from now on. */
  wait(channel: string, options?: { timeoutMs?: number }): Promise<Event>;
};

export interface Need {
  outcome: string;
  result?: Json;
}

export const inputs: {
  readonly params: Record<string, Json>;
  readonly needs: Record<string, Need>;
  readonly item?: Json;
  readonly index?: number;
};
/** Outcome and result of each task that this one needs. */
export const needs: Readonly<Record<string, Need>>;
/** The parameters of the run. */
export const params: Readonly<Record<string, Json>>;
/** The item of a fan-out that this task is for, and its place from 0; undefined elsewhere. */
export function item(): Json | undefined;
export function index(): number | undefined;

/** Who runs. */
export const task: {
  /** The task's id, with the index of a fan-out: `months[3]`. */
  readonly key: string;
  /** From 1. */
  readonly attempt: number;
  readonly run: string;
  /**
   * True once edgedag has asked this task to end. From its first use on, TERM does not end the
   * process by itself: the task has its grace period to return, then the whole tree is killed.
   */
  readonly cancelled: boolean;
};

export type Level = "trace" | "debug" | "info" | "warn" | "error" | "fatal";
type Fields = { [name: string]: Json };
type Line = (text: string, fields?: Fields) => Promise<void>;

/** A line of the run's combined log. Need not be awaited. */
export const log: ((text: string, level?: Level, fields?: Fields) => Promise<void>) & {
  trace: Line;
  debug: Line;
  info: Line;
  warn: Line;
  error: Line;
};

/** How much is done, 0 to 1. */
export function progress(fraction: number, text?: string): Promise<void>;
/** Hands a file over to the master; it must lie in the run's working folder and stay as it is. */
export function artifact(path: string, name?: string): Promise<void>;
