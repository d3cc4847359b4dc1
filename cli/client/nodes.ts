// `edgedag nodes`: all nodes of a master with their state.
import { exitCodes } from "../../protocol/exit-codes.ts";
import type { Io } from "../io.ts";
import { type ClientArgs, get, printFailure } from "./api.ts";
import type { ShownNode } from "./shown.ts";
import { ago, table } from "./table.ts";

export async function nodes(args: ClientArgs, io: Io): Promise<number> {
  const answer = await get<{ nodes: ShownNode[] }>(args, "/api/nodes");
  if (!answer.ok) return printFailure(io, answer);
  if (args.json) {
    io.stdout.write(`${JSON.stringify(answer.value.nodes)}\n`);
    return exitCodes.ok;
  }
  const now = Date.now();
  const rows = answer.value.nodes.map((node) => [
    node.id,
    node.state,
    node.connected ? (node.activity ?? "connected") : "-",
    ago(node.lastSeenAt, now),
    `${node.capabilities.os}/${node.capabilities.architecture}`,
    Object.keys(node.runs ?? {}).length.toString(),
    node.outbox?.toString() ?? "-",
    Object.entries(node.labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(","),
  ]);
  const head = ["NODE", "STATE", "ACTIVITY", "SEEN", "PLATFORM", "RUNS", "OUTBOX", "LABELS"];
  io.stdout.write(rows.length === 0 ? "no node has ever connected\n" : table(head, rows));
  return exitCodes.ok;
}
