// Reads the file of a language: all that is wrong with it at once.
import { languagePattern } from "../../../../protocol/dag.ts";
import type { Diagnostic } from "../../../../protocol/diagnostic.ts";
import { didYouMean } from "../../../../protocol/nearest.ts";
import { type Language, placeholders } from "./language.ts";

type Check = (value: unknown) => string | undefined;

const fields: { readonly [name: string]: { check: Check; isNeeded?: true } } = {
  name: { check: isName, isNeeded: true },
  aliases: { check: (value) => listOf(value, isName) },
  fileName: { check: isFileName, isNeeded: true },
  compile: { check: isCommand },
  run: { check: isCommand, isNeeded: true },
  image: { check: isText, isNeeded: true },
  needs: { check: (value) => listOf(value, isProgram), isNeeded: true },
  version: { check: isCommand, isNeeded: true },
  env: { check: isEnv },
  toolchains: { check: (value) => listOf(value, isFolder) },
  locate: { check: isCommand },
  unit: { check: (value) => (value === "java" ? undefined : "must be `java`") },
};

/** Undefined when something was found. `file` is told in the findings. */
export function readLanguage(
  value: unknown,
  file: string,
  findings: Diagnostic[],
): Language | undefined {
  const before = findings.length;
  const add = (path: string, message: string, remedy = "See docs/isolation.md, Languages.") =>
    findings.push({ code: "E_CONFIG_LANGUAGE", path, message, remedy });
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    add(file, "The file must hold a JSON object.");
    return undefined;
  }
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(fields, name)) continue;
    const known = Object.keys(fields);
    const remedy = didYouMean(name, known, `Known here: ${known.join(", ")}.`);
    add(`${file}: ${name}`, `There is no field ${JSON.stringify(name)}.`, remedy);
  }
  for (const [name, { check, isNeeded }] of Object.entries(fields)) {
    const found: unknown = Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
    if (found === undefined && isNeeded !== true) continue;
    const problem = found === undefined ? "is missing" : check(found);
    if (problem !== undefined) add(`${file}: ${name}`, `\`${name}\` ${problem}.`);
  }
  if (findings.length > before) return undefined;
  // Every field was checked above.
  const read = value as Partial<Language> & Pick<Language, "name" | "fileName" | "run">;
  const { aliases = [], env = {}, toolchains = [], image = "", needs = [], version = [] } = read;
  return { ...read, aliases, env, toolchains, image, needs, version };
}

function isText(value: unknown): string | undefined {
  if (typeof value !== "string" || value === "") return "must be a text that is not empty";
  return value.includes("\0") ? "holds a NUL character" : undefined;
}

function isName(value: unknown): string | undefined {
  return typeof value === "string" && languagePattern.test(value)
    ? undefined
    : "must begin with a letter and hold only letters, digits and +#._-";
}

function isFileName(value: unknown): string | undefined {
  const problem = isText(value) ?? placeholderProblem(String(value), ["unit"]);
  if (problem !== undefined) return problem;
  return /[/\\]|^\.{1,2}$/.test(String(value)) ? "must be a name without a folder" : undefined;
}

function isProgram(value: unknown): string | undefined {
  return isText(value) ?? (String(value).includes("{") ? "must be a program's name" : undefined);
}

function isFolder(value: unknown): string | undefined {
  return (
    isText(value) ?? (String(value).startsWith("/") ? undefined : "must hold absolute paths only")
  );
}

function isCommand(value: unknown): string | undefined {
  if (Array.isArray(value) && value.length === 0) return "is an empty list";
  return listOf(
    value,
    (word) =>
      (typeof word === "string" && !word.includes("\0") ? undefined : "must hold texts only") ??
      placeholderProblem(String(word), placeholders),
  );
}

function isEnv(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return "must be an object";
  }
  for (const [name, text] of Object.entries(value)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      return `holds ${JSON.stringify(name)}, which is no name of a variable`;
    }
    if (typeof text !== "string" || text.includes("\0")) return "must hold texts only";
    const problem = placeholderProblem(text, ["file", "dir", "out", "tmp", "unit", "entry"]);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function listOf(value: unknown, check: Check): string | undefined {
  if (!Array.isArray(value)) return "must be a list";
  for (const entry of value) {
    const problem = check(entry);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function placeholderProblem(text: string, known: readonly string[]): string | undefined {
  for (const [shown, name = ""] of text.matchAll(/\{([a-z]+)\}/g)) {
    if (!known.includes(name)) return `holds ${shown}, which is not known here`;
    if (name === "args" && text !== shown) return "holds {args}, which must be a word of its own";
  }
  return undefined;
}
