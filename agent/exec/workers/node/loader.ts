// Finds the function of a call: a file of the DAG by dynamic import, or inline code as a module.
// Also makes `import "edgedag"` find the SDK. It never calls the function.
import Module, { registerHooks, stripTypeScriptTypes } from "node:module";
import { isAbsolute } from "node:path";
import { pathToFileURL } from "node:url";
import { notePlace } from "./failures.ts";
import { type Callee, Refusal } from "./protocol.ts";

export type TaskFunction = (...args: unknown[]) => unknown;

/** `isQuick`: its last call was too short to send the answers before it first. */
export interface Entry {
  run: TaskFunction;
  isQuick: boolean;
}

// What @types/node does not tell of the CommonJS loader.
interface CommonJsModule {
  filename: string;
  paths: string[];
  exports: unknown;
  _compile(code: string, filename: string): void;
}
const CommonJs = Module as unknown as {
  new (id: string): CommonJsModule;
  _nodeModulePaths(folder: string): string[];
};

export class Loader {
  readonly #entries = new Map<string, Entry>();
  /** Inline ES modules by their made-up URL. */
  readonly #inline = new Map<string, string>();
  #count = 0;

  constructor(sdkUrl: string) {
    registerHooks({
      resolve: (specifier, context, next) => {
        if (specifier === "edgedag") return { url: sdkUrl, shortCircuit: true };
        if (this.#inline.has(specifier)) return { url: specifier, shortCircuit: true };
        return next(specifier, context);
      },
      load: (url, context, next) => {
        const source = this.#inline.get(url);
        if (source === undefined) return next(url, context);
        return { format: "module-typescript", source, shortCircuit: true };
      },
    });
  }

  /** Spends what the first ES module of a process costs, some milliseconds, before a call pays it. */
  async warmUp(): Promise<void> {
    await this.#exports({ function: "main", code: "export {};" }, { task: "", cwd: "/" });
    this.forget();
  }

  /** All that was loaded so far. */
  forget(): void {
    this.#inline.clear();
    this.#entries.clear();
  }

  known(callee: Callee, run: string): Entry | undefined {
    return this.#entries.get(keyOf(callee, run));
  }

  /** Rejects with a Refusal, or with whatever the user's module throws. */
  async load(callee: Callee, of: { task: string; run: string; cwd: string }): Promise<Entry> {
    const loaded = await this.#exports(callee, of);
    const where = callee.file ?? "the code";
    const { function: name } = callee;
    const found = name === "" ? onlyFunction(loaded, where) : functionOf(loaded, name, where);
    const entry = { run: found, isQuick: false };
    this.#entries.set(keyOf(callee, of.run), entry);
    return entry;
  }

  async #exports(callee: Callee, { task, cwd }: { task: string; cwd: string }): Promise<unknown> {
    const { file, code } = callee;
    if (file !== undefined) {
      if (!isAbsolute(file)) throw new Refusal(`${file} is not an absolute path`);
      const url = pathToFileURL(file).href;
      return await placed([file, url], () => import(url));
    }
    if (code === undefined) throw new Refusal("the call names neither a file nor code");
    const shown = `<task ${task.split("[", 1)[0] ?? ""}>`;
    this.#count += 1;
    // Before it is known what the code is, a name beside the task's files, so that its own imports
    // are looked up from there.
    if (/^\s*(?:import|export)\b/m.test(code)) {
      const url = `${pathToFileURL(`${cwd}/${shown}.ts`).href}?inline=${this.#count}`;
      this.#inline.set(url, code + hiddenExportOf(declaredName(callee, code)));
      return await placed([url], () => import(url));
    }
    const module = new CommonJs(`${cwd}/${shown}`);
    module.filename = `${cwd}/${shown}`;
    module.paths = CommonJs._nodeModulePaths(cwd);
    // Errors of the first call no file, those of the second the one that is made up.
    await placed(["", module.filename], () =>
      module._compile(
        `${stripTypeScriptTypes(code)}${exportOf(declaredName(callee, code))}`,
        module.filename,
      ),
    );
    return module.exports;
  }
}

