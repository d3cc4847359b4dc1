// A language of `code` tasks: how a program in it is compiled and run. Pure data and the filling of
// its placeholders; `languages.ts` keeps them, `language-find.ts` looks for them on this host.
import { javaUnit } from "./java-unit.ts";

/** The words that commands, variables and the file's name may hold in braces. */
export const placeholders = ["file", "dir", "out", "tmp", "args", "unit", "entry"] as const;

export interface Language {
  name: string;
  aliases: readonly string[];
  /** Of code that is not a file of its own; may hold `{unit}`. */
  fileName: string;
  compile?: readonly string[];
  run: readonly string[];
  /** For the docker level, where EDGEDAG_DOCKER_IMAGES names no other. */
  image: string;
  /** Programs without which the language cannot be used. */
  needs: readonly string[];
  /** Prints a text with the version in it. */
  version: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Folders (patterns) besides the programs' own that must be readable. */
  toolchains: readonly string[];
  /** Prints the folder that holds `bin/<program>`: past the shims of version managers. */
  locate?: readonly string[];
  /** How `{unit}` and `{entry}` are found in the source; without it both are the file's stem. */
  unit?: "java";
}

/** What the placeholders stand for. Paths as the program sees them. */
export interface Places {
  file: string;
  dir: string;
  /** Of the compiled program; a file or folder, which does not exist yet. */
  out: string;
  /** A folder for caches, which is thrown away. */
  tmp: string;
  unit: string;
  entry: string;
}

/** `{unit}` and `{entry}`: the name of the source's file, and what is then started. */
export function unitOf(language: Language, source: string): { unit: string; entry: string } {
  if (language.unit === "java") return javaUnit(source);
  const stem = language.fileName.replace(/\.[^.]*$/, "");
  return { unit: stem, entry: stem };
}

/** The name under which inline code is written. */
export function sourceName(language: Language, source: string): string {
  return language.fileName.replaceAll("{unit}", unitOf(language, source).unit);
}

/**
 * A command with its placeholders filled in; `{args}` becomes as many words as there are. Of
 * `programs`, those of a found language, the first word is taken where it names one.
 */
export function commandOf(
  argv: readonly string[],
  places: Places,
  args: readonly string[],
  programs: Readonly<Record<string, string>> = {},
): string[] {
  const words = argv.flatMap((word) => (word === "{args}" ? args : [fill(word, places)]));
  const [program = "", ...rest] = words;
  return [Object.hasOwn(programs, program) ? (programs[program] ?? program) : program, ...rest];
}

export function languageEnv(language: Language, places: Places): Record<string, string> {
  const entries = Object.entries(language.env);
  return Object.fromEntries(entries.map(([name, text]) => [name, fill(text, places)]));
}

function fill(text: string, places: Places): string {
  return text.replace(
    /\{(file|dir|out|tmp|unit|entry)\}/g,
    (_, name: keyof Places) => places[name],
  );
}
