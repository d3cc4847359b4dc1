// Carries out one command of one client: looks it up, refuses what Redis refuses, queues it
// inside MULTI, and serves those who waited for what it wrote.
// An exception of a command is a bug of ours: it answers an error and is reported, so that one
// bad command cannot take the stores of all runs with it.

import type { Client } from "./client.ts";
import { type Args, arg, argBytes, arityError, type Command, command, flag } from "./command.ts";
import { blockingCommands, serveWaiters } from "./commands/blocking.ts";
import { connectionCommands } from "./commands/connection.ts";
import { expiryCommands } from "./commands/expiry.ts";
import { hashCommands } from "./commands/hashes.ts";
import { keyCommands } from "./commands/keys.ts";
import { listCommands } from "./commands/lists.ts";
import { pubsubCommands } from "./commands/pubsub.ts";
import { serverCommands } from "./commands/server.ts";
import { setCommands } from "./commands/sets.ts";
import { stringCommands } from "./commands/strings.ts";
import { exec, transactionCommands } from "./commands/transactions.ts";
import { internalError, outOfMemory } from "./errors.ts";
import { valueBytes } from "./keyspace.ts";

export type OnFault = (detail: string) => void;

export class Executor {
  readonly #table = new Map<string, Command>();
  readonly #onFault: OnFault;

  constructor(onFault: OnFault) {
    this.#onFault = onFault;
    const run = (client: Client) => (args: Args) => this.#call(client, this.#find(args), args);
    for (const row of [
      ...stringCommands,
      ...hashCommands,
      ...listCommands,
      ...blockingCommands,
      ...setCommands,
      ...keyCommands,
      ...expiryCommands,
      ...transactionCommands,
      ...pubsubCommands,
      ...connectionCommands,
      ...serverCommands,
      command("exec", 1, flag.unqueued, (client) => exec(client, run(client))),
      command("command", -1, 0, (client, args) => this.#describe(client, args)),
    ]) {
      // Clients send names in upper or in lower case; any other mix takes the slow way.
      this.#table.set(row.name, row);
      this.#table.set(row.name.toUpperCase(), row);
    }
  }

  execute(client: Client, args: Args): void {
    const found = this.#find(args);
    if (found === undefined) {
      refuse(client, unknownCommand(args));
      return;
    }
    if (found.arity > 0 ? args.length !== found.arity : args.length < -found.arity) {
      if (client.transaction !== undefined) client.transaction.isBroken = true;
      arityError(client, found.name);
      return;
    }
    if (
      (found.flags & flag.subscribed) === 0 &&
      client.resp === 2 &&
      (client.channels.size > 0 || client.patterns.size > 0)
    ) {
      refuse(
        client,
        `ERR Can't execute '${found.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`,
      );
      return;
    }
    if (client.transaction !== undefined && (found.flags & flag.unqueued) === 0) {
      queue(client, found, args);
      return;
    }
    client.lastCommand = found.name;
    this.#call(client, found, args);
    if (client.keyspace.hasReadyLists) serveWaiters(client.keyspace);
  }

  #find(args: Args): Command | undefined {
    const name = args[0] ?? "";
    return this.#table.get(name) ?? this.#table.get(name.toLowerCase());
  }

  #call(client: Client, found: Command | undefined, args: Args): void {
    if (found === undefined) return;
    if ((found.flags & flag.grows) !== 0 && isAboveQuota(client, found, args)) {
      client.error(outOfMemory);
      return;
    }
    try {
      found.fn(client, args);
    } catch (error) {
      const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#onFault(`command ${found.name}: ${detail}`);
      client.error(internalError);
    }
  }

  #describe(client: Client, args: Args): void {
    const subcommand = args[1]?.toUpperCase();
    const all = [...this.#table].filter(([name, row]) => name === row.name).map(([, row]) => row);
    if (subcommand === "COUNT") client.integer(all.length);
    else if (subcommand === "DOCS") client.map(0);
    else if (subcommand === "LIST") client.bulks(all.map((row) => row.name));
    else if (subcommand === undefined) {
      client.array(all.length);
      for (const row of all) describeCommand(client, row);
    } else if (subcommand === "INFO") {
      const rows = args.length === 2 ? all : args.slice(2).map((name) => this.#find([name]));
      client.array(rows.length);
      for (const row of rows) {
        if (row === undefined) client.null();
        else describeCommand(client, row);
      }
    } else {
      client.error(`ERR unknown subcommand '${arg(args, 1).slice(0, 128)}'. Try COMMAND HELP.`);
    }
  }
}

function queue(client: Client, found: Command, args: Args): void {
  const { transaction } = client;
  if (transaction === undefined) return;
  if ((found.flags & flag.grows) !== 0 && isAboveQuota(client, found, args)) {
    refuse(client, outOfMemory);
    return;
  }
  // What is queued is memory too, and no quota counts it.
  transaction.bytes += argBytes(args) + 64;
  if (transaction.bytes > client.commandLimitBytes) {
    client.drop();
    return;
  }
  transaction.commands.push([...args]);
  client.status("QUEUED");
}

function isAboveQuota(client: Client, found: Command, args: Args): boolean {
  const { keyspace } = client;
  const addedBytes = argBytes(args);
  if (!keyspace.isFullWith(addedBytes)) return false;
  if (found.name !== "set") return true;
  // A value in place of another one needs only the difference.
  const old = keyspace.entries.get(args[1] ?? "");
  return old === undefined || keyspace.isFullWith(addedBytes - valueBytes(old));
}

function refuse(client: Client, text: string): void {
  if (client.transaction !== undefined) client.transaction.isBroken = true;
  client.error(text);
}

function unknownCommand(args: Args): string {
  let beginning = "";
  for (const text of args.slice(1)) {
    if (beginning.length >= 128) break;
    beginning += `'${text.slice(0, 128 - beginning.length)}' `;
  }
  const name = (args[0] ?? "").slice(0, 128);
  return `ERR unknown command '${name}', with args beginning with: ${beginning}`;
}

function describeCommand(client: Client, row: Command): void {
  const hasKey = row.arity !== 1 && !keyless.has(row.name);
  client.array(6);
  client.bulk(row.name);
  client.integer(row.arity);
  client.set(1);
  client.status((row.flags & flag.write) !== 0 ? "write" : "readonly");
  for (const place of hasKey ? [1, 1, 1] : [0, 0, 0]) client.integer(place);
}

/** Commands whose first argument is not a key; clients use this to place keys. */
const keyless: ReadonlySet<string> = new Set(
  [...pubsubCommands, ...connectionCommands, ...serverCommands]
    .map((row) => row.name)
    .concat("command", "keys", "scan", "flushdb", "flushall", "memory", "object"),
);
