// Events of the run: pub/sub channels of the store. The agent publishes `task.<key>.<state>` and
// `run.finished`; tasks publish their own.
import { address, beforeWaiting, Connection, execute } from "./connection.js";
import { WaitTimeout } from "./errors.js";
import { toJson } from "./store.js";

export class Subscription {
  #connection;
  #events = [];
  #waiting = [];
  #isClosed = false;
  /** Resolves when the store has confirmed: what is published from then on arrives. */
  ready;

  /** @param {string[]} channels */
  constructor(channels) {
    if (channels.length === 0) throw new TypeError("subscribe needs at least one channel");
    this.#connection = new Connection(address(), (push) => {
      const event = { channel: String(push[1]), data: dataOf(String(push[2])) };
      const first = this.#waiting.shift();
      if (first === undefined) this.#events.push(event);
      else first.resolve(event);
    });
    // One confirmation a channel comes, to one command each.
    this.ready = Promise.all(
      channels.map((channel) => this.#connection.execute(["SUBSCRIBE", channel])),
    ).then(() => {});
    this.ready.catch((error) => this.#end(error));
  }

  /** @param {{ timeoutMs?: number }} [options] */
  async next(options = {}) {
    await this.ready;
    const event = this.#events.shift();
    if (event !== undefined) return event;
    const waiting = Promise.withResolvers?.() ?? deferred();
    this.#waiting.push(waiting);
    beforeWaiting();
    const { timeoutMs } = options;
    if (timeoutMs === undefined) return await waiting.promise;
    const timer = setTimeout(() => {
      this.#waiting = this.#waiting.filter((other) => other !== waiting);
      waiting.reject(new WaitTimeout(`no event came within ${timeoutMs} ms`));
    }, timeoutMs);
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async *[Symbol.asyncIterator]() {
    try {
      while (!this.#isClosed) yield await this.next();
    } finally {
      this.close();
    }
  }

  close() {
    this.#end(new WaitTimeout("the subscription is closed"));
  }

  /** @param {Error} error */
  #end(error) {
    this.#isClosed = true;
    this.#connection.close();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

export const events = {
  publish: (channel, data) => execute(["PUBLISH", channel, toJson(data)]),
  subscribe: (...channels) => new Subscription(channels),
  wait: async (channel, options) => {
    const subscription = new Subscription([channel]);
    try {
      return await subscription.next(options);
    } finally {
      subscription.close();
    }
  },
};

/** Promise.withResolvers came with Node.js 22. */
function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

/** @param {string} text */
function dataOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
