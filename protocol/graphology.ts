// Between documents and graphology graphs, for programs that build or study DAGs with graphology.
// The document is graphology's own export format, so this only adds types and checks.
import { DirectedGraph } from "graphology";
import type { DagAttributes, DagDocument, EdgeCondition, TaskAttributes } from "./dag.ts";
import type { Result } from "./diagnostic.ts";
import { decodeDag } from "./load-dag.ts";

export type DagGraph = DirectedGraph<TaskAttributes, { on: EdgeCondition }, DagAttributes>;

/** A new graph; changing it does not change the document. */
export function toGraph(document: DagDocument): DagGraph {
  const graph: DagGraph = new DirectedGraph({ allowSelfLoops: false });
  graph.import(document);
  return graph;
}

/** The document of a graph, with every diagnostic where it is not one. */
export function fromGraph(graph: DagGraph): Promise<Result<DagDocument>> {
  const { attributes, nodes, edges } = graph.export();
  const plain = edges.map(({ source, target, attributes }) => ({ source, target, attributes }));
  return decodeDag({
    options: { type: "directed", multi: false, allowSelfLoops: false },
    attributes,
    nodes,
    edges: plain,
  });
}
