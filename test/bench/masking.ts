// How fast are ten secrets taken out of output, in all the forms in which they are looked for, beside a
// regular expression of the same patterns and beside looking for each pattern by itself?
// usage: node --expose-gc test/bench/masking.ts [--quick]
import { randomBytes } from "node:crypto";
import { Mask } from "../../agent/secrets/mask.ts";
import { patternsOf } from "../../agent/secrets/patterns.ts";
import { type Answer, ask, sized, tell } from "./frame.ts";

const secrets = Array.from({ length: 10 }, () =>
  Buffer.from(randomBytes(24).toString("base64url")),
);
const patterns = secrets.flatMap(patternsOf);
const pieces = sized(2_000, 100);
const line =
  "2026-11-26 01:45:07 INFO  fetched https://example.org/table.csv?page=17 in 0.25 s, 1024 rows\n";
const piece = Buffer.from(line.repeat(1000).slice(0, 65_536));
const noise = Buffer.from(randomBytes(49_152).toString("base64"));

function throughMask(bytes: Buffer): number {
  const mask = new Mask(secrets);
  let taken = 0;
  const stream = mask.stream((part) => {
    taken += part.length;
  });
  const began = performance.now();
  for (let i = 0; i < pieces; i++) stream.write(bytes);
  stream.end();
  const ms = performance.now() - began;
  if (taken !== bytes.length * pieces) throw new Error("bytes are missing");
  mask.close();
  return (taken / 1e6 / ms) * 1000;
}

/** The peers have no streams: a secret that is cut by a piece would pass. */
function timed(bytes: Buffer, look: (bytes: Buffer) => void): number {
  const rounds = Math.max(1, pieces / 20);
  const began = performance.now();
  for (let i = 0; i < rounds; i++) look(bytes);
  return ((bytes.length * rounds) / 1e6 / (performance.now() - began)) * 1000;
}

const escaped = patterns.map((pattern) =>
  pattern.toString("latin1").replace(/[.*+?^${}()|[\]\\]/g, "\\$&"),
);
const expression = new RegExp(escaped.join("|"), "g");

const answers: Answer[] = [];
for (const [what, bytes] of [
  ["lines of a log", piece],
  ["base64, where many patterns begin", noise],
] as const) {
  answers.push(
    await ask({
      question: `masking: 10 secrets in ${patterns.length} forms, ${what}`,
      unit: "MB/s",
      better: "more",
      rounds: sized(5, 2),
      contenders: [
        { name: "edgedag's mask", isOurs: true, round: () => throughMask(bytes) },
        {
          name: "one regular expression",
          round: () => timed(bytes, (b) => void b.toString("latin1").replace(expression, "***")),
        },
        {
          name: "indexOf, pattern by pattern",
          round: () => timed(bytes, (b) => patterns.forEach((p) => void b.indexOf(p))),
        },
      ],
    }),
  );
}
tell(...answers);
