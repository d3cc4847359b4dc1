// Whether this agent may run a document as it asks: its levels, languages, and what the operator's
// policy allows to whom. Every finding at once, before the run exists. Called by `agent.ts`; the
// only thing that it asks of the host is where a mount's source really leads, and that is passed in.
import type { DagDocument, SandboxMount, TaskAttributes } from "../protocol/dag.ts";
import type { Diagnostic } from "../protocol/diagnostic.ts";
import { Findings, type PathSegment, pathText } from "../protocol/findings.ts";
import { didYouMean } from "../protocol/nearest.ts";
import { type SandboxLevel, sandboxLevels } from "../protocol/outcome.ts";
import type { FoundLanguage } from "./exec/isolation/languages/language-find.ts";
import type { LanguageRegistry } from "./exec/isolation/languages/languages.ts";
import type { DagSource, SandboxConfig } from "./sandbox-config.ts";

export interface PolicyInput {
  source: DagSource;
  document: DagDocument;
  /** Levels that passed their check on this host, `none` among them. */
  held: readonly SandboxLevel[];
  config: Pick<
    SandboxConfig,
    "minIsolation" | "allowNetwork" | "allowMounts" | "allowSyscalls" | "dockerImages"
  >;
  /** Absent when no task of the document names a language. */
  languages?:
    | {
        registry: LanguageRegistry;
        /** Of this host, by name. At level docker the image has the language, not the host. */
        languages: ReadonlyMap<string, FoundLanguage>;
      }
    | undefined;
  /** The path without links; undefined where nothing is. */
  realPath(path: string): string | undefined;
}

/** Empty: it may run. Who mounts a source must mount what `realPath` gives at that time. */
export function checkPolicy(input: PolicyInput): Diagnostic[] {
  const findings = new Findings();
  for (const { key, attributes } of input.document.nodes) {
    if (findings.isFull) break;
    const add: Add = (code, field, message, remedy) => {
      const path = pathText(["tasks", key, ...field]);
      findings.add(code, path, `Task \`${key}\` ${message}.`, remedy);
    };
    checkLevel(input, attributes.isolation, add);
    checkLanguage(input, attributes, add);
    checkSandbox(input, attributes, add);
    if (input.source === "snippet" && attributes.secrets !== undefined) {
      const remedy = "Leave them out: secrets are for DAGs.";
      add("E_DAG_POLICY", ["secrets"], "names secrets of the node", remedy);
    }
  }
  return findings.diagnostics();
}

type Add = (
  code: "E_DAG_ISOLATION" | "E_DAG_POLICY" | "E_DAG_LANGUAGE",
  field: PathSegment[],
  message: string,
  remedy: string,
) => void;

function checkLevel({ source, held, config }: PolicyInput, level: SandboxLevel, add: Add): void {
  if (!held.includes(level)) {
    add(
      "E_DAG_ISOLATION",
      ["isolation"],
      `asks for isolation \`${level}\`, which this agent does not hold`,
      `Held here: ${held.join(", ")}. \`edgedag doctor\` says why, and what would help.`,
    );
  }
  const least = config.minIsolation[source];
  if (sandboxLevels.indexOf(level) >= sandboxLevels.indexOf(least)) return;
  add(
    "E_DAG_POLICY",
    ["isolation"],
    `has isolation \`${level}\`; for DAGs from ${sourceNames[source]} at least \`${least}\` is asked`,
    `Set \`isolation: ${least}\` or higher; the operator sets the least in EDGEDAG_MIN_ISOLATION.`,
  );
}

const sourceNames: Readonly<Record<DagSource, string>> = {
  file: "EDGEDAG_DAG",
  gateway: "the gateway",
  cli: "the command line",
  snippet: "whoever sends snippets",
};

function checkLanguage(input: PolicyInput, { run, isolation }: TaskAttributes, add: Add): void {
  const { languages, config } = input;
  if (run.kind !== "code" || languages === undefined) return;
  const { registry, languages: found } = languages;
  const language = registry.find(run.language);
  const field = ["code", "language"];
  const shown = JSON.stringify(run.language);
  if (language === undefined) {
    const otherwise = `Known: ${registry.list().map(({ name }) => name)}. More go into the folder of EDGEDAG_LANGUAGES.`;
    const remedy = didYouMean(run.language, registry.names(), otherwise);
    add("E_DAG_LANGUAGE", field, `is in the unknown language ${shown}`, remedy);
    return;
  }
  if (isolation === "docker") {
    if ((config.dockerImages[language.name] ?? language.image) !== "") return;
  } else if (found.has(language.name)) return;
  add(
    "E_DAG_LANGUAGE",
    field,
    `is in ${shown}, which this host does not have`,
    `Install ${language.needs.join(" and ")} on the PATH of the agent, or use \`isolation: docker\`.`,
  );
}

function checkSandbox(input: PolicyInput, { sandbox }: TaskAttributes, add: Add): void {
  if (sandbox === undefined) return;
  const { config } = input;
  if (sandbox.network === true && config.allowNetwork === "no") {
    add(
      "E_DAG_POLICY",
      ["sandbox", "network"],
      "asks for the network, which this agent does not allow",
      "Leave it out, or set EDGEDAG_ALLOW_NETWORK=yes on the node.",
    );
  }
  for (const [i, name] of sandbox.syscalls?.entries() ?? []) {
    if (config.allowSyscalls.includes(name)) continue;
    add(
      "E_DAG_POLICY",
      ["sandbox", "syscalls", i],
      `asks for the system call \`${name}\`, which this agent does not allow`,
      `Leave it out, or add it to EDGEDAG_ALLOW_SYSCALLS on the node.`,
    );
  }
  for (const [i, mount] of sandbox.mounts?.entries() ?? []) {
    const resolved = resolveMount(mount, config.allowMounts, input.realPath);
    if ("source" in resolved) continue;
    const { problem } = resolved;
    const how = mount.isWritable ? `${mount.source}:rw` : mount.source;
    add(
      "E_DAG_POLICY",
      ["sandbox", "mounts", i, "source"],
      `mounts ${JSON.stringify(mount.source)}, which ${problem}`,
      `Leave it out, or make the folder and add ${how} to EDGEDAG_ALLOW_MOUNTS on the node.`,
    );
  }
}

/**
 * The source without links, when the policy allows it. Both are compared without links, so that a
 * link into another folder opens nothing.
 */
export function resolveMount(
  { source, isWritable }: SandboxMount,
  allowMounts: SandboxConfig["allowMounts"],
  realPath: PolicyInput["realPath"],
): { source: string } | { problem: string } {
  // First by name: what is not allowed must not even be learnt to exist.
  const named = allowMounts.filter(({ path }) => isBelow(source, path));
  if (named.length === 0) return { problem: "this agent does not allow" };
  const real = realPath(source);
  if (real === undefined) return { problem: "is not there" };
  const allowed = allowMounts.filter(({ path }) => {
    const root = realPath(path);
    return root !== undefined && isBelow(real, root);
  });
  if (allowed.length === 0) return { problem: "leads to a place that this agent does not allow" };
  if (isWritable && !allowed.some((entry) => entry.isWritable)) {
    return { problem: "this agent allows for reading only" };
  }
  return { source: real };
}

function isBelow(path: string, folder: string): boolean {
  return folder === "/" || path === folder || path.startsWith(`${folder}/`);
}
