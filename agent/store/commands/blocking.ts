// BLPOP, BRPOP and BLMOVE, and how those who wait are served: in the order in which they came.
// A waiter is served between commands, never in the middle of one, so that a transaction
// that pushes and pops shows nothing of its inside.

import type { Client } from "../client.ts";
import { ListValue } from "../collections.ts";
import { type Args, arg, type Command, command, flag } from "../command.ts";
import { syntaxError } from "../errors.ts";
import type { Keyspace, Waiter } from "../keyspace.ts";
import { decimal } from "../numbers.ts";
import { type End, findList, move, popFrom, readEnd } from "./lists.ts";

const longestTimerMs = 2 ** 31 - 1;

/** Milliseconds, 0 for ever; undefined when the error was answered. */
function readTimeout(client: Client, text: string): number | undefined {
  const timeoutMs = decimal(text) === undefined ? Number.NaN : Number(text) * 1000;
  if (Number.isNaN(timeoutMs) || timeoutMs > Number.MAX_SAFE_INTEGER) {
    client.error("ERR timeout is not a float or out of range");
    return undefined;
  }
  if (timeoutMs < 0) {
    client.error("ERR timeout is negative");
    return undefined;
  }
  return Math.ceil(timeoutMs);
}

function wait(
  client: Client,
  keys: readonly string[],
  timeoutMs: number,
  serve: (key: string) => boolean,
): void {
  if (client.isExecuting) {
    client.nullArray();
    return;
  }
  const { waiters } = client.keyspace;
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    clearTimeout(timer);
    client.unblock = undefined;
    for (const key of keys) {
      const queue = waiters.get(key);
      if (queue?.delete(waiter) && queue.size === 0) waiters.delete(key);
    }
  };
  const waiter: Waiter = {
    serve(key) {
      if (!serve(key)) return false;
      stop();
      client.resume();
      return true;
    },
  };
  const arm = (leftMs: number): void => {
    timer = setTimeout(
      () => {
        if (leftMs > longestTimerMs) {
          arm(leftMs - longestTimerMs);
          return;
        }
        stop();
        client.nullArray();
        client.resume();
      },
      Math.min(leftMs, longestTimerMs),
    );
  };
  if (timeoutMs > 0) arm(timeoutMs);
  client.unblock = stop;
  for (const key of keys) {
    const queue = waiters.get(key);
    if (queue === undefined) waiters.set(key, new Set([waiter]));
    else queue.add(waiter);
  }
}

function blockingPop(end: End): (client: Client, args: Args) => void {
  return (client, args) => {
    const timeoutMs = readTimeout(client, args[args.length - 1] ?? "");
    if (timeoutMs === undefined) return;
    const keys = args.slice(1, -1);
    const serve = (key: string): boolean => {
      const list = client.keyspace.find(key);
      if (!(list instanceof ListValue)) return false;
      client.array(2);
      client.bulk(key);
      client.bulk(popFrom(client, key, list, end));
      return true;
    };
    for (const key of keys) {
      if (findList(client, key) === null || serve(key)) return;
    }
    wait(client, keys, timeoutMs, serve);
  };
}

function blmove(client: Client, args: Args): void {
  const [source, target] = [arg(args, 1), arg(args, 2)];
  const from = readEnd(arg(args, 3));
  const to = readEnd(arg(args, 4));
  if (from === undefined || to === undefined) {
    client.error(syntaxError);
    return;
  }
  blockingMove(client, { source, target, from, to }, arg(args, 5));
}

function brpoplpush(client: Client, args: Args): void {
  const ends = { source: arg(args, 1), target: arg(args, 2) };
  blockingMove(client, { ...ends, from: "RIGHT", to: "LEFT" }, arg(args, 3));
}

function blockingMove(
  client: Client,
  ends: { source: string; target: string; from: End; to: End },
  timeout: string,
): void {
  const timeoutMs = readTimeout(client, timeout);
  if (timeoutMs === undefined) return;
  const serve = (): boolean => {
    if (!(client.keyspace.find(ends.source) instanceof ListValue)) return false;
    // A target of another type answers its error, and the item stays where it is.
    const item = move(client, ends);
    if (typeof item === "string") client.bulk(item);
    return true;
  };
  if (findList(client, ends.source) === null || serve()) return;
  if (client.isExecuting) client.null();
  else wait(client, [ends.source], timeoutMs, serve);
}

/** Serves waiters from the lists that got elements. Called after every command. */
export function serveWaiters(keyspace: Keyspace): void {
  while (keyspace.hasReadyLists) {
    for (const key of keyspace.takeReadyLists()) {
      // A snapshot: a waiter that is served leaves the queue, and serving may wake others.
      for (const waiter of [...(keyspace.waiters.get(key) ?? [])]) {
        if (!(keyspace.find(key) instanceof ListValue)) break;
        waiter.serve(key);
      }
    }
  }
}

const grows = flag.write | flag.grows;

export const blockingCommands: readonly Command[] = [
  command("blpop", -3, flag.write, blockingPop("LEFT")),
  command("brpop", -3, flag.write, blockingPop("RIGHT")),
  command("blmove", 6, grows, blmove),
  command("brpoplpush", 4, grows, brpoplpush),
];
