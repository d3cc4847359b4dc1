// Commands on keys of any type: removal, names, and walking the keyspace.

import type { Client } from "../client.ts";
import { HashValue, ListValue } from "../collections.ts";
import { type Args, arg, type Command, command, flag } from "../command.ts";
import { noSuchKey, outOfMemory, syntaxError } from "../errors.ts";
import { matchesGlob } from "../glob.ts";
import { type Value, valueBytes } from "../keyspace.ts";
import { smallInteger } from "../numbers.ts";
import { randomPosition } from "./random.ts";
import { readCursor, readScanOptions, visit } from "./scan.ts";

function typeName(value: Value | undefined): string {
  if (value === undefined) return "none";
  if (typeof value === "string") return "string";
  if (value instanceof HashValue) return "hash";
  return value instanceof ListValue ? "list" : "set";
}

function del(client: Client, args: Args): void {
  let removed = 0;
  for (let at = 1; at < args.length; at++) {
    if (client.keyspace.find(arg(args, at)) === undefined) continue;
    client.keyspace.remove(arg(args, at));
    removed++;
  }
  client.integer(removed);
}

function exists(client: Client, args: Args): void {
  let found = 0;
  for (let at = 1; at < args.length; at++) {
    if (client.keyspace.find(arg(args, at)) !== undefined) found++;
  }
  client.integer(found);
}

function keys(client: Client, args: Args): void {
  const pattern = arg(args, 1);
  const matching = client.keyspace.entries.keys.filter((key) => matchesGlob(pattern, key));
  client.bulks(matching.filter((key) => client.keyspace.find(key) !== undefined));
}

function scan(client: Client, args: Args): void {
  const cursor = readCursor(client, arg(args, 1));
  if (cursor === undefined) return;
  const options = readScanOptions(client, args, 2, true);
  if (options === undefined) return;
  const { entries } = client.keyspace;
  const visited: string[] = [];
  const next = visit(entries.size, cursor, options.count, (position) => {
    const key = entries.keys[position] ?? "";
    if (options.match === "*" || matchesGlob(options.match, key)) visited.push(key);
  });
  // Looked up only now: a key that is found to be expired is removed, and that moves places.
  const found = visited.filter((key) => {
    const value = client.keyspace.find(key);
    if (value === undefined) return false;
    return options.type === undefined || options.type === typeName(value);
  });
  client.array(2);
  client.bulk(String(next));
  client.bulks(found);
}

function rename(client: Client, from: string, to: string): void {
  const value = client.keyspace.find(from);
  if (value === undefined || from === to) return;
  const deadline = client.keyspace.expiry.get(from);
  client.keyspace.remove(from);
  client.keyspace.put(to, value);
  if (deadline !== undefined) client.keyspace.expireAt(to, deadline);
}

function renameAlways(client: Client, args: Args): void {
  if (client.keyspace.find(arg(args, 1)) === undefined) {
    client.error(noSuchKey);
    return;
  }
  rename(client, arg(args, 1), arg(args, 2));
  client.ok();
}

function renamenx(client: Client, args: Args): void {
  if (client.keyspace.find(arg(args, 1)) === undefined) {
    client.error(noSuchKey);
    return;
  }
  if (client.keyspace.find(arg(args, 2)) !== undefined) {
    client.integer(0);
    return;
  }
  rename(client, arg(args, 1), arg(args, 2));
  client.integer(1);
}

function copy(client: Client, args: Args): void {
  const [from, to] = [arg(args, 1), arg(args, 2)];
  let replaces = false;
  for (let at = 3; at < args.length; at++) {
    const option = arg(args, at).toUpperCase();
    if (option === "REPLACE") replaces = true;
    else if (option === "DB" && args[at + 1] === "0") at++;
    else if (option === "DB" && !Number.isNaN(smallInteger(args[at + 1] ?? ""))) {
      client.error("ERR DB index is out of range");
      return;
    } else {
      client.error(syntaxError);
      return;
    }
  }
  if (from === to) {
    client.error("ERR source and destination objects are the same");
    return;
  }
  const value = client.keyspace.find(from);
  if (value === undefined || (client.keyspace.find(to) !== undefined && !replaces)) {
    client.integer(0);
    return;
  }
  if (client.keyspace.isFullWith(valueBytes(value))) {
    client.error(outOfMemory);
    return;
  }
  client.keyspace.put(to, typeof value === "string" ? value : value.copy());
  const deadline = client.keyspace.expiry.get(from);
  if (deadline !== undefined) client.keyspace.expireAt(to, deadline);
  client.integer(1);
}

function randomkey(client: Client): void {
  const { entries } = client.keyspace;
  while (entries.size > 0) {
    const key = entries.keys[randomPosition(entries.size)] ?? "";
    if (client.keyspace.find(key) === undefined) continue;
    client.bulk(key);
    return;
  }
  client.null();
}

function flush(client: Client, args: Args): void {
  const mode = args[1]?.toUpperCase();
  if (args.length > 2 || (mode !== undefined && mode !== "SYNC" && mode !== "ASYNC")) {
    client.error(syntaxError);
    return;
  }
  client.keyspace.clear();
  client.ok();
}

function memory(client: Client, args: Args): void {
  const subcommand = arg(args, 1);
  if (subcommand.toUpperCase() !== "USAGE" || args.length < 3) {
    client.error(`ERR unknown subcommand '${subcommand.slice(0, 128)}'. Try MEMORY HELP.`);
    return;
  }
  const value = client.keyspace.find(arg(args, 2));
  if (value === undefined) client.null();
  else client.integer(arg(args, 2).length + valueBytes(value));
}

function object(client: Client, args: Args): void {
  const subcommand = arg(args, 1);
  if (subcommand.toUpperCase() !== "ENCODING" || args.length !== 3) {
    client.error(`ERR unknown subcommand '${subcommand.slice(0, 128)}'. Try OBJECT HELP.`);
    return;
  }
  const value = client.keyspace.find(arg(args, 2));
  if (value === undefined) client.null();
  else if (typeof value !== "string") {
    client.bulk(value instanceof ListValue ? "quicklist" : "hashtable");
  } else if (!Number.isNaN(smallInteger(value))) client.bulk("int");
  else client.bulk(value.length <= 44 ? "embstr" : "raw");
}

const grows = flag.write | flag.grows;

export const keyCommands: readonly Command[] = [
  command("del", -2, flag.write, del),
  command("unlink", -2, flag.write, del),
  command("exists", -2, 0, exists),
  command("touch", -2, 0, exists),
  command("type", 2, 0, (client, args) => {
    client.status(typeName(client.keyspace.find(arg(args, 1))));
  }),
  command("keys", 2, 0, keys),
  command("scan", -2, 0, scan),
  command("rename", 3, flag.write, renameAlways),
  command("renamenx", 3, flag.write, renamenx),
  command("copy", -3, grows, copy),
  command("randomkey", 1, 0, randomkey),
  command("dbsize", 1, 0, (client) => client.integer(client.keyspace.entries.size)),
  command("flushdb", -1, flag.write, flush),
  command("flushall", -1, flag.write, flush),
  command("memory", -2, 0, memory),
  command("object", -2, 0, object),
];
