// Writes the tables of `edgedag config --markdown` into README.md, between their markers.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const path = join(root, "README.md");
const env = { ...process.env, EDGEDAG_FROM_SOURCE: "1" };
const table = execFileSync(join(root, "bin/edgedag"), ["config", "--markdown"], { env });
const text = readFileSync(path, "utf8");
const pattern = /(<!-- config -->\n)[\s\S]*?(<!-- \/config -->)/;
if (!pattern.test(text)) throw new Error("README.md has no config markers");
writeFileSync(
  path,
  text.replace(pattern, (_, open, close) => `${open}${table}${close}`),
);
