// Client of the Docker Engine API over its Unix socket: requests, and the attached stream of a
// container. Every failure is a value with the engine's own sentence. It knows nothing of boxes;
// docker.ts and docker-images.ts call it.
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type Attached, attachedOf } from "./docker-stream.ts";

/** A failure. `status`: of HTTP; 0 when there was no answer, and `errno` tells why. */
export interface EngineFailure {
  ok: false;
  status: number;
  errno: string | undefined;
  detail: string;
}

export type EngineAnswer<T> = { ok: true; value: T } | EngineFailure;

export interface EngineFacts {
  /** Of the API, as both sides speak it: "1.41". */
  apiVersion: string;
  engineVersion: string;
}

/** What we were written for; an engine that only speaks older ones is refused. */
const oldestApi = 40;
const newestApi = 47;
const requestTimeoutMs = 30_000;
const maxAnswerBytes = 16 * 1024 * 1024;

export interface EngineRequest {
  method: "GET" | "POST" | "DELETE";
  /** Without the version: "/containers/create?name=x". */
  path: string;
  body?: unknown;
  timeoutMs?: number;
}

export class DockerEngine {
  readonly socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32, maxFreeSockets: 8 });
  #facts: EngineFacts | undefined;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  /** Asks the engine what it is, once; again after `forget`. */
  async facts(): Promise<EngineAnswer<EngineFacts>> {
    if (this.#facts !== undefined) return { ok: true, value: this.#facts };
    const answer = await this.#send({ method: "GET", path: "/version" }, "");
    if (!answer.ok) return answer;
    const { ApiVersion, MinAPIVersion, Version } = fields(answer.value);
    const apiVersion = agreed(String(ApiVersion ?? ""), String(MinAPIVersion ?? ""));
    const engineVersion = String(Version ?? "unknown");
    if (apiVersion === undefined) {
      const detail = `the engine ${engineVersion} speaks API ${ApiVersion}, 1.${oldestApi} is needed`;
      return { ok: false, status: 0, errno: undefined, detail };
    }
    this.#facts = { apiVersion, engineVersion };
    return { ok: true, value: this.#facts };
  }

  /** After the engine was gone: another version may come back. */
  forget(): void {
    this.#facts = undefined;
  }

  /** The answer's JSON, not yet decoded; `undefined` for an empty one. */
  async ask(request: EngineRequest): Promise<EngineAnswer<unknown>> {
    const facts = await this.facts();
    if (!facts.ok) return facts;
    return await this.#send(request, `/v${facts.value.apiVersion}`);
  }

  /** stdin, stdout and stderr of a container, best asked for before it is started. */
  async attach(container: string): Promise<EngineAnswer<Attached>> {
    const facts = await this.facts();
    if (!facts.ok) return facts;
    const query = "stream=1&stdin=1&stdout=1&stderr=1";
    const path = `/v${facts.value.apiVersion}/containers/${container}/attach?${query}`;
    return await new Promise((resolve) => {
      const attach = httpRequest({
        socketPath: this.socketPath,
        method: "POST",
        path,
        // A connection that is handed over is of no use to others afterwards.
        agent: false,
        headers: { Host: "docker", Connection: "Upgrade", Upgrade: "tcp", "Content-Length": 0 },
        timeout: requestTimeoutMs,
      });
      attach.on("upgrade", (_response, socket: Duplex, head: Buffer) => {
        attach.setTimeout(0);
        resolve({ ok: true, value: attachedOf(socket, head) });
      });
      attach.on("response", (response) => {
        read(response).then(
          (text) => resolve(refusal(response.statusCode ?? 0, text)),
          (error: unknown) => resolve(failure(error)),
        );
      });
      attach.on("timeout", () => attach.destroy(new Error("the engine does not answer")));
      attach.on("error", (error) => resolve(failure(error)));
      attach.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(request: EngineRequest, prefix: string): Promise<EngineAnswer<unknown>> {
    return new Promise((resolve) => {
      const body = request.body === undefined ? "" : JSON.stringify(request.body);
      const sent = httpRequest({
        socketPath: this.socketPath,
        method: request.method,
        path: prefix + request.path,
        agent: this.#agent,
        headers: {
          Host: "docker",
          "Content-Length": Buffer.byteLength(body),
          ...(body === "" ? {} : { "Content-Type": "application/json" }),
        },
        timeout: request.timeoutMs ?? requestTimeoutMs,
      });
      sent.on("response", (response) => {
        read(response).then(
          (text) => resolve(answerOf(response.statusCode ?? 0, text)),
          (error: unknown) => resolve(failure(error)),
        );
      });
      sent.on("timeout", () => sent.destroy(new Error("the engine does not answer")));
      sent.on("error", (error) => {
        // The engine closes connections that were idle for long; what was not answered then was
        // not begun. Others that fail may have been: only what can be asked twice is.
        if (sent.reusedSocket && isReset(error) && request.method !== "POST") {
          this.#send(request, prefix).then(resolve, (bug: unknown) => resolve(failure(bug)));
        } else {
          resolve(failure(error));
        }
      });
      sent.end(body);
    });
  }
}

/** Fields of a JSON object that came from the engine; of anything else none. */
export function fields(value: unknown): Record<string, unknown> {
  // The fields of any object can be looked at; what they are is the caller's to see.
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** The newest version that both sides speak. */
function agreed(newest: string, oldest: string): string | undefined {
  const theirs = minor(newest);
  if (theirs === undefined || theirs < oldestApi) return undefined;
  // An engine that no longer speaks ours is asked in its oldest: the requests of ours are plain.
  return `1.${Math.max(Math.min(theirs, newestApi), minor(oldest) ?? 0)}`;
}

function minor(version: string): number | undefined {
  const digits = /^1\.(\d+)$/.exec(version)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

async function read(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    // A stream in no encoding and not in object mode gives buffers.
    const buffer = chunk as Buffer;
    bytes += buffer.length;
    if (bytes > maxAnswerBytes) throw new Error("the engine's answer is too long");
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function answerOf(status: number, text: string): EngineAnswer<unknown> {
  // 304: what was asked for is already so.
  if (status >= 300 && status !== 304) return refusal(status, text);
  if (text.trim() === "") return { ok: true, value: undefined };
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    const detail = `the engine's answer is no JSON: ${text.slice(0, 200)}`;
    return { ok: false, status, errno: undefined, detail };
  }
}

function refusal(status: number, text: string): EngineFailure {
  let detail = text.trim();
  try {
    const { message } = fields(JSON.parse(text));
    if (typeof message === "string") detail = message;
  } catch {
    // Not every refusal is JSON: then its text says why.
  }
  if (detail === "") detail = `the engine answered ${status}`;
  return { ok: false, status, errno: undefined, detail };
}

function failure(error: unknown): EngineFailure {
  const errno = errnoOf(error);
  const detail = error instanceof Error ? error.message : String(error);
  return { ok: false, status: 0, errno, detail };
}

function isReset(error: Error): boolean {
  return ["ECONNRESET", "EPIPE"].includes(errnoOf(error) ?? "");
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}
