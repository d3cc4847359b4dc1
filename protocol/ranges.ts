// Smallest and largest number of each kind in a DAG document, and whether it must be whole.
// The hand-written checks and the zod schemas both read this.

export const ranges = {
  attempts: [0, 1000, true],
  factor: [1, 100, false],
  jitter: [0, 1, false],
  priority: [-1_000_000, 1_000_000, true],
  pool: [1, 1_000_000, true],
  concurrency: [1, 1_000_000, true],
  cpu: [0.001, 100_000, false],
  gpu: [0, 10_000, false],
  cpus: [0.01, 1024, false],
  pids: [1, 4_194_304, true],
  artifacts: [1, 1_000_000, true],
  openFiles: [3, 1_048_576, true],
} as const satisfies { [name: string]: readonly [number, number, boolean] };

export function inRange(value: unknown, name: keyof typeof ranges): value is number {
  const [least, most, isInteger] = ranges[name];
  if (typeof value !== "number" || !(value >= least && value <= most)) return false;
  return !isInteger || Number.isInteger(value);
}
