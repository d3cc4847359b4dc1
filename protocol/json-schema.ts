// The JSON Schema of DAG documents, for editors: generated from the zod schemas, which are the
// source. `scripts/print-schema.ts` writes it to `dag.schema.json`. Loads zod.
import { z } from "zod";
import { authoringDocument } from "./schema.ts";
import { graphDocument } from "./schema-graph.ts";

/** Both forms of a document; what checks across fields find is not in it. */
export function dagJsonSchema(): object {
  const document = z.union([authoringDocument, graphDocument]).meta({
    title: "edgedag DAG document",
    description: "A DAG of tasks: the authoring form, or graphology's serialized form.",
  });
  return z.toJSONSchema(document, { io: "input", target: "draft-2020-12" });
}
