// A document on its way: read or repaired so far that the checks that look at the whole of it
// (edges, templates, pools) can run, whatever was wrong with its parts. And where its parts are
// in the text of the user.
import type { DagDocument } from "./dag.ts";
import type { PathSegment } from "./findings.ts";

export interface Draft {
  document: DagDocument;
  places: Places;
}

/** Paths in the form of the document that the user wrote. */
export interface Places {
  head(field: readonly PathSegment[]): PathSegment[];
  node(index: number): PathSegment[];
  /** `field` in terms of `TaskAttributes`, e.g. `["run", "argv", 1]`. */
  field(node: number, field: readonly PathSegment[]): PathSegment[];
  edge(index: number): PathSegment[];
  tasks(): PathSegment[];
}

export const graphPlaces: Places = {
  head: (field) => ["attributes", ...field],
  node: (index) => ["nodes", index],
  field: (node, field) => ["nodes", node, "attributes", ...field],
  edge: (index) => ["edges", index],
  tasks: () => ["nodes"],
};
