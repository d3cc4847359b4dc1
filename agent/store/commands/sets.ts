// Set commands.

import type { Client } from "../client.ts";
import { SetValue } from "../collections.ts";
import { type Args, arg, type Command, command, flag } from "../command.ts";
import { notInteger, notPositive, outOfMemory, syntaxError, wrongType } from "../errors.ts";
import { integer } from "../numbers.ts";
import { distinctPositions, randomPosition } from "./random.ts";
import { scanCollection } from "./scan.ts";

/** The set of a key, undefined when absent, null (and WRONGTYPE sent) for another type. */
function findSet(client: Client, key: string): SetValue | undefined | null {
  const value = client.keyspace.find(key);
  if (value === undefined || value instanceof SetValue) return value;
  client.error(wrongType);
  return null;
}

function sadd(client: Client, args: Args): void {
  const key = arg(args, 1);
  let set = findSet(client, key);
  if (set === null) return;
  if (set === undefined) {
    set = new SetValue();
    client.keyspace.put(key, set);
  }
  const before = set.bytes;
  let added = 0;
  for (let at = 2; at < args.length; at++) if (set.add(arg(args, at))) added++;
  if (added > 0) client.keyspace.settle(key, set, before);
  client.integer(added);
}

function srem(client: Client, args: Args): void {
  const key = arg(args, 1);
  const set = findSet(client, key);
  if (set === null) return;
  let removed = 0;
  if (set !== undefined) {
    const before = set.bytes;
    for (let at = 2; at < args.length; at++) if (set.delete(arg(args, at))) removed++;
    if (removed > 0) client.keyspace.settle(key, set, before);
  }
  client.integer(removed);
}

function sendSet(client: Client, members: readonly string[]): void {
  client.set(members.length);
  for (const member of members) {
    client.bulk(member);
    client.checkReply();
  }
}

function smembers(client: Client, args: Args): void {
  const set = findSet(client, arg(args, 1));
  if (set !== null) sendSet(client, set?.members ?? []);
}

function sismember(client: Client, args: Args): void {
  const set = findSet(client, arg(args, 1));
  if (set !== null) client.integer(set?.has(arg(args, 2)) ? 1 : 0);
}

function smismember(client: Client, args: Args): void {
  const set = findSet(client, arg(args, 1));
  if (set === null) return;
  client.array(args.length - 2);
  for (let at = 2; at < args.length; at++) client.integer(set?.has(arg(args, at)) ? 1 : 0);
}

function scard(client: Client, args: Args): void {
  const set = findSet(client, arg(args, 1));
  if (set !== null) client.integer(set?.size ?? 0);
}

function spop(client: Client, args: Args): void {
  const key = arg(args, 1);
  if (args.length > 3) {
    client.error(syntaxError);
    return;
  }
  const count = args.length === 3 ? integer(arg(args, 2)) : 1;
  if (!(count >= 0)) {
    client.error(notPositive);
    return;
  }
  const set = findSet(client, key);
  if (set === null) return;
  const popped: string[] = [];
  if (set !== undefined) {
    const before = set.bytes;
    const total = Math.min(count, set.size);
    while (popped.length < total) {
      const member = set.members[randomPosition(set.size)] ?? "";
      set.delete(member);
      popped.push(member);
    }
    client.keyspace.settle(key, set, before);
  }
  if (args.length === 3) sendSet(client, popped);
  else client.bulkOrNull(popped[0]);
}

function srandmember(client: Client, args: Args): void {
  if (args.length > 3) {
    client.error(syntaxError);
    return;
  }
  const count = args.length === 3 ? integer(arg(args, 2)) : 1;
  if (Number.isNaN(count)) {
    client.error(notInteger);
    return;
  }
  if (Math.abs(count) > Number.MAX_SAFE_INTEGER) {
    client.error("ERR value is out of range");
    return;
  }
  const set = findSet(client, arg(args, 1));
  if (set === null) return;
  if (args.length === 2) {
    client.bulkOrNull(set?.members[randomPosition(set.size)]);
    return;
  }
  if (set === undefined || count === 0) {
    client.array(0);
    return;
  }
  const total = count < 0 ? -count : Math.min(count, set.size);
  const positions = count < 0 ? undefined : distinctPositions(set.size, total);
  client.array(total);
  for (let at = 0; at < total && !client.isClosing; at++) {
    client.bulk(set.members[positions?.[at] ?? randomPosition(set.size)] ?? "");
    client.checkReply();
  }
}