async function placed<T>(names: readonly string[], compile: () => T): Promise<Awaited<T>> {
  try {
    return await compile();
  } catch (error) {
    notePlace(error, names);
    throw error;
  }
}

const hidden = "edgedag$function";

/** What a call without a name may mean, among what inline code declares but does not export. */
function declaredName(callee: Callee, code: string): string {
  if (callee.function !== "") return callee.function;
  const declared = new Set<string>();
  const pattern = /^(?:export\s+)?(?:async\s+)?function\s*\*?\s*([A-Za-z$][\w$]*)/gm;
  for (const [, name = ""] of code.matchAll(pattern)) declared.add(name);
  const [only = ""] = declared;
  return declared.size === 1 ? only : "main";
}

/** As `exportOf`, for a module. */
function hiddenExportOf(name: string): string {
  if (!isName(name)) return "";
  return `\n;export const ${hidden} = typeof ${name} === "function" ? { ${name} } : undefined;`;
}

function isName(name: string): boolean {
  return /^[A-Za-z_$][\w$]*$/.test(name);
}

/** A script that only declares its function need not export it. */
function exportOf(name: string): string {
  if (!isName(name)) return "";
  return `\n;if (typeof module.exports === "object" && typeof ${name} === "function") module.exports.${name} ??= ${name};`;
}

function keyOf(callee: Callee, run: string): string {
  return `${run}\0${callee.function}\0${callee.file ?? callee.code ?? ""}`;
}

function functionOf(exports: unknown, dotted: string, where: string): TaskFunction {
  let found = exports;
  for (const name of dotted.split(".")) {
    const owner = found;
    found =
      memberOf(owner, name) ??
      memberOf(memberOf(owner, "default"), name) ??
      memberOf(memberOf(owner, hidden), name) ??
      (dotted === "main" ? wholeOf(owner) : undefined);
    if (found === undefined) throw new Refusal(notFound(owner, dotted, name, where));
  }
  if (typeof found !== "function") {
    throw new Refusal(`\`${dotted}\` in ${where} is not a function but ${typeof found}`);
  }
  return found as TaskFunction; // any function may be called with anything
}

/** `main` may also be all that there is: `module.exports = ...`, `export default ...`. */
function wholeOf(exports: unknown): unknown {
  const whole = typeof exports === "function" ? exports : memberOf(exports, "default");
  return typeof whole === "function" ? whole : undefined;
}

/** Of a call that names none: `main`, or the only function that is exported. */
function onlyFunction(exports: unknown, where: string): TaskFunction {
  const main = ["main", "default"].map((name) => memberOf(exports, name));
  const inner = memberOf(memberOf(exports, "default"), "main");
  const all = exportedFunctions(exports);
  const declared = Object.values(memberOf(exports, hidden) ?? {});
  const found = [...main, inner, exports, ...(all.length === 1 ? all : declared)].find(
    (value) => typeof value === "function",
  );
  if (found !== undefined) return found as TaskFunction; // any function may be called with anything
  const names = all.map((value) => value.name);
  const has =
    names.length === 0 ? "it exports none" : `it exports ${names.slice(0, 10).join(", ")}`;
  throw new Refusal(`${where} must have a function \`main\` or export exactly one; ${has}`);
}

function exportedFunctions(exports: unknown): { name: string }[] {
  if (typeof exports !== "object" || exports === null) return [];
  return Object.values(exports).filter((value) => typeof value === "function");
}

function memberOf(owner: unknown, name: string): unknown {
  const canHave = (typeof owner === "object" && owner !== null) || typeof owner === "function";
  return canHave && Object.hasOwn(owner, name) ? Reflect.get(owner, name) : undefined;
}

function notFound(owner: unknown, dotted: string, name: string, where: string): string {
  const names = typeof owner === "object" && owner !== null ? Object.keys(owner) : [];
  const known = names.filter((key) => typeof memberOf(owner, key) === "function");
  const near = known.find((key) => distance(key, name) <= Math.max(1, name.length / 3));
  const hint =
    near !== undefined
      ? `did you mean \`${near}\`?`
      : known.length > 0
        ? `it exports: ${known.slice(0, 10).join(", ")}`
        : "it exports no function";
  return `there is no function \`${dotted}\` in ${where}; ${hint}`;
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
