// The thread that parses JavaScript, with a bound on its memory.
import { Worker } from "node:worker_threads";
import type { Cell, CellListener } from "./checker.ts";
import { readVerdict } from "./read-verdict.ts";

export interface JavaScriptCellOptions {
  memoryBytes: number;
  /** Names of rules that are not applied. */
  off: readonly string[];
}

export function openJavaScriptCell(options: JavaScriptCellOptions, listener: CellListener): Cell {
  const { memoryBytes, off } = options;
  // In a bundle the thread's file is built beside this one.
  const isBundled = !import.meta.url.endsWith(".ts");
  const file = isBundled ? "./policy-thread.mjs" : "./javascript-thread.ts";
  const worker = new Worker(new URL(file, import.meta.url), {
    workerData: { off },
    name: "edgedag-policy",
    resourceLimits: { maxOldGenerationSizeMb: Math.ceil(memoryBytes / 2 ** 20) },
  });
  worker.unref();
  const gone = (detail: string) => listener.gone(`the thread that checks code: ${detail}`);
  worker.on("message", (text: unknown) => {
    const read = typeof text === "string" ? readVerdict(text) : undefined;
    if (read === undefined) gone("it sent what is no answer");
    else listener.answered(read.verdict, read.isLast);
  });
  worker.once("error", (error) => gone(error instanceof Error ? error.message : String(error)));
  worker.once("exit", (code) => gone(`it ended (${code})`));
  return {
    check: (code) => worker.postMessage(code),
    end: () => {
      // Nobody waits for its end; an error in it was told.
      worker.terminate().catch(() => {});
    },
  };
}
