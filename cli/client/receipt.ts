// `edgedag receipt RUN`: the receipt of a run, from the master or from a state folder on this machine.
import { readFile, writeFile } from "node:fs/promises";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { receiptPath, runIdPattern } from "../../protocol/state-paths.ts";
import type { Io } from "../io.ts";
import { type ClientArgs, call, printFailure } from "./api.ts";
import { runPath } from "./shown.ts";

/** EX_CANTCREAT. */
const cannotCreate = 73;

export interface ReceiptArgs extends ClientArgs {
  run: string;
  /** Absent: ask the master. */
  state?: string;
  /** Absent: to stdout. */
  out?: string;
}

export async function receipt(args: ReceiptArgs, io: Io): Promise<number> {
  const text = args.state === undefined ? await fromMaster(args, io) : await fromState(args, io);
  if (typeof text === "number") return text;
  if (args.out === undefined) {
    io.stdout.write(text);
    return exitCodes.ok;
  }
  try {
    await writeFile(args.out, text);
  } catch (error) {
    io.stderr.write(`edgedag: ${args.out} cannot be written: ${reason(error)}\n`);
    return cannotCreate;
  }
  return exitCodes.ok;
}

async function fromMaster(args: ReceiptArgs, io: Io): Promise<string | number> {
  const answer = await call(args, runPath(args.run, "/receipt"));
  return answer.ok ? await answer.value.text() : printFailure(io, answer);
}

async function fromState({ run, state = "" }: ReceiptArgs, io: Io): Promise<string | number> {
  try {
    if (!runIdPattern.test(run)) throw new Error(`${JSON.stringify(run)} is no run id`);
    return await readFile(receiptPath(state, run), "utf8");
  } catch (error) {
    io.stderr.write(
      `edgedag: there is no receipt of run ${run} in ${state}: ${reason(error)}\n    Receipts are made with EDGEDAG_RECEIPTS=on, at the end of a run.\n`,
    );
    return exitCodes.noInput;
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
