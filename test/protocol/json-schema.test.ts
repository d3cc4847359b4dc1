// The published JSON Schema is the one that the zod schemas give.
import t from "tap";
import schema from "../../protocol/dag.schema.json" with { type: "json" };
import { dagJsonSchema } from "../../protocol/json-schema.ts";

t.test("the committed JSON Schema is current", async (t) => {
  const remedy =
    "run: node scripts/print-schema.ts > protocol/dag.schema.json && npx biome format --write protocol/dag.schema.json";
  t.same(schema, JSON.parse(JSON.stringify(dagJsonSchema())), remedy);
});
