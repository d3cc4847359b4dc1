// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are scripts for a shell.
// Templates: what they give, what they refuse, and that data never becomes code in a shell.
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import t from "tap";
import type { Json } from "../../protocol/json.ts";
import {
  asPath,
  compileShell,
  compileTemplate,
  evaluate,
  evaluateShell,
  evaluateText,
  references,
  type TemplateScope,
} from "../../protocol/template.ts";
import { templateFilters } from "../../protocol/template-filters.ts";
import { compileValue, evaluateValue } from "../../protocol/template-value.ts";

const result = { b: [1, { k: "x'y" }], "a key": true, none: null };
const scope: TemplateScope = {
  need: (task) => (task === "a.b" || task === "a" ? { outcome: "succeeded", result } : undefined),
  env: { HOST: "edge" },
  params: { n: 3, list: [3, 1, 3], words: ["b", "a"], s: " Ab " },
  item: { name: "i" },
  index: 2,
  run: { id: "r1", outcome: "failed", failed: ["a"] },
  task: { id: "t", attempt: 1 },
  dag: { name: "d" },
};

function value(text: string): Json | { problem: string } {
  const compiled = compileTemplate(text);
  if (!compiled.ok) return { problem: compiled.diagnostics[0]?.message ?? "" };
  const evaluated = evaluate(compiled.value, scope);
  return evaluated.ok ? evaluated.value : { problem: evaluated.detail };
}

const table: [string, Json][] = [
  ["plain", "plain"],
  ["{{ needs.a.result.b[1].k }}", "x'y"],
  ['{{ needs["a.b"].result["a key"] }}', true],
  ["{{ needs.a.result.b.0 }}", 1],
  ["{{needs.a.result.b}} {{ needs.a.outcome }}", `[1,{"k":"x'y"}] succeeded`],
  ["{{ env.HOST }}", "edge"],
  ["{{ item.name }}{{ index }}{{ run.id }}{{ task.attempt }}{{ dag.name }}", "i2r11d"],
  ["{{ run.failed[0] }}", "a"],
  ['{{ "{{" }} x }}', "{{ x }}"],
  ["{{ 'a\\u0041\\n' }}", "aA\n"],
  ["{{ -1.5e1 }}", -15],
  ["{{ null }}", null],
  ['{{ params.x | default("d") }}', "d"],
  ["{{ params.n | default(params.missing) }}", 3],
  ["{{ needs.a.result.none | default(1) }}", 1],
  ["{{ needs.zz.result.a.b | default([]) }}", { problem: "*" }],
  ["{{ params.list | json }}", "[3,1,3]"],
  ["{{ params.list | length }}", 3],
  ['{{ params.list | join(" ") }}', "3 1 3"],
  ["{{ params.list | first }}{{ params.list | last }}", "33"],
  ["{{ params.s | trim | upper }}{{ params.s | lower }}", "AB ab "],
  ["{{ item | keys }}", ["name"]],
  ["{{ item | values }}", ["i"]],
  ['{{ "12.7" | int }}', 12],
  ['{{ "1.5" | float }}', 1.5],
  ["{{ params.n | string }}", "3"],
  ["{{ params.list | sort | unique }}", [1, 3]],
  ["{{ params.words | sort | reverse }}", ["b", "a"]],
  ['{{ item | get("name") }}', "i"],
  ["{{ item | eq(item) }}", true],
  ["{{ index | ne(2) }}", false],
  ["{{ index | gt(1) }}", true],
  ["{{ index | ge(2) }}", true],
  ["{{ index | lt(2) }}", false],
  ['{{ "a" | le("b") }}', true],
  ["{{ params.n | gt(2) | not }}", false],
  ['{{ params.words | contains("a") }}', true],
  ['{{ item | contains("name") }}', true],
  ["{{ params.list | empty }}", false],
];

t.test("templates give what the table says", async (t) => {
  for (const [text, expected] of table) {
    const found = value(text);
    if (JSON.stringify(expected) === '{"problem":"*"}') t.match(found, { problem: String }, text);
    else t.same(found, expected, text);
  }
  const tried = table.map(([text]) => text).join(" ");
  for (const name of templateFilters.keys()) t.match(tried, `| ${name}`, `${name} is in the table`);
});

