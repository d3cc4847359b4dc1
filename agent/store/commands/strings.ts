// String commands: GET, SET and their families.

import type { Client } from "../client.ts";
import { type Args, arg, arityError, type Command, command, flag } from "../command.ts";
import {
  notFloat,
  notInteger,
  outOfMemory,
  overflow,
  syntaxError,
  tooLong,
  wrongType,
} from "../errors.ts";
import { addDecimals, decimal, int64, integer, isInt64, smallInteger } from "../numbers.ts";
import { deadlineFrom } from "./deadline.ts";

const longestString = 512 * 1024 * 1024 - 32;

/** The string of a key, undefined when absent, null (and WRONGTYPE sent) for another type. */
function findString(client: Client, key: string): string | undefined | null {
  const value = client.keyspace.find(key);
  if (value === undefined || typeof value === "string") return value;
  client.error(wrongType);
  return null;
}

function get(client: Client, args: Args): void {
  const value = client.keyspace.find(arg(args, 1));
  if (typeof value === "string") client.bulk(value);
  else if (value === undefined) client.null();
  else client.error(wrongType);
}

function set(client: Client, args: Args): void {
  const key = arg(args, 1);
  const value = arg(args, 2);
  if (args.length === 3) {
    client.keyspace.put(key, value);
    client.ok();
    return;
  }
  setWithOptions(client, args, key, value);
}

function setWithOptions(client: Client, args: Args, key: string, value: string): void {
  let condition = "";
  let expiry = "";
  let amount = "";
  let getsOld = false;
  for (let at = 3; at < args.length; at++) {
    const option = arg(args, at).toUpperCase();
    if ((option === "NX" || option === "XX") && (condition === "" || condition === option)) {
      condition = option;
    } else if (option === "GET") getsOld = true;
    else if (option === "KEEPTTL" && (expiry === "" || expiry === option)) expiry = option;
    else if (/^(?:EX|PX|EXAT|PXAT)$/.test(option) && expiry === "" && at + 1 < args.length) {
      expiry = option;
      amount = arg(args, ++at);
    } else {
      client.error(syntaxError);
      return;
    }
  }
  const keepsDeadline = expiry === "KEEPTTL";
  let deadline: number | undefined;
  if (expiry !== "" && !keepsDeadline) {
    deadline = deadlineFrom(client, expiry, amount, "set");
    if (deadline === undefined) return;
  }
  const old = getsOld ? findString(client, key) : client.keyspace.find(key);
  if (old === null) return;
  if (condition !== "" && (old === undefined) !== (condition === "NX")) {
    if (getsOld && typeof old === "string") client.bulk(old);
    else client.null();
    return;
  }
  client.keyspace.put(key, value, keepsDeadline);
  if (deadline !== undefined) client.keyspace.expireAt(key, deadline);
  if (getsOld) client.bulkOrNull(typeof old === "string" ? old : undefined);
  else client.ok();
}

function setnx(client: Client, args: Args): void {
  const key = arg(args, 1);
  if (client.keyspace.find(key) !== undefined) {
    client.integer(0);
    return;
  }
  client.keyspace.put(key, arg(args, 2));
  client.integer(1);
}

function setWithExpiry(unit: "EX" | "PX", name: string): (client: Client, args: Args) => void {
  return (client, args) => {
    const deadline = deadlineFrom(client, unit, arg(args, 2), name);
    if (deadline === undefined) return;
    client.keyspace.put(arg(args, 1), arg(args, 3));
    client.keyspace.expireAt(arg(args, 1), deadline);
    client.ok();
  };
}

function getset(client: Client, args: Args): void {
  const old = findString(client, arg(args, 1));
  if (old === null) return;
  client.keyspace.put(arg(args, 1), arg(args, 2));
  client.bulkOrNull(old);
}

function getdel(client: Client, args: Args): void {
  const old = findString(client, arg(args, 1));
  if (old === null) return;
  client.keyspace.remove(arg(args, 1));
  client.bulkOrNull(old);
}

function getex(client: Client, args: Args): void {
  const key = arg(args, 1);
  const option = args[2]?.toUpperCase() ?? "";
  const isPersist = option === "PERSIST" && args.length === 3;
  const isExpiry = /^(?:EX|PX|EXAT|PXAT)$/.test(option) && args.length === 4;
  if (args.length > 2 && !isPersist && !isExpiry) {
    client.error(syntaxError);
    return;
  }
  const value = findString(client, key);
  if (value === null) return;
  if (value === undefined) {
    client.null();
    return;
  }
  if (isExpiry) {
    const deadline = deadlineFrom(client, option, arg(args, 3), "getex");
    if (deadline === undefined) return;
    if (deadline <= Date.now()) client.keyspace.remove(key);
    else client.keyspace.expireAt(key, deadline);
  } else if (isPersist) client.keyspace.persist(key);
  client.bulk(value);
}

function mget(client: Client, args: Args): void {
  client.array(args.length - 1);
  for (let at = 1; at < args.length; at++) {
    const value = client.keyspace.find(arg(args, at));
    client.bulkOrNull(typeof value === "string" ? value : undefined);
  }
}

function mset(client: Client, args: Args): void {
  if (args.length % 2 === 0) {
    arityError(client, "mset");
    return;
  }
  for (let at = 1; at < args.length; at += 2) client.keyspace.put(arg(args, at), arg(args, at + 1));
  client.ok();
}

