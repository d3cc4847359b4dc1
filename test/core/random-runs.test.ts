// Random DAGs, random shells: whatever happens, a run ends, and ends as the rules say.
// EDGEDAG_TEST_RUNS sets how many are tried.

import { deepStrictEqual } from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import type { Outcome, RunOutcome } from "../../protocol/outcome.ts";
import { dagArbitrary, type RandomDag } from "./random-dag.ts";
import { expectedOf } from "./reference.ts";
import { SimulatedShell } from "./simulated-shell.ts";

const numRuns = Number(process.env.EDGEDAG_TEST_RUNS ?? 1500);
const choicesArbitrary = fc.array(fc.nat(10_000), { maxLength: 300, size: "max" });

function play(dag: RandomDag, choices: number[], mayCancel: boolean): SimulatedShell {
  const shell = new SimulatedShell({
    dag,
    choices,
    mayCancel,
    check: (condition, message) => {
      if (!condition) throw new Error(message);
    },
    same: (a, b, message) => deepStrictEqual(a, b, message),
  });
  shell.run();
  return shell;
}

t.test("a run without a cancel ends as the reference model says", async (t) => {
  let revocations = 0;
  let overtakings = 0;
  fc.assert(
    fc.property(dagArbitrary, choicesArbitrary, (dag, choices) => {
      const shell = play(dag, choices, false);
      revocations += shell.revocations;
      overtakings += shell.overtakings;
      const expected = expectedOf(dag);
      const tasks = Object.fromEntries(
        [...shell.ends].map(([i, outcome]) => [shell.state.keyOf(i), say(outcome)]),
      );
      deepStrictEqual({ tasks, run: sayRun(shell.runOutcome) }, expected);
    }),
    { numRuns },
  );
  t.ok(revocations > numRuns / 100, `${revocations} queued calls came back in ${numRuns} runs`);
  t.ok(overtakings > numRuns / 100, `${overtakings} were run by another worker`);
});

t.test("a run that is cancelled at any time ends, and in order", async (t) => {
  let cancelled = 0;
  fc.assert(
    fc.property(dagArbitrary, choicesArbitrary, (dag, choices) => {
      const shell = play(dag, choices, true);
      if (shell.isCancelled) {
        cancelled += 1;
        deepStrictEqual(shell.runOutcome, { kind: "cancelled", by: "user" });
      }
    }),
    { numRuns },
  );
  t.ok(cancelled > numRuns / 20, `${cancelled} of ${numRuns} runs were cancelled`);
});

function say(outcome: Outcome): string {
  return outcome.kind === "failed" ? `failed: ${outcome.failure.reason}` : outcome.kind;
}

function sayRun(outcome: RunOutcome | undefined): string {
  return outcome?.kind === "failed" ? `failed: ${outcome.failed.toSorted()}` : `${outcome?.kind}`;
}
