// Mutation of bytes that knows nothing of what they mean, but for numbers, lengths and a dictionary.
import type { Random } from "./random.ts";

const interesting = [0, 1, 2, 4, 127, 128, 255, 256, 4095, 65535, 65536, 0x7fffffff, 0x80000000];
const numerals = [
  "0",
  "-1",
  "1",
  "-0",
  "1e309",
  "9007199254740993",
  "-9223372036854775808",
  "18446744073709551616",
  "0.1",
  "1e-7",
  "NaN",
  "00",
];
const nasty = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "\0",
  "\r\n",
  "\ufeff",
  "\u2028",
  "../",
  "{{",
  "}}",
  "\ud83d\ude00",
  '"',
  "'",
  "\\",
  "\\u0000",
  "\\ud800",
];

export function mutateBytes(
  input: Buffer,
  random: Random,
  other: Buffer,
  dictionary: readonly string[],
): Buffer {
  let bytes = input;
  for (let i = 1 + random.small(6); i > 0; i--) bytes = step(bytes, random, other, dictionary);
  return bytes;
}

function step(b: Buffer, random: Random, other: Buffer, dictionary: readonly string[]): Buffer {
  const at = random.below(b.length + 1);
  const length = random.small(Math.min(64, b.length - at + 1));
  switch (random.below(12)) {
    case 0:
      return splice(b, at, 0, Buffer.from([random.below(256)]));
    case 1:
      return splice(b, at, length, Buffer.alloc(0));
    case 2: {
      if (b.length === 0) return b;
      const copy = Buffer.from(b);
      const place = random.below(b.length);
      copy[place] = (copy[place] ?? 0) ^ (1 << random.below(8));
      return copy;
    }
    case 3: {
      const text =
        dictionary.length > 0 && !random.once(4) ? random.pick(dictionary) : random.pick(nasty);
      return splice(b, at, random.once(2) ? 0 : length, Buffer.from(text));
    }
    case 4:
      return splice(b, at, random.once(2) ? 0 : length, Buffer.from(random.pick(numerals)));
    case 5: {
      // A piece is there several times.
      const piece = b.subarray(at, at + Math.max(1, length));
      const times = 1 + random.small(random.once(8) ? 400 : 6);
      return splice(b, at, 0, Buffer.concat(Array.from({ length: times }, () => piece)));
    }
    case 6: {
      // A piece of another input.
      const from = random.below(other.length + 1);
      const size = random.below(Math.min(400, other.length - from + 1));
      return splice(b, at, random.once(2) ? 0 : length, other.subarray(from, from + size));
    }
    case 7: {
      // A number of two or four bytes: lengths of frames.
      const four = random.once(2);
      if (b.length < 4) return b;
      const copy = Buffer.from(b);
      const place = random.below(b.length - 3);
      const near = copy.readUInt32LE(place) + random.below(9) - 4;
      const value = random.once(3) ? near : random.pick(interesting) + random.below(3) - 1;
      if (four) copy.writeUInt32LE(value >>> 0, place);
      else copy.writeUInt16LE(value & 0xffff, place);
      return copy;
    }
    case 8: {
      // A number in decimal becomes another one.
      const text = b.toString("latin1");
      const found = /\d+/g;
      found.lastIndex = at;
      const match = found.exec(text);
      if (match === null) return b;
      const value = random.once(2)
        ? String(Number(match[0]) + random.below(5) - 2)
        : random.pick(numerals);
      return splice(b, match.index, match[0].length, Buffer.from(value));
    }
    case 9: {
      // Two pieces change places.
      const second = random.below(b.length + 1);
      const [low, high] = at < second ? [at, second] : [second, at];
      const middle = low + random.below(high - low + 1);
      return Buffer.concat([
        b.subarray(0, low),
        b.subarray(middle, high),
        b.subarray(low, middle),
        b.subarray(high),
      ]);
    }
    case 10:
      return b.subarray(0, at);
    default: {
      const copy = Buffer.from(b);
      for (let i = at; i < at + length; i++) copy[i] = random.below(256);
      return copy;
    }
  }
}

function splice(b: Buffer, at: number, remove: number, insert: Buffer): Buffer {
  return Buffer.concat([b.subarray(0, at), insert, b.subarray(at + remove)]);
}
