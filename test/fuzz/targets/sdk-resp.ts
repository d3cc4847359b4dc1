// The reader of replies in the SDK for Node.js: whatever comes from a store, replies or one error
// that says so; never a loop, never the same bytes twice.

import { cut } from "../engine/frames.ts";
import { must, shown, type Target } from "../target.ts";

interface Reader {
  add(chunk: Uint8Array): void;
  next(): unknown;
}

export async function open(): Promise<Target> {
  const { Reader } = (await import("../../../sdk/node/resp.js" as string)) as {
    Reader: new () => Reader;
  };
  const read = (pieces: readonly Buffer[]): { replies: unknown[]; error?: string } => {
    const reader = new Reader();
    const replies: unknown[] = [];
    for (const piece of pieces) {
      reader.add(piece);
      try {
        for (let reply = reader.next(); reply !== undefined; reply = reader.next()) {
          replies.push(reply);
          must(replies.length < 100_000, "more replies than bytes");
        }
      } catch (error) {
        const name = error instanceof Error ? error.constructor.name : "";
        if (name !== "StoreUnreachable") throw error;
        return { replies, error: String(error) };
      }
    }
    return { replies };
  };
  return {
    covers: /\/sdk\/node\/resp\.js$/,
    dictionary: [
      "$",
      "*",
      "%",
      "~",
      ">",
      "(",
      ",",
      ":",
      "#t\r\n",
      "_\r\n",
      "-ERR x\r\n",
      "!3\r\nabc\r\n",
      "=7\r\ntxt:abc\r\n",
      "$-1\r\n",
      "*-1\r\n",
      "\r\n",
      "$1e3\r\n",
      "*1\r\n",
    ],
    seeds: () => [
      "+OK\r\n$5\r\nhello\r\n:12\r\n*2\r\n$1\r\na\r\n_\r\n",
      "%1\r\n$1\r\na\r\n,1.5\r\n~1\r\n#t\r\n>2\r\n+a\r\n+b\r\n(123456789012345678901\r\n",
      "-ERR no\r\n!5\r\nWRONG\r\n=7\r\ntxt:abc\r\n$-1\r\n*-1\r\n",
    ],
    run(input) {
      const whole = read([input]);
      must(whole.replies.length <= input.length, "more replies than bytes");
      const pieces = read(cut(input));
      const text = (read: { replies: unknown[]; error?: string }) =>
        JSON.stringify(read.replies, (_, value) =>
          typeof value === "bigint" ? String(value) : value,
        );
      must(
        text(whole) === text(pieces),
        `cut elsewhere: ${shown(text(pieces))}, not ${shown(text(whole))}`,
      );
    },
  };
}
