// `file.py:function`, how the authoring form names a function in a file. Pure.
import { pathProblem } from "./safe-path.ts";

export const functionPattern = /^[\p{L}_$][\p{L}\p{N}_$]*(\.[\p{L}_$][\p{L}\p{N}_$]*)*$/u;

/** Undefined where the text is not a safe relative path, a colon and a name. */
export function parseFunctionRef(text: string): { file: string; function: string } | undefined {
  const colon = text.lastIndexOf(":");
  if (colon === -1 || text.includes("\0")) return undefined;
  const file = text.slice(0, colon);
  const name = text.slice(colon + 1);
  if (pathProblem(file) !== undefined || !functionPattern.test(name)) return undefined;
  return { file, function: name };
}
