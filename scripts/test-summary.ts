// Prints what a person needs of a TAP report: failed tests with their details, skipped ones with
// their reasons, and one closing line.
import { readFileSync } from "node:fs";

const lines = readFileSync(process.argv[2] ?? "build/test.tap", "utf8").split("\n");
let passed = 0;
let failed = 0;
let skipped = 0;
let isInFailure = false;
for (const line of lines) {
  const match = /^(\s*)(not )?ok \d+(.*)$/.exec(line);
  if (match === null) {
    if (isInFailure) console.log(line);
    if (/^\s*\.\.\.\s*$/.test(line)) isInFailure = false;
    continue;
  }
  const [, indent = "", not, rest = ""] = match;
  isInFailure = false;
  if (/# (SKIP|TODO)/i.test(rest)) {
    skipped += 1;
    console.log(`skipped${rest}`);
  } else if (not !== undefined) {
    if (indent.length === 4) failed += 1;
    isInFailure = true;
    console.log(line);
  } else if (indent.length === 4) passed += 1;
}
const isComplete = lines.some((line) => /^# \{ total: /.test(line) || /^1\.\.\d+/.test(line));
if (!isComplete) {
  console.log("the report is cut off: the tests did not end by themselves");
  process.exitCode = 1;
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
