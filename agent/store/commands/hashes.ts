// Hash commands.

import type { Client } from "../client.ts";
import { HashValue } from "../collections.ts";
import { type Args, arg, arityError, type Command, command, flag } from "../command.ts";
import { notFloat, notInteger, overflow, syntaxError, wrongType } from "../errors.ts";
import { addDecimals, decimal, int64, integer, isInt64 } from "../numbers.ts";
import { distinctPositions, randomPosition } from "./random.ts";
import { scanCollection } from "./scan.ts";

/** The hash of a key, undefined when absent, null (and WRONGTYPE sent) for another type. */
function findHash(client: Client, key: string): HashValue | undefined | null {
  const value = client.keyspace.find(key);
  if (value === undefined || value instanceof HashValue) return value;
  client.error(wrongType);
  return null;
}

/** Sets fields; the number of new ones, or undefined when WRONGTYPE was sent. */
function setFields(client: Client, key: string, pairs: readonly string[]): number | undefined {
  let hash = findHash(client, key);
  if (hash === null) return undefined;
  if (hash === undefined) {
    hash = new HashValue();
    client.keyspace.put(key, hash);
  }
  const before = hash.bytes;
  let added = 0;
  for (let at = 0; at < pairs.length; at += 2) {
    if (hash.set(arg(pairs, at), arg(pairs, at + 1))) added++;
  }
  client.keyspace.settle(key, hash, before);
  return added;
}

function hset(client: Client, args: Args): void {
  if (args.length % 2 !== 0) {
    arityError(client, "hset");
    return;
  }
  const added = setFields(client, arg(args, 1), args.slice(2));
  if (added !== undefined) client.integer(added);
}

function hmset(client: Client, args: Args): void {
  if (args.length % 2 !== 0) {
    arityError(client, "hmset");
    return;
  }
  if (setFields(client, arg(args, 1), args.slice(2)) !== undefined) client.ok();
}

function hsetnx(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash === null) return;
  if (hash?.fields.has(arg(args, 2))) {
    client.integer(0);
    return;
  }
  setFields(client, arg(args, 1), args.slice(2));
  client.integer(1);
}

function hget(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash !== null) client.bulkOrNull(hash?.fields.get(arg(args, 2)));
}

function hmget(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash === null) return;
  client.array(args.length - 2);
  for (let at = 2; at < args.length; at++) client.bulkOrNull(hash?.fields.get(arg(args, at)));
}

function hgetall(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash === null) return;
  client.map(hash?.size ?? 0);
  for (let at = 0; at < (hash?.size ?? 0); at++) {
    client.bulk(hash?.fields.keys[at] ?? "");
    client.bulk(hash?.fields.values[at] ?? "");
  }
}

function hdel(client: Client, args: Args): void {
  const key = arg(args, 1);
  const hash = findHash(client, key);
  if (hash === null) return;
  let removed = 0;
  if (hash !== undefined) {
    const before = hash.bytes;
    for (let at = 2; at < args.length; at++) if (hash.delete(arg(args, at))) removed++;
    if (removed > 0) client.keyspace.settle(key, hash, before);
  }
  client.integer(removed);
}

function hexists(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash !== null) client.integer(hash?.fields.has(arg(args, 2)) ? 1 : 0);
}

function hlen(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash !== null) client.integer(hash?.size ?? 0);
}

function hkeys(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash !== null) client.bulks(hash?.fields.keys ?? []);
}

function hvals(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash !== null) client.bulks(hash?.fields.values ?? []);
}

function hstrlen(client: Client, args: Args): void {
  const hash = findHash(client, arg(args, 1));
  if (hash !== null) client.integer(hash?.fields.get(arg(args, 2))?.length ?? 0);
}

function hincrby(client: Client, args: Args): void {
  const amount = int64(arg(args, 3));
  if (amount === undefined) {
    client.error(notInteger);
    return;
  }
  const hash = findHash(client, arg(args, 1));
  if (hash === null) return;
  const current = int64(hash?.fields.get(arg(args, 2)) ?? "0");
  if (current === undefined) {
    client.error("ERR hash value is not an integer");
    return;
  }
  if (!isInt64(current + amount)) {
    client.error(overflow);
    return;
  }
  setFields(client, arg(args, 1), [arg(args, 2), String(current + amount)]);
  client.integer(current + amount);
}

function hincrbyfloat(client: Client, args: Args): void {
  const amount = decimal(arg(args, 3));
  if (amount === undefined) {
    client.error(notFloat);
    return;
  }
  const hash = findHash(client, arg(args, 1));
  if (hash === null) return;
  const current = decimal(hash?.fields.get(arg(args, 2)) ?? "0");
  if (current === undefined) {
    client.error("ERR hash value is not a float");
    return;
  }
  const value = addDecimals(current, amount);
  setFields(client, arg(args, 1), [arg(args, 2), value]);
  client.bulk(value);
}

function hscan(client: Client, args: Args): void {
  scanCollection(client, args, () => {
    const hash = findHash(client, arg(args, 1));
    return hash === null ? null : hash?.fields;
  });
}

function hrandfield(client: Client, args: Args): void {
  const count = args.length > 2 ? integer(arg(args, 2)) : 1;
  if (Number.isNaN(count) || Math.abs(count) > Number.MAX_SAFE_INTEGER) {
    client.error(notInteger);
    return;
  }
  const hasValues = args[3]?.toUpperCase() === "WITHVALUES";
  if (args.length > 4 || (args.length === 4 && !hasValues)) {
    client.error(syntaxError);
    return;
  }
  const hash = findHash(client, arg(args, 1));
  if (hash === null) return;
  if (args.length === 2) {
    client.bulkOrNull(hash?.fields.keys[randomPosition(hash.size)]);
    return;
  }
  if (hash === undefined || count === 0) {
    client.array(0);
    return;
  }
  const isNested = hasValues && client.resp === 3;
  const total = count < 0 ? -count : Math.min(count, hash.size);
  const positions = count < 0 ? undefined : distinctPositions(hash.size, total);
  client.array(hasValues && !isNested ? total * 2 : total);
  for (let at = 0; at < total && !client.isClosing; at++) {
    const position = positions?.[at] ?? randomPosition(hash.size);
    if (isNested) client.array(2);
    client.bulk(hash.fields.keys[position] ?? "");
    if (hasValues) client.bulk(hash.fields.values[position] ?? "");
    client.checkReply();
  }
}

const grows = flag.write | flag.grows;

export const hashCommands: readonly Command[] = [
  command("hset", -4, grows, hset),
  command("hmset", -4, grows, hmset),
  command("hsetnx", 4, grows, hsetnx),
  command("hget", 3, 0, hget),
  command("hmget", -3, 0, hmget),
  command("hgetall", 2, 0, hgetall),
  command("hdel", -3, flag.write, hdel),
  command("hexists", 3, 0, hexists),
  command("hlen", 2, 0, hlen),
  command("hkeys", 2, 0, hkeys),
  command("hvals", 2, 0, hvals),
  command("hstrlen", 3, 0, hstrlen),
  command("hincrby", 4, grows, hincrby),
  command("hincrbyfloat", 4, grows, hincrbyfloat),
  command("hscan", -3, 0, hscan),
  command("hrandfield", -2, 0, hrandfield),
];
