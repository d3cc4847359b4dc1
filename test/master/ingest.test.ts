// Group commit when the storage fails: only the frame that cannot be stored is not acknowledged.
import t from "tap";
import { Ingest } from "../../master/link/ingest.ts";
import type { FrameResult, RecordFrame } from "../../master/storage/storage.ts";
import { runStarted, silentLog } from "./rig.ts";

const none = {
  applied: 1,
  runs: [],
  finishedRuns: [],
  foreignRuns: [],
  wholeObject: false,
  lost: 0,
};

t.test("a frame that cannot be stored harms only its own session; the order stays", async (t) => {
  const calls: number[] = [];
  const applyFrames = async (frames: readonly RecordFrame[]): Promise<FrameResult[]> => {
    calls.push(frames.length);
    if (frames.some((frame) => frame.node === "bad")) throw new Error("disk full");
    return frames.map((frame) => ({ acked: frame.records[0]?.seq ?? 0, ...none }));
  };
  const ingest = new Ingest({ applyFrames }, silentLog);
  const told: string[] = [];
  for (const [node, seq] of [
    ["a", 1],
    ["bad", 1],
    ["a", 2],
  ] as const) {
    ingest.add({
      frame: { node, time: 0, records: [runStarted(seq, "r")] },
      stored: (result) => told.push(`${node} ${result.acked}`),
      failed: (detail) => told.push(`${node} ${detail}`),
    });
  }
  await ingest.flush();
  t.same(calls, [3, 1, 1, 1], "one commit for all, then one by one");
  t.same(told, ["a 1", "bad disk full", "a 2"]);
});
