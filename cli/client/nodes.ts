// `edgedag nodes`: all nodes of a master with their state; who is let in, and who not any more.

import { exitCodes } from "../../protocol/exit-codes.ts";
import { parseDuration } from "../../protocol/units.ts";
import type { Io } from "../io.ts";
import { type ClientArgs, get, post, printFailure } from "./api.ts";
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
    node.revokedAt === undefined ? node.state : "revoked",
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

/** Prints the token alone on stdout, so that a script can put it where the node finds it. */
export async function enroll(
  args: ClientArgs & { node: string; expires: string },
  io: Io,
): Promise<number> {
  const expiresMs = parseDuration(args.expires);
  if (expiresMs === undefined) {
    io.stderr.write("edgedag: --expires must be a duration like 30m, 1h or 2d\n");
    return exitCodes.usage;
  }
  const path = `/api/nodes/${encodeURIComponent(args.node)}/enroll-token`;
  const answer = await post<{ token: string; expiresAt: number }>(args, path, { expiresMs });
  if (!answer.ok) return printFailure(io, answer);
  if (args.json) {
    io.stdout.write(`${JSON.stringify(answer.value)}\n`);
    return exitCodes.ok;
  }
  const until = new Date(answer.value.expiresAt).toISOString();
  io.stderr.write(`for ${args.node}, once, until ${until}; give it in EDGEDAG_ENROLL_TOKEN:\n`);
  io.stdout.write(`${answer.value.token}\n`);
  return exitCodes.ok;
}

export async function revoke(args: ClientArgs & { node: string }, io: Io): Promise<number> {
  const path = `/api/nodes/${encodeURIComponent(args.node)}/revoke`;
  const answer = await post<{ revokedAt: number }>(args, path);
  if (!answer.ok) return printFailure(io, answer);
  io.stdout.write(
    args.json
      ? `${JSON.stringify(answer.value)}\n`
      : `${args.node} is shut out; edgedag nodes enroll ${args.node} lets it in anew\n`,
  );
  return exitCodes.ok;
}