function smove(client: Client, args: Args): void {
  const [sourceKey, targetKey, member] = [arg(args, 1), arg(args, 2), arg(args, 3)];
  const source = findSet(client, sourceKey);
  if (source === null) return;
  if (source === undefined) {
    client.integer(0);
    return;
  }
  const found = findSet(client, targetKey);
  if (found === null) return;
  if (source === found || !source.has(member)) {
    client.integer(source.has(member) ? 1 : 0);
    return;
  }
  const sourceBefore = source.bytes;
  source.delete(member);
  client.keyspace.settle(sourceKey, source, sourceBefore);
  const target = found ?? new SetValue();
  if (found === undefined) client.keyspace.put(targetKey, target);
  const targetBefore = target.bytes;
  target.add(member);
  client.keyspace.settle(targetKey, target, targetBefore);
  client.integer(1);
}

type Operation = (sets: readonly (SetValue | undefined)[], limit: number) => string[];

const union: Operation = (sets) => {
  const members = new Set<string>();
  for (const set of sets) for (const member of set?.members ?? []) members.add(member);
  return [...members];
};

const intersection: Operation = (sets, limit) => {
  const present = sets.filter((set) => set !== undefined).sort((a, b) => a.size - b.size);
  const [smallest, ...others] = present;
  if (smallest === undefined || present.length < sets.length) return [];
  const members: string[] = [];
  for (const member of smallest.members) {
    if (members.length >= limit) break;
    if (others.every((set) => set.has(member))) members.push(member);
  }
  return members;
};

const difference: Operation = ([first, ...others]) =>
  (first?.members ?? []).filter((member) => !others.some((set) => set?.has(member)));

/** Undefined when WRONGTYPE was sent. */
function combine(
  client: Client,
  keys: readonly string[],
  operation: Operation,
  limit = Number.POSITIVE_INFINITY,
): string[] | undefined {
  const sets: (SetValue | undefined)[] = [];
  for (const key of keys) {
    const set = findSet(client, key);
    if (set === null) return undefined;
    sets.push(set);
  }
  return operation(sets, limit);
}

function combined(operation: Operation): (client: Client, args: Args) => void {
  return (client, args) => {
    const members = combine(client, args.slice(1), operation);
    if (members !== undefined) sendSet(client, members);
  };
}

function stored(operation: Operation): (client: Client, args: Args) => void {
  return (client, args) => {
    const members = combine(client, args.slice(2), operation);
    if (members === undefined) return;
    const set = new SetValue();
    for (const member of members) set.add(member);
    if (set.size > 0 && client.keyspace.isFullWith(set.bytes)) {
      client.error(outOfMemory);
      return;
    }
    if (set.size > 0) client.keyspace.put(arg(args, 1), set);
    else client.keyspace.remove(arg(args, 1));
    client.integer(set.size);
  };
}

function sintercard(client: Client, args: Args): void {
  const count = integer(arg(args, 1));
  if (!(count > 0)) {
    client.error("ERR numkeys should be greater than 0");
    return;
  }
  if (count > args.length - 2) {
    client.error("ERR Number of keys can't be greater than number of args");
    return;
  }
  let limit = 0;
  for (let at = 2 + count; at < args.length; at += 2) {
    if (arg(args, at).toUpperCase() !== "LIMIT" || at + 1 >= args.length) {
      client.error(syntaxError);
      return;
    }
    limit = integer(arg(args, at + 1));
    if (!(limit >= 0)) {
      client.error("ERR LIMIT can't be negative");
      return;
    }
  }
  const keys = args.slice(2, 2 + count);
  const members = combine(client, keys, intersection, limit === 0 ? undefined : limit);
  if (members !== undefined) client.integer(members.length);
}

function sscan(client: Client, args: Args): void {
  scanCollection(client, args, () => {
    const set = findSet(client, arg(args, 1));
    return set instanceof SetValue ? { keys: set.members } : set;
  });
}

const grows = flag.write | flag.grows;

export const setCommands: readonly Command[] = [
  command("sadd", -3, grows, sadd),
  command("srem", -3, flag.write, srem),
  command("smembers", 2, 0, smembers),
  command("sismember", 3, 0, sismember),
  command("smismember", -3, 0, smismember),
  command("scard", 2, 0, scard),
  command("spop", -2, flag.write, spop),
  command("srandmember", -2, 0, srandmember),
  command("smove", 4, flag.write, smove),
  command("sunion", -2, 0, combined(union)),
  command("sinter", -2, 0, combined(intersection)),
  command("sdiff", -2, 0, combined(difference)),
  command("sunionstore", -3, grows, stored(union)),
  command("sinterstore", -3, grows, stored(intersection)),
  command("sdiffstore", -3, grows, stored(difference)),
  command("sintercard", -3, 0, sintercard),
  command("sscan", -3, 0, sscan),
];
