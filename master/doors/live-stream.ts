// The live stream of a snippet as server-sent events (WHATWG HTML, 9.2): where it is, what it writes
// while it writes it, and its end. A reader that comes late gets everything from the beginning of the
// present attempt; one that comes back with Last-Event-ID gets what it has not had.
import { Readable } from "node:stream";
import type { Flight } from "../snippets/flight.ts";
import type { SnippetRecord } from "../snippets/snippet.ts";
import type { Snippets } from "../snippets/snippets.ts";
import { viewOf } from "./snippet-view.ts";
import { ToldText } from "./told-text.ts";

/** Between two signs of life: proxies cut streams that are silent. */
const aliveEveryMs = 15_000;
/** A reader that is so far behind is cut off: it may come back for the rest. */
const mostBehindBytes = 8 * 2 ** 20;

export function liveStream(
  snippets: Snippets,
  id: string,
  { lastEventId, signal }: { lastEventId: string | undefined; signal: AbortSignal },
): Readable {
  const stream = new Readable({ read() {} });
  const writer = new EventWriter(stream, lastEventId);
  const alive = setInterval(() => stream.push(": alive\n\n"), aliveEveryMs);
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  signal.addEventListener("abort", stop);
  stream.on("close", stop);
  follow(snippets, id, writer, stopped.signal)
    .catch((error: unknown) => writer.failed(error))
    .finally(() => {
      clearInterval(alive);
      signal.removeEventListener("abort", stop);
      stream.push(null);
    });
  return stream;
}

async function follow(
  snippets: Snippets,
  id: string,
  writer: EventWriter,
  signal: AbortSignal,
): Promise<void> {
  let watched: Flight | undefined;
  let stopWatching = (): void => {};
  const watch = (): void => {
    const flight = snippets.flightOf(id);
    if (flight === undefined || flight === watched) return;
    stopWatching();
    watched = flight;
    writer.begin(flight.attempt);
    stopWatching = flight.watch((event) => {
      if (event.type === "started") writer.state("running", { node: flight.node });
      else writer.output(event.stream, event.bytes);
    });
  };
  const stopListening = snippets.onChange(id, watch);
  try {
    const first = await snippets.get(id);
    if (first?.state === "queued") writer.state("queued");
    watch();
    for (;;) {
      const record = await snippets.wait(id, aliveEveryMs, signal);
      if (signal.aborted || record === undefined) return;
      if (record.state !== "finished") continue;
      // All of it where another master ran it, or where it was over before.
      writer.begin(record.attempt);
      writer.end(record);
      return;
    }
  } finally {
    stopListening();
    stopWatching();
  }
}

/** Ids of events: attempt, state, and how much was told of both streams. */
const idPattern = /^(\d{1,9})\.([012])\.(\d{1,12})\.(\d{1,12})$/;
const states = ["queued", "running", "over"] as const;

class EventWriter {
  readonly #stream: Readable;
  readonly #had: { attempt: number; state: number; stdout: number; stderr: number } | undefined;
  #attempt = 0;
  #state = -1;
  #told = { stdout: new ToldText(), stderr: new ToldText() };

  constructor(stream: Readable, lastEventId: string | undefined) {
    this.#stream = stream;
    const found = idPattern.exec(lastEventId ?? "");
    if (found !== null) {
      const [attempt = 0, state = 0, stdout = 0, stderr = 0] = found.slice(1).map(Number);
      this.#had = { attempt, state, stdout, stderr };
      if (attempt === 0) this.#state = state;
    }
  }

  /** Of another attempt than before, output begins anew. */
  begin(attempt: number): void {
    if (attempt === this.#attempt) return;
    this.#attempt = attempt;
    const had = this.#had?.attempt === attempt ? this.#had : undefined;
    this.#state = had?.state ?? -1;
    this.#told = { stdout: new ToldText(had?.stdout), stderr: new ToldText(had?.stderr) };
  }

  state(state: Exclude<(typeof states)[number], "over">, more: object = {}): void {
    const number = states.indexOf(state);
    if (number <= this.#state) return;
    this.#state = number;
    const attempt = this.#attempt === 0 ? {} : { attempt: this.#attempt };
    this.#write("state", { state, ...attempt, ...more });
  }

  output(stream: "stdout" | "stderr", bytes: Uint8Array): void {
    const text = this.#told[stream].take(bytes);
    if (text !== "") this.#write(stream, { text });
  }

  /** However much it is: it grows no more, and who was cut off comes back for exactly this. */
  end(record: SnippetRecord): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const text = this.#told[stream].rest(record.end?.[stream] ?? new Uint8Array());
      if (text !== "") this.#push(stream, { text });
    }
    this.#state = states.indexOf("over");
    this.#push("end", viewOf(record));
  }

  /** What it can still be told; the reader comes back by itself. */
  failed(error: unknown): void {
    this.#write("error", { message: error instanceof Error ? error.message : String(error) });
  }

  #write(event: string, data: object): void {
    this.#push(event, data);
    if (this.#stream.readableLength > mostBehindBytes) {
      this.#stream.destroy(new Error("the reader is too slow"));
    }
  }

  #push(event: string, data: object): void {
    const { stdout, stderr } = this.#told;
    const id = `${this.#attempt}.${Math.max(0, this.#state)}.${stdout.toldBytes}.${stderr.toldBytes}`;
    // JSON has no line ends of its own, so a data field is one line.
    this.#stream.push(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }
}
