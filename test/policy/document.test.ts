// docs/code-policy.md lists the rules as they are.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { policyRules, ruleNames } from "../../master/policy/rules.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/code-policy.md"), "utf8");

t.test("the table of the page is the table of the code", async (t) => {
  const rows = page.split("\n").filter((line) => /^\| `[a-z-]+` \|/.test(line));
  t.strictSame(
    rows,
    ruleNames.map((name) => {
      const { isOn, refuses } = policyRules[name];
      return `| \`${name}\` | ${isOn ? "on" : "off"} | ${refuses} |`;
    }),
  );
});
