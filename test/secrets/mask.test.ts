// The mask against a slow model of it: every occurrence of every form is gone, every other byte is
// there once and in order, however the stream is cut.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import t from "tap";
import { Automaton } from "../../agent/secrets/automaton.ts";
import { Mask } from "../../agent/secrets/mask.ts";
import { StreamMask } from "../../agent/secrets/stream-mask.ts";

/** Ranges of all occurrences, overlapping ones as one; the rest as it is. */
function model(patterns: readonly Buffer[], input: Buffer): string {
  const covered = new Uint8Array(input.length);
  const begins = new Uint8Array(input.length + 1);
  const ranges: [number, number][] = [];
  for (const pattern of patterns) {
    for (let at = input.indexOf(pattern); at >= 0; at = input.indexOf(pattern, at + 1)) {
      ranges.push([at, at + pattern.length]);
    }
  }
  // The longest beginning at the end, when it is at least half of the shortest that begins so.
  const begun = (n: number) =>
    patterns.filter((p) => p.length >= n && input.subarray(-n).equals(p.subarray(0, n)));
  let depth = input.length;
  while (depth > 0 && begun(depth).length === 0) depth -= 1;
  const shortest = Math.min(...begun(depth).map(({ length }) => length));
  if (depth > 3 && depth * 2 >= shortest) ranges.push([input.length - depth, input.length]);
  ranges.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  let end = 0;
  for (const [from, to] of ranges) {
    if (from >= end) begins[from] = 1;
    end = Math.max(end, to);
    covered.fill(1, from, to);
  }
  let out = "";
  for (let i = 0; i < input.length; i++) {
    if (begins[i] === 1) out += "***";
    if (covered[i] === 0) out += String.fromCharCode(input[i] ?? 0);
  }
  return out;
}

function run(mask: StreamMask, chunks: readonly Buffer[]): string {
  let out = "";
  const put = (bytes: Buffer) => {
    out += bytes.toString("latin1");
  };
  for (const chunk of chunks) {
    const copy = Buffer.from(chunk);
    mask.write(copy, put);
    copy.fill(0); // the caller uses it again
  }
  mask.end(put);
  return out;
}

function cut(input: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...cuts].map((c) => c % (input.length + 1)).sort((a, b) => a - b);
  const chunks: Buffer[] = [];
  let at = 0;
  for (const place of [...places, input.length]) {
    chunks.push(input.subarray(at, place));
    at = place;
  }
  return chunks;
}

t.test("any patterns, any text, any cuts: as the slow model says", async (t) => {
  // Few letters, so that patterns overlap, contain each other and begin again inside.
  const word = fc.array(fc.constantFrom(97, 98, 99), { minLength: 4, maxLength: 9 });
  const piece = fc.oneof(
    fc.record({ word: fc.nat(), from: fc.nat(3), length: fc.nat(9) }),
    fc.constantFrom("a", "b", "c", "\n"),
  );
  let hidden = 0;
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1, maxLength: 6 }),
      fc.array(piece, { maxLength: 25 }),
      fc.array(fc.nat(), { maxLength: 8 }),
      (words, pieces, cuts) => {
        const patterns = words.map((letters) => Buffer.from(letters));
        const parts = pieces.map((part) => {
          if (typeof part === "string") return Buffer.from(part);
          const { word, from, length } = part;
          return patterns[word % patterns.length]?.subarray(from, from + length) ?? Buffer.alloc(0);
        });
        const bytes = Buffer.concat(parts);
        const wanted = model(patterns, bytes);
        const found = run(new StreamMask(new Automaton(patterns)), cut(bytes, cuts));
        if (wanted !== found) throw new Error(JSON.stringify({ wanted, found }));
        if (found.includes("***")) hidden += 1;
      },
    ),
    { numRuns: 10_000 },
  );
  t.ok(hidden > 2000, `${hidden} had something to hide`);
});

