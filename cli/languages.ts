// `edgedag languages`: the languages of code, those of the agent and those of EDGEDAG_LANGUAGES, and
// which of them this machine has.
import { findLanguages } from "../agent/exec/isolation/languages/language-find.ts";
import { loadLanguages } from "../agent/exec/isolation/languages/languages.ts";
import { baseEnvironment } from "../agent/task-environment.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import { pythonSdkPath } from "../protocol/install-paths.ts";
import { table } from "./client/table.ts";
import type { Io } from "./io.ts";
import { printDiagnostics } from "./print.ts";
import { agentTable, findRoot, otherNames, readConfig } from "./surroundings.ts";

export interface LanguagesOptions {
  json: boolean;
  env: Readonly<Record<string, string | undefined>>;
}

export async function languages({ json, env }: LanguagesOptions, io: Io): Promise<number> {
  const read = readConfig(agentTable(), env, otherNames);
  if (!read.config.ok) {
    printDiagnostics(io, read.config.diagnostics);
    return exitCodes.config;
  }
  const config = read.config.value;
  const registry = loadLanguages(config.languages);
  if (!registry.ok) {
    printDiagnostics(io, registry.diagnostics);
    return exitCodes.config;
  }
  const pythonPath = pythonSdkPath(findRoot());
  const baseEnv = baseEnvironment({ hostEnv: env, passEnv: config.passEnv, pythonPath });
  const found = await findLanguages(baseEnv.PATH ?? "", registry.value, {
    env: baseEnv,
    programs: { node: process.execPath },
  });
  const all = registry.value.list().map(({ name, aliases, needs, image }) => {
    const version = found.get(name)?.version;
    return { name, aliases, image, needs, ...(version === undefined ? {} : { version }) };
  });
  if (json) {
    io.stdout.write(`${JSON.stringify({ languages: all }, null, 2)}\n`);
    return exitCodes.ok;
  }
  const rows = all.map(({ name, aliases, needs, version }) => [
    name,
    aliases.join(", "),
    version ?? `not here: it needs ${needs.join(" and ")}`,
  ]);
  io.stdout.write(table(["LANGUAGE", "ALIASES", "HERE"], rows));
  return exitCodes.ok;
}
