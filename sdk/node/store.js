// The store that all tasks of a run share: the commands of Redis by their own names.
import { execute } from "./connection.js";

/** @param {unknown} value */
function text(value) {
  return value instanceof Uint8Array ? Buffer.from(value).toString() : value;
}

/** @param {{ ttl?: number } | undefined} options */
function expiry(options) {
  return options?.ttl === undefined ? [] : ["PX", Math.round(options.ttl * 1000)];
}

export const store = {
  execute: (...command) => execute(command),
  get: async (key) => text(await execute(["GET", key])),
  set: async (key, value, options) => {
    await execute(["SET", key, value, ...expiry(options)]);
  },
  getJson: async (key) => {
    const value = await execute(["GET", key]);
    return value === null ? null : JSON.parse(text(value));
  },
  setJson: async (key, value, options) => {
    await execute(["SET", key, toJson(value), ...expiry(options)]);
  },
  delete: (...keys) => execute(["DEL", ...keys]),
  incr: (key, by = 1) => execute(["INCRBY", key, by]),
  expire: async (key, ttl) => (await execute(["PEXPIRE", key, Math.round(ttl * 1000)])) === 1,
  hset: (key, field, value) => execute(["HSET", key, field, value]),
  hget: async (key, field) => text(await execute(["HGET", key, field])),
  hgetall: async (key) => {
    const reply = await execute(["HGETALL", key]);
    const pairs = reply instanceof Map ? [...reply] : pairsOf(reply);
    return Object.fromEntries(pairs.map(([name, value]) => [text(name), text(value)]));
  },
  lpush: (key, ...values) => execute(["LPUSH", key, ...values]),
  rpush: (key, ...values) => execute(["RPUSH", key, ...values]),
  blpop: async (keys, timeout = 0) => {
    const names = typeof keys === "string" ? [keys] : keys;
    const reply = await execute(["BLPOP", ...names, timeout]);
    return reply === null ? null : [text(reply[0]), text(reply[1])];
  },
  sadd: (key, ...members) => execute(["SADD", key, ...members]),
  smembers: async (key) => new Set([...(await execute(["SMEMBERS", key]))].map(text)),
};

/** @param {unknown[]} flat */
function pairsOf(flat) {
  return Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], flat[2 * at + 1]]);
}

/** @param {unknown} value */
export function toJson(value) {
  const json = JSON.stringify(value ?? null);
  if (json === undefined) throw new TypeError(`a ${typeof value} is not JSON`);
  return json;
}
