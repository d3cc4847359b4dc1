// SCAN, HSCAN and SSCAN. A cursor is the number of places still to visit, from the end down:
// collections.ts says why no member that stays for the whole scan can be missed.

import type { Client } from "../client.ts";
import { type Args, arg } from "../command.ts";
import { notInteger, syntaxError } from "../errors.ts";
import { matchesGlob } from "../glob.ts";
import { integer } from "../numbers.ts";

export interface ScanOptions {
  match: string;
  count: number;
  type: string | undefined;
}

/** Redis answers a small hash or set in one piece, whatever COUNT says. */
const onePieceSize = 128;

export function readCursor(client: Client, text: string): number | undefined {
  if (/^[0-9]{1,20}$/.test(text)) return Number(text);
  client.error("ERR invalid cursor");
  return undefined;
}

export function readScanOptions(
  client: Client,
  args: Args,
  from: number,
  allowsType: boolean,
): ScanOptions | undefined {
  const options: ScanOptions = { match: "*", count: 10, type: undefined };
  for (let at = from; at < args.length; at += 2) {
    const name = arg(args, at).toUpperCase();
    const value = args[at + 1];
    if (value === undefined) {
      client.error(syntaxError);
      return undefined;
    }
    if (name === "MATCH") options.match = value;
    else if (name === "TYPE" && allowsType) options.type = value.toLowerCase();
    else if (name === "COUNT") {
      options.count = integer(value);
      if (Number.isNaN(options.count) || options.count < 1) {
        client.error(Number.isNaN(options.count) ? notInteger : syntaxError);
        return undefined;
      }
    } else {
      client.error(syntaxError);
      return undefined;
    }
  }
  return options;
}

/** Visits up to `count` places below the cursor and returns the next cursor. */
export function visit(
  size: number,
  cursor: number,
  count: number,
  take: (position: number) => void,
): number {
  let at = cursor === 0 ? size : Math.min(cursor, size);
  const end = Math.max(at - count, 0);
  while (at > end) take(--at);
  return at;
}

export function scanCollection(
  client: Client,
  args: Args,
  find: () => { keys: readonly string[]; values?: readonly string[] } | undefined | null,
): void {
  const cursor = readCursor(client, arg(args, 2));
  if (cursor === undefined) return;
  const collection = find();
  if (collection === null) return;
  if (collection === undefined) {
    client.array(2);
    client.bulk("0");
    client.array(0);
    return;
  }
  const { keys, values } = collection;
  const options = readScanOptions(client, args, 3, false);
  if (options === undefined) return;
  const found: string[] = [];
  const count = keys.length <= onePieceSize ? keys.length : options.count;
  const next = visit(keys.length, cursor, count, (position) => {
    const key = keys[position] ?? "";
    if (options.match !== "*" && !matchesGlob(options.match, key)) return;
    found.push(key);
    if (values !== undefined) found.push(values[position] ?? "");
  });
  client.array(2);
  client.bulk(String(next));
  client.bulks(found);
}