t.test("what is missing or wrong is a problem that says so", async (t) => {
  const problems: [string, RegExp][] = [
    ["{{ needs.a.result.zz }}", /`needs.a.result` has no member `zz`/],
    ["{{ needs.a.result.b.length }}", /list of 2/],
    ["{{ needs.a.result.b[7] }}", /list of 2/],
    ["{{ needs.a.result.constructor }}", /no member `constructor`/],
    ["{{ params.toString }}", /not there/],
    ["{{ params.__proto__ }}", /not there/],
    ["{{ env.NONE }}", /not there/],
    ["x{{ needs.q.result }}", /not there/],
    ["{{ params.s | int }}", /not a number/],
    ["{{ params.s | sort }}", /takes a list/],
    ["{{ index | gt(params.s) }}", /compares/],
    ["{{ neds.a.result }}", /not known/],
    ["{{ needs.a }}", /does not say what/],
    ["{{ needs.a.outcome.x }}", /does not say what/],
    ["{{ run.nope }}", /not known/],
    ["{{ index.x }}", /not known/],
    ["{{ env }}", /names nothing/],
    ["{{ item | uper }}", /no filter/],
    ["{{ item | default }}", /takes 1/],
    ["{{ item", /malformed/],
    ["{{ 'x }}", /not closed/],
    ["{{ }}", /malformed/],
    ["{{ item[-1] }}", /malformed/],
    [`{{ ${"item | default(".repeat(40)}1${")".repeat(40)} }}`, /deeply/],
    [`{{ item ${"| string ".repeat(40)} }}`, /too many/],
    ["{{ 1 }}".repeat(10_001), /parts/],
    ["x".repeat(1_048_577), /longer/],
  ];
  for (const [text, problem] of problems) t.match(value(text), { problem }, text.slice(0, 60));
});

t.test("values too deep or too long are problems", async (t) => {
  let deep: Json = [];
  for (let i = 0; i < 100_000; i++) deep = [deep];
  const wide = ["x".repeat(9_000_000), "y".repeat(9_000_000)];
  for (const [item, text] of [
    [deep, "{{ item | unique }}"],
    [wide, "{{ item | join }}"],
    [wide, "-{{ item }}"],
  ] as const) {
    const compiled = compileTemplate(text);
    t.equal(compiled.ok && evaluate(compiled.value, { item }).ok, false, text);
  }
});

t.test("references and paths are known without evaluating", async (t) => {
  const compiled = compileTemplate(
    "{{ needs.a.result.x | default(params.p) }}{{ item }}{{ env.E }}{{ needs.b.outcome }}",
  );
  if (!compiled.ok) throw new Error("does not compile");
  t.same(references(compiled.value), {
    needs: new Set(["a", "b"]),
    results: new Set(["a"]),
    params: new Set(["p"]),
    env: new Set(["E"]),
    others: new Set(["item"]),
  });
  const path = compileTemplate('{{ needs.a.result.x[0]["k"] }}');
  t.same(path.ok && asPath(path.value), { task: "a", path: ["x", 0, "k"] });
  for (const text of [
    "x{{ needs.a.result }}",
    "{{ needs.a.result | json }}",
    "{{ item }}",
    "{{ needs.a.outcome }}",
  ]) {
    const other = compileTemplate(text);
    t.equal(other.ok && asPath(other.value), undefined, text);
  }
});

t.test("arguments are evaluated in depth, and paths can be references", async (t) => {
  const args = compileValue({
    a: ["{{ index }}", "k {{ index }}"],
    b: "{{ needs.a.result.b }}",
    c: 1,
  });
  t.same(evaluateValue(args, scope), { ok: true, value: { a: [2, "k 2"], b: result.b, c: 1 } });
  const refer = () => ({ $ref: 1 });
  t.match(evaluateValue(args, scope, { refer, escape: (value) => value }), {
    value: { b: { $ref: 1 } },
  });
  t.match(evaluateValue(compileValue({ a: ["{{ params.q }}"] }), scope), {
    ok: false,
    detail: /^a: /,
  });
});

t.test("any text goes through a real shell as one word", async (t) => {
  const template = compileShell(
    'printf %s {{ item }}; printf "%s" "$(printf %s {{ item }}; echo .)"',
  );
  if (!template.ok) throw new Error("does not compile");
  const shellText = fc
    .oneof(
      fc.string({ unit: "grapheme" }),
      fc
        .array(fc.constantFrom("'", '"', "\\", "$", "`", "\n", "!", "$(id)", " ", "#", "*", "&"))
        .map((a) => a.join("")),
    )
    .filter((text) => !text.includes("\0") && text.isWellFormed());
  fc.assert(
    fc.property(shellText, (item) => {
      const script = evaluateShell(template.value, { item });
      if (!script.ok) throw new Error(script.detail);
      const { stdout } = spawnSync("/bin/sh", ["-c", script.value]);
      if (stdout.toString() !== `${item}${item}.`) t.equal(stdout.toString(), `${item}${item}.`);
    }),
    { numRuns: 150 },
  );
  t.match(evaluateShell(template.value, { item: "a\0b" }), { ok: false });
});

