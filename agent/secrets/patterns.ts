// In which forms a secret may show up in text: as it is, and as programs commonly write it down.
// Pure; `automaton.ts` looks for all of them in one pass.

/** Shorter ones stand everywhere in ordinary text. */
export const leastSecretBytes = 4;

/**
 * Every form of the secret, without doubles. The lines of a secret of several lines are looked for by
 * themselves too, because programs print and indent them one by one.
 */
export function patternsOf(secret: Buffer): Buffer[] {
  const found = new Map<string, Buffer>();
  const add = (pattern: Buffer | string): void => {
    const bytes = typeof pattern === "string" ? Buffer.from(pattern) : pattern;
    if (bytes.length >= leastSecretBytes) found.set(bytes.toString("latin1"), bytes);
  };
  addEncoded(secret, add);
  const inner = withoutEnds(secret);
  if (inner.length < secret.length) addEncoded(inner, add);
  const lines = linesOf(secret);
  // Line by line, what stands between the lines stays as it is. Before they are added: the only line
  // of a secret that ends in a newline is the same text as the secret without it.
  if (lines.length > 0) {
    found.delete(secret.toString("latin1"));
    found.delete(inner.toString("latin1"));
  }
  for (const line of lines) {
    add(line);
    addWritten(line, add);
  }
  return [...found.values()];
}

type Add = (pattern: Buffer | string) => void;

function addEncoded(bytes: Buffer, add: Add): void {
  add(bytes);
  addWritten(bytes, add);
  const hex = bytes.toString("hex");
  add(hex);
  add(hex.toUpperCase());
  for (const text of base64Forms(bytes)) {
    add(text);
    // The alphabet for URLs and file names.
    add(text.replaceAll("+", "-").replaceAll("/", "_"));
  }
}

/** As text that is quoted somewhere: JSON, URLs, shells. Bytes that are no UTF-8 have no such form. */
function addWritten(bytes: Buffer, add: Add): void {
  const text = bytes.toString("utf8");
  if (!Buffer.from(text).equals(bytes)) return;
  const json = JSON.stringify(text).slice(1, -1);
  add(json);
  add(json.replaceAll("/", "\\/"));
  const ascii = json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${hex4(unit)}`);
  add(ascii);
  add(ascii.replace(/\\u[0-9a-f]{4}/g, (unit) => `\\u${unit.slice(2).toUpperCase()}`));
  // `repr` of Python, and what a shell says with `set -x`.
  const escaped = json.replaceAll('\\"', '"');
  add(escaped);
  add(escaped.replaceAll("'", "\\'"));
  add(text.replaceAll("'", "'\\''"));
  add(text.replaceAll("'", `'"'"'`));
  for (const url of urlForms(text)) {
    add(url);
    add(url.replace(/%[0-9A-F]{2}/g, (byte) => byte.toLowerCase()));
  }
}

function hex4(unit: string): string {
  return unit.charCodeAt(0).toString(16).padStart(4, "0");
}

/** Encoders differ in what they leave as it is. */
function urlForms(text: string): string[] {
  let component: string;
  try {
    component = encodeURIComponent(text);
  } catch {
    return []; // half of a surrogate pair
  }
  const strict = component.replace(
    /[!'()*]/g,
    (unit) => `%${unit.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  const path = strict.replaceAll("%2F", "/");
  const tilde = strict.replaceAll("~", "%7E");
  const forms = [component, strict, path, tilde];
  return [...forms, ...forms.map((form) => form.replaceAll("%20", "+"))];
}

/** Line widths of `base64` and MIME, and of OpenSSL and PEM. */
const wrapColumns = [76, 64];

/**
 * What is sure to stand in the base64 of anything that contains the bytes: the characters that no
 * neighbour has a bit in, for each of the three places at which the bytes may begin.
 */
function base64Forms(bytes: Buffer): string[] {
  const whole = bytes.toString("base64");
  const forms = [whole, whole.replaceAll("=", "")];
  for (const before of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    const from = before === 0 ? 0 : before + 1;
    const to = Math.floor(((before + bytes.length) * 8) / 6);
    forms.push(text.slice(from, to));
  }
  for (const columns of wrapColumns) {
    if (whole.length <= columns) continue;
    for (let at = 0; at < whole.length; at += columns) {
      // A short last line may be anything.
      const line = whole.slice(at, at + columns);
      if (line.length >= 8) forms.push(line);
    }
  }
  return forms;
}

function linesOf(secret: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let at = 0; at <= secret.length; ) {
    const end = secret.indexOf(newline, at);
    const line = trimmed(secret.subarray(at, end < 0 ? secret.length : end));
    if (line.length >= leastSecretBytes) lines.push(line);
    if (end < 0) break;
    at = end + 1;
  }
  return lines.length === 1 && lines[0]?.length === secret.length ? [] : lines;
}

/** A text is often printed without the newlines at its ends. */
function withoutEnds(secret: Buffer): Buffer {
  let end = secret.length;
  while (end > 0 && (secret[end - 1] === newline || secret[end - 1] === 13)) end -= 1;
  let start = 0;
  while (start < end && (secret[start] === newline || secret[start] === 13)) start += 1;
  return secret.subarray(start, end);
}

function trimmed(line: Buffer): Buffer {
  const isSpace = (byte: number | undefined) => byte === 32 || byte === 9 || byte === 13;
  let end = line.length;
  while (end > 0 && isSpace(line[end - 1])) end -= 1;
  let start = 0;
  while (start < end && isSpace(line[start])) start += 1;
  return line.subarray(start, end);
}

const newline = 10;
