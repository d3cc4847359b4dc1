// Commands on the connection itself: HELLO, AUTH, PING, CLIENT, SELECT, QUIT, RESET.

import type { Client } from "../client.ts";
import { type Args, arg, arityError, type Command, command, flag } from "../command.ts";
import { notInteger, syntaxError } from "../errors.ts";
import { integer } from "../numbers.ts";
import { redisVersion } from "./server.ts";
import { forgetWatches } from "./transactions.ts";

const badName = "ERR Client names cannot contain spaces, newlines or special characters.";
const badLogin = "WRONGPASS invalid username-password pair or user is disabled.";

function hello(client: Client, args: Args): void {
  const version = args.length > 1 ? integer(arg(args, 1)) : client.resp;
  if (Number.isNaN(version)) {
    client.error("ERR Protocol version is not an integer or out of range");
    return;
  }
  if (version !== 2 && version !== 3) {
    client.error("NOPROTO unsupported protocol version");
    return;
  }
  let name = client.name;
  for (let at = 2; at < args.length; ) {
    const option = arg(args, at).toUpperCase();
    if (option === "AUTH" && at + 2 < args.length) {
      if (arg(args, at + 1) !== "default") {
        client.error(badLogin);
        return;
      }
      at += 3;
    } else if (option === "SETNAME" && at + 1 < args.length) {
      name = arg(args, at + 1);
      if (!isName(name)) {
        client.error(badName);
        return;
      }
      at += 2;
    } else {
      client.error(`ERR Syntax error in HELLO option '${arg(args, at)}'`);
      return;
    }
  }
  client.resp = version;
  client.name = name;
  client.map(7);
  for (const [key, value] of [
    ["server", "redis"],
    ["version", redisVersion],
    ["proto", version],
    ["id", client.id],
    ["mode", "standalone"],
    ["role", "master"],
  ] as const) {
    client.bulk(key);
    if (typeof value === "number") client.integer(value);
    else client.bulk(value);
  }
  client.bulk("modules");
  client.array(0);
}

function isName(name: string): boolean {
  return /^[!-~]*$/.test(name);
}

function auth(client: Client, args: Args): void {
  if (args.length > 3) client.error(syntaxError);
  else if (args.length === 2) {
    client.error(
      "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
    );
  } else if (arg(args, 1) === "default") client.ok();
  else client.error(badLogin);
}

function ping(client: Client, args: Args): void {
  if (args.length > 2) {
    arityError(client, "ping");
  } else if (client.resp === 2 && client.isSubscribed) {
    client.array(2);
    client.bulk("pong");
    client.bulk(args[1] ?? "");
  } else if (args.length === 2) client.bulk(arg(args, 1));
  else client.status("PONG");
}

function select(client: Client, args: Args): void {
  const index = integer(arg(args, 1));
  if (Number.isNaN(index)) client.error(notInteger);
  else if (index === 0) client.ok();
  else client.error("ERR DB index is out of range");
}

function quit(client: Client): void {
  client.ok();
  client.end();
}

function reset(client: Client): void {
  client.transaction = undefined;
  forgetWatches(client);
  client.pubsub.removeClient(client);
  client.resp = 2;
  client.name = "";
  client.status("RESET");
}

function describe(client: Client): string {
  const ageSeconds = Math.floor((Date.now() - client.startedAt) / 1000);
  const queued = client.transaction?.commands.length ?? -1;
  const flags = client.isSubscribed ? "P" : client.unblock !== undefined ? "b" : "N";
  return (
    `id=${client.id} name=${client.name} age=${ageSeconds} db=0 flags=${flags} ` +
    `sub=${client.channels.size} psub=${client.patterns.size} multi=${queued} ` +
    `omem=${client.socket.writableLength} cmd=${client.lastCommand} user=default ` +
    `resp=${client.resp} lib-name=${client.library} lib-ver=${client.libraryVersion}\n`
  );
}

type Subcommand = { arity: number; fn: (client: Client, args: Args) => void };

const subcommands: Readonly<Record<string, Subcommand>> = {
  SETNAME: {
    arity: 3,
    fn(client, args) {
      if (!isName(arg(args, 2))) {
        client.error(badName);
        return;
      }
      client.name = arg(args, 2);
      client.ok();
    },
  },
  GETNAME: {
    arity: 2,
    fn: (client) => client.bulkOrNull(client.name === "" ? undefined : client.name),
  },
  ID: { arity: 2, fn: (client) => client.integer(client.id) },
  INFO: { arity: 2, fn: (client) => client.verbatim(describe(client)) },
  LIST: {
    arity: -2,
    fn: (client) => client.verbatim([...client.peers.values()].map(describe).join("")),
  },
  SETINFO: {
    arity: 4,
    fn(client, args) {
      const attribute = arg(args, 2).toUpperCase();
      if (!isName(arg(args, 3))) {
        client.error(`ERR ${arg(args, 2)} cannot contain spaces, newlines or special characters.`);
      } else if (attribute === "LIB-NAME" || attribute === "LIB-VER") {
        client[attribute === "LIB-NAME" ? "library" : "libraryVersion"] = arg(args, 3);
        client.ok();
      } else client.error(`ERR Unrecognized option '${arg(args, 2)}'`);
    },
  },
  "NO-EVICT": {
    arity: 3,
    fn(client, args) {
      if (/^(?:on|off)$/i.test(arg(args, 2))) client.ok();
      else client.error(syntaxError);
    },
  },
};

function clientCommand(client: Client, args: Args): void {
  const name = arg(args, 1);
  const subcommand = Object.hasOwn(subcommands, name.toUpperCase())
    ? subcommands[name.toUpperCase()]
    : undefined;
  if (subcommand === undefined) {
    client.error(`ERR unknown subcommand '${name.slice(0, 128)}'. Try CLIENT HELP.`);
  } else if (
    subcommand.arity > 0 ? args.length !== subcommand.arity : args.length < -subcommand.arity
  ) {
    arityError(client, `client|${name.toLowerCase()}`);
  } else subcommand.fn(client, args);
}

export const connectionCommands: readonly Command[] = [
  command("hello", -1, 0, hello),
  command("auth", -2, 0, auth),
  command("ping", -1, flag.subscribed, ping),
  command("echo", 2, 0, (client, args) => client.bulk(arg(args, 1))),
  command("select", 2, 0, select),
  command("quit", -1, flag.subscribed | flag.unqueued, quit),
  command("reset", 1, flag.subscribed | flag.unqueued, reset),
  command("client", -2, 0, clientCommand),
];
