// The engine's own figures of a container, for containers whose control groups are not seen here
// (an agent in a container of its own). Coarser: no count of kills, and the peak of memory only
// where the engine has it. Pure.
import type { CgroupReading } from "./container-cgroup.ts";
import { fields } from "./docker-engine.ts";

/** `stats`: the answer of /containers/{id}/stats. */
export function readingOfStats(stats: unknown): CgroupReading | undefined {
  const { cpu_stats, memory_stats, pids_stats, blkio_stats } = fields(stats);
  const reading: CgroupReading = {};
  const take = (name: keyof CgroupReading, value: unknown, factor = 1) => {
    if (typeof value === "number") reading[name] = value * factor;
  };
  const cpu = fields(fields(cpu_stats).cpu_usage);
  const memory = fields(memory_stats);
  take("cpuUserMs", cpu.usage_in_usermode, 1e-6);
  take("cpuSystemMs", cpu.usage_in_kernelmode, 1e-6);
  take("memoryBytes", memory.usage);
  take("peakMemoryBytes", memory.max_usage);
  take("pids", fields(pids_stats).current);
  const entries = fields(blkio_stats).io_service_bytes_recursive;
  for (const entry of Array.isArray(entries) ? entries : []) {
    const { op, value } = fields(entry);
    if (typeof value !== "number" || typeof op !== "string") continue;
    if (op.toLowerCase() === "read") reading.readBytes = (reading.readBytes ?? 0) + value;
    if (op.toLowerCase() === "write") reading.writtenBytes = (reading.writtenBytes ?? 0) + value;
  }
  return reading.memoryBytes === undefined ? undefined : reading;
}
