// The Node.js worker: takes calls from the agent over descriptor 3, runs them one after another,
// and answers each (PROTOCOL.md, "Worker channel"). Started by the agent's launcher, never by hand.
// Works as written, and bundled to one file with EDGEDAG_NODE_SDK naming the SDK.
import { closeSync, openSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Channel } from "./channel.ts";
import { ClaimPage } from "./claim.ts";
import { Loader } from "./loader.ts";
import { NodeWorker } from "./worker.ts";

function take(name: string): string {
  const value = process.env[name] ?? "";
  delete process.env[name];
  return value;
}

const worker = Number(take("EDGEDAG_WORKER_ID"));
const token = take("EDGEDAG_WORKER_TOKEN");
const mark = Buffer.from(take("EDGEDAG_WORKER_MARK"), "hex");
const claimPath = take("EDGEDAG_WORKER_CLAIM");
const sdk = process.env.EDGEDAG_NODE_SDK;
const sdkUrl =
  sdk === undefined
    ? new URL("../../../../sdk/node/index.js", import.meta.url).href
    : pathToFileURL(sdk).href;

// Before descriptor 3 is free: where the page stays open, it must not get that number.
const page = claimPath === "" ? undefined : new ClaimPage(claimPath);
const channel = new Channel(moveChannel(3));
const loader = new Loader(sdkUrl);
const node = new NodeWorker({ channel, loader, mark, page });
// Without a claim page it waits in a sandbox for one call, which is all that it will ever do.
if (page === undefined) await node.rehearse();
channel.send(
  JSON.stringify({
    hello: { worker, token, runtime: "node", version: process.versions.node, pid: process.pid },
  }),
);
setImmediate(() => node.serve());

/**
 * Moves the channel out of the way of a task that takes descriptor 3 for its own. Node.js itself
 * has no dup(2); where node:ffi is missing the channel stays, close-on-exec as Node.js makes it.
 */
function moveChannel(fd: number): number {
  try {
    const ffi = process.getBuiltinModule("node:ffi");
    const { functions } = ffi.dlopen("libc.so.6", {
      fcntl: { arguments: ["i32", "i32", "i32"], return: "i32" },
    });
    const duplicateCloseOnExec = 1030;
    const high = functions.fcntl(fd, duplicateCloseOnExec, 200);
    if (high < 0) return fd;
    closeSync(fd);
    // Takes the place: else something of Node.js would get the number that tasks like to close.
    openSync("/dev/null", "r");
    return high;
  } catch {
    return fd;
  }
}
