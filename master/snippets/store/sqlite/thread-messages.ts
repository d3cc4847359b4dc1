// What the caller's side and the thread of snippets.db say to each other. Plain data only.
import type { Durability } from "./database.ts";
import type { Answer, Call } from "./operations.ts";
import type { Problem } from "./problems.ts";

export interface ThreadData {
  folder: string;
  durability: Durability;
}

export type ToThread = { type: "calls"; calls: readonly Call[] } | { type: "close" };

export type FromThread =
  | { type: "opened" }
  | { type: "refused"; problem: Problem }
  | { type: "answers"; answers: readonly Answer[] };
