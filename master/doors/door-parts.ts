// What the doors are given.
import type { Clock, Logger } from "../clock.ts";
import type { CodePolicy } from "../policy/policy.ts";
import type { Refused } from "../snippets/metrics.ts";
import type { Snippets } from "../snippets/snippets.ts";
import type { Statistics } from "../snippets/statistics.ts";
import type { CallbackRule } from "./callback-url.ts";
import type { SnippetRules } from "./rules.ts";

export interface DoorParts {
  snippets: Snippets;
  statistics: Statistics;
  rules: SnippetRules;
  /** Names of queues. */
  languages: ReadonlySet<string>;
  callbacks: CallbackRule;
  /** Absent: code is not looked at. */
  policy?: CodePolicy;
  /** A request was not taken in. */
  refused(why: Refused): void;
  /** Programs that commands must not begin with. */
  deniedCommands: readonly string[];
  clock: Clock;
  log: Logger;
}
