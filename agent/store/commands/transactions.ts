// MULTI, EXEC, DISCARD, WATCH, UNWATCH. Queuing itself is in execute.ts.

import type { Client } from "../client.ts";
import { type Args, type Command, command, flag } from "../command.ts";

function multi(client: Client): void {
  if (client.transaction !== undefined) {
    client.error("ERR MULTI calls can not be nested");
    return;
  }
  client.transaction = { commands: [], bytes: 0, isBroken: false };
  client.ok();
}

function discard(client: Client): void {
  if (client.transaction === undefined) {
    client.error("ERR DISCARD without MULTI");
    return;
  }
  client.transaction = undefined;
  forgetWatches(client);
  client.ok();
}

function watch(client: Client, args: Args): void {
  if (client.transaction !== undefined) {
    client.error("ERR WATCH inside MULTI is not allowed");
    return;
  }
  client.watched ??= new Set();
  for (const key of args.slice(1)) {
    if (client.watched.has(key)) continue;
    client.watched.add(key);
    client.keyspace.watch(key, client);
  }
  client.ok();
}

export function forgetWatches(client: Client): void {
  for (const key of client.watched ?? []) client.keyspace.unwatch(key, client);
  client.watched = undefined;
  client.isDirty = false;
}

/** EXEC; `run` carries out one queued command. */
export function exec(client: Client, run: (args: Args) => void): void {
  const { transaction } = client;
  if (transaction === undefined) {
    client.error("ERR EXEC without MULTI");
    return;
  }
  // A watched key that has expired since counts as changed: looking it up removes it.
  for (const key of client.watched ?? []) client.keyspace.find(key);
  const isDirty = client.isDirty;
  client.transaction = undefined;
  forgetWatches(client);
  if (transaction.isBroken) {
    client.error("EXECABORT Transaction discarded because of previous errors.");
    return;
  }
  if (isDirty) {
    client.nullArray();
    return;
  }
  client.array(transaction.commands.length);
  client.isExecuting = true;
  for (const args of transaction.commands) {
    if (client.isClosing) break;
    run(args);
    client.checkReply();
  }
  client.isExecuting = false;
}

const atOnce = flag.unqueued;

export const transactionCommands: readonly Command[] = [
  command("multi", 1, atOnce, multi),
  command("discard", 1, atOnce, discard),
  command("watch", -2, atOnce, watch),
  command("unwatch", 1, 0, (client) => {
    forgetWatches(client);
    client.ok();
  }),
];
