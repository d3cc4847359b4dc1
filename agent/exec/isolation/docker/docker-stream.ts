// The attached stream of a container: what is written goes to its stdin; what comes is stdout and
// stderr in frames of an 8-byte header (stream, three zeroes, u32 big-endian length), taken apart
// here. stdout comes out as the Duplex's own bytes; of stderr only the end is kept.
import { Duplex } from "node:stream";

export interface Attached {
  stream: Duplex;
  /** The last of what came on stderr. */
  stderr(): string;
}

const headerBytes = 8;
const stdoutStream = 1;
const stderrStream = 2;
const maxStderrBytes = 4096;

/** `head`: what was read of `socket` already. */
export function attachedOf(socket: Duplex, head: Buffer): Attached {
  let tail: Buffer = Buffer.alloc(0);
  const demultiplexer = new Demultiplexer({
    stdout: (bytes) => {
      if (!stream.push(bytes)) socket.pause();
    },
    stderr: (bytes) => {
      tail = Buffer.concat([tail, bytes]).subarray(-maxStderrBytes);
    },
  });
  const stream = new Duplex({
    read: () => {
      socket.resume();
    },
    write: (chunk: Buffer, _encoding, done) => {
      socket.write(chunk, done);
    },
    final: (done) => {
      socket.end(done);
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  const take = (chunk: Buffer) => {
    if (stream.destroyed) return;
    if (!demultiplexer.push(chunk)) stream.destroy(new Error("the engine's stream is garbled"));
  };
  socket.on("data", take);
  // After an error there is a close; the container's end tells more than either.
  socket.on("error", () => socket.destroy());
  socket.on("end", () => stream.push(null));
  socket.on("close", () => stream.destroy());
  // Also while nobody else listens: an error that nobody takes would end the agent.
  stream.on("error", () => stream.destroy());
  if (head.length > 0) take(head);
  return { stream, stderr: () => tail.toString("utf8") };
}

interface Streams {
  stdout(bytes: Buffer): void;
  stderr(bytes: Buffer): void;
}

/** Bytes are handed on as they come, also parts of a frame: nothing but a header is kept. */
class Demultiplexer {
  readonly #streams: Streams;
  readonly #header = Buffer.alloc(headerBytes);
  #headerLength = 0;
  #missing = 0;

  constructor(streams: Streams) {
    this.#streams = streams;
  }

  /** False when these are no frames. */
  push(chunk: Buffer): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#missing === 0) {
        const copied = chunk.copy(this.#header, this.#headerLength, at);
        at += copied;
        this.#headerLength += copied;
        if (this.#headerLength < headerBytes) return true;
        this.#headerLength = 0;
        if (this.#header.readUIntBE(1, 3) !== 0) return false;
        this.#missing = this.#header.readUInt32BE(4);
        continue;
      }
      const bytes = chunk.subarray(at, at + this.#missing);
      at += bytes.length;
      this.#missing -= bytes.length;
      const stream = this.#header.readUInt8(0);
      if (stream === stdoutStream) this.#streams.stdout(bytes);
      else if (stream === stderrStream) this.#streams.stderr(bytes);
      else return false;
    }
    return true;
  }
}
