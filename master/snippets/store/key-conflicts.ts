// Idempotency keys that were used for something else: where one of a call was, none of it is stored.
// Pure; the stores say what they have.
import type { SnippetColumns } from "./columns.ts";
import type { Inserted } from "./store.ts";

export interface KeyOwner {
  id: string;
  digest: unknown;
}

/** What to answer without storing anything; undefined: there is no conflict. */
export function conflictsOf(
  rows: readonly SnippetColumns[],
  known: (owner: string, key: string) => KeyOwner | undefined,
): Inserted[] | undefined {
  const own = new Map<string, KeyOwner>();
  let hasConflict = false;
  const answers = rows.map(({ id, owner, key, digest }): Inserted => {
    if (key === null) return { kind: "new", id };
    const name = JSON.stringify([owner, key]);
    const before = known(owner, key) ?? own.get(name);
    // Its own row: the same call again, whose first answer was lost.
    if (before === undefined || before.id === id) {
      own.set(name, { id, digest });
      return { kind: "new", id };
    }
    const isConflict = before.digest !== digest;
    hasConflict ||= isConflict;
    return { kind: isConflict ? "conflict" : "known", id: before.id };
  });
  return hasConflict ? answers : undefined;
}
