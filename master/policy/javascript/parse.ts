// Reads a program as Node.js would: as CommonJS, else as a module, else as what runners wrap into an
// asynchronous function. Says what it cannot read, and what another reader would read otherwise.
import { compileFunction } from "node:vm";
import { type Comment, type Options, type Program, parse } from "acorn";

export type Parsed =
  | { kind: "parsed"; program: Program; htmlComments: number[] }
  | { kind: "unparsed"; detail: string }
  /** Node.js would run it, and the parser cannot read it. */
  | { kind: "unknown"; detail: string }
  | { kind: "too-deep" };

const goals: readonly Partial<Options>[] = [
  { sourceType: "commonjs" },
  { sourceType: "module" },
  { sourceType: "script", allowReturnOutsideFunction: true, allowAwaitOutsideFunction: true },
];
const wrapperNames = ["exports", "require", "module", "__filename", "__dirname"];

export function parseProgram(code: string): Parsed {
  // In a module these are operators, in CommonJS they begin a comment.
  const mayHide = code.includes("<!--") || code.includes("-->");
  let detail = "";
  for (const goal of goals) {
    const comments: Comment[] = [];
    try {
      const program = parse(code, {
        ecmaVersion: "latest",
        allowHashBang: true,
        ...(mayHide ? { onComment: comments } : {}),
        ...goal,
      });
      const starts = comments.map((comment) => comment.start);
      return { kind: "parsed", program, htmlComments: starts.filter((at) => isHtml(code, at)) };
    } catch (error) {
      if (error instanceof RangeError) return { kind: "too-deep" };
      if (!(error instanceof SyntaxError)) throw error;
      // What the first goal says is what most authors mean.
      if (detail === "") detail = error.message;
    }
  }
  return isReadByNode(code) ? { kind: "unknown", detail } : { kind: "unparsed", detail };
}

function isHtml(code: string, at: number): boolean {
  return code.startsWith("<!--", at) || code.startsWith("-->", at);
}

/** Compiles it and runs nothing. */
function isReadByNode(code: string): boolean {
  try {
    compileFunction(code, wrapperNames);
    return true;
  } catch {
    return false; // a syntax error, or too deep for it as well
  }
}
