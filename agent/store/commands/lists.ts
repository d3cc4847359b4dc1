// List commands that never wait. The ones that do are in blocking.ts.

import type { Client } from "../client.ts";
import { ListValue } from "../collections.ts";
import { type Args, arg, arityError, type Command, command, flag } from "../command.ts";
import {
  indexOutOfRange,
  noSuchKey,
  notInteger,
  notPositive,
  syntaxError,
  wrongType,
} from "../errors.ts";
import { integer } from "../numbers.ts";

export type End = "LEFT" | "RIGHT";

/** The list of a key, undefined when absent, null (and WRONGTYPE sent) for another type. */
export function findList(client: Client, key: string): ListValue | undefined | null {
  const value = client.keyspace.find(key);
  if (value === undefined || value instanceof ListValue) return value;
  client.error(wrongType);
  return null;
}

export function pushTo(client: Client, key: string, end: End, items: readonly string[]): number {
  const found = client.keyspace.find(key);
  const list = found instanceof ListValue ? found : new ListValue();
  if (found === undefined) client.keyspace.put(key, list);
  const before = list.bytes;
  for (const item of items) {
    if (end === "LEFT") list.pushFront(item);
    else list.pushBack(item);
  }
  client.keyspace.settle(key, list, before);
  client.keyspace.signalList(key);
  return list.size;
}

/** Takes one item; the key goes with the last one. */
export function popFrom(client: Client, key: string, list: ListValue, end: End): string {
  const before = list.bytes;
  const item = end === "LEFT" ? list.popFront() : list.popBack();
  client.keyspace.settle(key, list, before);
  return item ?? "";
}

export function readEnd(text: string): End | undefined {
  const end = text.toUpperCase();
  return end === "LEFT" || end === "RIGHT" ? end : undefined;
}

function push(end: End, needsList: boolean): (client: Client, args: Args) => void {
  return (client, args) => {
    const key = arg(args, 1);
    const list = findList(client, key);
    if (list === null) return;
    if (list === undefined && needsList) client.integer(0);
    else client.integer(pushTo(client, key, end, args.slice(2)));
  };
}

function pop(end: End, name: string): (client: Client, args: Args) => void {
  return (client, args) => {
    const key = arg(args, 1);
    if (args.length > 3) {
      arityError(client, name);
      return;
    }
    const hasCount = args.length === 3;
    const count = hasCount ? integer(arg(args, 2)) : 1;
    if (!(count >= 0)) {
      client.error(notPositive);
      return;
    }
    const list = findList(client, key);
    if (list === null) return;
    if (list === undefined) {
      if (hasCount) client.nullArray();
      else client.null();
      return;
    }
    if (!hasCount) {
      client.bulk(popFrom(client, key, list, end));
      return;
    }
    const total = Math.min(count, list.size);
    client.array(total);
    for (let popped = 0; popped < total; popped++) client.bulk(popFrom(client, key, list, end));
  };
}

function llen(client: Client, args: Args): void {
  const list = findList(client, arg(args, 1));
  if (list !== null) client.integer(list?.size ?? 0);
}

/** Start and end (exclusive) of an inclusive range with negative places, within `size`. */
function bounds(start: number, stop: number, size: number): { start: number; end: number } {
  const from = Math.max(start < 0 ? start + size : start, 0);
  const end = Math.min(stop < 0 ? stop + size : stop, size - 1) + 1;
  return from < end ? { start: from, end } : { start: 0, end: 0 };
}

function lrange(client: Client, args: Args): void {
  const start = integer(arg(args, 2));
  const stop = integer(arg(args, 3));
  if (Number.isNaN(start) || Number.isNaN(stop)) {
    client.error(notInteger);
    return;
  }
  const list = findList(client, arg(args, 1));
  if (list === null) return;
  const range = bounds(start, stop, list?.size ?? 0);
  client.bulks(list?.slice(range.start, range.end) ?? []);
}

function lindex(client: Client, args: Args): void {
  const list = findList(client, arg(args, 1));
  if (list === null) return;
  const index = integer(arg(args, 2));
  if (list === undefined) client.null();
  else if (Number.isNaN(index)) client.error(notInteger);
  else client.bulkOrNull(list.at(index < 0 ? index + list.size : index));
}

function lset(client: Client, args: Args): void {
  const key = arg(args, 1);
  const list = findList(client, key);
  if (list === null) return;
  if (list === undefined) {
    client.error(noSuchKey);
    return;
  }
  const given = integer(arg(args, 2));
  if (Number.isNaN(given)) {
    client.error(notInteger);
    return;
  }
  const index = given < 0 ? given + list.size : given;
  if (list.at(index) === undefined) {
    client.error(indexOutOfRange);
    return;
  }
  const before = list.bytes;
  list.set(index, arg(args, 3));
  client.keyspace.settle(key, list, before);
  client.ok();
}

function lrem(client: Client, args: Args): void {
  const key = arg(args, 1);
  const count = integer(arg(args, 2));
  const unwanted = arg(args, 3);
  if (Number.isNaN(count)) {
    client.error(notInteger);
    return;
  }
  const list = findList(client, key);
  if (list === null) return;
  if (list === undefined) {
    client.integer(0);
    return;
  }
  let left = count === 0 ? list.size : Math.abs(count);
  const items = list.slice(0, list.size);
  if (count < 0) items.reverse();
  const kept = items.filter((item) => item !== unwanted || left-- <= 0);
  if (count < 0) kept.reverse();
  const removed = list.size - kept.length;
  if (removed > 0) replaceItems(client, key, list, kept);
  client.integer(removed);
}

