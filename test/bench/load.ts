// How long to load and validate a large DAG in the serialized form?
// usage: node --expose-gc test/bench/load.ts [--quick]
import { sized, tell } from "./frame.ts";
import { loadingRow, seconds } from "./loading.ts";

tell(
  await loadingRow({
    size: sized(100_000, 5000),
    goal: 1,
    rounds: sized(7, 2),
    warmUps: 1,
    also: (text) => [{ name: "JSON.parse alone", round: () => seconds(() => JSON.parse(text)) }],
  }),
);
