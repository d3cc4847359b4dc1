// Which secrets a task is given, whatever it calls them. Tasks with other sets never share a process.
import type { TaskAttributes } from "./dag.ts";

/** The same text for the same secrets; undefined: none. */
export function secretSet({ secrets }: Pick<TaskAttributes, "secrets">): string | undefined {
  if (secrets === undefined) return undefined;
  const names = new Set(Object.values(secrets).map(({ secret }) => secret));
  return names.size === 0 ? undefined : [...names].sort().join("\n");
}
