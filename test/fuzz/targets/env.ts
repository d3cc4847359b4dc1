// The environment, as all the tables of variables read it: values or diagnostics, and never a
// secret in what is said.
import { configTable } from "../../../agent/config.ts";
import { masterTable } from "../../../cli/master-config.ts";
import { serviceTable } from "../../../cli/service-config.ts";
import { type EnvRow, type EnvTable, readEnv } from "../../../protocol/env-table.ts";
import { mutateTree } from "../engine/tree.ts";
import { must, shown, type Target } from "../target.ts";
import { mustBeDiagnostics } from "./diagnostics.ts";

const secret = "s3cret-value-that-nobody-may-see";

const isConfigCode = (code: unknown): code is never =>
  typeof code === "string" && /^E_CONFIG_[A-Z]+$/.test(code);

interface Table {
  rows: EnvRow<unknown>[];
  read(env: Record<string, string>): ReturnType<typeof readEnv>;
}

function tableOf<C extends object>(table: EnvTable<C>): Table {
  const readFile = (path: string) =>
    path.includes("no") ? { problem: "ENOENT" } : { text: `${secret}\n` };
  return {
    rows: Object.values<EnvRow<unknown>>(table),
    read: (env) => readEnv(table, { env, readFile }),
  };
}

export function open(): Target {
  const tables = [
    tableOf(configTable({ hostname: "h", cores: 2, stateDir: "/s", runtimeDir: "/r" })),
    tableOf(masterTable({ dataDir: "/d", port: 8700 })),
    tableOf(serviceTable),
  ];
  const rows = tables.flatMap((table) => table.rows);
  const names = [
    ...new Set(rows.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]))),
  ];
  const words = [
    ...names,
    "EDGEDAG_",
    "EDGEDAG_SECRET_",
    "1s",
    "10m",
    "64Ki",
    "1e3",
    "0",
    "-1",
    "on",
    "off",
    "a=b,c=d",
    "127.0.0.1:0",
    "[::1]:99",
    "redis://u:p@h:1/0",
    "https://x",
    "/etc/x",
    "none,seccomp",
    ",",
    "=",
    secret,
  ];
  const secrets = new Set(rows.filter((row) => row.secret).map(({ name }) => name));
  const isOpen = (name: string) => rows.some((row) => row.name === name) && !secrets.has(name);
  return {
    covers:
      /\/(protocol\/(env-table|units|nearest)|agent\/(config|sandbox-config|policy)|cli\/[\w-]*config)\.ts$/,
    dictionary: words,
    seeds: () => [
      "{}",
      ...rows.map(({ name }) => JSON.stringify({ [name]: "1" })),
      JSON.stringify(
        Object.fromEntries(rows.map(({ name, shown }) => [name, shown.split(";")[0] ?? ""])),
      ),
      JSON.stringify(Object.fromEntries([...secrets].map((name) => [name, secret]))),
    ],
    mutate: (input, random, other) => mutateTree(input, random, other, words),
    run(input) {
      const env = envOf(input);
      for (const { read } of tables) {
        const { config, warnings } = read(env);
        const said =
          JSON.stringify(warnings) + (config.ok ? "" : JSON.stringify(config.diagnostics));
        const isElsewhere = Object.entries(env).some(
          ([name, value]) => name.includes(secret) || (isOpen(name) && value.includes(secret)),
        );
        for (const name of secrets) {
          const value = env[name] ?? "";
          // Other texts may stand in our own sentences, and so may what is no secret by its name.
          const isOwn = value.includes(secret) && !isElsewhere;
          must(!isOwn || !said.includes(secret), `it tells the secret ${name}: ${shown(said)}`);
        }
        if (config.ok) must(Object.isFrozen(config.value), "the configuration can be changed");
        else mustBeDiagnostics(config.diagnostics, isConfigCode);
      }
    },
  };
}

/** An environment has texts without NUL. */
function envOf(input: Buffer): Record<string, string> {
  const env: Record<string, string> = Object.create(null);
  try {
    const value: unknown = JSON.parse(input.toString("utf8"));
    if (typeof value !== "object" || value === null) return env;
    for (const [name, text] of Object.entries(value)) {
      if (!name.includes("\0"))
        env[name] = String(typeof text === "object" ? JSON.stringify(text) : text).replaceAll(
          "\0",
          "",
        );
    }
  } catch {
    env.EDGEDAG_NODE = input.toString("utf8").replaceAll("\0", "");
  }
  return env;
}
