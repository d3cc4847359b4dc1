// What a Node.js task imports: the store that its run shares, events, its inputs, and a log. Plain
// JavaScript without a build step, for Node.js 20 and later, also in a command task. Nothing here
// reads the environment or opens a connection before it is used.
export { index, inputs, item, needs, params, task } from "./context.js";
export { EdgedagError, OutsideOfRun, StoreError, StoreUnreachable, WaitTimeout } from "./errors.js";
export { events } from "./events.js";
export { artifact, log, progress } from "./reports.js";
export { store } from "./store.js";
