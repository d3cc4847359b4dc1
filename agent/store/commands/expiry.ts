// The EXPIRE and TTL families.

import type { Client } from "../client.ts";
import { type Args, arg, type Command, type CommandFn, command, flag } from "../command.ts";
import { notInteger } from "../errors.ts";
import { int64 } from "../numbers.ts";
import { toDeadline } from "./deadline.ts";

function expire(unit: "EX" | "PX" | "EXAT" | "PXAT", name: string): CommandFn {
  return (client, args) => {
    const key = arg(args, 1);
    const options = new Set<string>();
    for (let at = 3; at < args.length; at++) {
      const option = arg(args, at).toUpperCase();
      if (!["NX", "XX", "GT", "LT"].includes(option)) {
        client.error(`ERR Unsupported option ${arg(args, at)}`);
        return;
      }
      options.add(option);
    }
    if (options.has("NX") && options.size > 1) {
      client.error("ERR NX and XX, GT or LT options at the same time are not compatible");
      return;
    }
    if (options.has("GT") && options.has("LT")) {
      client.error("ERR GT and LT options at the same time are not compatible");
      return;
    }
    const amount = int64(arg(args, 2));
    if (amount === undefined) {
      client.error(notInteger);
      return;
    }
    const deadline = toDeadline(amount, unit);
    if (deadline === undefined) {
      client.error(`ERR invalid expire time in '${name}' command`);
      return;
    }
    if (client.keyspace.find(key) === undefined || !isAllowed(client, key, deadline, options)) {
      client.integer(0);
      return;
    }
    if (deadline <= Date.now()) client.keyspace.remove(key);
    else client.keyspace.expireAt(key, deadline);
    client.integer(1);
  };
}

/** A key without a deadline counts as one that lives for ever, for GT and LT. */
function isAllowed(client: Client, key: string, deadline: number, options: Set<string>): boolean {
  const current = client.keyspace.expiry.get(key);
  if (options.has("NX") && current !== undefined) return false;
  if (options.has("XX") && current === undefined) return false;
  if (options.has("GT") && (current === undefined || deadline <= current)) return false;
  return !(options.has("LT") && current !== undefined && deadline >= current);
}

function timeOf(read: (deadline: number) => number): CommandFn {
  return (client, args) => {
    const key = arg(args, 1);
    if (client.keyspace.find(key) === undefined) {
      client.integer(-2);
      return;
    }
    const deadline = client.keyspace.expiry.get(key);
    client.integer(deadline === undefined ? -1 : Math.max(read(deadline), 0));
  };
}

function persist(client: Client, args: Args): void {
  const key = arg(args, 1);
  const isKept = client.keyspace.find(key) !== undefined && client.keyspace.persist(key);
  client.integer(isKept ? 1 : 0);
}

export const expiryCommands: readonly Command[] = [
  command("expire", -3, flag.write, expire("EX", "expire")),
  command("pexpire", -3, flag.write, expire("PX", "pexpire")),
  command("expireat", -3, flag.write, expire("EXAT", "expireat")),
  command("pexpireat", -3, flag.write, expire("PXAT", "pexpireat")),
  command(
    "ttl",
    2,
    0,
    timeOf((at) => Math.floor((at - Date.now() + 500) / 1000)),
  ),
  command(
    "pttl",
    2,
    0,
    timeOf((at) => at - Date.now()),
  ),
  command(
    "expiretime",
    2,
    0,
    timeOf((at) => Math.floor((at + 500) / 1000)),
  ),
  command(
    "pexpiretime",
    2,
    0,
    timeOf((at) => at),
  ),
  command("persist", 2, flag.write, persist),
];
