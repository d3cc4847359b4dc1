// What a command is: a row of the command table. Every file in commands/ exports its rows.

import type { Client } from "./client.ts";
import type { HashValue, ListValue, SetValue } from "./collections.ts";

export type Args = readonly string[];
export type CommandFn = (client: Client, args: Args) => void;

export const flag = {
  write: 1,
  /** May grow memory: refused above the quota. */
  grows: 2,
  /** Allowed to a subscribed RESP2 client. */
  subscribed: 4,
  /** Carried out at once inside MULTI. */
  unqueued: 8,
} as const;

export interface Command {
  name: string;
  /** Exact number of arguments with the name, or the negated least number. */
  arity: number;
  flags: number;
  fn: CommandFn;
}

export function command(name: string, arity: number, flags: number, fn: CommandFn): Command {
  return { name, arity, flags, fn };
}

/** Argument at a place that the arity guarantees. */
export function arg(args: Args, at: number): string {
  const value = args[at];
  if (value === undefined) throw new Error(`command ${args[0]} has no argument ${at}`);
  return value;
}

export function arityError(client: Client, name: string): void {
  client.error(`ERR wrong number of arguments for '${name}' command`);
}

/** Bytes of the arguments of a command. */
export function argBytes(args: Args): number {
  let bytes = 0;
  for (const text of args) bytes += text.length;
  return bytes;
}

export type Container = HashValue | ListValue | SetValue;
