// Compares a real result with an expected one that need not name every member.
import type { Json } from "../../protocol/json.ts";

/**
 * The differences, one line each with its path; empty when all that is expected is there. Objects
 * may have further members, lists may not; numbers are equal within 1e-9 of their size, because
 * the two sides may have added in another order.
 */
export function differences(actual: Json | undefined, expected: Json, path = "result"): string[] {
  if (typeof expected === "number" && typeof actual === "number") {
    const isEqual = Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected));
    return isEqual ? [] : [`${path}: ${actual} is not ${expected}`];
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) {
      return [`${path}: ${short(actual)} is not a list of ${expected.length}`];
    }
    return expected.flatMap((item, index) => differences(actual[index], item, `${path}[${index}]`));
  }
  if (typeof expected === "object" && expected !== null) {
    if (typeof actual !== "object" || actual === null || Array.isArray(actual)) {
      return [`${path}: ${short(actual)} is not an object`];
    }
    return Object.entries(expected).flatMap(([name, value]) =>
      differences(actual[name], value, `${path}.${name}`),
    );
  }
  return actual === expected ? [] : [`${path}: ${short(actual)} is not ${short(expected)}`];
}

function short(value: Json | undefined): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 80);
}
