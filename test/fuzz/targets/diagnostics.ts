// What every refusal of a document promises: codes that are known, a path, sentences.
import { isDagCode } from "../../../protocol/codes.ts";
import type { Diagnostic } from "../../../protocol/diagnostic.ts";
import { must, shown } from "../target.ts";

const codeOf = /^E_[A-Z][A-Z_]*[A-Z]$/;

export function mustBeDiagnostics(found: readonly Diagnostic[], isKnown = isDagCode): void {
  must(found.length > 0, "it refused without a diagnostic");
  for (const one of found) {
    must(codeOf.test(one.code) && isKnown(one.code), `unknown code ${shown(one.code)}`);
    must(typeof one.path === "string", `no path: ${shown(one)}`);
    must(one.message.length > 3 && one.message.length <= 4000, `no sentence: ${shown(one)}`);
    must(one.remedy.length > 3 && one.remedy.length <= 4000, `no remedy: ${shown(one)}`);
    mustBeInnocent(`${one.message} ${one.remedy}`);
  }
}

/** Nothing of ours is told to strangers: frames of a stack, files of the program. */
export function mustBeInnocent(text: string): void {
  const leak =
    /\bat [\w.#<>]+ \(|\bnode:internal|\bfile:\/\/|node_modules\/[\w@.-]+\/|(?:\/[\w.-]+){2,}\.ts:\d+|Cannot read propert|is not a function|is not iterable|\bundefined\b is not/.exec(
      text,
    );
  must(leak === null, `it tells of its inside: ${shown(text)}`);
}
