// `edgedag verify receipt FILE`: whether a trusted node has signed it, and whether the log and the
// artifact that are given are those that it tells of.
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { artifactDigest } from "../../protocol/canonical.ts";
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { type LogCheck, LogChecker } from "../../protocol/signing/check-log.ts";
import { type SigningCode, signingProblem } from "../../protocol/signing/codes.ts";
import { timeText } from "../../protocol/signing/judge.ts";
import { type OpenedReceipt, openReceipt } from "../../protocol/signing/receipt.ts";
import { plain } from "../client/table.ts";
import type { Io } from "../io.ts";
import { loadPath, report } from "../load.ts";
import { printDiagnostics } from "../print.ts";
import { trustedKeys } from "./verify.ts";

export interface VerifyReceiptOptions {
  trusted?: string;
  node?: string;
  log?: string;
  artifact?: string;
  allowGaps: boolean;
  json: boolean;
  env: Readonly<Record<string, string | undefined>>;
}

export async function verifyReceipt(
  path: string,
  options: VerifyReceiptOptions,
  io: Io,
): Promise<number> {
  const keys = trustedKeys(options, io);
  if (typeof keys === "number") return keys;
  const text = await readText(path, io);
  if (text === undefined) return exitCodes.noInput;
  const opened = openReceipt(parse(text), keys);
  if ("code" in opened) return refuse(io, opened.code, `${plain(path)}: ${opened.why}`);
  const { receipt } = opened;
  if (options.node !== undefined && options.node !== receipt.node) {
    const why = `the receipt is of node ${plain(receipt.node)}, not of ${options.node}`;
    return refuse(io, "E_SIGNATURE_NODE", why);
  }
  const told = [summaryOf(opened)];
  if (options.artifact !== undefined) {
    const loaded = await loadPath(options.artifact);
    if (!loaded.ok) return report(options.artifact, loaded.diagnostics, io);
    const digest = artifactDigest(loaded.value);
    if (digest !== opened.artifact) {
      const why = `it ran the artifact ${opened.artifact}, and ${options.artifact} is ${digest}`;
      return refuse(io, "E_RECEIPT_ARTIFACT", why);
    }
    told.push(`artifact ${options.artifact} is the one that was run`);
  }
  let log: LogCheck | undefined;
  if (options.log !== undefined) {
    log = await checkLog(options.log, opened, io);
    if (log === undefined) return exitCodes.noInput;
    const wrong = [...log.diagnostics, ...(options.allowGaps ? [] : gapsOf(log))];
    printDiagnostics(io, wrong);
    if (wrong.length > 0) return exitCodes.badDocument;
    told.push(`log ${options.log}: ${log.verifiedLines} lines are what the node wrote`);
    if (log.missing.length > 0) told.push(`  ${missingText(log)} cannot be compared`);
  }
  const verifiedLines = log === undefined ? {} : { verifiedLines: log.verifiedLines };
  const { key, artifact } = opened;
  io.stdout.write(
    options.json
      ? `${JSON.stringify({ key, artifact, ...verifiedLines, receipt })}\n`
      : `${told.join("\n")}\n`,
  );
  return exitCodes.ok;
}

function summaryOf({ key, artifact, receipt }: OpenedReceipt): string {
  const { run, node, outcome, finishedAt, tasks, artifacts, log } = receipt;
  const signature = receipt.signature;
  return [
    `run ${plain(run)} on ${plain(node)}: ${plain(outcome.kind)}, ended ${timeText(finishedAt)}`,
    `  signed by ${key}`,
    `  artifact ${artifact}${signature === undefined ? "" : `, let in by ${plain(signature.key)}`}`,
    `  ${tasks.length} tasks, ${artifacts.length} artifacts, ${log.lines} lines of log, head ${log.head}`,
  ].join("\n");
}

async function checkLog(
  path: string,
  { receipt }: OpenedReceipt,
  io: Io,
): Promise<LogCheck | undefined> {
  const checker = new LogChecker(receipt.log);
  try {
    const lines = createInterface({
      input: createReadStream(path),
      crlfDelay: Number.POSITIVE_INFINITY,
    });
    for await (const line of lines) if (line !== "") checker.add(line);
  } catch (error) {
    io.stderr.write(`${path}: cannot be read: ${error instanceof Error ? error.message : error}\n`);
    return undefined;
  }
  return checker.end();
}

function gapsOf(log: LogCheck): Diagnostic[] {
  if (log.missing.length === 0) return [];
  const remedy = "Take the whole log (no filters), or allow what is missing with --allow-gaps.";
  return [signingProblem("E_RECEIPT_LOG_GAP", `${missingText(log)} are missing`, remedy)];
}

function missingText({ missing }: LogCheck): string {
  const shown = missing
    .slice(0, 10)
    .map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
  return `lines ${shown.join(", ")}${missing.length > 10 ? " and more" : ""}`;
}

async function readText(path: string, io: Io): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    io.stderr.write(`${path}: cannot be read: ${error instanceof Error ? error.message : error}\n`);
    return undefined;
  }
}

/** Undefined is no receipt either, which is told with the rest of its form. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refuse(io: Io, code: SigningCode, why: string): number {
  printDiagnostics(io, [signingProblem(code, why, remedies[code] ?? "")]);
  return exitCodes.badDocument;
}

const remedies: { readonly [code: string]: string | undefined } = {
  E_RECEIPT_FORM: "Take the file as `edgedag receipt RUN` gives it.",
  E_SIGNATURE_KEY: "Trust the node's key: receipt.pub in its state folder, also in its log.",
  E_SIGNATURE_INVALID: "Somebody has changed it, or it is damaged: do not believe it.",
  E_SIGNATURE_NODE: "Ask for the receipt of the run that you mean.",
  E_RECEIPT_ARTIFACT: "Compare it with the artifact that was submitted.",
};
