// The other end of the Node.js peers: answers every message, as a child process, a worker thread or
// a function of a pool.
import { parentPort } from "node:worker_threads";

export function noop(): null {
  return null;
}

if (parentPort !== null) {
  const port = parentPort;
  port.on("message", () => port.postMessage(noop()));
} else if (process.send !== undefined) {
  process.on("message", () => process.send?.(noop()));
}
