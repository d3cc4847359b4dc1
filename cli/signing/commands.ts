// The commands about keys, signatures and receipts.
import { type Command, InvalidArgumentError } from "commander";
import { exitCodes } from "../../protocol/exit-codes.ts";
import type { Io } from "../io.ts";

export interface SigningContext {
  env: Readonly<Record<string, string | undefined>>;
  io: Io;
  ended(exitCode: number): void;
}

export function addSigningCommands(program: Command, { env, io, ended }: SigningContext): void {
  const collect = (value: string, all: string[]) => [...all, value];
  program
    .command("keygen")
    .description("make an Ed25519 key pair: NAME.key to sign with, NAME.pub for the nodes")
    .requiredOption("-o, --out <name>", "name of both files, without .key and .pub")
    .option("--json", "print JSON", false)
    .action(async (options) => {
      const { keygen } = await import("./keygen.ts");
      ended(keygen(options, io));
    });
  program
    .command("sign <artifact>")
    .description("sign a packed artifact; signatures that it has stay")
    .requiredOption("-k, --key <file>", "the private key")
    .option("--not-before <time>", "not valid earlier: a time, or a duration from now")
    .option("--expires <time>", "not valid from then on: a time, or a duration from now")
    .option("--node <name>", "only for this node, * for any characters (repeatable)", collect, [])
    .option("--once", "each node takes it for one run", false)
    .option("-o, --out <file>", "where to write it, - for stdout; else back to where it was")
    .option("--json", "print JSON", false)
    .action(async (path: string, options) => {
      const { sign } = await import("./sign.ts");
      ended(await sign(path, options, io));
    });
  program
    .command("verify <artifact> [receipt]")
    .description("check the signatures of an artifact, or (verify receipt FILE) a receipt")
    .option(
      "--trusted <keys>",
      "files, folders or ed25519:... of public keys (EDGEDAG_TRUSTED_KEYS)",
    )
    .option("--node <name>", "as this node would")
    .option("--at <time>", "as at this time")
    .option("--log <file>", "of a receipt: compare this NDJSON log")
    .option("--artifact <file>", "of a receipt: compare this artifact")
    .option("--allow-gaps", "of a receipt: lines may be missing from the log", false)
    .option("--mutations <n>", "change the artifact in n ways: none may be accepted", whole)
    .option("--seed <n>", "of the mutations", whole)
    .option("--json", "print JSON", false)
    .action(async (what: string, receipt: string | undefined, options) => {
      if (receipt !== undefined && what !== "receipt") {
        return program.error("verify: name one artifact, or say `verify receipt FILE`", {
          exitCode: exitCodes.usage,
        });
      }
      if (receipt !== undefined) {
        const { verifyReceipt } = await import("./verify-receipt.ts");
        return ended(await verifyReceipt(receipt, { ...options, env }, io));
      }
      const { verify } = await import("./verify.ts");
      ended(await verify(what, { ...options, env }, io));
    });
}

function whole(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new InvalidArgumentError("It must be a whole number.");
}
