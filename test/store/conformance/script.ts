// Reads and runs conformance scripts: command lines and the replies that Redis gives to them.
//   > SET k v        a command of connection 1 (quotes and \x escapes as in redis-cli)
//   2> GET k         of connection 2
//   ~> SMEMBERS s    the reply's items may come in any order
//   >> BLPOP q 0     the reply is read later, by a line with `1<` or `2<`
//   = 1              go on when so many clients are blocked
//   ! 3              HELLO with this version; the greeting is not compared
//   < "v"            the reply expected; `#` starts a comment. Every script begins with no data.

import { splitInline } from "../../../agent/store/resp.ts";
import { PlainClient, type Reply, until } from "../rig.ts";

export interface Step {
  line: number;
  text: string;
  connection: number;
  kind: "call" | "send" | "read" | "blocked" | "hello";
  args: string[];
  isUnordered: boolean;
  expected: Reply | undefined;
}

const kinds: Readonly<Record<string, Step["kind"]>> = {
  ">>": "send",
  "<": "read",
  "=": "blocked",
  "!": "hello",
};

export function parseScript(text: string): Step[] {
  const steps: Step[] = [];
  let open: Step | undefined;
  text.split("\n").forEach((line, at) => {
    const match = /^([0-9]?)(~>|>>|>|<|=|!)(?: (.*))?$/.exec(line);
    if (match === null) {
      if (line.trim() !== "" && !line.startsWith("#")) throw new Error(`line ${at + 1}: ${line}`);
      return;
    }
    const [, connection = "", sign = "", rest = ""] = match;
    if (sign === "<" && connection === "" && open !== undefined) {
      open.expected = rest;
      open = undefined;
      return;
    }
    const kind = kinds[sign] ?? "call";
    const step: Step = {
      line: at + 1,
      text: line,
      connection: Number(connection || "1"),
      kind,
      args: splitInline(rest) ?? [],
      isUnordered: sign === "~>",
      expected: kind === "read" ? rest : undefined,
    };
    steps.push(step);
    open = kind === "call" ? step : undefined;
  });
  return steps;
}

/** Runs the steps and reports the reply to each that has one. */
export async function runScript(
  socketPath: string,
  steps: readonly Step[],
  onReply: (step: Step, reply: Reply) => void,
): Promise<void> {
  const clients = new Map<number, PlainClient>();
  const client = async (connection: number): Promise<PlainClient> => {
    const found = clients.get(connection) ?? (await PlainClient.connect(socketPath));
    clients.set(connection, found);
    return found;
  };
  await (await client(0)).call("FLUSHALL");
  for (const step of steps) {
    const own = await client(step.connection);
    if (step.kind === "blocked") {
      const text = `blocked_clients:${step.args[0]}\\r`;
      const watcher = await client(0);
      await until(`line ${step.line}`, async () =>
        (await watcher.call("INFO", "clients")).includes(text),
      );
      continue;
    }
    if (step.kind === "hello") {
      await own.call("HELLO", ...step.args);
      continue;
    }
    if (step.kind !== "read") own.send(...step.args);
    if (step.kind === "send") continue;
    const reply = await own.reply();
    onReply(step, step.isUnordered ? sorted(reply) : reply);
  }
  for (const each of clients.values()) await each[Symbol.asyncDispose]();
}

/** Items of the outermost array in order of their text; pairs of a RESP2 map fall apart. */
function sorted(reply: Reply): Reply {
  const match = /^([~%>]?)\[(.*)\]$/s.exec(reply);
  if (match === null) return reply;
  const items = (match[2] ?? "").match(/"(?:[^"\\]|\\.)*"|[^\s]+/g) ?? [];
  return `${match[1]}[${items.sort().join(" ")}]`;
}
