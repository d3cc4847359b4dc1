// `edgedag logs RUN` against a master: the combined log, filtered there, printed here.
import { formatLine } from "../../agent/log/read-log.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import type { LogLine } from "../../protocol/log.ts";
import type { Io } from "../io.ts";
import { type ClientArgs, call, printFailure } from "./api.ts";
import { runPath } from "./shown.ts";

export interface LogsArgs extends ClientArgs {
  run: string;
  task?: string;
  stream?: string;
  level?: string;
  follow?: boolean;
  colour?: boolean;
}

export async function logs(args: LogsArgs, io: Io): Promise<number> {
  const query = new URLSearchParams();
  for (const name of ["task", "stream", "level"] as const) {
    const value = args[name];
    if (value !== undefined) query.set(name, value);
  }
  if (args.follow === true) query.set("follow", "true");
  const answer = await call(args, runPath(args.run, `/log?${query}`));
  if (!answer.ok) return printFailure(io, answer);
  const { body } = answer.value;
  if (body === null) return exitCodes.ok;
  let rest = "";
  try {
    for await (const text of body.pipeThrough(new TextDecoderStream())) {
      const lines = `${rest}${text}`.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines)
        io.stdout.write(args.json ? `${line}\n` : readable(line, args.colour === true));
    }
  } catch (error) {
    return printFailure(io, {
      ok: false,
      message: `the log ended early: ${error instanceof Error ? error.message : String(error)}`,
      remedy: "Ask again; the master keeps the whole log.",
      exitCode: exitCodes.unavailable,
    });
  }
  return exitCodes.ok;
}

function readable(text: string, colour: boolean): string {
  // Lines were checked by the master when they arrived.
  return `${formatLine(JSON.parse(text) as LogLine, colour)}\n`;
}
