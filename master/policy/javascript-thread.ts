// What the thread that parses JavaScript does: a program in, its verdict out as JSON, one after another.
import { parentPort, workerData } from "node:worker_threads";
import { checkJavaScript } from "./javascript/check.ts";
import type { PolicyVerdict } from "./policy.ts";

// Given by javascript-cell.ts, the only one that starts this file.
const { off } = workerData as { off: readonly string[] };
const rulesOff = new Set(off);

// The first program pays for what is compiled on the way; better this one than a caller's.
checkJavaScript("async function main({ a }) { return [a].map((b) => [b, 1]); }", rulesOff);

parentPort?.on("message", (code: string) => {
  parentPort?.postMessage(JSON.stringify(verdictOf(code)));
});

function verdictOf(code: string): PolicyVerdict {
  try {
    return checkJavaScript(code, rulesOff);
  } catch (error) {
    const story = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind: "unavailable", detail: `the check failed: ${story.slice(0, 500)}` };
  }
}
