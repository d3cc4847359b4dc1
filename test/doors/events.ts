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
  /** Pieces of an event that is not whole yet, and whole ones that nobody has asked for. */
  #begun: string[] = [];
  readonly #blocks: string[] = [];
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
      const block = this.#blocks.shift();
      if (block !== undefined || this.#isOver) return block;
      const timer = setTimeout(() => this.#cut.abort(new Error("no event comes")), patienceMs);
      const { done, value } = await this.#reader.read().finally(() => clearTimeout(timer));
      this.#isOver = done;
      this.#take(this.#decoder.decode(value ?? new Uint8Array(), { stream: !done }));
    }
  }

  /** Looks at each letter once, however long an event is. */
  #take(text: string): void {
    const isSplit = text.startsWith("\n") && this.#begun.at(-1)?.endsWith("\n");
    if (!isSplit && !text.includes("\n\n")) {
      if (text !== "") this.#begun.push(text);
      return;
    }
    const all = `${this.#begun.join("")}${text}`.split("\n\n");
    this.#begun = [all.pop() ?? ""];
    this.#blocks.push(...all);
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
