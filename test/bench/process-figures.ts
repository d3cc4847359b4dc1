// What the kernel says of a process and its descendants: memory, CPU time, how often it woke.
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessFigures {
  /** Proportional set size: shared pages count by share. */
  pssBytes: number;
  cpuMs: number;
  /** Voluntary context switches of all threads: each is a sleep that something ended. */
  wakeUps: number;
  /** Command names with their share of the memory. */
  parts: { name: string; pssBytes: number }[];
}

export function figuresOf(pid: number): ProcessFigures {
  const sum: ProcessFigures = { pssBytes: 0, cpuMs: 0, wakeUps: 0, parts: [] };
  for (const member of [pid, ...descendants(pid)]) {
    const pssBytes = field(`/proc/${member}/smaps_rollup`, "Pss") * 1024;
    sum.pssBytes += pssBytes;
    sum.parts.push({ name: readFileSync(`/proc/${member}/comm`, "utf8").trim(), pssBytes });
    for (const thread of readdirSync(`/proc/${member}/task`)) {
      const path = `/proc/${member}/task/${thread}`;
      sum.cpuMs += Number(readFileSync(`${path}/schedstat`, "utf8").split(" ", 1)[0]) / 1e6;
      sum.wakeUps += field(`${path}/status`, "voluntary_ctxt_switches");
    }
  }
  return sum;
}

function descendants(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean),
  );
  return children.flatMap((child) => [Number(child), ...descendants(Number(child))]);
}

function field(path: string, name: string): number {
  const found = new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(readFileSync(path, "utf8"))?.[1];
  if (found === undefined) throw new Error(`${path} has no ${name}`);
  return Number(found);
}
