// Tells URLs of ends: at least once, with growing pauses, also after a restart, and never into the
// service's own network unless the operator allows it: the address is judged when it is connected to,
// so that a name cannot point elsewhere by then.
import { createHmac } from "node:crypto";
import { lookup } from "node:dns";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { LookupFunction } from "node:net";
import type { Clock, Logger } from "../clock.ts";
import type { SnippetRecord } from "./snippet.ts";
import type { SnippetStore } from "./store/store.ts";

export interface CallbacksOptions {
  store: SnippetStore;
  /** The body of the request. */
  view(record: SnippetRecord): object;
  /** Whether an address may be connected to. */
  mayCall(address: string): boolean;
  /** Signs the body: header `X-Edgedag-Signature: sha256=<HMAC in hex>`. */
  secret?: string;
  clock: Clock;
  log: Logger;
}

const lookEveryMs = 1000;
const mostAtOnce = 8;
const timeoutMs = 10_000;
const mostTries = 10;
const firstPauseMs = 1000;
const mostPauseMs = 600_000;

export class Callbacks {
  readonly #options: CallbacksOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #stopped = new AbortController();
  #working: Promise<void> | undefined;
  #isAgain = false;

  constructor(options: CallbacksOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.look(), lookEveryMs).unref();
  }

  /** Something has ended that wants to be told. */
  look(): void {
    if (this.#working !== undefined) {
      this.#isAgain = true;
      return;
    }
    if (this.#stopped.signal.aborted) return;
    this.#working = this.#work()
      .catch((error: unknown) => {
        this.#options.log.warn({ error: String(error) }, "callbacks cannot be looked up now");
      })
      .finally(() => {
        this.#working = undefined;
        if (!this.#isAgain) return;
        this.#isAgain = false;
        this.look();
      });
  }

  /** Those under way are cut off; they are told again by the next start. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopped.abort();
    await this.#working;
  }

  async #work(): Promise<void> {
    const { store, clock } = this.#options;
    for (;;) {
      const due = await store.dueCallbacks(clock(), mostAtOnce);
      await Promise.all(due.map((callback) => this.#tell(callback)));
      if (due.length < mostAtOnce || this.#stopped.signal.aborted) return;
    }
  }

  async #tell({ id, url, tries }: { id: string; url: string; tries: number }): Promise<void> {
    const { store, clock, log, view } = this.#options;
    const record = await store.get(id);
    const problem =
      record === undefined ? undefined : await this.#post(url, JSON.stringify(view(record)));
    if (this.#stopped.signal.aborted) return;
    if (problem === undefined) {
      await store.callbackTried(id, undefined);
      return;
    }
    const isGivenUp = tries + 1 >= mostTries;
    const pauseMs = Math.min(firstPauseMs * 4 ** tries, mostPauseMs) * (0.75 + Math.random() / 2);
    log.warn(
      { snippet: id, tries: tries + 1, problem },
      isGivenUp ? "a callback is given up" : "a callback failed and is tried again",
    );
    await store.callbackTried(id, isGivenUp ? undefined : clock() + Math.round(pauseMs));
  }

  /** Why it was not taken; undefined: it was. */
  #post(url: string, body: string): Promise<string | undefined> {
    const { secret, mayCall } = this.#options;
    const target = new URL(url);
    const send = target.protocol === "https:" ? httpsRequest : httpRequest;
    const headers: { [name: string]: string | number } = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "user-agent": "edgedag",
    };
    if (secret !== undefined) {
      const digest = createHmac("sha256", secret).update(body).digest("hex");
      headers["x-edgedag-signature"] = `sha256=${digest}`;
    }
    return new Promise((resolve) => {
      const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(timeoutMs)]);
      const asked = send(
        target,
        { method: "POST", headers, signal, lookup: lookUpAllowed(mayCall) },
        (response) => {
          // Redirects are not followed: they would lead past the check of the address.
          const status = response.statusCode ?? 0;
          response.resume();
          resolve(status >= 200 && status < 300 ? undefined : `it answered ${status}`);
        },
      );
      asked.on("error", (error) => resolve(error.message));
      // An address in the URL is not looked up.
      const literal = target.hostname.replace(/^\[|\]$/g, "");
      if (/^[\d.]+$|:/.test(literal) && !mayCall(literal)) {
        asked.destroy(new Error(`${literal} is not an address that may be called`));
        return;
      }
      asked.end(body);
    });
  }
}

function lookUpAllowed(mayCall: (address: string) => boolean): LookupFunction {
  return (host, options, done) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      const allowed = (addresses ?? []).filter(({ address }) => mayCall(address));
      const [first] = allowed;
      if (error !== null) done(error, []);
      else if (first === undefined) {
        done(new Error(`${host} leads to an address that may not be called`), []);
      } else if (options.all === true) done(null, allowed);
      else done(null, first.address, first.family);
    });
  };
}
