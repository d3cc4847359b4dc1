// The thread of snippets.db, as its owner sees it: started at once, started again when it broke, ended
// when everything that was asked is done. What it could not answer is rejected, never dropped.
import { Worker } from "node:worker_threads";
import { StoreDown } from "../store.ts";
import { CallLine } from "./call-line.ts";
import type { Problem } from "./problems.ts";
import type { FromThread, ThreadData, ToThread } from "./thread-messages.ts";

const broke: Problem = {
  message: "the thread of the snippets' database broke",
  remedy: "It starts again by itself; report this with the service's log.",
};

export class ThreadLine {
  readonly calls: CallLine;
  readonly #data: ThreadData;
  #worker: Worker | undefined;

  private constructor(data: ThreadData) {
    this.#data = data;
    this.calls = new CallLine((calls) => this.#send({ type: "calls", calls }));
  }

  /** Rejects with StoreDown when the database cannot be opened. */
  static async open(data: ThreadData): Promise<ThreadLine> {
    const line = new ThreadLine(data);
    const opened = Promise.withResolvers<void>();
    line.#start(opened);
    await opened.promise;
    return line;
  }

  async close(): Promise<void> {
    await this.calls.end();
    const worker = this.#worker;
    if (worker === undefined) return;
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    this.#send({ type: "close" });
    await ended;
  }

  #send(message: ToThread): void {
    if (this.#worker === undefined) this.#start();
    this.#worker?.postMessage(message);
  }

  #start(opened?: PromiseWithResolvers<void>): void {
    // In a bundle the thread's file is built beside this one.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "mjs";
    const worker = new Worker(new URL(`./snippets-thread.${extension}`, import.meta.url), {
      name: "edgedag-snippets",
      workerData: this.#data,
      env: {},
      execArgv: [],
      argv: [],
    });
    this.#worker = worker;
    let problem = broke;
    worker.on("message", (message: FromThread) => {
      if (message.type === "answers") this.calls.answered(message.answers);
      else if (message.type === "opened") opened?.resolve();
      else problem = message.problem;
    });
    worker.on("error", (error: unknown) => {
      problem = { ...broke, message: `${broke.message}: ${String(error)}` };
    });
    worker.on("exit", () => {
      if (this.#worker === worker) this.#worker = undefined;
      opened?.reject(new StoreDown(problem.message, problem.remedy));
      this.calls.lost(problem);
    });
  }
}
