// The request parser: every split, garbage, and lengths that lie.

import fc from "fast-check";
import t from "tap";
import { RequestParser, splitInline } from "../../agent/store/resp.ts";
import { encode } from "./rig.ts";

const limitBytes = 1024 * 1024;

function parse(chunks: readonly string[], limit = limitBytes) {
  const parser = new RequestParser(limit);
  const commands: string[][] = [];
  for (const chunk of chunks) {
    parser.push(Buffer.from(chunk, "latin1"));
    for (let args = parser.next(); args !== undefined; args = parser.next()) commands.push(args);
  }
  return { commands, error: parser.error, bufferedBytes: parser.bufferedBytes };
}

const binary = fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b).toString("latin1"));
const commandArgs = fc.array(binary, { minLength: 1, maxLength: 5 });

t.test("a request split at every byte is the same request", async (t) => {
  const request = `${encode(["SET", "a\r\nb", "\x00\xff".repeat(20)])}PING "in line"\r\n\r\n${encode(["GET", ""])}`;
  const expected = [
    ["SET", "a\r\nb", "\x00\xff".repeat(20)],
    ["PING", "in line"],
    ["GET", ""],
  ];
  for (let at = 0; at <= request.length; at++) {
    t.strictSame(parse([request.slice(0, at), request.slice(at)]).commands, expected, `at ${at}`);
  }
  t.strictSame(parse([...request]).commands, expected, "byte by byte");
});

t.test("any commands in any chunks come out as they went in", async () => {
  fc.assert(
    fc.property(fc.array(commandArgs, { maxLength: 8 }), fc.array(fc.nat(400)), (all, cuts) => {
      const text = all.map(encode).join("");
      const places = [0, ...cuts.map((cut) => cut % (text.length + 1)), text.length];
      places.sort((a, b) => a - b);
      const chunks = places.slice(1).map((place, at) => text.slice(places[at], place));
      const got = parse(chunks);
      return JSON.stringify(got.commands) === JSON.stringify(all) && got.bufferedBytes === 0;
    }),
  );
});

t.test("garbage is an error or commands, and never throws or hangs", async () => {
  const scrap = fc.constantFrom(
    "*",
    "$",
    "1",
    "-",
    "\r\n",
    "\n",
    '"',
    "x",
    "*1\r\n$1\r\nx\r\n",
    "\0",
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(scrap, binary)), (chunks) => {
      const whole = parse([chunks.join("")]);
      const split = parse(chunks);
      return JSON.stringify(whole) === JSON.stringify(split) || whole.error === split.error;
    }),
  );
});

t.test("lengths that lie are protocol errors in the words of Redis", async (t) => {
  const errors: Record<string, string> = {
    "*1\r\n$536870913\r\n": "invalid bulk length",
    "*1\r\n$99999999999999999999999\r\n": "invalid bulk length",
    "*1\r\n$-1\r\n": "invalid bulk length",
    "*1\r\n$x\r\n": "invalid bulk length",
    "*1\r\n$\r\n": "invalid bulk length",
    "*1048577\r\n": "invalid multibulk length",
    "*99999999999999999999999\r\n": "invalid multibulk length",
    "*x\r\n": "invalid multibulk length",
    "*1\r\nx": "expected '$', got 'x'",
    'GET "a\r\n': "unbalanced quotes in request",
    [`*${"1".repeat(70_000)}`]: "too big mbulk count string",
    [`*1\r\n$${"1".repeat(70_000)}`]: "too big bulk count string",
    ["x".repeat(70_000)]: "too big inline request",
  };
  for (const [text, error] of Object.entries(errors)) {
    t.equal(parse([text]).error, `Protocol error: ${error}`, JSON.stringify(text.slice(0, 40)));
    t.equal(parse(text.length > 100 ? [text] : [...text]).error, `Protocol error: ${error}`);
  }
});

t.test("the sum of a command's arguments is bounded too", async (t) => {
  const half = "x".repeat(600);
  t.equal(parse([encode([half])], 1000).error, "");
  t.equal(parse([encode([half, half])], 1000).error, "Protocol error: invalid bulk length");
});

t.test("empty and negative arrays are skipped, as Redis does", async (t) => {
  t.strictSame(parse(["*0\r\n*-1\r\n\r\n", encode(["PING"])]).commands, [["PING"]]);
});

t.test("a large bulk string in small chunks is copied once", async (t) => {
  const value = "v".repeat(900_000);
  const text = encode(["SET", "k", value]);
  const chunks = text.match(/[\s\S]{1,1000}/g) ?? [];
  t.strictSame(parse(chunks).commands, [["SET", "k", value]]);
});

t.test("inline words are split as Redis splits them", async (t) => {
  t.strictSame(splitInline(`a  "b c" 'd e' "\\x41\\n\\"" 'it\\'s'`), [
    "a",
    "b c",
    "d e",
    'A\n"',
    "it's",
  ]);
  t.equal(splitInline('"a"b'), undefined);
  t.equal(splitInline("'a"), undefined);
  t.strictSame(splitInline("   "), []);
});
