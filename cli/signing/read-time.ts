// Times on the command line: RFC 3339 with a zone, or a duration from now.
import { parseDuration } from "../../protocol/units.ts";

/** Unix milliseconds; undefined for what is neither. */
export function readTime(text: string, now: number): number | undefined {
  const durationMs = parseDuration(text);
  if (durationMs !== undefined) return now + durationMs;
  // Without a zone it would mean another time on another machine.
  if (!/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text))
    return undefined;
  const time = Date.parse(text);
  return Number.isNaN(time) || time < 0 ? undefined : time;
}