function msetnx(client: Client, args: Args): void {
  if (args.length % 2 === 0) {
    arityError(client, "msetnx");
    return;
  }
  for (let at = 1; at < args.length; at += 2) {
    if (client.keyspace.find(arg(args, at)) === undefined) continue;
    client.integer(0);
    return;
  }
  for (let at = 1; at < args.length; at += 2) client.keyspace.put(arg(args, at), arg(args, at + 1));
  client.integer(1);
}

function append(client: Client, args: Args): void {
  const key = arg(args, 1);
  const old = findString(client, key);
  if (old === null) return;
  const added = arg(args, 2);
  if ((old?.length ?? 0) + added.length > longestString) {
    client.error(tooLong);
    return;
  }
  const value = (old ?? "") + added;
  client.keyspace.put(key, value, true);
  client.integer(value.length);
}

function strlen(client: Client, args: Args): void {
  const value = findString(client, arg(args, 1));
  if (value !== null) client.integer(value?.length ?? 0);
}

function getrange(client: Client, args: Args): void {
  let start = integer(arg(args, 2));
  let end = integer(arg(args, 3));
  if (Number.isNaN(start) || Number.isNaN(end)) {
    client.error(notInteger);
    return;
  }
  const value = findString(client, arg(args, 1));
  if (value === null) return;
  const length = value?.length ?? 0;
  const isBackwards = start < 0 && end < 0 && start > end;
  if (start < 0) start = Math.max(start + length, 0);
  if (end < 0) end = Math.max(end + length, 0);
  client.bulk(isBackwards ? "" : (value ?? "").slice(start, end + 1));
}

function setrange(client: Client, args: Args): void {
  const key = arg(args, 1);
  const offset = integer(arg(args, 2));
  const patch = arg(args, 3);
  if (Number.isNaN(offset)) {
    client.error(notInteger);
    return;
  }
  if (offset < 0) {
    client.error("ERR offset is out of range");
    return;
  }
  const old = findString(client, key);
  if (old === null) return;
  const text = old ?? "";
  if (patch === "") {
    client.integer(text.length);
    return;
  }
  if (offset + patch.length > longestString) {
    client.error(tooLong);
    return;
  }
  if (client.keyspace.isFullWith(Math.max(offset - text.length, 0) + patch.length)) {
    client.error(outOfMemory);
    return;
  }
  // Through a Buffer: a chain of pieces would make every later read pay for all of them.
  const bytes = Buffer.alloc(Math.max(text.length, offset + patch.length));
  bytes.write(text, 0, "latin1");
  bytes.write(patch, offset, "latin1");
  client.keyspace.put(key, bytes.toString("latin1"), true);
  client.integer(bytes.length);
}

function incrementBy(client: Client, key: string, amount: bigint): void {
  const old = findString(client, key);
  if (old === null) return;
  const small = old === undefined ? 0 : smallInteger(old);
  if (!Number.isNaN(small) && amount >= -999_999_999_999n && amount <= 999_999_999_999n) {
    const value = small + Number(amount);
    client.keyspace.put(key, String(value), true);
    client.integer(value);
    return;
  }
  const current = int64(old ?? "0");
  if (current === undefined) {
    client.error(notInteger);
    return;
  }
  if (!isInt64(current + amount)) {
    client.error(overflow);
    return;
  }
  client.keyspace.put(key, String(current + amount), true);
  client.integer(current + amount);
}

function incrby(client: Client, args: Args): void {
  const amount = int64(arg(args, 2));
  if (amount === undefined) client.error(notInteger);
  else incrementBy(client, arg(args, 1), amount);
}

function decrby(client: Client, args: Args): void {
  const amount = int64(arg(args, 2));
  if (amount === undefined) client.error(notInteger);
  else if (!isInt64(-amount)) client.error("ERR decrement would overflow");
  else incrementBy(client, arg(args, 1), -amount);
}

function incrbyfloat(client: Client, args: Args): void {
  const old = findString(client, arg(args, 1));
  if (old === null) return;
  const current = decimal(old ?? "0");
  const amount = decimal(arg(args, 2));
  if (current === undefined || amount === undefined) {
    client.error(notFloat);
    return;
  }
  const value = addDecimals(current, amount);
  client.keyspace.put(arg(args, 1), value, true);
  client.bulk(value);
}

const grows = flag.write | flag.grows;

export const stringCommands: readonly Command[] = [
  command("get", 2, 0, get),
  command("set", -3, grows, set),
  command("setnx", 3, grows, setnx),
  command("setex", 4, grows, setWithExpiry("EX", "setex")),
  command("psetex", 4, grows, setWithExpiry("PX", "psetex")),
  command("getset", 3, grows, getset),
  command("getdel", 2, flag.write, getdel),
  command("getex", -2, flag.write, getex),
  command("mget", -2, 0, mget),
  command("mset", -3, grows, mset),
  command("msetnx", -3, grows, msetnx),
  command("append", 3, grows, append),
  command("strlen", 2, 0, strlen),
  command("getrange", 4, 0, getrange),
  command("substr", 4, 0, getrange),
  command("setrange", 4, grows, setrange),
  command("incr", 2, grows, (client, args) => incrementBy(client, arg(args, 1), 1n)),
  command("decr", 2, grows, (client, args) => incrementBy(client, arg(args, 1), -1n)),
  command("incrby", 3, grows, incrby),
  command("decrby", 3, grows, decrby),
  command("incrbyfloat", 3, grows, incrbyfloat),
];
