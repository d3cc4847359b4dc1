// SUBSCRIBE and its family, PUBLISH, PUBSUB.

import type { Client } from "../client.ts";
import { type Args, arg, arityError, type Command, command, flag } from "../command.ts";
import { matchesGlob } from "../glob.ts";

type Kind = "channels" | "patterns";

function subscribe(kind: Kind, verb: string): (client: Client, args: Args) => void {
  return (client, args) => {
    for (const name of args.slice(1)) {
      client.pubsub.subscribe(kind, name, client);
      confirm(client, verb, name);
    }
  };
}

function unsubscribe(kind: Kind, verb: string): (client: Client, args: Args) => void {
  return (client, args) => {
    const names = args.length > 1 ? args.slice(1) : [...client[kind]];
    for (const name of names) {
      client.pubsub.unsubscribe(kind, name, client);
      confirm(client, verb, name);
    }
    if (names.length === 0) confirm(client, verb, undefined);
  };
}

function confirm(client: Client, verb: string, name: string | undefined): void {
  client.push(3);
  client.bulk(verb);
  client.bulkOrNull(name);
  client.integer(client.channels.size + client.patterns.size);
}

function publish(client: Client, args: Args): void {
  const [channel, message] = [arg(args, 1), arg(args, 2)];
  const receivers = client.pubsub.deliver(channel, message);
  client.pubsub.onPublish(channel, message);
  client.hasPublished = true;
  client.integer(receivers);
}

function pubsub(client: Client, args: Args): void {
  const given = arg(args, 1);
  const subcommand = given.toUpperCase();
  const { channels, patterns } = client.pubsub;
  if (subcommand === "CHANNELS") {
    if (args.length > 3) {
      arityError(client, "pubsub|channels");
      return;
    }
    const pattern = args[2] ?? "*";
    client.bulks([...channels.keys()].filter((channel) => matchesGlob(pattern, channel)));
  } else if (subcommand === "NUMSUB") {
    client.array((args.length - 2) * 2);
    for (const channel of args.slice(2)) {
      client.bulk(channel);
      client.integer(channels.get(channel)?.size ?? 0);
    }
  } else if (subcommand === "NUMPAT") {
    if (args.length > 2) arityError(client, "pubsub|numpat");
    else client.integer(patterns.size);
  } else {
    client.error(`ERR unknown subcommand '${given.slice(0, 128)}'. Try PUBSUB HELP.`);
  }
}

const session = flag.subscribed;

export const pubsubCommands: readonly Command[] = [
  command("subscribe", -2, session, subscribe("channels", "subscribe")),
  command("psubscribe", -2, session, subscribe("patterns", "psubscribe")),
  command("unsubscribe", -1, session, unsubscribe("channels", "unsubscribe")),
  command("punsubscribe", -1, session, unsubscribe("patterns", "punsubscribe")),
  command("publish", 3, 0, publish),
  command("pubsub", -2, 0, pubsub),
];
