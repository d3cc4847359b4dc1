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
/** A list or map has begun; its elements follow. */
const opened = Symbol("opened");
const deepest = 512;
/** Of all but the bytes of a bulk. */
const longestLineBytes = 64 * 1024;

/**
 * Goes on where it was when more bytes come: what has been read of a reply is not read again, and
 * bytes are joined only when there are enough of them.
 */
export class Reader {
  #bytes = Buffer.alloc(0);
  #at = 0;
  /** @type {Uint8Array[]} */
  #chunks = [];
  #chunkBytes = 0;
  /** Bytes behind `#at` that must be there before it is worth looking again. */
  #wanted = 1;
  /** Bytes behind `#at` in which no line ends. */
  #searched = 0;
  /** @type {{ kind: string, size: number, items: unknown[] }[]} */
  #open = [];

  /** @param {Uint8Array} chunk */
  add(chunk) {
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.length;
    const rest = this.#bytes.length - this.#at;
    if (rest + this.#chunkBytes < this.#wanted) return;
    this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), ...this.#chunks]);
    this.#chunks = [];
    this.#chunkBytes = 0;
    this.#at = 0;
  }

  /**
   * The next reply: Buffer, number, boolean, null, array, Map or StoreError. Undefined: more bytes
   * are needed.
   * @returns {unknown}
   */
  next() {
    for (;;) {
      let value = this.#item();
      if (value === more) return undefined;
      if (value === opened) continue;
      for (;;) {
        const inner = this.#open.at(-1);
        if (inner === undefined) return value;
        inner.items.push(value);
        if (inner.items.length < inner.size) break;
        this.#open.pop();
        value = closed(inner);
      }
    }
  }

  /** @returns {unknown} */
  #item() {
    const end = this.#bytes.indexOf("\r\n", this.#at + this.#searched);
    if (end < 0) {
      const size = this.#bytes.length - this.#at;
      if (size > longestLineBytes) throw noReply("a line without end");
      this.#searched = Math.max(0, size - 1);
      return this.#wait(size + 1);
    }
    this.#searched = 0;
    // The same bytes are refused however they come in pieces.
    if (end - this.#at > longestLineBytes) throw noReply("a line without end");
    const kind = String.fromCharCode(this.#bytes[this.#at] ?? 0);
    const text = this.#bytes.toString("utf8", this.#at + 1, end);
    if ("$=!".includes(kind) && text !== "-1") return this.#bulk(kind, end + 2, count(text));
    this.#at = end + 2;
    this.#wanted = 1;
    switch (kind) {
      case "$":
      case "=":
      case "_":
        return null;
      case "+":
        return Buffer.from(text);
      case ":":
        return whole(text);
      case ",":
        return double(text);
      case "(":
        return BigInt(whole(text, true));
      case "*":
      case "~":
      case ">":
      case "%":
        return text === "-1" ? null : this.#begin(kind, count(text));
      case "-":
        return new StoreError(text);
      case "#":
        return text === "t";
      default:
        throw new StoreUnreachable(
          `the store has sent what is no reply: ${(kind + text).slice(0, 40)}`,
        );
    }
  }

  /**
   * @param {string} kind
   * @param {number} size
   */
  #begin(kind, size) {
    const inner = { kind, size: kind === "%" ? size * 2 : size, items: [] };
    if (size === 0) return closed(inner);
    if (this.#open.length === deepest) {
      throw new StoreUnreachable("the store has sent a reply that is nested too deeply");
    }
    this.#open.push(inner);
    return opened;
  }

  /**
   * @param {string} kind
   * @param {number} start
   * @param {number} size
   */
  #bulk(kind, start, size) {
    const end = start + size;
    if (this.#bytes.length < end + 2) return this.#wait(end + 2 - this.#at);
    this.#at = end + 2;
    this.#wanted = 1;
    const data = this.#bytes.subarray(start, end);
    if (kind === "!") return new StoreError(data.toString());
    return kind === "=" ? data.subarray(4) : data;
  }

  /** @param {number} bytes */
  #wait(bytes) {
    this.#wanted = bytes;
    return more;
  }
}

/** @param {{ kind: string, items: unknown[] }} inner */
function closed({ kind, items }) {
  if (kind !== "%") return items;
  const map = new Map();
  for (let at = 0; at < items.length; at += 2) map.set(String(items[at]), items[at + 1]);
  return map;
}

/**
 * How many bytes or elements follow. Anything else would move the reader backwards, for ever.
 * @param {string} text
 */
function count(text) {
  if (!/^\d{1,15}$/.test(text)) throw noReply(text);
  return Number(text);
}

/**
 * @param {string} text
 * @param {boolean} isBig
 */
function whole(text, isBig = false) {
  if (!/^[+-]?\d+$/.test(text)) throw noReply(text);
  return isBig ? text.replace("+", "") : Number(text);
}

/** @param {string} text */
function double(text) {
  if (/^[+-]?inf$/i.test(text)) return text[0] === "-" ? -Infinity : Infinity;
  const value = Number(text);
  if (text === "" || (Number.isNaN(value) && !/^-?nan$/i.test(text))) throw noReply(text);
  return value;
}

/** @param {string} text */
function noReply(text) {
  return new StoreUnreachable(`the store has sent what is no number: ${text.slice(0, 40)}`);
}
