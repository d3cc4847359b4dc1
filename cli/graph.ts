// `edgedag graph`: the DAG as Mermaid or DOT. Ids of users never become ids of the drawing:
// tasks are numbered, and names appear only in escaped labels.
import type { DagDocument, TaskAttributes } from "../protocol/dag.ts";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Io } from "./io.ts";
import { loadPath, report } from "./load.ts";

export const graphFormats = ["mermaid", "dot"] as const;
export type GraphFormat = (typeof graphFormats)[number];

export async function graph(
  path: string,
  { format }: { format: GraphFormat },
  io: Io,
): Promise<number> {
  const loaded = await loadPath(path);
  if (!loaded.ok) return report(path, loaded.diagnostics, io);
  io.stdout.write(format === "dot" ? toDot(loaded.value.dag) : toMermaid(loaded.value.dag));
  return exitCodes.ok;
}

export function toMermaid(dag: DagDocument): string {
  const lines = ["flowchart TD"];
  const { ids, exits } = number(dag);
  for (const { key, attributes } of dag.nodes) {
    const label = escapeMermaid(labelOf(key, attributes));
    const [open, close] = attributes.exit === undefined ? ["[", "]"] : ["([", "])"];
    lines.push(`  ${ids.get(key)}${open}"${label}"${close}`);
  }
  for (const { source, target, attributes } of dag.edges) {
    const arrow = attributes.on === "success" ? "-->" : `-->|${attributes.on}|`;
    lines.push(`  ${ids.get(source)} ${arrow} ${ids.get(target)}`);
  }
  if (exits.length > 0) {
    lines.push('  end_of_run{{"end of run"}}');
    for (const { key, on } of exits) lines.push(`  end_of_run -.->|${on}| ${ids.get(key)}`);
  }
  return `${lines.join("\n")}\n`;
}

export function toDot(dag: DagDocument): string {
  const lines = [`digraph ${quoteDot(dag.attributes.dag)} {`, "  node [shape=box];"];
  const { ids, exits } = number(dag);
  for (const { key, attributes } of dag.nodes) {
    const style = attributes.exit === undefined ? "" : ", style=rounded";
    lines.push(`  ${ids.get(key)} [label=${quoteDot(labelOf(key, attributes))}${style}];`);
  }
  for (const { source, target, attributes } of dag.edges) {
    const label = attributes.on === "success" ? "" : ` [label=${quoteDot(attributes.on)}]`;
    lines.push(`  ${ids.get(source)} -> ${ids.get(target)}${label};`);
  }
  if (exits.length > 0) {
    lines.push('  end_of_run [label="end of run", shape=hexagon];');
    for (const { key, on } of exits) {
      lines.push(`  end_of_run -> ${ids.get(key)} [label=${quoteDot(on)}, style=dashed];`);
    }
  }
  return `${[...lines, "}"].join("\n")}\n`;
}

function number(dag: DagDocument) {
  const ids = new Map(dag.nodes.map(({ key }, i) => [key, `t${i}`]));
  const inner = new Set(dag.edges.map(({ target }) => target));
  const exits = dag.nodes.flatMap(({ key, attributes: { exit } }) =>
    exit === undefined || inner.has(key) ? [] : [{ key, on: exit }],
  );
  return { ids, exits };
}

function labelOf(key: string, { run, map }: TaskAttributes): string {
  const what =
    "function" in run ? `: ${run.function}` : run.kind === "code" ? `: ${run.language}` : "";
  return `${key}\n${run.kind}${what}${map === undefined ? "" : " (map)"}`;
}

function escapeMermaid(text: string): string {
  const entities: { readonly [char: string]: string } = { "\n": "<br/>", "#": "#35;" };
  return text.replace(/["#&<>`\n]/g, (char) => entities[char] ?? `#${char.charCodeAt(0)};`);
}

function quoteDot(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}
