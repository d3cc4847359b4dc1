// The door of a sandbox manager: what `main` gets, what it gives back, and what it prints.
import t from "tap";
import type { RunAnswer } from "./answers.ts";
import { base64, Service } from "./serve-rig.ts";

const service = await Service.start({ EDGEDAG_RUN_WAITING: "256", EDGEDAG_RUN_WAIT: "2m" });
t.teardown(() => service.end());

const values: unknown[] = [
  null,
  true,
  false,
  0,
  -1.5,
  9007199254740991,
  1e300,
  "",
  "text",
  'ü 中 😀 \u0000 \u2028 \\ "',
  [],
  [1, [2, [3, [null]]]],
  {},
  { a: { b: [{ c: "d" }] }, "": 1, __proto__x: 2, constructor: 3 },
];

t.test("each JSON value comes back as it was sent, in both languages", async (t) => {
  const sources = {
    python: "def main(value):\n    return value\n",
    nodejs: "function main({ value }) { return value; }\nmodule.exports = { main };\n",
  } as const;
  for (const language of ["python", "nodejs"] as const) {
    for (const [index, value] of values.entries()) {
      const answer = await service.run(language, sources[language], { value });
      const shown = `${language}, value ${index}`;
      t.match(answer, { status: "success", exit_code: 0, stdout: "", stderr: "" }, shown);
      t.same(answer.result, { present: true, value, type: "json" }, shown);
      t.same(answer.artifacts, []);
    }
  }
});

t.test("a success has all fields of the description and no other", async (t) => {
  const answer = await service.run("python", "def main():\n    return 1\n");
  t.same(Object.keys(answer).sort(), [
    "artifacts",
    "exit_code",
    "isolation",
    "memory_used_kb",
    "result",
    "status",
    "stderr",
    "stdout",
    "time_used_ms",
  ]);
  t.equal(answer.isolation, "seccomp", "the level that held is said");
});

t.test("time and memory are those of the call", async (t) => {
  const code = [
    "import time",
    "def main(seconds, mebibytes):",
    "    held = bytearray(mebibytes * 1024 * 1024)",
    "    time.sleep(seconds)",
    "    return len(held)",
  ].join("\n");
  const small = await service.run("python", code, { seconds: 0, mebibytes: 1 });
  const large = await service.run("python", code, { seconds: 0.25, mebibytes: 100 });
  t.ok((small.time_used_ms ?? 0) > 0, `${small.time_used_ms} ms`);
  t.ok((large.time_used_ms ?? 0) >= 250, `${large.time_used_ms} ms`);
  t.ok((small.memory_used_kb ?? 0) > 1024, `${small.memory_used_kb} kB`);
  t.ok((large.memory_used_kb ?? 0) > 100 * 1024, `${large.memory_used_kb} kB`);
  t.ok((large.memory_used_kb ?? 0) < 200 * 1024, `${large.memory_used_kb} kB`);
});

t.test("Python is the language where none is named, and arguments may be left out", async (t) => {
  const code_b64 = base64("def main(a=7):\n    return a\n");
  for (const body of [{ code_b64 }, { code_b64, arguments: null }, { code_b64, arguments: {} }]) {
    const { status, value } = await service.post<RunAnswer>("/run", body);
    t.equal(status, 200);
    t.equal(value.result?.value, 7);
  }
});

t.test("Python's main gets its arguments by name", async (t) => {
  const code = "def main(a, b=2, **more):\n    return [a, b, more]\n";
  const answer = await service.run("python", code, { a: 1, c: 3, d: [4] });
  t.same(answer.result?.value, [1, 2, { c: 3, d: [4] }]);
  const wrong = await service.run("python", "def main(a):\n    return a\n", { b: 1 });
  t.match(wrong, { status: "program_error", exit_code: 1, stderr: /TypeError: .*main\(\)/ });
});

t.test("an asynchronous main is awaited", async (t) => {
  const python =
    "import asyncio\nasync def main(a):\n    await asyncio.sleep(0.01)\n    return a + 1\n";
  t.equal((await service.run("python", python, { a: 1 })).result?.value, 2);
  const nodejs =
    "async function main({ a }) { await new Promise((f) => setTimeout(f, 10)); return a + 1; }\nmodule.exports = { main };\n";
  t.equal((await service.run("nodejs", nodejs, { a: 1 })).result?.value, 2);
  const rejected = "exports.main = () => Promise.reject(new RangeError('no'))";
  t.match(await service.run("nodejs", rejected), {
    status: "program_error",
    exit_code: 1,
    stderr: /RangeError: no/,
  });
});

