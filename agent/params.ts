// The params of a run: the document's values with those that were given over them.
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import type { Json } from "../protocol/json.ts";
import { nearest } from "../protocol/nearest.ts";

type Params = { [name: string]: Json };

/** A name that the document does not know is refused: it is a slip of the pen more often than not. */
export function mergeParams(declared: Params, given: Params): Result<Params> {
  const diagnostics: Diagnostic[] = [];
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(declared, name)) continue;
    const near = nearest(name, Object.keys(declared));
    diagnostics.push({
      code: "E_DAG_PARAM",
      path: `params.${name}`,
      message: `the DAG has no param ${name}`,
      remedy:
        near === undefined
          ? "Declare it in the document's `params` with a default, or leave it out."
          : `Did you mean \`${near}\`?`,
    });
  }
  if (diagnostics.length > 0) return { ok: false, diagnostics };
  return { ok: true, value: { ...declared, ...given } };
}
