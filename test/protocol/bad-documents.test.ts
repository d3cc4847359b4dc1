// Every kind of bad document gives exactly its findings, all at once, each with a remedy.
import t from "tap";
import { parseDagText } from "../../protocol/load-dag.ts";
import { badDocuments } from "./bad-documents.ts";

for (const { name, text, findings } of badDocuments) {
  t.test(`a document with ${name} is refused`, async (t) => {
    const result = await parseDagText(text);
    const found = result.ok ? [] : result.diagnostics;
    t.same(
      found.map(({ code, path }) => `${code} ${path}`),
      findings,
    );
    for (const { message, remedy } of found) {
      t.match(message, /\.$/, "the message is a sentence");
      t.not(remedy, "", "there is a remedy");
      t.notMatch(message + remedy, /undefined|\[object/);
    }
  });
}

t.test("a cycle is printed as its path", async (t) => {
  const text =
    "dag: d\ntasks: { a: {shell: x, needs: c}, b: {shell: x, needs: a}, c: {shell: x, needs: b} }";
  const result = await parseDagText(text);
  t.match(result, { diagnostics: [{ message: /a -> b -> c -> a/ }] });
});

t.test("unknown names come with the nearest known one", async (t) => {
  const text = "dag: d\ntasks: { fetch: {shell: x, timeot: 1s}, b: {shell: x, needs: fetsh} }";
  const result = await parseDagText(text);
  t.match(result, { diagnostics: [{ remedy: /`timeout`/ }, { remedy: /`fetch`/ }] });
});

t.test("syntax errors have line and column", async (t) => {
  t.match(await parseDagText("dag: d\ntasks: ]"), {
    diagnostics: [{ message: /line 2, column 8/ }],
  });
  t.match(await parseDagText('{\n"dag" 5}'), { diagnostics: [{ message: /line 2 column 7/ }] });
});

t.test("a document with thousands of findings gives a bounded number", async (t) => {
  const tasks = Object.fromEntries(
    Array.from({ length: 3000 }, (_, i) => [`t${i}`, { shel: "x" }]),
  );
  const result = await parseDagText(JSON.stringify({ dag: "d", tasks }));
  t.equal(result.ok ? 0 : result.diagnostics.length, 1001);
  t.match(result, { diagnostics: { 1000: { code: "E_DAG_LIMIT" } } });
});
