// Numbers as Redis reads and writes them: 64-bit integers and decimal fractions.
// Fractions are added as exact decimals: Redis uses long double, which JavaScript lacks,
// and a binary double would answer 0.30000000000000004 where Redis answers 0.3.

const int64Max = 9223372036854775807n;
const int64Min = -9223372036854775808n;

/** A canonical decimal integer that a double holds exactly; NaN for anything else. */
export function smallInteger(text: string): number {
  const length = text.length;
  if (length === 0 || length > 15) return Number.NaN;
  let at = 0;
  let value = 0;
  if (text.charCodeAt(0) === 45) {
    if (length === 1) return Number.NaN;
    at = 1;
  }
  // "0" is canonical; "-0" and "01" are not.
  if (text.charCodeAt(at) === 48) return length === 1 ? 0 : Number.NaN;
  const isNegative = at === 1;
  for (; at < length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return isNegative ? -value : value;
}

/** A canonical decimal integer of 64 bits, or undefined. */
export function int64(text: string): bigint | undefined {
  if (!/^(?:0|-?[1-9][0-9]{0,18})$/.test(text)) return undefined;
  const value = BigInt(text);
  return isInt64(value) ? value : undefined;
}

/** Like int64, as a double: exact up to 2^53, which is enough for counts and indexes. */
export function integer(text: string): number {
  const small = smallInteger(text);
  if (!Number.isNaN(small)) return small;
  const value = int64(text);
  return value === undefined ? Number.NaN : Number(value);
}

export function isInt64(value: bigint): boolean {
  return value >= int64Min && value <= int64Max;
}

/** A finite decimal fraction: units / 10^scale. */
export interface Decimal {
  units: bigint;
  scale: number;
}

/** Largest exponent of an 80-bit long double; beyond it Redis reads an infinity. */
const exponentLimit = 4932;

/** Reads a decimal as strtold does, without hexadecimal forms; undefined when it is none. */
export function decimal(text: string): Decimal | undefined {
  const parts = /^([+-]?)([0-9]*)(?:\.([0-9]*))?(?:e([+-]?[0-9]{1,9}))?$/i.exec(text);
  if (parts === null || text.length > 5 * 1024) return undefined;
  const [, sign = "", whole = "", fraction = "", exponentText = "0"] = parts;
  if (whole === "" && fraction === "") return undefined;
  const exponent = Number(exponentText);
  const units = BigInt(whole + fraction) * (sign === "-" ? -1n : 1n);
  if (units === 0n) return { units: 0n, scale: 0 };
  if (exponent > exponentLimit || exponent < -exponentLimit) return undefined;
  const scale = fraction.length - exponent;
  return scale >= 0 ? { units, scale } : { units: units * 10n ** BigInt(-scale), scale: 0 };
}

/** The sum, written with at most 17 digits after the point and no trailing zeros. */
export function addDecimals(a: Decimal, b: Decimal): string {
  const scale = Math.max(a.scale, b.scale);
  const sum = a.units * 10n ** BigInt(scale - a.scale) + b.units * 10n ** BigInt(scale - b.scale);
  return writeDecimal(sum, scale);
}

function writeDecimal(units: bigint, scale: number): string {
  const isNegative = units < 0n;
  let digits = isNegative ? -units : units;
  let places = scale;
  if (places > 17) {
    const cut = 10n ** BigInt(places - 17);
    digits = (digits + cut / 2n) / cut;
    places = 17;
  }
  if (digits === 0n) return "0";
  const text = digits.toString().padStart(places + 1, "0");
  const whole = text.slice(0, text.length - places);
  const fraction = text.slice(text.length - places).replace(/0+$/, "");
  return `${isNegative ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`;
}