t.test("a text without any of it comes out byte for byte, at every cut", async (t) => {
  const mask = new Mask([Buffer.from("hunter2hunter2"), Buffer.from("\u00fcber geheim")]);
  for (let i = 0; i < 300; i++) {
    const bytes = randomBytes(1 + (i % 97));
    const parts: Buffer[] = [];
    const stream = mask.stream((part) => void parts.push(Buffer.from(part)));
    for (const byte of bytes) stream.write(Buffer.of(byte));
    stream.end();
    if (!Buffer.concat(parts).equals(bytes)) t.fail(bytes.toString("hex"));
  }
  t.pass("300 of them");
});

const secret = `p\u00e4ss/w+"o\\rd'&7 $x`;

/** As other programs write it down: not by our own code. */
const written: { name: string; text: string }[] = [
  { name: "itself", text: `user=${secret};` },
  { name: "JSON of Node.js", text: JSON.stringify({ a: secret }) },
  { name: "JSON of Python", text: python("import json; print(json.dumps({'a': S}))") },
  {
    name: "JSON of Python, not ASCII",
    text: python("import json; print(json.dumps([S], ensure_ascii=False))"),
  },
  { name: "repr of Python", text: python("print(repr({'a': S}))") },
  { name: "quote of urllib", text: python("import urllib.parse as u; print(u.quote(S))") },
  {
    name: "quote of urllib, all",
    text: python("import urllib.parse as u; print(u.quote(S, safe=''))"),
  },
  { name: "a form", text: python("import urllib.parse as u; print(u.urlencode({'a': S}))") },
  { name: "a query", text: new URLSearchParams({ a: secret }).toString() },
  { name: "hexadecimal", text: Buffer.from(secret).toString("hex") },
  { name: "hexadecimal in capitals", text: Buffer.from(secret).toString("hex").toUpperCase() },
  { name: "a shell's trace", text: shellTrace() },
  ...["", "a", "ab", "abc", "user:"].flatMap((before) =>
    ["", "z", "zy", "zyx"].map((after) => ({
      name: `base64 of ${before}...${after}`,
      text: Buffer.from(`${before}${secret}${after}`).toString("base64"),
    })),
  ),
  { name: "base64 for URLs", text: Buffer.from(`x${secret}`).toString("base64url") },
  {
    name: "base64 of the shell",
    text: execFileSync("base64", { input: `${secret}\n` }).toString(),
  },
];

function python(code: string): string {
  return execFileSync("python3", ["-c", `import os; S = os.environ['S']; ${code}`], {
    env: { ...process.env, S: secret, PYTHONIOENCODING: "utf-8" },
  }).toString();
}

function shellTrace(): string {
  const script = 'set -x; : "$S" 2>&1';
  return execFileSync("bash", ["-c", `exec 2>&1; ${script}`], {
    env: { ...process.env, LC_ALL: "C.UTF-8", S: secret },
  }).toString();
}

t.test("the forms in which programs write a secret down are masked, cut anywhere", async (t) => {
  const mask = new Mask([Buffer.from(secret)]);
  const longest = longestPieces(secret);
  for (const { name, text } of written) {
    const bytes = Buffer.from(text);
    const whole = mask.text(text);
    t.match(whole, /\*\*\*/, `${name}: ${JSON.stringify(whole)}`);
    for (const piece of longest) t.notOk(whole.includes(piece), `${name} shows ${piece}`);
    for (let at = 0; at <= bytes.length; at++) {
      let out = "";
      const stream = mask.stream((part) => {
        out += part.toString("latin1");
      });
      stream.write(bytes.subarray(0, at));
      stream.write(bytes.subarray(at));
      stream.end();
      if (Buffer.from(out, "latin1").toString() !== whole) t.fail(`${name}, cut at ${at}`);
    }
  }
});

