import fc from "fast-check";
import t from "tap";
import { firstRowSum, isSound, rowSum } from "../../protocol/row-sum.ts";

t.test("sums are those of the rows that lie on disks", (t) => {
  // Computed by another program from the description in row-sum.ts.
  t.equal(rowSum("", 0), 0x050c5d1f);
  t.equal(rowSum("abcd", 7), 0x56998e27);
  t.equal(rowSum("é1€", -5), 0xffae945b);
  t.end();
});

t.test("a change, a cut, a longer text and another place are found", (t) => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
      fc.integer(),
      fc.nat(),
      fc.integer({ min: 1, max: 0x7f }),
      (text, seed, where, bits) => {
        const at = where % text.length;
        const code = text.charCodeAt(at);
        if (code > 0x7f) return;
        const other = text.slice(0, at) + String.fromCharCode(code ^ bits) + text.slice(at + 1);
        const sum = rowSum(text, seed);
        t.not(rowSum(other, seed), sum);
        t.not(rowSum(`${text}\0`, seed), sum);
        t.not(rowSum(text.slice(0, -1), seed), sum);
        t.not(rowSum(text, seed + 1), sum);
        t.equal(rowSum(text, seed), sum);
      },
    ),
  );
  t.end();
});

t.test("long texts are summed to their end, whatever their letters take", (t) => {
  for (const letter of ["x", "é", "€", "\u{1f600}"]) {
    const text = letter.repeat(100_000);
    t.not(rowSum(`${text}a`, 1), rowSum(`${text}b`, 1), letter);
  }
  t.end();
});

t.test("rows of earlier releases are believed, and looked at", (t) => {
  const text = '{"kind":"é"}';
  t.ok(isSound(text, 3, firstRowSum(text, 3)));
  t.ok(isSound(text, 3, rowSum(text, 3)));
  t.ok(isSound(text, 3, null));
  t.notOk(isSound(`${text} `, 3, firstRowSum(text, 3)));
  t.notOk(isSound(text, 4, firstRowSum(text, 3)));
  t.end();
});
