// Makes dist/: the command and its threads as few files without node_modules, for devices and
// images. Each entry stands in dist/ itself, where the code looks for it (see install-paths.ts).
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "..");
const out = join(root, "dist");
rmSync(out, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: {
    edgedag: "cli/start.ts",
    executor: "library/create-executor.ts",
    "policy-thread": "master/policy/javascript-thread.ts",
    "store-thread": "agent/store/store-thread.ts",
    "link-thread": "agent/link/link-thread.ts",
    "snippets-thread": "master/snippets/store/sqlite/snippets-thread.ts",
    "node-runner": "agent/exec/workers/node/runner.ts",
  },
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node24",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "linked",
  logLevel: "warning",
  plugins: [
    {
      name: "errors-stay-apart",
      setup: (bundle) => {
        // A caller and the engine must mean the same classes. Only ours: packages have such files too.
        bundle.onResolve({ filter: /^\.\/errors\.js$/ }, ({ path, resolveDir }) =>
          resolveDir === join(root, "library") ? { path, external: true } : undefined,
        );
      },
    },
  ],
  // Packages in CommonJS ask for Node.js's own modules with require.
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
});
writeFileSync(join(out, "errors.js"), 'export * from "../library/errors.js";\n');
cpSync(join(root, "master", "dashboard"), join(out, "dashboard"), { recursive: true });
for (const file of ["swagger-ui.css", "swagger-ui-bundle.js"]) {
  cpSync(join(root, "node_modules", "swagger-ui-dist", file), join(out, "docs", file));
}

// What V8 makes of it is kept beside it: see cli/start.ts. One run loads most of what devices load.
const folder = mkdtempSync(join(tmpdir(), "edgedag-bundle-"));
const document = join(folder, "dag.json");
writeFileSync(document, JSON.stringify({ dag: "first", tasks: { only: { command: ["true"] } } }));
execFileSync(
  process.execPath,
  ["--disable-warning=ExperimentalWarning", join(out, "edgedag.mjs"), "run", document, "--quiet"],
  {
    env: { PATH: process.env.PATH, XDG_STATE_HOME: folder },
    stdio: ["ignore", "ignore", "inherit"],
  },
);
rmSync(folder, { recursive: true });
