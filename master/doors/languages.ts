// The names of languages at the doors, and what each is to a node. A language of a node's own
// registry keeps its name.
import { languagePattern } from "../../protocol/dag.ts";

/** Those that have a queue wherever the service runs. */
export const languages = [
  "python",
  "nodejs",
  "typescript",
  "bash",
  "c",
  "cpp",
  "java",
  "go",
  "rust",
] as const;

/** The queue of commands: what is no language. */
export const commandsQueue = "commands";

const aliases: { readonly [name: string]: string } = {
  py: "python",
  python3: "python",
  js: "nodejs",
  javascript: "nodejs",
  node: "nodejs",
  ts: "typescript",
  sh: "bash",
  shell: "bash",
  "c++": "cpp",
  cxx: "cpp",
  golang: "go",
  rs: "rust",
};

/** The queue's name; undefined: not known here. */
export function queueOf(name: string, known: ReadonlySet<string>): string | undefined {
  if (!languagePattern.test(name)) return undefined;
  const lower = name.toLowerCase();
  const queue = Object.hasOwn(aliases, lower) ? aliases[lower] : lower;
  return queue !== undefined && known.has(queue) ? queue : undefined;
}

/** What the registry of a node calls it. */
export function registryName(queue: string): string {
  return queue === "nodejs" ? "javascript" : queue;
}
