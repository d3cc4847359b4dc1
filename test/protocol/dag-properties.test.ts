// What must hold for every document: both forms say the same, graphology reads and writes ours,
// the readers and the zod schemas agree, and no input makes anything throw.
import fc from "fast-check";
import { DirectedGraph } from "graphology";
import { topologicalSort } from "graphology-dag";
import t from "tap";
import { surelyAuthoring } from "../../protocol/authoring.ts";
import { isTaskAttributes, surelyDocument } from "../../protocol/check-graph.ts";
import { fromGraph, toGraph } from "../../protocol/graphology.ts";
import { decodeDag, parseDagText } from "../../protocol/load-dag.ts";
import { authoringDocument } from "../../protocol/schema.ts";
import { graphTask } from "../../protocol/schema-graph.ts";
import { authoring, mutate, strange } from "./documents.ts";

const choices = fc.array(fc.nat(40), { minLength: 1, maxLength: 6 });

async function decoded(value: unknown) {
  const result = await decodeDag(value);
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return result.value;
}

t.test("a document survives graphology's import and export", async (t) => {
  await fc.assert(
    fc.asyncProperty(authoring, async (document) => {
      const dag = await decoded(document);
      const graph = toGraph(dag);
      t.equal(topologicalSort(graph).length, dag.nodes.length);
      const again = await fromGraph(graph);
      if (JSON.stringify(again) !== JSON.stringify({ ok: true, value: dag })) t.same(again, dag);
    }),
    { numRuns: 60 },
  );
});

t.test("valid documents are read without zod, and zod agrees", async (t) => {
  fc.assert(
    fc.property(authoring, (document) => {
      const draft = surelyAuthoring(document);
      t.ok(draft !== undefined && surelyDocument(draft.document) !== undefined);
      t.ok(authoringDocument.safeParse(document).success);
    }),
    { numRuns: 60 },
  );
});

t.test("YAML and JSON say the same", async (t) => {
  const { stringify } = await import("yaml");
  await fc.assert(
    fc.asyncProperty(authoring, async (document) => {
      const json = await parseDagText(JSON.stringify(document));
      const yaml = await parseDagText(stringify(document));
      if (JSON.stringify(json) !== JSON.stringify(yaml)) t.same(yaml, json);
    }),
    { numRuns: 30 },
  );
  t.pass("all were equal");
});

t.test("no change of an authoring document makes the decoder throw", async (t) => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(authoring, choices, strange, async (document, choices, replacement) => {
      const result = await decodeDag(mutate(document, choices, replacement));
      if (!result.ok) {
        refused++;
        if (result.diagnostics.length === 0) t.fail("refused without a finding");
      }
    }),
    { numRuns: 1500 },
  );
  t.ok(refused > 100, `${refused} were refused`);
});

t.test("no change of a serialized document makes the decoder throw", async (t) => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(authoring, choices, strange, async (document, choices, replacement) => {
      const dag = await decoded(document);
      const result = await decodeDag(mutate(dag, choices, replacement));
      if (!result.ok) {
        refused++;
        if (result.diagnostics.length === 0) t.fail("refused without a finding");
      }
    }),
    { numRuns: 1500 },
  );
  t.ok(refused > 100, `${refused} were refused`);
});

t.test("what the fast check accepts, zod accepts and leaves as it is", async (t) => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(authoring, choices, strange, async (document, choices, replacement) => {
      const [node] = (await decoded(document)).nodes;
      const changed = mutate(node?.attributes, choices, replacement);
      if (!isTaskAttributes(changed)) return;
      accepted++;
      const parsed = graphTask.safeParse(changed);
      if (!parsed.success) t.same(parsed.error.issues, [], JSON.stringify(changed));
      else if (JSON.stringify(parsed.data, order) !== JSON.stringify(changed, order)) {
        t.same(parsed.data, changed);
      }
    }),
    { numRuns: 800 },
  );
  t.ok(accepted > 20, `${accepted} were accepted`);
});

t.test("no text makes the parser throw", async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: "binary", maxLength: 60 }), async (text) => {
      await parseDagText(text);
      await parseDagText(`dag: d\ntasks: {a: {shell: x}}\n${text}`);
    }),
    { numRuns: 300 },
  );
  t.pass("nothing was thrown");
});

t.test("what programs leave out is filled in", async (t) => {
  const graph = new DirectedGraph({ allowSelfLoops: false });
  graph.replaceAttributes({ edgedag: 1, dag: "d" });
  graph.addNode("a", { run: { kind: "shell", script: "x" } });
  graph.addNode("b", { run: { kind: "shell", script: "x" }, retries: { limit: 2 } });
  graph.addEdge("a", "b");
  const dag = await decoded(graph.export());
  t.match(dag.nodes[1], {
    attributes: { graceMs: 5000, isolation: "none", retries: { limit: 2, lost: 3 } },
  });
  t.same(dag.edges, [{ source: "a", target: "b", attributes: { on: "success" } }]);
});

/** Mappings in one order of keys. */
function order(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

t.test("a graph that is no DAG is explained", async (t) => {
  const dag = await decoded({
    dag: "x",
    tasks: { a: { shell: "a" }, b: { shell: "b", needs: "a" } },
  });
  const graph = toGraph(dag);
  graph.addEdge("b", "a", { on: "success" });
  const result = await fromGraph(graph);
  t.match(result, { ok: false, diagnostics: [{ code: "E_DAG_CYCLE" }] });
});
