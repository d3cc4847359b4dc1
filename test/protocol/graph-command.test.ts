// Drawings of a DAG: small snapshots, and that no name of a user breaks out of its label.
import { spawnSync } from "node:child_process";
import t from "tap";
import { toDot, toMermaid } from "../../cli/graph.ts";
import { parseDagText } from "../../protocol/load-dag.ts";

const text = `
dag: d
tasks:
  a: { command: [x] }
  b.c: { python: "t.py:f", needs: [{ task: a, on: any }], map: [1] }
  d: { shell: x, needs: [b.c] }
exit:
  e: { shell: x, on: failure }
  f: { shell: x, needs: e }
`;

async function document() {
  const result = await parseDagText(text);
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  return result.value;
}

t.test("Mermaid shows tasks, conditions and exit handlers", async (t) => {
  t.equal(
    toMermaid(await document()),
    `flowchart TD
  t0["a<br/>command"]
  t1["b.c<br/>python: f (map)"]
  t2["d<br/>shell"]
  t3(["e<br/>shell"])
  t4(["f<br/>shell"])
  t0 -->|any| t1
  t1 --> t2
  t3 --> t4
  end_of_run{{"end of run"}}
  end_of_run -.->|failure| t3
`,
  );
});

t.test("DOT shows the same", async (t) => {
  t.equal(
    toDot(await document()),
    `digraph "d" {
  node [shape=box];
  t0 [label="a\\ncommand"];
  t1 [label="b.c\\npython: f (map)"];
  t2 [label="d\\nshell"];
  t3 [label="e\\nshell", style=rounded];
  t4 [label="f\\nshell", style=rounded];
  t0 -> t1 [label="any"];
  t1 -> t2;
  t3 -> t4;
  end_of_run [label="end of run", shape=hexagon];
  end_of_run -> t3 [label="failure", style=dashed];
}
`,
  );
});

const hasGraphviz = spawnSync("dot", ["-V"]).status === 0;
t.test(
  "graphviz draws it",
  { skip: hasGraphviz ? false : "graphviz is not installed" },
  async (t) => {
    const { status, stdout } = spawnSync("dot", ["-Tsvg"], { input: toDot(await document()) });
    t.equal(status, 0);
    t.match(stdout.toString(), "<svg");
  },
);