function ltrim(client: Client, args: Args): void {
  const key = arg(args, 1);
  const start = integer(arg(args, 2));
  const stop = integer(arg(args, 3));
  if (Number.isNaN(start) || Number.isNaN(stop)) {
    client.error(notInteger);
    return;
  }
  const list = findList(client, key);
  if (list === null) return;
  if (list !== undefined) {
    const range = bounds(start, stop, list.size);
    replaceItems(client, key, list, list.slice(range.start, range.end));
  }
  client.ok();
}

function linsert(client: Client, args: Args): void {
  const where = arg(args, 2).toUpperCase();
  const key = arg(args, 1);
  if (where !== "BEFORE" && where !== "AFTER") {
    client.error(syntaxError);
    return;
  }
  const list = findList(client, key);
  if (list === null) return;
  if (list === undefined) {
    client.integer(0);
    return;
  }
  const items = list.slice(0, list.size);
  const pivot = items.indexOf(arg(args, 3));
  if (pivot < 0) {
    client.integer(-1);
    return;
  }
  items.splice(where === "BEFORE" ? pivot : pivot + 1, 0, arg(args, 4));
  replaceItems(client, key, list, items);
  client.integer(items.length);
}

function lpos(client: Client, args: Args): void {
  let rank = 1;
  let count = -1;
  let maxLength = 0;
  for (let at = 3; at < args.length; at += 2) {
    const option = arg(args, at).toUpperCase();
    if (at + 1 >= args.length || !["RANK", "COUNT", "MAXLEN"].includes(option)) {
      client.error(syntaxError);
      return;
    }
    const value = integer(arg(args, at + 1));
    if (option === "RANK") {
      rank = value;
      if (Number.isNaN(rank) || rank === 0) {
        client.error(
          Number.isNaN(rank)
            ? notInteger
            : "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        );
        return;
      }
    } else if (!(value >= 0)) {
      client.error(`ERR ${option} can't be negative`);
      return;
    } else if (option === "COUNT") count = value;
    else maxLength = value;
  }
  const list = findList(client, arg(args, 1));
  if (list === null) return;
  const found: number[] = [];
  const size = list?.size ?? 0;
  const wanted = count < 0 ? 1 : count === 0 ? size : count;
  let toSkip = Math.abs(rank) - 1;
  const steps = maxLength === 0 ? size : Math.min(size, maxLength);
  for (let step = 0; step < steps && found.length < wanted; step++) {
    const at = rank > 0 ? step : size - 1 - step;
    if (list?.at(at) === arg(args, 2) && toSkip-- <= 0) found.push(at);
  }
  if (count >= 0) {
    client.array(found.length);
    for (const at of found) client.integer(at);
  } else if (found[0] === undefined) client.null();
  else client.integer(found[0]);
}

function replaceItems(client: Client, key: string, list: ListValue, items: string[]): void {
  const before = list.bytes;
  list.replace(items);
  client.keyspace.settle(key, list, before);
}

/** Moves one item; answers nothing. Undefined when the source is empty, null after an error. */
export function move(
  client: Client,
  ends: { source: string; target: string; from: End; to: End },
): string | undefined | null {
  const list = findList(client, ends.source);
  if (list === undefined || list === null) return list;
  if (findList(client, ends.target) === null) return null;
  const item = popFrom(client, ends.source, list, ends.from);
  pushTo(client, ends.target, ends.to, [item]);
  return item;
}

function lmove(client: Client, args: Args): void {
  const from = readEnd(arg(args, 3));
  const to = readEnd(arg(args, 4));
  if (from === undefined || to === undefined) {
    client.error(syntaxError);
    return;
  }
  const item = move(client, { source: arg(args, 1), target: arg(args, 2), from, to });
  if (item !== null) client.bulkOrNull(item);
}

function rpoplpush(client: Client, args: Args): void {
  const ends = { source: arg(args, 1), target: arg(args, 2) };
  const item = move(client, { ...ends, from: "RIGHT", to: "LEFT" });
  if (item !== null) client.bulkOrNull(item);
}

const grows = flag.write | flag.grows;

export const listCommands: readonly Command[] = [
  command("lpush", -3, grows, push("LEFT", false)),
  command("rpush", -3, grows, push("RIGHT", false)),
  command("lpushx", -3, grows, push("LEFT", true)),
  command("rpushx", -3, grows, push("RIGHT", true)),
  command("lpop", -2, flag.write, pop("LEFT", "lpop")),
  command("rpop", -2, flag.write, pop("RIGHT", "rpop")),
  command("llen", 2, 0, llen),
  command("lrange", 4, 0, lrange),
  command("lindex", 3, 0, lindex),
  command("lset", 4, grows, lset),
  command("lrem", 4, flag.write, lrem),
  command("ltrim", 4, flag.write, ltrim),
  command("linsert", 5, grows, linsert),
  command("lpos", -3, 0, lpos),
  command("lmove", 5, grows, lmove),
  command("rpoplpush", 3, grows, rpoplpush),
];
