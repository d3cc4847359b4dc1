// The variables of RAGFlow's executor manager, as `edgedag serve` takes them: each stands for one of
// ours, which goes before it. What cannot be read stops the start; nothing becomes a default silently.
import type { Diagnostic } from "../protocol/diagnostic.ts";

type Env = Readonly<Record<string, string | undefined>>;

interface Alias {
  name: string;
  ours: string;
  /** Gives our value, or a sentence that says what is right. */
  translate(value: string): { value: string } | { wrong: string };
}

const isOn = /^(1|true|yes|on)$/i;
const isOff = /^(0|false|no|off)$/i;

const aliases: readonly Alias[] = [
  {
    name: "SANDBOX_EXECUTOR_MANAGER_POOL_SIZE",
    ours: "EDGEDAG_POOL_SIZE",
    translate: (value) =>
      /^[1-9]\d{0,2}$/.test(value) ? { value } : { wrong: "it must be a number from 1 to 999" },
  },
  {
    name: "SANDBOX_MAX_MEMORY",
    ours: "EDGEDAG_SNIPPET_MEMORY",
    translate: (value) => {
      // Docker's own letters, which are binary: 256m is 256 MiB.
      const match = /^([1-9]\d*)([bkmg])$/i.exec(value);
      if (match === null) return { wrong: "it must be like 256m or 1g" };
      const unit = { b: "B", k: "Ki", m: "Mi", g: "Gi" }[match[2]?.toLowerCase() ?? ""];
      return { value: `${match[1]}${unit}` };
    },
  },
  {
    name: "SANDBOX_TIMEOUT",
    ours: "EDGEDAG_SNIPPET_TIMEOUT",
    translate: (value) => {
      if (/^[1-9]\d*$/.test(value)) return { value: `${value}s` };
      const match = /^(?:(\d+)m)?(?:(\d+)s)?$/i.exec(value);
      const seconds = Number(match?.[1] ?? 0) * 60 + Number(match?.[2] ?? 0);
      return match === null || seconds === 0
        ? { wrong: "it must be like 10s, 2m or 1m30s; a bare number is seconds" }
        : { value: `${seconds}s` };
    },
  },
  {
    name: "SANDBOX_ENABLE_SECCOMP",
    ours: "EDGEDAG_SNIPPET_ISOLATION",
    translate: (value) => {
      if (isOn.test(value)) return { value: "gvisor,docker,seccomp" };
      return isOff.test(value) ? { value: "" } : { wrong: "it must be true or false" };
    },
  },
  {
    name: "SANDBOX_RUN_RATE_LIMIT",
    ours: "EDGEDAG_RATE_LIMIT",
    translate: (value) => ({ value }),
  },
  {
    name: "SANDBOX_EXECUTOR_MANAGER_API_TOKEN",
    ours: "EDGEDAG_API_KEYS",
    translate: (value) =>
      /^[^\s,]{8,}$/.test(value)
        ? { value: `sandbox=${value}` }
        : { wrong: "it must have 8 or more characters, without commas and spaces" },
  },
  {
    name: "SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED",
    ours: "EDGEDAG_OPEN",
    translate: (value) => {
      if (isOn.test(value)) return { value: "yes" };
      return isOff.test(value) ? { value: "no" } : { wrong: "it must be true or false" };
    },
  },
];

export interface Translated {
  env: Env;
  /** All that is wrong with theirs. */
  diagnostics: Diagnostic[];
  /** Ours to theirs, of those that were filled in: what is wrong with one is told by its own name. */
  givenAs: ReadonlyMap<string, string>;
}

/** The environment with our names filled in. */
export function withExecutorManagerNames(env: Env): Translated {
  const givenAs = new Map<string, string>();
  const translated: Record<string, string | undefined> = { ...env };
  const diagnostics: Diagnostic[] = [];
  for (const { name, ours, translate } of aliases) {
    const given = env[name]?.trim() ?? "";
    if (given === "") continue;
    const read = translate(given);
    if ("wrong" in read) {
      const isSecret = name.endsWith("_TOKEN");
      const shown = isSecret ? "its value" : JSON.stringify(given);
      diagnostics.push({
        code: "E_CONFIG_VALUE",
        path: name,
        message: `${shown} is not accepted: ${read.wrong}`,
        remedy: `Correct it, or set ${ours} instead.`,
      });
    } else if ((env[ours] ?? "") === "" && read.value !== "") {
      translated[ours] = read.value;
      givenAs.set(ours, name);
    }
  }
  return { env: translated, diagnostics, givenAs };
}
