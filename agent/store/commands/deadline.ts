// Reads the time arguments of SET, GETEX, SETEX and the EXPIRE family.

import type { Client } from "../client.ts";
import { notInteger } from "../errors.ts";
import { int64, isInt64 } from "../numbers.ts";

/** Unix milliseconds for EX, PX, EXAT or PXAT; undefined when the error was answered. */
export function deadlineFrom(
  client: Client,
  unit: string,
  text: string,
  name: string,
): number | undefined {
  const amount = int64(text);
  if (amount === undefined) {
    client.error(notInteger);
    return undefined;
  }
  const deadline = toDeadline(amount, unit);
  if (amount <= 0n || deadline === undefined) {
    client.error(`ERR invalid expire time in '${name}' command`);
    return undefined;
  }
  return deadline;
}

/** Undefined when the time does not fit 64 bits of milliseconds. */
export function toDeadline(amount: bigint, unit: string): number | undefined {
  const ms = unit.startsWith("P") ? amount : amount * 1000n;
  const at = unit.endsWith("AT") ? ms : ms + BigInt(Date.now());
  return isInt64(ms) && isInt64(at) ? Number(at) : undefined;
}
