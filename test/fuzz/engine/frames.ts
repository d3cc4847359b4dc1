// Mutation of streams of frames: u32 little-endian length, then so many bytes. Most of what it makes
// has true lengths, so that what is behind the reader of frames is reached too.
import type { Random } from "./random.ts";

export function frameOf(body: Buffer | string): Buffer {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(4);
  head.writeUInt32LE(bytes.length);
  return Buffer.concat([head, bytes]);
}

/** The bodies; what is no whole frame is the last one. */
export function bodiesOf(stream: Buffer): Buffer[] {
  const bodies: Buffer[] = [];
  let at = 0;
  while (stream.length - at >= 4 && bodies.length < 1000) {
    const length = stream.readUInt32LE(at);
    if (length > stream.length - at - 4) break;
    bodies.push(stream.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  if (at < stream.length) bodies.push(stream.subarray(at));
  return bodies;
}

export function mutateFrames(
  input: Buffer,
  random: Random,
  other: Buffer,
  change: (body: Buffer, other: Buffer) => Buffer,
): Buffer {
  const bodies = bodiesOf(input);
  const donors = bodiesOf(other);
  const empty = Buffer.alloc(0);
  for (let i = 1 + random.small(3); i > 0; i--) {
    const at = random.below(bodies.length + 1);
    const donor = donors.length > 0 ? random.pick(donors) : empty;
    const body = bodies[at];
    switch (random.below(5)) {
      case 0:
        bodies.splice(at, 1);
        break;
      case 1:
        bodies.splice(at, 0, donor);
        break;
      case 2:
        if (body !== undefined) bodies.splice(at, 0, body);
        break;
      default:
        if (body !== undefined) bodies[at] = change(body, donor);
    }
  }
  const frames = bodies.slice(0, 200).map((body) => frameOf(body));
  if (random.once(8) && frames.length > 0) {
    const frame = random.pick(frames);
    frame.writeUInt32LE(random.once(2) ? random.below(300) : random.below(2 ** 32));
  }
  return Buffer.concat(frames);
}

/** `input` in pieces, cut where a number of its own says: the same input is cut the same way. */
export function cut(input: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let state = input.length + 1;
  for (let at = 0; at < input.length; ) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const size = 1 + ((state >>> 16) % (state & 256 ? 7 : 200));
    pieces.push(input.subarray(at, at + size));
    at += size;
  }
  return pieces;
}
