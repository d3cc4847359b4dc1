// The languages that `code` tasks may name: those that come with the agent, and a folder of the
// user's. Knows nothing of what is installed: that is `language-find.ts`.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Diagnostic, Result } from "../../../../protocol/diagnostic.ts";
import bash from "./bash.json" with { type: "json" };
import c from "./c.json" with { type: "json" };
import cpp from "./cpp.json" with { type: "json" };
import go from "./go.json" with { type: "json" };
import java from "./java.json" with { type: "json" };
import javascript from "./javascript.json" with { type: "json" };
import type { Language } from "./language.ts";
import { readLanguage } from "./language-read.ts";
import python from "./python.json" with { type: "json" };
import rust from "./rust.json" with { type: "json" };
import typescript from "./typescript.json" with { type: "json" };

const largestFileBytes = 64 * 1024;

export class LanguageRegistry {
  readonly #languages: readonly Language[];
  readonly #byName: ReadonlyMap<string, Language>;

  /** Later ones replace earlier ones of the same name, and win where names collide. */
  constructor(languages: readonly Language[]) {
    const byName = new Map(languages.map((language) => [language.name.toLowerCase(), language]));
    this.#languages = [...byName.values()];
    for (const language of languages.toReversed()) {
      if (byName.get(language.name.toLowerCase()) !== language) continue;
      for (const alias of language.aliases) {
        const key = alias.toLowerCase();
        if (!byName.has(key)) byName.set(key, language);
      }
    }
    this.#byName = byName;
  }

  /** By name or alias, in any case of letters. */
  find(name: string): Language | undefined {
    return this.#byName.get(name.toLowerCase());
  }

  list(): readonly Language[] {
    return this.#languages;
  }

  /** Names and aliases, for the remedy where one is not known. */
  names(): string[] {
    return [...this.#byName.keys()].sort();
  }
}

/** Those of the agent, and those in `folder` unless it is empty. Every bad file is told. */
export function loadLanguages(folder: string): Result<LanguageRegistry> {
  const findings: Diagnostic[] = [];
  const languages: Language[] = [];
  const own = { bash, c, cpp, go, java, javascript, python, rust, typescript };
  for (const [name, value] of Object.entries(own)) {
    const language = readLanguage(value, `${name}.json`, findings);
    if (language !== undefined) languages.push(language);
  }
  if (folder !== "") languages.push(...readFolder(folder, findings));
  return findings.length === 0
    ? { ok: true, value: new LanguageRegistry(languages) }
    : { ok: false, diagnostics: findings };
}

function readFolder(folder: string, findings: Diagnostic[]): Language[] {
  const languages: Language[] = [];
  const owners = new Map<string, string>();
  for (const file of filesOf(folder, findings)) {
    const path = join(folder, file);
    const value = readJson(path, findings);
    if (value === undefined) continue;
    const language = readLanguage(value, path, findings);
    if (language === undefined) continue;
    languages.push(language);
    for (const name of new Set([language.name, ...language.aliases].map((n) => n.toLowerCase()))) {
      const other = owners.get(name);
      if (other === undefined) owners.set(name, file);
      else {
        findings.push({
          code: "E_CONFIG_LANGUAGE",
          path,
          message: `${JSON.stringify(name)} is also the name of the language in ${other}.`,
          remedy: "Rename one of them.",
        });
      }
    }
  }
  return languages;
}

function filesOf(folder: string, findings: Diagnostic[]): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith(".json"))
      .sort();
  } catch (error) {
    findings.push({
      code: "E_CONFIG_LANGUAGE",
      path: folder,
      message: `The folder of EDGEDAG_LANGUAGES cannot be read: ${reasonOf(error)}.`,
      remedy: "Name a folder with one JSON file per language.",
    });
    return [];
  }
}

function readJson(path: string, findings: Diagnostic[]): unknown {
  try {
    const text = readFileSync(path, "utf8");
    if (text.length > largestFileBytes) throw new Error(`more than ${largestFileBytes} bytes`);
    return JSON.parse(text);
  } catch (error) {
    findings.push({
      code: "E_CONFIG_LANGUAGE",
      path,
      message: `The file cannot be read: ${reasonOf(error)}.`,
      remedy: "Write one JSON object; docs/isolation.md has an example.",
    });
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
