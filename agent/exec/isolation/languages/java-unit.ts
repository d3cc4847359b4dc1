// Finds in Java source what its file must be called and which class to start. Reads the source
// once from front to back, however long and broken it is: it comes from tasks.

const longestSource = 4 * 2 ** 20;

/** `Main` where the source does not tell. */
export function javaUnit(source: string): { unit: string; entry: string } {
  const code = withoutTexts(source.slice(0, longestSource));
  const depths = depthsOf(code);
  const types: { name: string; at: number; isPublic: boolean }[] = [];
  const declarations =
    // Bounded repetitions: what hostile source costs must not grow with the square of its length.
    /\b(public\s{1,99})?(?:(?:final|abstract|sealed|strictfp)\s{1,99}){0,4}(?:class|record|enum|interface)\s{1,99}([\p{L}_$][\p{L}\p{N}_$]*)/gu;
  for (const match of code.matchAll(declarations)) {
    if (depths[match.index] !== 0) continue;
    types.push({ name: match[2] ?? "", at: match.index, isPublic: match[1] !== undefined });
  }
  const main = /\bvoid\s{1,99}main\s{0,99}\(/.exec(code)?.index;
  const holder = main === undefined ? undefined : types.findLast(({ at }) => at < main);
  const unit = types.find(({ isPublic }) => isPublic) ?? holder ?? types[0];
  const name = unit?.name ?? "Main";
  const folder = /\bpackage\s{1,99}([\p{L}\p{N}_$.]{1,999})\s{0,99};/u.exec(
    code.slice(0, code.indexOf("{") >>> 0),
  )?.[1];
  const entry = holder?.name ?? name;
  return { unit: name, entry: folder === undefined ? entry : `${folder}.${entry}` };
}

/** The same length with comments, texts and characters blanked out. */
function withoutTexts(source: string): string {
  const kept: string[] = [];
  let from = 0;
  const openings = /\/\/|\/\*|"""|"|'/g;
  for (let match = openings.exec(source); match !== null; match = openings.exec(source)) {
    const start = match.index;
    const end = endOf(source, start, match[0]);
    kept.push(source.slice(from, start), " ".repeat(end - start));
    from = end;
    openings.lastIndex = end;
  }
  kept.push(source.slice(from));
  return kept.join("");
}

function endOf(source: string, start: number, opening: string): number {
  if (opening === "//" || opening === "/*") {
    const closing = opening === "//" ? "\n" : "*/";
    const end = source.indexOf(closing, start + 2);
    if (end === -1) return source.length;
    return opening === "//" ? end : end + closing.length;
  }
  for (let i = start + opening.length; i < source.length; i += 1) {
    if (source[i] === "\\") i += 1;
    else if (source.startsWith(opening, i)) return i + opening.length;
    // A text of one line that is not closed ends with the line.
    else if (source[i] === "\n" && opening !== '"""') return i;
  }
  return source.length;
}

/** How many braces are open at each place. */
function depthsOf(code: string): Int32Array {
  const depths = new Int32Array(code.length);
  let depth = 0;
  for (let i = 0; i < code.length; i += 1) {
    depths[i] = depth;
    if (code[i] === "{") depth += 1;
    else if (code[i] === "}") depth -= 1;
  }
  return depths;
}
