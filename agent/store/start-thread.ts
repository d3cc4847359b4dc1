// Starts the store's thread. In a file of its own, so that a command may start it before it loads
// what the agent is made of: a thread takes as long to get ready as that.
import { Worker } from "node:worker_threads";

/** `compileCacheFolder`: see `StoreHostOptions`. */
export function startStoreThread(compileCacheFolder?: string): Worker {
  // In a bundle the thread's file is built beside this one.
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "mjs";
  return new Worker(new URL(`./store-thread.${extension}`, import.meta.url), {
    name: "store",
    env: compileCacheFolder === undefined ? {} : { NODE_COMPILE_CACHE: compileCacheFolder },
    execArgv: [],
    argv: [],
  });
}
