// What a worker says to the agent: cut into frames by two readers that must agree, then decoded.
import { BoundedFrames } from "../../../agent/exec/isolation/attempt/bounded-frames.ts";
import { encodeFrame, FrameReader } from "../../../agent/exec/workers/channel.ts";
import { decodeWorkerMessage } from "../../../agent/exec/workers/messages.ts";
import { escapeRefs } from "../../../agent/exec/workers/values.ts";
import type { Json } from "../../../protocol/json.ts";
import { mutateBytes } from "../engine/bytes.ts";
import { cut, mutateFrames } from "../engine/frames.ts";
import { mutateTree } from "../engine/tree.ts";
import { must, shown, type Target } from "../target.ts";

export const workerWords =
  "hello worker token runtime version pid done id ok result resultFile sizeBytes skipped returned unmarked retire reason code detail trace line column startedAt wallMs cpuUserMs exit-code bad-result $ref literal".split(
    " ",
  );

export const workerSeeds = [
  '{"hello":{"worker":1,"token":"t","runtime":"python","version":"3.11","pid":4}}',
  '{"done":[{"id":1,"ok":true,"result":{"a":[1,null]},"wallMs":0.5},{"id":2,"skipped":true}]}',
  '{"done":[{"id":1,"ok":true,"resultFile":"/dev/shm/x","sizeBytes":70000,"unmarked":true},{"id":3,"returned":true}],"retire":"threads"}',
  '{"done":[{"id":1,"ok":false,"reason":"bad-result","detail":"ValueError: x","trace":"t","line":3,"column":1},{"id":2,"reason":"exit-code","code":3}]}',
  '{"done":[{"id":1,"ok":true,"result":{"$ref":{"file":"x"}}}]}',
];

export function open(): Target {
  return {
    covers:
      /\/agent\/exec\/(workers\/(channel|messages|values)|isolation\/attempt\/bounded-frames)\.ts$/,
    dictionary: workerWords,
    seeds: () => [
      Buffer.concat(workerSeeds.map((text) => encodeFrame(text))),
      ...workerSeeds.map((text) => encodeFrame(text)),
      encodeFrame(""),
    ],
    mutate: (input, random, other) =>
      random.once(4)
        ? mutateBytes(input, random, other, workerWords)
        : mutateFrames(
            input,
            random,
            other,
            (body, donor) =>
              mutateTree(body, random, donor, workerWords) ??
              mutateBytes(body, random, donor, workerWords),
          ),
    run(input) {
      const whole = new FrameReader().read(input);
      const reader = new FrameReader();
      const bounded = new BoundedFrames(64 * 2 ** 20);
      const frames: string[] = [];
      const others: string[] = [];
      let problem: string | undefined;
      let otherProblem: string | undefined;
      for (const piece of cut(input)) {
        const read = reader.read(piece);
        frames.push(...read.frames);
        problem ??= read.problem;
        if (otherProblem === undefined) {
          const other = bounded.read(piece);
          others.push(...other.frames);
          otherProblem = other.problem;
        }
        if (problem !== undefined) break;
      }
      must(
        (problem === undefined) === (whole.problem === undefined),
        "a problem depends on where it is cut",
      );
      must(
        JSON.stringify(frames) === JSON.stringify(whole.frames),
        "frames depend on where they are cut",
      );
      must(JSON.stringify(others) === JSON.stringify(frames), "the two readers do not agree");
      must((otherProblem === undefined) === (problem === undefined), "one reader has a problem");
      for (const frame of frames) {
        const message = decodeWorkerMessage(frame);
        if (message === undefined) continue;
        if (message.kind === "hello") {
          must(typeof message.hello.pid === "number", "a hello without a pid");
          continue;
        }
        for (const done of message.done) {
          must(typeof done.id === "number", `no id: ${shown(done)}`);
          if (done.kind === "succeeded") {
            must(
              (done.result === undefined) !== (done.resultFile === undefined),
              "no result, or two",
            );
            if (done.result !== undefined) {
              must(!hasReference(escapeRefs(done.result)), "data became a reference");
            }
          }
          if (done.kind === "failed") must(Object.hasOwn(done.failure, "reason"), "no reason");
        }
      }
    },
  };
}

/** As a worker sees it: an object that has nothing but `$ref`, which is not marked as literal. */
function hasReference(value: Json): boolean {
  if (value === null || typeof value !== "object") return false;
  if (Array.isArray(value)) return value.some(hasReference);
  const entries = Object.entries(value);
  const ref = entries.length === 1 ? value.$ref : undefined;
  if (ref === undefined) return entries.some(([, member]) => hasReference(member));
  const isLiteral = ref !== null && typeof ref === "object" && "literal" in ref;
  if (!isLiteral) return true;
  const { literal } = ref;
  // The worker looks into a literal's members, not at itself.
  const members = literal === null || typeof literal !== "object" ? [] : Object.values(literal);
  return members.some((member) => hasReference(member as Json));
}