t.test("Node.js: main is found however it is written", async (t) => {
  const forms = {
    "a function, not exported": "function main({ a }) { return a * 2; }",
    "an async function, not exported": "async function main({ a }) { return a * 2; }",
    "a const, not exported": "const main = ({ a }) => a * 2;",
    "module.exports = { main }": "const main = ({ a }) => a * 2;\nmodule.exports = { main };",
    "module.exports.main": "module.exports.main = function ({ a }) { return a * 2; };",
    "exports.main": "exports.main = async ({ a }) => a * 2;",
    "module.exports = a function": "module.exports = ({ a }) => a * 2;",
    "module.exports = function main":
      "module.exports = async function main({ a }) { return a * 2; };",
    "export function": "export function main({ a }) { return a * 2; }",
    "export const": "export const main = async ({ a }) => a * 2;",
    "export { main }": "const main = ({ a }) => a * 2;\nexport { main };",
    "export default": "export default function ({ a }) { return a * 2; }",
    "export default main": "export default function main({ a }) { return a * 2; }",
    "an import beside it":
      'import { join } from "node:path";\nexport function main({ a }) { join("a"); return a * 2; }',
    "a require beside it":
      'const { join } = require("path");\nfunction main({ a }) { join("a"); return a * 2; }\nmodule.exports = { main };',
    "a line end at the end of a comment": "function main({ a }) { return a * 2; } // the end",
  };
  for (const [form, code] of Object.entries(forms)) {
    const answer = await service.run("nodejs", code, { a: 21 });
    t.match(answer, { status: "success", result: { value: 42 } }, `${form}: ${answer.stderr}`);
  }
});

t.test("a main that returns nothing has the result null", async (t) => {
  const python = await service.run("python", "def main():\n    pass\n");
  t.same(python.result, { present: true, value: null, type: "json" });
  const nodejs = await service.run("nodejs", "function main() {}");
  t.same(nodejs.result, { present: true, value: null, type: "json" });
});

t.test("what is printed comes back to the byte, and apart from the result", async (t) => {
  const python = [
    "import sys",
    "print('at import')",
    "def main():",
    "    print('a', 1, None, end='|')",
    "    sys.stdout.write('ü 😀\\r\\n\\t  no end')",
    "    print('to stderr', file=sys.stderr)",
    "    return 'the result'",
  ].join("\n");
  const first = await service.run("python", python);
  t.equal(first.stdout, "at import\na 1 None|ü 😀\r\n\t  no end");
  t.equal(first.stderr, "to stderr\n");
  t.equal(first.result?.value, "the result");
  const nodejs =
    "console.log('a', { b: 1 });\nfunction main() { process.stdout.write('ü\\n\\n'); console.error('e'); return 1; }";
  const second = await service.run("nodejs", nodejs);
  t.equal(second.stdout, "a { b: 1 }\nü\n\n");
  t.equal(second.stderr, "e\n");
});

t.test("large arguments, results and outputs are whole", async (t) => {
  const text = "äöü0123456789".repeat(150_000);
  const echo = await service.run("python", "def main(text):\n    return text[::-1][::-1]\n", {
    text,
  });
  t.ok(echo.result?.value === text, "2 MiB there and back in Python");
  const list = Array.from({ length: 50_000 }, (_, index) => ({ index }));
  const nodejs = await service.run("nodejs", "exports.main = ({ list }) => list.reverse()", {
    list,
  });
  t.same((nodejs.result?.value as unknown[] | undefined)?.[0], { index: 49_999 });
  const printed = await service.run("python", "def main():\n    print('x' * 900_000)\n");
  t.equal(printed.stdout.length, 900_001);
});

t.test("text of arguments is data, whatever it looks like", async (t) => {
  const hostile = [
    "{{ env.PATH }}",
    "'; import os #",
    "$" + "{1}",
    "$(id)",
    "</script>",
    "%s%n",
    "\\",
  ];
  for (const language of ["python", "nodejs"] as const) {
    const code =
      language === "python"
        ? "def main(text):\n    return text\n"
        : "exports.main = ({ text }) => text;";
    for (const text of hostile) {
      t.equal((await service.run(language, code, { text })).result?.value, text, text);
    }
  }
});

t.test("200 calls at a time have each its own answer", async (t) => {
  const python =
    "import time\ndef main(n):\n    print('line', n)\n    time.sleep(0.005)\n    return {'n': n}\n";
  const nodejs = "exports.main = ({ n }) => { console.log('line', n); return { n }; };";
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      n % 4 === 3 ? service.run("nodejs", nodejs, { n }) : service.run("python", python, { n }),
    ),
  );
  const wrong = answers.filter(
    (answer, n) =>
      answer.stdout !== `line ${n}\n` || JSON.stringify(answer.result?.value) !== `{"n":${n}}`,
  );
  t.same(wrong.slice(0, 3), []);
});
