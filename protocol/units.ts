// Durations and sizes as people write them, to milliseconds and bytes. Pure.
// A number without a unit is seconds or bytes; a text without a unit is refused, because
// `"60"` in a document has meant both seconds and milliseconds to somebody.

/** Days, hours, minutes, seconds, milliseconds, in this order, each at most once. */
export const durationPattern =
  /^(?=\d)(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$/;
export const sizePattern = /^(\d+(?:\.\d+)?)(B|k|M|G|T|Ki|Mi|Gi|Ti)$/;

/** Ten years: longer is a slip of the pen, and far below what a double counts exactly. */
export const maxDurationMs = 3650 * 86_400_000;
export const maxSizeBytes = 2 ** 50;

const durationUnitsMs = [86_400_000, 3_600_000, 60_000, 1000, 1];
const sizeUnitsBytes: { readonly [unit: string]: number } = {
  B: 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Whole milliseconds, or undefined where the value is no duration. The range is not checked. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === "number") {
    return Number.isFinite(value) ? Math.round(value * 1000) : undefined;
  }
  if (typeof value !== "string" || value.length > 100) return undefined;
  const match = durationPattern.exec(value);
  if (match === null) return undefined;
  let sum = 0;
  for (const [i, unitMs] of durationUnitsMs.entries()) sum += Number(match[i + 1] ?? 0) * unitMs;
  return Math.round(sum);
}

/** Whole bytes, or undefined where the value is no size. The range is not checked. */
export function parseSize(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? Math.round(value) : undefined;
  if (typeof value !== "string" || value.length > 100) return undefined;
  const match = sizePattern.exec(value);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * (sizeUnitsBytes[match[2] ?? ""] ?? Number.NaN));
}
