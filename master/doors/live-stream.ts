// The live stream of a snippet as server-sent events (WHATWG HTML, 9.2): where it is, what it writes
// while it writes it, and its end. A reader that comes late gets everything from the beginning of the
// present attempt; one that comes back with Last-Event-ID gets what it has not had.
import { Readable } from "node:stream";
import type { Flight } from "../snippets/flight.ts";
import type { Snippets } from "../snippets/snippets.ts";
import { viewOf } from "./snippet-view.ts";

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
    .catch((error: unknown) => writer.write("error", { message: String(error) }))
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
    const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
    stopWatching = flight.watch((event) => {
      if (event.type === "started") {
        writer.write("state", { state: "running", attempt: flight.attempt, node: flight.node });
      } else {
        const text = decoders[event.stream].decode(event.bytes, { stream: true });
        if (text !== "") writer.write(event.stream, { text });
      }
    });
  };
  const stopListening = snippets.onChange(id, watch);
  try {
    const first = await snippets.get(id);
    if (first?.state === "queued") writer.write("state", { state: "queued" });
    watch();
    for (;;) {
      const record = await snippets.wait(id, aliveEveryMs, signal);
      if (signal.aborted || record === undefined) return;
      if (record.state !== "finished") continue;
      const view = viewOf(record);
      if (watched === undefined) {
        // Another master ran it, or it was over before: all of its output at once.
        writer.begin(record.attempt);
        if (view.stdout) writer.write("stdout", { text: view.stdout });
        if (view.stderr) writer.write("stderr", { text: view.stderr });
      }
      writer.write("end", view);
      return;
    }
  } finally {
    stopListening();
    stopWatching();
  }
}

class EventWriter {
  readonly #stream: Readable;
  readonly #after: { attempt: number; number: number } | undefined;
  #attempt = 0;
  #number = 0;

  constructor(stream: Readable, lastEventId: string | undefined) {
    this.#stream = stream;
    const [, attempt, number] = /^(\d{1,9})\.(\d{1,9})$/.exec(lastEventId ?? "") ?? [];
    if (attempt !== undefined) this.#after = { attempt: Number(attempt), number: Number(number) };
  }

  begin(attempt: number): void {
    this.#attempt = attempt;
    this.#number = 0;
  }

  write(event: string, data: object): void {
    this.#number += 1;
    const after = this.#after;
    const isHad = after?.attempt === this.#attempt && this.#number <= after.number;
    if (isHad && event !== "end") return;
    const id = `${this.#attempt}.${this.#number}`;
    // JSON has no line ends of its own, so a data field is one line.
    this.#stream.push(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if (this.#stream.readableLength > mostBehindBytes) {
      this.#stream.destroy(new Error("the reader is too slow"));
    }
  }
}
