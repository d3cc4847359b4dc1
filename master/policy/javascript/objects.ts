// The objects through which code in Node.js reaches beyond itself, and which of their members are
// harmless; what functions every program finds. Data and look-ups; knows nothing of syntax.
import type { RuleName } from "../rules.ts";

export interface GuardedObject {
  /** By this rule every other member is refused, and handing the object on. */
  rule: RuleName;
  harmless: ReadonlySet<string>;
  /** Members that have a rule of their own. */
  others: ReadonlyMap<string, RuleName>;
}

const words = (text: string) => new Set(text.split(/\s+/));

export const guardedObjects: ReadonlyMap<string, GuardedObject> = new Map([
  [
    "process",
    {
      rule: "process",
      harmless: words(
        `allowedNodeEnvironmentFlags arch argv argv0 availableMemory config constrainedMemory cpuUsage
        cwd emit emitWarning env eventNames execArgv execPath exit exitCode features getegid geteuid
        getgid getuid hrtime listenerCount listeners addListener memoryUsage nextTick off on once pid
        platform ppid prependListener release removeAllListeners removeListener resourceUsage
        setMaxListeners getMaxListeners setUncaughtExceptionCaptureCallback stderr stdin stdout title
        toString uptime version versions browser`,
      ),
      others: new Map<string, RuleName>([
        ["mainModule", "import-machinery"],
        ["getBuiltinModule", "import-machinery"],
        ["dlopen", "native-code"],
      ]),
    },
  ],
  [
    "module",
    {
      rule: "import-machinery",
      harmless: words("exports id filename loaded path"),
      others: new Map(),
    },
  ],
  ["require", { rule: "import-machinery", harmless: words("resolve"), others: new Map() }],
  [
    "import.meta",
    {
      rule: "import-machinery",
      harmless: words("url dirname filename main resolve"),
      others: new Map(),
    },
  ],
  [
    "Function",
    { rule: "function-constructor", harmless: words("prototype name length"), others: new Map() },
  ],
]);

/** Names of the object that holds all that is global. */
export const globalObjects = words("globalThis global");

/** Globals whose mere mention is refused. */
export const refusedGlobals: ReadonlyMap<string, RuleName> = new Map<string, RuleName>([
  ["eval", "run-code"],
  ["ShadowRealm", "run-code"],
  ["importScripts", "run-code"],
  ["fetch", "http-client"],
  ["WebSocket", "http-client"],
  ["WebSocketStream", "http-client"],
  ["EventSource", "http-client"],
  ["XMLHttpRequest", "http-client"],
]);

/** Functions that take code to run later as a text, in browsers at least. */
export const timers = words("setTimeout setInterval setImmediate queueMicrotask");

/** Members that are refused on whatever has them. */
export const refusedMembers: ReadonlyMap<string, RuleName> = new Map<string, RuleName>([
  ["mainModule", "import-machinery"],
  ["getBuiltinModule", "import-machinery"],
  ["createRequire", "import-machinery"],
  ["_linkedBinding", "process"],
  ["dlopen", "native-code"],
  ["prepareStackTrace", "frames"],
]);

/** Members of `process` that are refused even where nobody can tell what is called so. */
export const processMembers = words(
  "binding _linkedBinding dlopen mainModule kill getBuiltinModule reallyExit abort execve chdir",
);

/** Whether a dotted name, in the realm of a program, is a function: `Object.keys`. */
export function isGlobalFunction(path: readonly string[]): boolean {
  let value: unknown = globalThis;
  for (const name of path) {
    if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
    const descriptor = Object.getOwnPropertyDescriptor(value, name);
    // A getter is not run; those of the global object give classes and functions.
    if (descriptor === undefined) return false;
    if (!("value" in descriptor)) return path.length === 1;
    value = descriptor.value;
  }
  return typeof value === "function";
}
