// What a launcher in a box says to the agent: events or one refusal, wherever it is cut.
import { EventDecoder } from "../../../agent/exec/launcher/launcher-frames.ts";
import { mutateBytes } from "../engine/bytes.ts";
import { cut, frameOf, mutateFrames } from "../engine/frames.ts";
import { must, shown, type Target } from "../target.ts";

const sizes: readonly (readonly [number, number])[] = [
  [128, 12],
  [129, 12],
  [130, 20],
  [131, 0],
  [132, 5],
  [133, 104],
  [134, 5],
  [135, 3],
  [136, 73],
  [137, 73],
  [138, 4],
  [139, 4],
];

function event(type: number, size: number): Buffer {
  const body = Buffer.alloc(5 + size, 1);
  body[0] = type;
  body.writeUInt32LE(7, 1);
  return body;
}

function told(pieces: readonly Buffer[]): { told: string; refused: boolean } {
  const events: string[] = [];
  let stream = "";
  const tell = (name: string, ...values: unknown[]) => {
    stream = "";
    events.push(`${name} ${JSON.stringify(values)}`);
  };
  const flow = (name: string, bytes: Buffer) => {
    if (stream !== name) events.push(name);
    stream = name;
    events[events.length - 1] += bytes.toString("hex");
  };
  const decoder = new EventDecoder({
    hello: (...v) => tell("hello", ...v),
    started: (...v) => tell("started", ...v),
    output: (id, name, bytes) => flow(`${name} ${id} `, bytes),
    mark: (...v) => tell("mark", ...v),
    ended: (...v) => tell("ended", ...v),
    spawnFailed: (...v) => tell("failed", ...v),
    channel: (id, bytes) =>
      bytes === undefined ? tell("closed", id) : flow(`channel ${id} `, bytes),
    room: (...v) => tell("room", ...v),
    sample: (...v) => tell("sample", ...v),
    usage: (...v) => tell("usage", ...v),
    done: (...v) => tell("done", ...v),
    held: (...v) => tell("held", ...v),
    returned: (...v) => tell("returned", ...v),
  });
  try {
    for (const piece of pieces) decoder.push(piece);
  } catch (error) {
    const isRefusal =
      error instanceof Error && /^launcher sent frame \d+ of -?\d+ bytes$/.test(error.message);
    if (!isRefusal) throw error;
    return { told: events.join("\n"), refused: true };
  }
  return { told: events.join("\n"), refused: false };
}

export function open(): Target {
  return {
    covers: /\/agent\/exec\/launcher\/launcher-frames\.ts$/,
    seeds: () => [
      Buffer.concat(sizes.map(([type, size]) => frameOf(event(type, size)))),
      ...sizes.map(([type, size]) => frameOf(event(type, size))),
      frameOf(event(128, 200)),
      frameOf(event(134, 60)),
    ],
    mutate: (input, random, other) =>
      random.once(3)
        ? mutateBytes(input, random, other, [])
        : mutateFrames(input, random, other, (body, donor) => mutateBytes(body, random, donor, [])),
    run(input) {
      const whole = told([input]);
      const pieces = told(cut(input));
      must(whole.refused === pieces.refused, "a refusal depends on where it is cut");
      must(
        whole.told === pieces.told,
        `cut elsewhere: ${shown(pieces.told)}, not ${shown(whole.told)}`,
      );
    },
  };
}
