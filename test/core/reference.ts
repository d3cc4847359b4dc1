// What a run must come to, worked out task by task in the order of the document, with none of the
// scheduler's code: the independent reading of the rules. Valid for runs that nobody cancels.
import { neverEvent, type RandomDag } from "./random-dag.ts";

export interface Expected {
  /** `succeeded`, `failed: <reason>` or `skipped` by task and item. */
  tasks: Record<string, string>;
  run: string;
}

export function expectedOf({ tasks, scripts }: RandomDag): Expected {
  const ends: Record<string, string> = {};
  const failed: string[] = [];
  let beforeExit: "success" | "failure" | undefined;
  Object.entries(tasks).forEach(([key, task], at) => {
    const { fails, when, items } = scripts[at] ?? { fails: 0, when: "true", items: 0 };
    if (task.exit !== undefined) beforeExit ??= failed.length > 0 ? "failure" : "success";
    const attempt = (failures: number) => {
      if ((task.resources?.cpu ?? 0) > 4) return "failed: backend";
      return failures > (task.retries?.limit ?? 0) ? "failed: exit-code" : "succeeded";
    };
    const decide = (): string => {
      if (task.exit !== undefined && task.exit !== "any" && task.exit !== beforeExit)
        return "skipped";
      const isMet = (task.needs ?? []).every((need) => {
        const [source = "", on] = need.split("?");
        const end = ends[source] ?? "";
        return on === "any" || (on === "success" ? end === "succeeded" : end.startsWith("failed"));
      });
      if (!isMet) return "skipped";
      if (task.when !== undefined && when === "false") return "skipped";
      if (task.when !== undefined && when === "fails") return "failed: bad-result";
      if (task.waitFor?.event === neverEvent) return "failed: timeout";
      if (task.map === undefined) return attempt(fails);
      if (items === "fails") return "failed: bad-result";
      const each = Array.from({ length: items }, (_, i) => attempt((fails + i) % 4));
      each.forEach((end, i) => {
        ends[`${key}[${i}]`] = end;
      });
      return each.find((end) => end !== "succeeded") ?? "succeeded";
    };
    const end = decide();
    ends[key] = end;
    if (end.startsWith("failed") && task.allowFailure === undefined) failed.push(key);
  });
  return { tasks: ends, run: failed.length > 0 ? `failed: ${failed.sort()}` : "succeeded" };
}
