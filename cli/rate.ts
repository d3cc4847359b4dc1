// Reads rates as people write them: 10/s, 120/minute, 5 per 10 seconds.
import type { Rate } from "../master/access/rate-limit.ts";
import type { Parsed } from "../protocol/env-table.ts";

const day = 86_400_000;
const unitsMs: { readonly [unit: string]: number } = {
  s: 1000,
  sec: 1000,
  second: 1000,
  m: 60_000,
  min: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: day,
  day,
};

/** `off` and `none` are no limit. */
export function rate(value: string): Parsed<Rate | undefined> {
  if (value === "off" || value === "none") return { value: undefined };
  const match = /^(\d{1,9})\s*(?:\/|per)\s*(\d{0,6})\s*([a-z]+?)s?$/.exec(value.trim());
  const unitMs = unitsMs[match?.[3] ?? ""] ?? unitsMs[`${match?.[3]}s`];
  const count = Number(match?.[1]);
  if (match === null || unitMs === undefined || !(count >= 1)) {
    return { wrong: "it must be like 10/s or 120/minute, or off" };
  }
  const times = match[2] === "" || match[2] === undefined ? 1 : Number(match[2]);
  if (times < 1) return { wrong: "its time must not be 0" };
  return { value: { count, perMs: unitMs * times } };
}
