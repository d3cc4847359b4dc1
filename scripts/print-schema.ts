// Prints the JSON Schema of DAG documents. `npm run` has no need of it: a test fails when the
// committed file differs, and says to run: node scripts/print-schema.ts > protocol/dag.schema.json
import { dagJsonSchema } from "../protocol/json-schema.ts";

process.stdout.write(`${JSON.stringify(dagJsonSchema(), null, 2)}\n`);
