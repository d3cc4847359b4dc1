// What a worker says to the agent, decoded by hand: on the way of every call, and from a process
// that runs strangers' code, so nothing is believed.
import type { Json } from "../../../protocol/json.ts";
import type { Facts, Failure } from "../../../protocol/outcome.ts";

export interface Hello {
  worker: number;
  token: string;
  runtime: string;
  version: string;
  pid: number;
}

/** `unmarked`: it has written nothing, and no marks of it come. */
export type Done = { id: number; unmarked?: true } & (
  | { kind: "succeeded"; result?: Json; resultFile?: ResultFile; facts: Facts }
  | { kind: "failed"; failure: Failure; facts: Facts }
  | { kind: "skipped" }
  | { kind: "returned" }
);

export interface ResultFile {
  path: string;
  sizeBytes: number;
}

export type WorkerMessage =
  | { kind: "hello"; hello: Hello }
  /** `retire`: nothing further is begun; why the worker is no longer clean. */
  | { kind: "done"; done: Done[]; retire?: string };

interface Fields {
  [name: string]: unknown;
}

/** Undefined when the text is no message of a worker. */
export function decodeWorkerMessage(text: string): WorkerMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isFields(value)) return undefined;
  if (Array.isArray(value.done)) {
    const done: Done[] = [];
    for (const item of value.done) {
      const decoded = isFields(item) ? decodeDone(item) : undefined;
      if (decoded === undefined) return undefined;
      done.push(decoded);
    }
    const { retire } = value;
    return typeof retire === "string" ? { kind: "done", done, retire } : { kind: "done", done };
  }
  if (isFields(value.hello)) return decodeHello(value.hello);
  return undefined;
}

function decodeHello(fields: Fields): WorkerMessage | undefined {
  const { worker, token, runtime, version, pid } = fields;
  if (typeof worker !== "number" || typeof token !== "string") return undefined;
  if (typeof runtime !== "string" || typeof version !== "string") return undefined;
  if (typeof pid !== "number") return undefined;
  return { kind: "hello", hello: { worker, token, runtime, version, pid } };
}

function decodeDone(fields: Fields): Done | undefined {
  const done = decodeEnd(fields);
  if (fields.unmarked === true && done !== undefined) done.unmarked = true;
  return done;
}

function decodeEnd(fields: Fields): Done | undefined {
  const id = fields.id;
  if (typeof id !== "number") return undefined;
  if (fields.skipped === true) return { id, kind: "skipped" };
  if (fields.returned === true) return { id, kind: "returned" };
  const facts = decodeFacts(fields);
  if (fields.ok === true) {
    const { resultFile: path, sizeBytes } = fields;
    if (typeof path === "string" && typeof sizeBytes === "number") {
      return { id, kind: "succeeded", resultFile: { path, sizeBytes }, facts };
    }
    const result = fields.result;
    if (result === undefined) return undefined;
    // It came out of JSON.parse, so it is Json.
    return { id, kind: "succeeded", result: result as Json, facts };
  }
  const failure = decodeFailure(fields);
  return failure === undefined ? undefined : { id, kind: "failed", failure, facts };
}

function decodeFailure(fields: Fields): Failure | undefined {
  const { reason, code, detail, trace, line, column } = fields;
  if (reason === "exit-code" && typeof code === "number") return { reason, code };
  if (reason !== "bad-result" || typeof detail !== "string") return undefined;
  const failure: Failure = { reason, detail };
  if (typeof trace === "string") failure.trace = trace;
  if (typeof line === "number") failure.line = line;
  if (typeof column === "number") failure.column = column;
  return failure;
}

function decodeFacts(fields: Fields): Facts {
  const facts: Facts = {};
  const { startedAt, wallMs, cpuUserMs, cpuSystemMs, maxRssBytes } = fields;
  if (typeof startedAt === "number") facts.startedAt = startedAt;
  if (typeof wallMs === "number") facts.wallMs = wallMs;
  if (typeof cpuUserMs === "number") facts.cpuUserMs = cpuUserMs;
  if (typeof cpuSystemMs === "number") facts.cpuSystemMs = cpuSystemMs;
  if (typeof maxRssBytes === "number") facts.maxRssBytes = maxRssBytes;
  return facts;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
