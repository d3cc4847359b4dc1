// Entry of the thread of snippets.db: an fsync here stops nobody else. Nothing else may import it.
import { parentPort, workerData } from "node:worker_threads";
import { BriefWatch } from "./brief-watch.ts";
import { openSnippets } from "./database.ts";
import { BatchRunner } from "./operations.ts";
import type { FromThread, ThreadData, ToThread } from "./thread-messages.ts";

if (parentPort === null) throw new Error("this file is the entry of a worker thread");
const port = parentPort;
const send = (message: FromThread): void => port.postMessage(message);

// Cloned from sqlite-snippets.ts, which has checked it by its type.
const { folder, durability } = workerData as ThreadData;
const opened = openSnippets(folder, durability);
if (opened.ok) {
  const { database } = opened;
  const runner = new BatchRunner(database, durability);
  const watch = new BriefWatch(port);
  port.on("message", (first: ToThread) => {
    let message: ToThread | undefined = first;
    while (message?.type === "calls") {
      send({ type: "answers", answers: runner.run(message.calls) });
      // Only the owner of this thread has the other end.
      message = watch.next()?.message as ToThread | undefined;
    }
    if (message === undefined) return;
    database.close();
    port.close();
  });
  send({ type: "opened" });
} else {
  send({ type: "refused", problem: opened.problem });
  port.close();
}
