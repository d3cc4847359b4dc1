// What the documents tell people to type works as it stands, and their tables are the code's.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { usuallyDenied } from "../../master/doors/command-policy.ts";
import { run } from "../e2e/command.ts";
import { Service } from "./serve-rig.ts";

const root = join(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** Shell blocks that talk to a service. */
function blocksOf(text: string): string[] {
  return [...text.matchAll(/^ *```sh\n([\s\S]*?)^ *```$/gm)]
    .map(([, block = ""]) => block.replaceAll(/^ {3}/gm, ""))
    .filter((block) => block.includes("curl"));
}

t.test("every curl of the documents works", async (t) => {
  await using service = await Service.start({ EDGEDAG_CODE_POLICY: "run" });
  const port = new URL(service.url).port;
  const documents = ["docs/api.md", "docs/migrate-from-ragflow-sandbox.md", "README.md"];
  for (const path of documents) {
    const blocks = blocksOf(read(path));
    t.ok(blocks.length > 0, path);
    for (const block of blocks) {
      const script = block
        .split("\n")
        .filter((line) => !line.startsWith("bin/edgedag serve"))
        .join("\n")
        .replaceAll(":9385", `:${port}`);
      const { code, stdout, stderr } = await run("sh", ["-euc", script]);
      t.equal(code, 0, `${path}: ${stderr}`);
      t.notMatch(stdout, /"error"|runner_error/, `${path}: ${block.slice(0, 60)}`);
    }
  }
});

t.test("the page for operators names every code, and the commands that are denied", async (t) => {
  const page = read("docs/self-host.md");
  for (const name of usuallyDenied) t.match(page, new RegExp(`\\b${name}\\b`), name);
  const { stdout } = await run("sh", [
    "-c",
    "grep -rhoE '\"E_[A-Z_]+\"' master/doors master/api/server.ts master/api/admission.ts | sort -u",
  ]);
  for (const code of stdout.trim().split("\n")) {
    t.ok(page.includes(`\`${code.replaceAll('"', "")}\``), code);
  }
});
