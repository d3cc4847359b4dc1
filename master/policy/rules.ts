// The rules of the policy by their stable names: what each refuses, in which language, and whether it
// is on where nothing is said. docs/code-policy.md repeats the table; python_ast/tables.py has the
// same reasons. Data only.
import type { PolicyLanguage } from "./policy.ts";

export interface PolicyRule {
  languages: readonly PolicyLanguage[];
  isOn: boolean;
  /** Ends a finding's sentence: "os.system reaches the operating system." */
  reason: string;
  /** What it refuses, for the table. */
  refuses: string;
}

const both = ["python", "javascript"] as const;
const python = ["python"] as const;
const javascript = ["javascript"] as const;

export const policyRules = {
  "os-module": {
    languages: both,
    isOn: true,
    reason: "reaches the operating system",
    refuses:
      "Python: `os` beyond its harmless names (paths, folders below, the environment), handed on, or imported for nothing; `posix`, `nt`. JavaScript: `os`",
  },
  "import-subprocess": {
    languages: both,
    isOn: true,
    reason: "starts other programs",
    refuses:
      "`subprocess`, `pty`, `webbrowser`, `pip`, programs started by `asyncio`; `child_process`, `execa`, `shelljs`",
  },
  "import-multiprocessing": {
    languages: both,
    isOn: true,
    reason: "starts other processes",
    refuses: "`multiprocessing`, `ProcessPoolExecutor`; `worker_threads`, `cluster`",
  },
  "file-system": {
    languages: both,
    isOn: true,
    reason: "changes files wherever they are",
    refuses: "`shutil`; `fs`, `fs/promises`, `fs-extra`",
  },
  "absolute-path": {
    languages: both,
    isOn: true,
    reason: "lies outside of the working folder",
    refuses:
      "`open`, `Path`, `os.listdir`, `pandas.read_csv` and others with an absolute path (`/tmp` is fine) or one with `..`, written down; `require` and `import` of such a path",
  },
  "native-code": {
    languages: both,
    isOn: true,
    reason: "calls native code",
    refuses:
      "`ctypes`, `cffi`, `numpy.ctypeslib`, extensions of `sqlite3`; `ffi-napi`, `koffi`, files that end in `.node`",
  },
  "system-calls": {
    languages: both,
    isOn: true,
    reason: "makes calls of the operating system",
    refuses:
      "`signal`, `fcntl`, `resource`, `mmap`, `pwd`, `psutil`; `v8`, `wasi` and what else Node.js has that is not known to be harmless",
  },
  network: {
    languages: both,
    isOn: true,
    reason: "opens network connections",
    refuses:
      "`socket`, `ssl`, `http.client`, `http.server`, `urllib.request`, `ftplib`, `smtplib`, connections by `asyncio`; `net`, `tls`, `dgram`, `dns`, `http`, `https`, `http2`, `ws`",
  },
  "http-client": {
    languages: both,
    isOn: false,
    reason: "sends HTTP requests",
    refuses:
      "clients that are installed for it: `requests`, `httpx`, `aiohttp`, `urllib3`; `axios`, `got`, `node-fetch`, `undici`, and `fetch`, `WebSocket`, `EventSource`",
  },
  unpickle: {
    languages: python,
    isOn: true,
    reason: "lets data run code",
    refuses:
      "`loads` of `pickle`, `marshal`, `dill` (`dumps` is fine), `shelve`, `pandas.read_pickle`, `numpy.load(allow_pickle=True)`, `torch.load`, `yaml.unsafe_load`",
  },
  "run-code": {
    languages: both,
    isOn: true,
    reason: "runs text as code",
    refuses:
      "`eval`, `exec`, `compile` (the built-in ones), `code`, `runpy`, `doctest`, `timeit` with a text; `eval`, `vm`, `repl`, `setTimeout` with a text, `import` of `data:`",
  },
  "dynamic-import": {
    languages: both,
    isOn: true,
    reason: "loads modules that cannot be seen before it runs",
    refuses:
      "`__import__`, `importlib.import_module` by a computed name; `require` and `import()` by a computed name, `require` handed on",
  },
  "import-machinery": {
    languages: both,
    isOn: true,
    reason: "reaches what loads modules",
    refuses:
      "`importlib` beyond `import_module`, `metadata`, `resources`, `__loader__`, `__spec__`, `sys.meta_path`; `module`, `createRequire`, `require.cache`, `module.constructor`, `process.mainModule`, the `arguments` of the module",
  },
  builtins: {
    languages: python,
    isOn: true,
    reason: "hands out every built-in function",
    refuses: "`builtins`, `__builtins__`, as a name, an attribute or a key",
  },
  namespace: {
    languages: python,
    isOn: true,
    reason: "hands out every name of a module",
    refuses:
      "`globals()`, and `locals()` or `vars()` of the module, but for a name that is written down; `vars` and `__dict__` of a module; `__main__`",
  },
  "hidden-attribute": {
    languages: python,
    isOn: true,
    reason: "fetches attributes that cannot be seen before it runs",
    refuses: "`getattr` handed on, or with a computed name on `os`, `sys` and the like",
  },
  "dunder-escape": {
    languages: python,
    isOn: true,
    reason: "leads from any object to what runs code",
    refuses:
      "`__subclasses__`, `__globals__`, `__bases__`, `__base__`, `__mro__`, `__code__`, `__closure__`, `__self__`: as attributes, by `getattr`, in formats, in patterns",
  },
  frames: {
    languages: both,
    isOn: true,
    reason: "reads or traces code while it runs",
    refuses:
      "`sys._getframe`, `sys.settrace`, `inspect.currentframe`, `f_globals`, `tb_frame`; `caller` of functions, `prepareStackTrace`",
  },
  gc: {
    languages: python,
    isOn: true,
    reason: "reaches every object of the interpreter",
    refuses: "`gc.get_objects`, `gc.get_referrers` and the like (`gc.collect` is fine)",
  },
  debugger: {
    languages: both,
    isOn: true,
    reason: "starts a debugger",
    refuses: "`breakpoint`, `pdb`, `bdb`; `inspector`",
  },
  "sys-internals": {
    languages: python,
    isOn: true,
    reason: "reaches into the interpreter",
    refuses: "`sys.modules`, `sys.addaudithook`, `sys` handed on",
  },
  process: {
    languages: javascript,
    isOn: true,
    reason: "controls the process",
    refuses:
      "`process` beyond `env`, `argv`, `exit`, `stdout`, `nextTick`, `hrtime` and the like: `binding`, `dlopen`, `kill`, `getBuiltinModule`; `process` handed on",
  },
  "global-object": {
    languages: javascript,
    isOn: true,
    reason: "hands out everything that is global",
    refuses: "`globalThis` and `global` handed on or with a computed name",
  },
  "function-constructor": {
    languages: javascript,
    isOn: true,
    reason: "makes functions from text",
    refuses: "`Function`, and `constructor` of functions, called or fetched",
  },
  "with-statement": {
    languages: javascript,
    isOn: true,
    reason: "hides what names stand for",
    refuses: "`with`",
  },
  "hidden-text": {
    languages: both,
    isOn: true,
    reason: "is read as other code when it runs",
    refuses:
      "null bytes and encodings other than UTF-8 in Python; HTML comments in JavaScript, and code that Node.js reads and the check cannot",
  },
  "too-complex": {
    languages: both,
    isOn: true,
    reason: "is too large or too deeply nested to be checked",
    refuses: "code of more than 1 MiB, or nested some thousand levels deep",
  },
} as const satisfies { readonly [name: string]: PolicyRule };

export type RuleName = keyof typeof policyRules;

export const ruleNames = Object.keys(policyRules) as readonly RuleName[]; // the keys of RuleName

export function isRuleName(name: string): name is RuleName {
  return Object.hasOwn(policyRules, name);
}

/** Rules that are not applied, `changes` over what is on by default. */
export function rulesOff(changes: { readonly [name in RuleName]?: boolean }): RuleName[] {
  return ruleNames.filter((name) => !(changes[name] ?? policyRules[name].isOn));
}
