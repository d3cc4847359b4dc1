// JSON.parse for processes that read what strangers write. V8 14.6 (Node.js 26, not 24 or 25) loses
// the handles of its caller when a text is nested so deeply that its parser leaves its recursion (some
// 6,000 levels) and is malformed there; the process dies later, anywhere. Such a text must not reach
// V8, whoever parses it, so the function itself is replaced; libraries call it too. Pure apart from
// that, linear.

/** Far below what breaks V8, far above what anything here keeps. */
export const maxParsedDepth = 2000;

const parseInV8 = JSON.parse;

/**
 * As JSON.parse; a SyntaxError for a text with more than `maxParsedDepth` levels. With a reviver V8 never
 * recurses, and three malformed levels of a thousand values are enough: give none to what strangers wrote.
 */
function parse(
  text: unknown,
  reviver?: (this: unknown, key: string, value: unknown) => unknown,
): unknown {
  const source = typeof text === "string" ? text : String(text);
  if (source.length > maxParsedDepth && isDeeper(source, maxParsedDepth)) {
    throw new SyntaxError(`more than ${maxParsedDepth} levels of nesting`);
  }
  return parseInV8(source, reviver);
}

/** Puts the guard in the place of JSON.parse, in this thread. */
export function guardJson(): void {
  Object.defineProperty(JSON, "parse", { value: parse, writable: true, configurable: true });
}

/** Up to the first mistake of a text this sees the levels that V8 sees; behind it V8 does not go. */
function isDeeper(text: string, limit: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) i = endOfString(text, i + 1);
    else if (code < 0x5b) continue;
    else if (code === 0x7b || code === 0x5b) {
      depth++;
      if (depth > limit) return true;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return false;
}

/** The index of the closing quote; `from` is the one behind the opening quote. */
function endOfString(text: string, from: number): number {
  for (let at = from; ; ) {
    const quote = text.indexOf('"', at);
    if (quote === -1) return text.length;
    let first = quote;
    while (first > from && text.charCodeAt(first - 1) === 0x5c) first--;
    if ((quote - first) % 2 === 0) return quote;
    at = quote + 1;
  }
}
