// Every diagnostic code is produced by a test and explained in the reference; so are all fields.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { dagCodes } from "../../protocol/codes.ts";
import { parseDagText } from "../../protocol/load-dag.ts";
import { loadArtifact } from "../../protocol/pack.ts";
import { authoringDocument, authoringExit } from "../../protocol/schema.ts";
import { templateFilters } from "../../protocol/template-filters.ts";
import { badDocuments } from "./bad-documents.ts";

const text = readFileSync(join(import.meta.dirname, "../../docs/dag.md"), "utf8");
/** The formatter pads the cells of tables. */
const reference = text.replace(/ {2,}/g, " ");

t.test("every code is produced by a bad document or artifact", async (t) => {
  const artifact = await loadArtifact("{}");
  const produced = new Set(
    badDocuments.flatMap(({ findings }) => findings.map((f) => f.split(" ")[0])),
  );
  for (const { code } of artifact.ok ? [] : artifact.diagnostics) produced.add(code);
  // test/agent/policy.test.ts and test/secrets see to these: they depend on the agent, not on the document.
  for (const code of ["E_DAG_POLICY", "E_DAG_LANGUAGE", "E_SECRET_MISSING", "E_SECRET_VALUE"])
    produced.add(code);
  t.same([...produced].sort(), Object.keys(dagCodes).sort());
});

t.test("the reference explains every code, field and filter", async (t) => {
  for (const [code, sentence] of Object.entries(dagCodes)) {
    t.ok(reference.includes(`| \`${code}\` | ${sentence} |`), code);
  }
  for (const name of Object.keys({ ...authoringDocument.shape, ...authoringExit.shape })) {
    t.ok(reference.includes(`| \`${name}\` |`), name);
  }
  for (const [name, { does, example }] of templateFilters) {
    t.ok(
      reference.includes(`| \`${name}\` | ${does} | \`{{ ${example.replaceAll("|", "\\|")} }}\` |`),
      name,
    );
  }
});

t.test("the example of the reference is a valid document", async (t) => {
  const example = /```yaml\n(.*?)```/s.exec(text)?.[1] ?? "";
  t.match(await parseDagText(example), { ok: true, value: { attributes: { dag: "weather" } } });
});
