// The comparison that the example tests lean on finds every kind of difference.
import t from "tap";
import type { Json } from "../../protocol/json.ts";
import { differences } from "./matches.ts";

t.test("what is expected is there", async (t) => {
  const same: [actual: Json, expected: Json][] = [
    [{ a: 1, more: true }, { a: 1 }],
    [0.1 + 0.2, 0.3],
    [1e12 + 1e-4, 1e12],
    [[{ a: null, b: 1 }], [{ a: null }]],
    [[], []],
  ];
  for (const [actual, expected] of same) t.same(differences(actual, expected), []);
});

t.test("each difference is named with its path", async (t) => {
  const different: [actual: Json | undefined, expected: Json, found: string][] = [
    [undefined, 1, "result: nothing is not 1"],
    [{}, { a: 1 }, "result.a: nothing is not 1"],
    [{ a: 1 }, { a: "1" }, 'result.a: 1 is not "1"'],
    [1, 1.00001, "result: 1 is not 1.00001"],
    [[1, 2], [1], "result: [1,2] is not a list of 1"],
    [[1], [], "result: [1] is not a list of 0"],
    [{ a: [{ b: 2 }] }, { a: [{ b: 3 }] }, "result.a[0].b: 2 is not 3"],
    [[], {}, "result: [] is not an object"],
    [{}, [], "result: {} is not a list of 0"],
    [null, {}, "result: null is not an object"],
    [0, null, "result: 0 is not null"],
    [false, 0, "result: false is not 0"],
  ];
  for (const [actual, expected, found] of different) {
    t.same(differences(actual, expected), [found]);
  }
  t.equal(differences({ a: 1, b: 2 }, { a: 2, b: 3 }).length, 2, "all of them");
});
