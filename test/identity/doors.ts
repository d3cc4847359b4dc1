// The doors of the code-execution service for a master of a test, without a node behind them.

import { masterTable } from "../../cli/master-config.ts";
import { serviceTable } from "../../cli/service-config.ts";
import { snippetOptions } from "../../cli/service-options.ts";
import { findRoot, readConfig } from "../../cli/surroundings.ts";
import type { SnippetServiceOptions } from "../../master/snippet-service.ts";

export async function doors(): Promise<SnippetServiceOptions> {
  const env = { EDGEDAG_CODE_POLICY: "off" };
  const service = readConfig(serviceTable, env, []).config;
  const master = readConfig(masterTable({ dataDir: "", port: 0 }), {}, []).config;
  if (!service.ok || !master.ok) throw new Error("the defaults are not valid");
  return snippetOptions(service.value, master.value, { root: findRoot(), env });
}
