// Entry of the link thread. Nothing else may import it.
import { parentPort, workerData } from "node:worker_threads";
import { armCrashPoint } from "../../protocol/arm-crash-point.ts";
import { guardJson } from "../../protocol/json-guard.ts";
import { LinkWorker } from "./link-worker.ts";
import type { ThreadData } from "./thread-messages.ts";

if (parentPort === null) {
  throw new Error("this file is the entry of a worker thread");
}
guardJson();
// Every thread has its own hook; the main thread has said already why it was not armed.
if (process.env.EDGEDAG_CHAOS_POINT !== undefined) armCrashPoint(process.env);
// Cloned from link.ts, which has checked it by its type.
new LinkWorker(workerData as ThreadData, parentPort).start();
