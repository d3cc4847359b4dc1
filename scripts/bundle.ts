// Makes dist/: the command and its threads as few files without node_modules, for devices and
// images. Each entry stands in dist/ itself, where the code looks for it (see install-paths.ts).
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "..");
const out = join(root, "dist");
rmSync(out, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: {
    edgedag: "cli/main.ts",
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
  // Packages in CommonJS ask for Node.js's own modules with require.
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
});
cpSync(join(root, "master", "dashboard"), join(out, "dashboard"), { recursive: true });
for (const file of ["swagger-ui.css", "swagger-ui-bundle.js"]) {
  cpSync(join(root, "node_modules", "swagger-ui-dist", file), join(out, "docs", file));
}