/** Texts of which none may be left over. */
function longestPieces(text: string): string[] {
  return [text, text.slice(1, -1), Buffer.from(text).toString("base64").slice(4, -6)];
}

t.test("base64 that is wrapped after 64 or 76 characters is masked", async (t) => {
  const long = randomBytes(120).toString("hex");
  const mask = new Mask([Buffer.from(long)]);
  for (const columns of ["76", "64"]) {
    const text = execFileSync("base64", ["-w", columns], { input: long }).toString();
    const left = mask.text(text).replaceAll("***", "").replace(/\s/g, "");
    t.ok(left.length < 8, `${columns}: ${left}`);
  }
});

t.test("a secret that ends in newlines is masked without them too", async (t) => {
  for (const ends of ["\n", "\r\n", "\n\n"]) {
    const mask = new Mask([Buffer.from(`hunter2-hunter2${ends}`)]);
    t.equal(mask.text("x hunter2-hunter2 y"), "x *** y");
    t.equal(mask.text(`x hunter2-hunter2${ends}`).includes("hunter2"), false);
  }
});

t.test("a secret of several lines is masked line by line", async (t) => {
  const body =
    randomBytes(300)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  const pem = ["-----BEGIN KEY-----", ...body, "-----END KEY-----", ""].join("\n");
  const mask = new Mask([Buffer.from(pem)]);
  t.equal(mask.text(pem), "***\n".repeat(body.length + 2));
  t.equal(mask.text(`> ${body[1]}\r\n`), "> ***\r\n");
  t.equal(
    mask.text(body.map((line) => `  ${line}`).join("\n")),
    body.map(() => "  ***").join("\n"),
  );
  t.equal(mask.text(JSON.stringify({ pem })), '{"pem":"***"}');
  // A line that is too short to be looked for stays.
  const braces = new Mask([Buffer.from('{\n  "key": "abcdef"\n}\n')]);
  t.equal(braces.text('x {\n"key": "abcdef"\n}'), "x {\n***\n}");
});

t.test("only what may begin a secret waits, and no prompt waits for long", async (t) => {
  const mask = new Mask([Buffer.from("swordfish")]);
  let out = "";
  const stream = mask.stream((part) => {
    out += part.toString();
  });
  stream.write(Buffer.from("Password: s"));
  t.equal(out, "Password: ");
  while (out === "Password: ") await delay(10);
  t.equal(out, "Password: s", "released by itself");
  // It goes on after all: what is still unsaid stays unsaid.
  stream.write(Buffer.from("wordfish\n"));
  t.equal(out, "Password: s***\n");
  stream.write(Buffer.from("swordf"));
  await delay(250);
  t.equal(out, "Password: s***\n", "two thirds of a secret are not released");
  stream.write(Buffer.from("ight"));
  t.equal(out, "Password: s***\nswordfight", "and are none when it goes on otherwise");
  stream.write(Buffer.from(" swordfi"));
  stream.end();
  t.equal(out, "Password: s***\nswordfight ***", "cut off by the end");
});

t.test("results, messages and failures are masked in their values and names", async (t) => {
  const mask = new Mask([Buffer.from("swordfish"), Buffer.from("90210.5")]);
  const clean = { a: [1, "x", null], b: { c: true } };
  t.equal(mask.json(clean), clean, "the same object when there is nothing");
  t.same(mask.json({ a: ["my swordfish"], swordfish: 1, swordfishy: 2, n: 90210.5 }), {
    a: ["my ***"],
    "***": 1,
    "***y": 2,
    n: "***",
  });
  t.same(mask.json({ swordfish: 1, c3dvcmRmaXNo: 2 }), { "***": 1, "****": 2 });
  t.same(
    mask.failure({
      reason: "bad-result",
      detail: "KeyError: 'swordfish'",
      trace: "at swordfish",
      line: 3,
    }),
    { reason: "bad-result", detail: "KeyError: '***'", trace: "at ***", line: 3 },
  );
});
