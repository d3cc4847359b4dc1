// The wire of the store: commands as RESP arrays of bulk strings, replies in RESP2 or RESP3.
// Knows no command and opens no connection.
import { StoreError, StoreUnreachable } from "./errors.js";

/**
 * One command. Text becomes UTF-8, numbers their shortest decimal form.
 * @param {(string | number | Uint8Array)[]} command
 * @returns {Buffer}
 */
export function encode(command) {
  const parts = [Buffer.from(`*${command.length}\r\n`)];
  for (const argument of command) {
    const bytes = bytesOf(argument);
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n"));
  }
  return Buffer.concat(parts);
}

/** @param {unknown} argument */
function bytesOf(argument) {
  if (typeof argument === "string") return Buffer.from(argument);
  if (typeof argument === "number") return Buffer.from(String(argument));
  if (argument instanceof Uint8Array) return Buffer.from(argument);
  const kind = argument === null ? "null" : typeof argument;
  throw new TypeError(
    `a store command takes strings, numbers or bytes, not ${kind}; use setJson for data`,
  );
}

/** Not all of the reply has come yet. */
const more = Symbol("more");

export class Reader {
  #bytes = Buffer.alloc(0);
  #at = 0;

  /** @param {Uint8Array} chunk */
  add(chunk) {
    this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), chunk]);
    this.#at = 0;
  }

  /**
   * The next reply: Buffer, number, boolean, null, array, Map or StoreError. Undefined: more bytes
   * are needed.
   * @returns {unknown}
   */
  next() {
    const start = this.#at;
    try {
      return this.#reply();
    } catch (signal) {
      if (signal !== more) throw signal;
      this.#at = start;
      return undefined;
    }
  }

  /** @returns {unknown} */
  #reply() {
    const line = this.#line();
    const text = line.slice(1);
    switch (line[0]) {
      case "$":
        return text === "-1" ? null : this.#exactly(Number(text));
      case "=":
        return this.#exactly(Number(text)).subarray(4);
      case "+":
        return Buffer.from(text);
      case ":":
      case ",":
        return Number(text);
      case "(":
        return BigInt(text);
      case "*":
      case "~":
      case ">":
        return text === "-1" ? null : Array.from({ length: Number(text) }, () => this.#reply());
      case "-":
        return new StoreError(text);
      case "!":
        return new StoreError(this.#exactly(Number(text)).toString());
      case "%":
        return new Map(
          Array.from({ length: Number(text) }, () => [String(this.#reply()), this.#reply()]),
        );
      case "_":
        return null;
      case "#":
        return text === "t";
      default:
        throw new StoreUnreachable(`the store has sent what is no reply: ${line.slice(0, 40)}`);
    }
  }

  #line() {
    const end = this.#bytes.indexOf("\r\n", this.#at);
    if (end < 0) throw more;
    const line = this.#bytes.toString("utf8", this.#at, end);
    this.#at = end + 2;
    return line;
  }

  /** @param {number} count */
  #exactly(count) {
    const end = this.#at + count;
    if (this.#bytes.length < end + 2) throw more;
    const data = this.#bytes.subarray(this.#at, end);
    this.#at = end + 2;
    return data;
  }
}
