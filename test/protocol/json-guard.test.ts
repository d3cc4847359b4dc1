// The guard in front of JSON.parse. What it guards against ends a process, so that is done in one of
// its own; it is V8 14.6 that dies, and other versions may not.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { guardJson, maxParsedDepth } from "../../protocol/json-guard.ts";

const guard = join(import.meta.dirname, "../../protocol/json-guard.ts");
// The second half makes V8 collect and use what the first half has damaged.
const attack = `
const hostile = "[1,".repeat(10_000) + "1";
let refused = 0;
for (let i = 0; i < 40; i++) try { JSON.parse(hostile); } catch { refused++; }
for (let i = 0; i < 50; i++) JSON.parse('{"a":[' + "1.5,".repeat(500) + '2],"b' + i + '":{"c":1}}');
console.log(refused);
`;

t.test("a text that would break the engine is refused, and the process lives", async (t) => {
  const script = `import { guardJson } from ${JSON.stringify(guard)};\nguardJson();\n${attack}`;
  const argv = ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  t.equal(status, 0, stderr);
  t.equal(stdout.trim(), "40");
});

t.test("everything else is parsed as before", async (t) => {
  const plain = JSON.parse;
  t.teardown(() => {
    JSON.parse = plain;
  });
  guardJson();
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  t.equal(JSON.stringify(JSON.parse(nested(maxParsedDepth))), nested(maxParsedDepth));
  t.throws(() => JSON.parse(nested(maxParsedDepth + 1)), SyntaxError);
  t.throws(() => JSON.parse(`{"a":${'{"a":'.repeat(maxParsedDepth)}`), SyntaxError);
  const wide = JSON.stringify(Array.from({ length: 3000 }, () => [{}]));
  t.equal(JSON.stringify(JSON.parse(wide)), wide);
  for (const text of ["[".repeat(9000), '\\"['.repeat(3000), "\\\\", 'a\\\\"'.repeat(3000)]) {
    t.equal(JSON.parse(JSON.stringify(text)), text, "brackets in texts are no levels");
  }
  const revived = JSON.parse('{"a":1,"b":[2]}', (_, value) => (value === 2 ? 3 : value));
  t.same(revived, { a: 1, b: [3] });
  t.equal(JSON.parse(5 as never), 5, "what is no text becomes one");
  t.throws(() => JSON.parse('"'.padEnd(3000, "x")), SyntaxError);
  t.throws(() => JSON.parse(undefined as never), SyntaxError);
});
