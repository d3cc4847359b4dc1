// The evidence of one box: a file outside of every state folder, to which tasks, dying services and
// chaos itself append whole lines. Their order in the file is the order of what happened; no clock is
// needed to compare a task's beginning with a kill. Lines, by their first word:
//   begin|end RUN TASK ATTEMPT NANOSECONDS PID     a task of the built-in DAG (a monotonic clock)
//   point PID NAME:NTH                             a service, before it kills itself
//   kill TARGET PID                                chaos, before it sends SIGKILL
//   dead TARGET PID                                chaos, when it has seen the end
//   start SERVICE PID END
import { appendFileSync, readFileSync } from "node:fs";

export type EvidenceLine =
  | { kind: "begin" | "end"; run: string; task: string; attempt: number; at: number }
  | { kind: "point"; pid: number; point: string; at: number }
  | { kind: "kill" | "dead" | "start"; target: string; pid: number; at: number };

export class Evidence {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
    this.append("chaos begins");
  }

  append(line: string): void {
    appendFileSync(this.path, `${line}\n`);
  }

  /** `at` is the line's number. A line that is not whole (its writer was killed) is passed over. */
  read(): EvidenceLine[] {
    const lines: EvidenceLine[] = [];
    for (const [at, text] of readFileSync(this.path, "utf8").split("\n").entries()) {
      const [kind = "", ...words] = text.split(" ");
      if ((kind === "begin" || kind === "end") && words.length === 5) {
        const [run = "", task = "", attempt] = words;
        lines.push({ kind, run, task, attempt: Number(attempt), at });
      } else if (kind === "point" && words.length === 2) {
        lines.push({ kind, pid: Number(words[0]), point: words[1] ?? "", at });
      } else if ((kind === "kill" || kind === "dead" || kind === "start") && words.length >= 2) {
        lines.push({ kind, target: words[0] ?? "", pid: Number(words[1]), at });
      }
    }
    return lines;
  }

  /** How many lines there are: what comes next has this number or a higher one. */
  get length(): number {
    return readFileSync(this.path, "utf8").split("\n").length - 1;
  }

  /** The point at which the process killed itself. */
  pointOf(pid: number): string | undefined {
    const found = this.read().findLast((line) => line.kind === "point" && line.pid === pid);
    return found?.kind === "point" ? found.point : undefined;
  }
}
