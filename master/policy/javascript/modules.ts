// What a name in require or import leads to: which of Node.js's own modules and of packages are
// refused, and by which rule. Data and one look-up; knows nothing of syntax.
import type { RuleName } from "../rules.ts";

/** Node.js's own modules that do nothing which the policy refuses. */
const harmless = new Set(
  `assert async_hooks buffer console constants crypto diagnostics_channel domain events path
  perf_hooks punycode querystring readline sqlite stream string_decoder sys test timers tty url util
  zlib`.split(/\s+/),
);

const own: { readonly [rule in RuleName]?: string } = {
  "import-subprocess": "child_process",
  "import-multiprocessing": "cluster worker_threads",
  "file-system": "fs",
  network: `net tls dgram dns http https http2 quic _http_agent _http_client _http_common _http_incoming
    _http_outgoing _http_server _tls_common _tls_wrap`,
  "os-module": "os",
  "run-code": "vm repl",
  "import-machinery": "module",
  debugger: "inspector trace_events",
  "native-code": "ffi",
  "system-calls": "v8 wasi sea",
};

/** Also without `node:`, where a package of that name might be meant; Node.js's own wins. */
const ownRules = byName(own);

const packageRules = byName({
  "import-subprocess":
    "execa cross-spawn shelljs zx node-pty npm npm-run-all @lydell/node-pty systeminformation",
  "import-multiprocessing": "workerpool piscina tinypool",
  "file-system": "fs-extra graceful-fs rimraf del mv ncp",
  network: "ws socket.io socket.io-client ssh2 nodemailer net-snmp raw-socket",
  "http-client": `axios got node-fetch undici superagent needle request ky cross-fetch isomorphic-fetch
    bent phin`,
  "run-code": "vm2 isolated-vm safe-eval static-eval",
  "native-code": "ffi-napi ref-napi koffi node-gyp bindings node-gyp-build",
});

export type ModuleTarget =
  | { kind: "refused"; rule: RuleName }
  /** The object `process`. */
  | { kind: "process" }
  | { kind: "accepted" };

const accepted: ModuleTarget = { kind: "accepted" };

export function moduleTarget(text: string): ModuleTarget {
  // As URLs are read: white space around them and line ends within mean nothing.
  const specifier = text.replace(/[\t\r\n]/g, "").trim();
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(specifier)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== "node") {
    if (scheme === "file") return { kind: "refused", rule: "absolute-path" };
    return { kind: "refused", rule: scheme.startsWith("http") ? "network" : "run-code" };
  }
  if (/^[./~\\]|^[a-z]:[\\/]/i.test(specifier)) return pathTarget(specifier);
  const name = scheme === "node" ? specifier.slice(5) : specifier;
  const root = name.split("/", 1)[0] ?? "";
  if (root === "process") return { kind: "process" };
  const rule = ownRules.get(root);
  if (
    rule !== undefined &&
    (scheme === "node" || !name.startsWith(`${root}/`) || isOwnPart(name))
  ) {
    return { kind: "refused", rule };
  }
  if (harmless.has(root)) return accepted;
  if (scheme === "node") return { kind: "refused", rule: "system-calls" };
  const scoped = name.startsWith("@") ? name.split("/", 2).join("/") : root;
  const packageRule = packageRules.get(scoped);
  return packageRule === undefined ? accepted : { kind: "refused", rule: packageRule };
}

/** `fs/promises` is Node.js's own; `os/lib/x` would be a file of a package. */
function isOwnPart(name: string): boolean {
  return /^(fs|dns)\/promises$|^inspector\/promises$/.test(name);
}

function pathTarget(specifier: string): ModuleTarget {
  const isRelative = /^\.{1,2}([/\\]|$)/.test(specifier);
  if (!isRelative || specifier.split(/[/\\]/).includes("..")) {
    return { kind: "refused", rule: "absolute-path" };
  }
  return specifier.endsWith(".node") ? { kind: "refused", rule: "native-code" } : accepted;
}

function byName(table: { readonly [rule in RuleName]?: string }): Map<string, RuleName> {
  const names = new Map<string, RuleName>();
  for (const [rule, listed] of Object.entries(table)) {
    // The table's keys are names of rules.
    for (const name of listed.split(/\s+/)) names.set(name, rule as RuleName);
  }
  return names;
}