t.test("a template in a script stands only where a quoted word is one word", async (t) => {
  const fine = [
    "echo {{ item }}",
    "x={{ item }}",
    "echo a{{ item }}b",
    'echo "$(cat {{ item }})"',
    "(cd {{ item }})",
    "echo don\\'t {{ item }}",
    "echo it''s {{ item }}",
    "cat <<E\nhe's\nE\necho {{ item }}",
    "a # it's\necho {{ item }}",
    "echo ${x%.*} $# {{ item }}",
    "echo $((1 + (2))) {{ item }}",
    "case {{ item }} in a) echo {{ item }};; esac",
    "echo `date` {{ item }}",
    "for f in {{ item }}; do :; done",
    "cat <<-'E'\n\tx\n\tE\necho {{ item }}",
    "x#y {{ item }}",
  ];
  const refused = [
    'echo "{{ item }}"',
    "echo '{{ item }}'",
    "echo don't {{ item }}",
    "# {{ item }}",
    "x # {{ item }}",
    "cat <<E\n{{ item }}\nE",
    "cat <<'E'\n{{ item }}\nE",
    "cat <<{{ item }}",
    "echo $(( {{ item }} ))",
    "echo `x {{ item }}`",
    "echo \\{{ item }}",
    "echo ${{ item }}",
    "echo $'\\'' {{ item }}",
    "echo ${x:-{{ item }}}",
    'echo "$(case x in a) echo "{{ item }}";; esac)"',
    'echo "a\\" {{ item }}"',
    'echo "${x#"a"}" {{ item }}',
    "a;# {{ item }}",
    "x=(({{ item }}&",
    "((x = {{ item }}))",
    'cat <<"E F"\nx\nE\n{{ item }}\nE F',
    "a \\\n# {{ item }}",
  ];
  for (const text of fine) t.ok(compileShell(text).ok, text);
  for (const text of refused) t.notOk(compileShell(text).ok, text);
});

t.test("in every place that is accepted, a value stays one word", async (t) => {
  const piece = fc.constantFrom(
    "{{ item }}",
    "'",
    '"',
    "\\",
    "$(",
    ")",
    "`",
    "#",
    " ",
    "\n",
    "<<E",
    "E",
    "x",
    ";",
    "$",
    "((",
    "${x}",
    "${",
    "}",
  );
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(piece, { minLength: 2, maxLength: 9 }), (pieces) => {
      const compiled = compileShell(pieces.join(""));
      if (!compiled.ok || !pieces.includes("{{ item }}")) return;
      // Were any of these words read as code, the shell would write to descriptor 3.
      for (const item of [
        "$(echo bad >&3)",
        "\necho bad >&3\n",
        "';echo bad >&3;'",
        '";echo bad >&3;"',
        "`echo bad >&3`",
        "\nE\necho bad >&3\n",
        "'\necho bad >&3 #",
      ]) {
        const script = evaluateShell(compiled.value, { item });
        if (!script.ok) throw new Error(script.detail);
        const run = spawnSync("/bin/sh", ["-c", `PATH=/nonexistent; x() { :; }; ${script.value}`], {
          stdio: ["ignore", "ignore", "ignore", "pipe"],
          timeout: 5000,
        });
        if (String(run.output[3]) !== "")
          t.equal(String(run.output[3]), "", JSON.stringify(script.value));
      }
      accepted++;
    }),
    { numRuns: 150 },
  );
  t.ok(accepted > 5, `${accepted} were accepted`);
});

t.test("no text makes the compiler or an evaluation throw", async (t) => {
  const piece = fc.oneof(
    fc.constantFrom(
      "{{",
      "}}",
      "needs.a.result",
      "|",
      "default(",
      ")",
      "[0]",
      '["',
      "params.list",
      " ",
      "item",
      "join",
      "get(",
      "'",
      "sort",
    ),
    fc.string({ maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.jsonValue(), (pieces, item) => {
      const text = pieces.join("");
      const compiled = compileTemplate(`${text}{{${text}}}`);
      compileShell(text);
      if (!compiled.ok) return;
      references(compiled.value);
      // fast-check's JsonValue is our Json.
      evaluateText(compiled.value, { ...scope, item: item as Json });
    }),
    { numRuns: 1000 },
  );
  t.pass("nothing was thrown");
});
