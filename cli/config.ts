// `edgedag config`: the tables of variables, for people and for the README.

import type { EnvRow } from "../protocol/env-table.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Io } from "./io.ts";
import { masterDefaults } from "./master.ts";
import { masterTable } from "./master-config.ts";
import { serviceTable } from "./service-config.ts";
import { agentTable } from "./surroundings.ts";

export interface ConfigOptions {
  markdown: boolean;
  env: Readonly<Record<string, string | undefined>>;
}

export function config({ markdown, env }: ConfigOptions, io: Io): number {
  const tables = [
    { title: "agent", rows: Object.values<EnvRow<unknown>>(agentTable()) },
    { title: "master", rows: Object.values<EnvRow<unknown>>(masterTable(masterDefaults(env))) },
    { title: "code-execution service", rows: Object.values<EnvRow<unknown>>(serviceTable) },
  ];
  for (const { title, rows } of tables) {
    io.stdout.write(markdown ? asMarkdown(title, rows) : asText(title, rows, env));
  }
  return exitCodes.ok;
}

function asMarkdown(title: string, rows: readonly EnvRow<unknown>[]): string {
  const lines = rows.map(({ name, shown, about, secret, isPrefix }) => {
    if (isPrefix) return `| \`${name}...\` | ${shown} | ${about} |\n`;
    const file = secret ? ` (or \`${name}_FILE\`)` : "";
    return `| \`${name}\`${file} | ${shown} | ${about} |\n`;
  });
  return `| ${title} | default | meaning |\n| --- | --- | --- |\n${lines.join("")}\n`;
}

function asText(
  title: string,
  rows: readonly EnvRow<unknown>[],
  env: ConfigOptions["env"],
): string {
  const lines = rows.map(({ name, shown, about, secret, isPrefix }) => {
    if (isPrefix) {
      const count = Object.keys(env).filter((other) => other.startsWith(name)).length;
      const value = count === 0 ? `default: ${shown}` : `${count} set`;
      return `  ${name}...  [${value}]\n      ${about}\n`;
    }
    const set = env[name];
    const value =
      set === undefined || set === "" ? `default: ${shown}` : secret ? "set" : `set to ${set}`;
    return `  ${name}  [${value}]\n      ${about}\n`;
  });
  return `${title}:\n${lines.join("")}`;
}
