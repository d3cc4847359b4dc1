// The runners' readers of frames, in Python and in Node.js: real streams, and the same frames as the
// agent's own reader finds in them.
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeFrame, FrameReader } from "../../../agent/exec/workers/channel.ts";
import { Channel } from "../../../agent/exec/workers/node/channel.ts";
import { mutateBytes } from "../engine/bytes.ts";
import { frameOf, mutateFrames } from "../engine/frames.ts";
import { Missing, must, shown, type Target } from "../target.ts";
import { workerWords } from "./workers.ts";

const folder = join(import.meta.dirname, "../../../agent/exec/workers/python");

// For each input: the frames as JSON, or the name of what was raised.
const harness = `
import json, os, sys, threading
sys.path.insert(0, ${JSON.stringify(folder)})
import channel
def feed(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
    os.close(fd)
while True:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4: break
    data = sys.stdin.buffer.read(int.from_bytes(head, "little"))
    r, w = os.pipe()
    writer = threading.Thread(target=feed, args=(w, data))
    writer.start()
    c = channel.Channel(r)
    frames, ended = [], "end"
    try:
        while True:
            text = c.read()
            if text is None: break
            frames.append(text)
    except channel.ProtocolError: ended = "ProtocolError"
    except UnicodeDecodeError: ended = "UnicodeDecodeError"
    except BaseException as error: ended = "raised " + repr(error)
    try:
        while os.read(c._fd, 65536): pass
    except OSError: pass
    writer.join()
    c._forget()
    out = json.dumps([frames, ended]).encode()
    sys.stdout.buffer.write(len(out).to_bytes(4, "little") + out)
    sys.stdout.buffer.flush()
`;

export async function open(): Promise<Target> {
  const python = spawn("python3", ["-c", harness], { stdio: ["pipe", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    python.once("spawn", resolve);
    python.once("error", () => reject(new Missing("no python3")));
  });
  const reader = new FrameReader();
  let answer: ((text: string) => void) | undefined;
  let broken: ((error: Error) => void) | undefined;
  python.stdout.on("data", (chunk: Buffer) => {
    for (const frame of reader.read(chunk).frames) answer?.(frame);
  });
  python.on("exit", (code) => broken?.(new Error(`the reader in Python ended with ${code}`)));
  const asked = (input: Buffer) =>
    new Promise<string>((resolve, reject) => {
      [answer, broken] = [resolve, reject];
      python.stdin.write(frameOf(input));
    });
  const path = join(mkdtempSync(join(tmpdir(), "edgedag-runner-")), "stream");
  return {
    covers: /\/agent\/exec\/workers\/(node\/)?channel\.ts$/,
    dictionary: workerWords,
    seeds: () => [
      Buffer.concat(['{"run":[{"id":1}]}', '{"run":[]}', ""].map((text) => encodeFrame(text))),
      encodeFrame("é😀"),
      frameOf(Buffer.from([0xff, 0xfe])),
    ],
    mutate: (input, random, other) =>
      random.once(3)
        ? mutateBytes(input, random, other, workerWords)
        : mutateFrames(input, random, other, (body, donor) =>
            mutateBytes(body, random, donor, workerWords),
          ),
    async run(input) {
      const { frames, problem } = new FrameReader().read(input);
      const [theirs, ended] = JSON.parse(await asked(input)) as [string[], string];
      const isText = frames.every((frame) => !frame.includes("\ufffd"));
      must(!ended.startsWith("raised"), `Python ${ended}`);
      if (isText) {
        must(
          JSON.stringify(theirs) === JSON.stringify(frames),
          `Python reads ${shown(theirs)}, the agent ${shown(frames)}`,
        );
        must(
          (ended === "ProtocolError") === (problem !== undefined),
          `Python ends with ${ended}, the agent with ${problem}`,
        );
      }
      writeFileSync(path, input);
      const fd = openSync(path, "r");
      try {
        const channel = new Channel(fd);
        const own: string[] = [];
        let refused = false;
        try {
          for (let text = channel.read(); text !== undefined; text = channel.read()) own.push(text);
        } catch (error) {
          refused = error instanceof Error && /over the limit/.test(error.message);
          if (!refused) throw error;
        }
        must(
          JSON.stringify(own) === JSON.stringify(frames),
          "the reader of the Node.js runner differs",
        );
        must(
          refused === (problem !== undefined),
          "the reader of the Node.js runner refuses otherwise",
        );
      } finally {
        closeSync(fd);
      }
    },
    close: () => {
      python.kill();
    },
  };
}
