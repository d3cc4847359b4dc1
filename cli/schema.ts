// `edgedag schema`: the JSON Schema of DAG documents, for editors. zod is loaded only here.
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Io } from "./io.ts";

export async function schema(io: Io): Promise<number> {
  const { dagJsonSchema } = await import("../protocol/json-schema.ts");
  io.stdout.write(`${JSON.stringify(dagJsonSchema(), null, 2)}\n`);
  return exitCodes.ok;
}
