// The list of codes in docs/signing.md is that of the code.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { signingCodes } from "../../protocol/signing/codes.ts";

t.test("every code of signatures and receipts is documented with its sentence", async (t) => {
  const text = readFileSync(join(import.meta.dirname, "../../docs/signing.md"), "utf8");
  const rows = [...text.matchAll(/^\| `(E_\w+)` \| (.*) \|$/gm)].map(([, code, about]) => [
    code,
    about,
  ]);
  t.strictSame(rows, Object.entries(signingCodes));
});
