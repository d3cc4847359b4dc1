// Reads server-sent events as the standard has them (WHATWG HTML, 9.2.6): one at a time, from a real
// connection that the test may cut.
import { patienceMs } from "../rig/until.ts";

export interface ServerEvent {
  id: string | undefined;
  event: string;
  data: { [name: string]: unknown };
}

export class Events implements AsyncDisposable {
  readonly headers: Headers;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  readonly #cut: AbortController;
  #text = "";
  #isOver = false;

  private constructor(response: Response, cut: AbortController) {
    if (response.status !== 200 || response.body === null) {
      throw new Error(`the stream answered ${response.status}`);
    }
    this.headers = response.headers;
    this.#reader = response.body.getReader();
    this.#cut = cut;
  }

  static async open(
    url: string,
    lastEventId?: string,
    headers: { [name: string]: string } = {},
  ): Promise<Events> {
    const cut = new AbortController();
    const again = lastEventId === undefined ? {} : { "last-event-id": lastEventId };
    const response = await fetch(url, { headers: { ...headers, ...again }, signal: cut.signal });
    return new Events(response, cut);
  }

  /** Fails at the end of the stream, and when nothing comes. */
  async next(): Promise<ServerEvent> {
    for (;;) {
      const block = await this.#block();
      if (block === undefined) throw new Error("the stream has ended");
      const event = eventOf(block);
      if (event !== undefined) return event;
    }
  }

  /** How many further events there are before the stream ends. */
  async rest(): Promise<number> {
    for (let count = 0; ; ) {
      const block = await this.#block();
      if (block === undefined) return count;
      if (eventOf(block) !== undefined) count += 1;
    }
  }

  async #block(): Promise<string | undefined> {
    for (;;) {
      const at = this.#text.indexOf("\n\n");
      if (at !== -1) {
        const block = this.#text.slice(0, at);
        this.#text = this.#text.slice(at + 2);
        return block;
      }
      if (this.#isOver) return undefined;
      const timer = setTimeout(() => this.#cut.abort(new Error("no event comes")), patienceMs);
      const { done, value } = await this.#reader.read().finally(() => clearTimeout(timer));
      this.#isOver = done;
      this.#text += this.#decoder.decode(value ?? new Uint8Array(), { stream: !done });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cut.abort();
    await this.#reader.cancel().catch(() => {});
  }
}

/** Undefined of a comment. */
function eventOf(block: string): ServerEvent | undefined {
  const fields: { [name: string]: string } = {};
  for (const line of block.split("\n")) {
    const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (name === "") continue;
    fields[name] =
      name === "data" && fields.data !== undefined ? `${fields.data}\n${value}` : value;
  }
  if (fields.data === undefined) return undefined;
  // The doors' data are JSON objects.
  const data = JSON.parse(fields.data) as { [name: string]: unknown };
  return { id: fields.id, event: fields.event ?? "message", data };
}
