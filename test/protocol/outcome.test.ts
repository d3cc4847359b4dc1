import t from "tap";
import { Findings } from "../../protocol/json-read.ts";
import { faultOf } from "../../protocol/outcome.ts";
import { readFacts, readOutcome } from "../../protocol/outcome-decode.ts";

t.test("every failure reason has a fault", async (t) => {
  t.equal(Object.keys(faultOf).length, 14);
  t.equal(faultOf.lost, "platform");
});

t.test("facts and places in code arrive as they were sent", async (t) => {
  const findings = new Findings("E_X", "Send it again.");
  const facts = {
    wallMs: 1,
    peakMemoryBytes: 2,
    peakPids: 3,
    readBytes: 4,
    writtenBytes: 5,
    isolation: "gvisor",
    phase: "compile",
  };
  t.same(readFacts({ facts }, "facts", "x", findings), facts);
  t.same(readFacts({ facts: { phase: "other" } }, "facts", "x", findings), {});
  const failure = { reason: "bad-result", detail: "no", line: 3, column: 7 };
  const outcome = { kind: "failed", failure };
  t.same(readOutcome({ outcome }, "outcome", "x", findings), outcome);
  readFacts({ facts: { peakPids: "3" } }, "facts", "x", findings);
  t.equal(findings.list.length, 1);
});
