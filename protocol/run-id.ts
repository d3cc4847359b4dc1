// Names of runs: readable, sortable by time, and valid as folder names. Pure.

/** `weather-20261123-160102-9f3a`; `random` in [0, 1). */
export function newRunId(dag: string, now: number, random: number): string {
  const time = new Date(now).toISOString();
  const stamp = `${time.slice(0, 10).replaceAll("-", "")}-${time.slice(11, 19).replaceAll(":", "")}`;
  const name = dag.replace(/[^A-Za-z0-9._-]/g, "-").replace(/^[^A-Za-z0-9]+/, "");
  const tail = Math.floor(random * 0x10000)
    .toString(16)
    .padStart(4, "0");
  return `${name.slice(0, 60) || "run"}-${stamp}-${tail}`;
}
