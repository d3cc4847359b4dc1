// The package as programs import it: what tasks use (the SDK), and `createExecutor`, which is loaded
// when it is called. Plain JavaScript, because Node.js strips no types below node_modules.
import { existsSync } from "node:fs";

export * from "../sdk/node/index.js";
export * from "./errors.js";

/** See index.d.ts. */
export async function createExecutor(config) {
  const bundle = new URL("../dist/executor.mjs", import.meta.url);
  const isBuilt = existsSync(bundle) && process.env.EDGEDAG_FROM_SOURCE === undefined;
  const built = isBuilt ? bundle : new URL("./create-executor.ts", import.meta.url);
  const module = await import(built.href);
  return await module.createExecutor(config);
}
