// What the end of a worker's process means: for the call that ran, and for the start of a worker
// that never said hello. Only reads what is known; it ends and tells nothing.
import type { Facts, Failure } from "../../../protocol/outcome.ts";
import type { ProcessEnd } from "../launcher/process.ts";
import type { Call } from "./call.ts";

export type SpawnFailure = Failure & { reason: "spawn" };

/** What is known of a worker besides how its process ended. */
export interface WorkerStory {
  runtime: "python" | "node";
  argv: readonly string[];
  pid: number | undefined;
  /** Why the agent gave up on it. */
  verdict: Failure | undefined;
  timedOut: Call | undefined;
  /** The last bytes that it wrote before its first call: why it did not start. */
  tail: Buffer;
}

const tailBytes = 2_048;
/** With it a runner ends that finds its channel broken. */
const channelLostCode = 76;

export const channelLost: Failure = {
  reason: "bad-result",
  detail: "the function closed the worker's channel: it closed descriptors that are not its own",
};

/** The runner has found its channel broken. */
export function isChannelLost(end: ProcessEnd): boolean {
  return end.kind === "exited" && end.exitCode === channelLostCode;
}

/** Of a call that ran from `at`, Unix milliseconds, until now. */
export function factsOfEnd(call: Call, at: number, end: ProcessEnd, story: WorkerStory): Facts {
  const facts: Facts = {
    startedAt: at,
    wallMs: Math.max(0, Date.now() - at),
    stdoutBytes: call.stdoutBytes,
    stderrBytes: call.stderrBytes,
  };
  if (story.pid !== undefined) facts.pid = story.pid;
  if (end.kind === "exited") {
    if (end.exitCode !== undefined) facts.exitCode = end.exitCode;
    if (end.signal !== undefined) facts.signal = end.signal;
    if (end.facts.maxRssBytes !== undefined) facts.maxRssBytes = end.facts.maxRssBytes;
    if (end.facts.forced !== undefined) facts.forced = end.facts.forced;
  }
  return facts;
}

/** Why the call failed that ran when the process ended. */
export function failureOfEnd(call: Call, end: ProcessEnd, story: WorkerStory): Failure {
  if (story.timedOut === call) return { reason: "timeout", limitMs: call.spec.timeoutMs ?? 0 };
  if (end.kind === "lost") {
    return { reason: "lost", detail: "the launcher ended while the function ran" };
  }
  if (end.kind === "spawn-failed") return spawnFailureOfEnd(end, story);
  const ownEnd = end.stopped === undefined;
  if (story.verdict !== undefined && !ownEnd) return story.verdict;
  if (end.exitCode === channelLostCode) return channelLost;
  if (end.signal !== undefined) return { reason: "signal", signal: end.signal };
  if (call.cancelGraceMs !== undefined) return { reason: "signal", signal: "SIGTERM" };
  if (end.exitCode !== 0) return { reason: "exit-code", code: end.exitCode ?? -1 };
  const detail = "the function ended the whole process with code 0 before it returned";
  return { reason: "bad-result", detail };
}

/** Why the worker never said hello. */
export function spawnFailureOfEnd(end: ProcessEnd, story: WorkerStory): SpawnFailure {
  if (story.verdict?.reason === "spawn") return story.verdict;
  if (end.kind === "lost") return spawn("EPIPE", "the launcher ended");
  if (end.kind === "spawn-failed") {
    return spawn(end.errno, `${end.detail}${remedy(end.errno, story)}`);
  }
  const how = end.signal === undefined ? `code ${end.exitCode}` : end.signal;
  const said = story.tail.toString("utf8").trim();
  const detail = `the worker ended with ${how} before it reported${said === "" ? "" : `: ${said}`}`;
  return spawn("ECHILD", `${detail}; try \`${story.argv.join(" ")}\` by hand`);
}

/** The tail of a worker that has written `bytes` after `before`. */
export function lastBytes(before: Buffer, bytes: Buffer): Buffer {
  const both = Buffer.concat([before, bytes]);
  return both.length <= tailBytes ? both : Buffer.from(both.subarray(both.length - tailBytes));
}

function remedy(errno: string, { runtime, argv }: WorkerStory): string {
  if (errno !== "ENOENT" && errno !== "EACCES") return "";
  const other =
    runtime === "python" ? ", or set EDGEDAG_PYTHON to the path of Python 3.8 or newer" : "";
  return `; install ${argv[0]}${other}`;
}

function spawn(errno: string, detail: string): SpawnFailure {
  return { reason: "spawn", errno, detail };
}
