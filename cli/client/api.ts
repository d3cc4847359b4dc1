// Calls the master's HTTP API for the client commands: one place for addresses, tokens and errors.
// An error is a value with what happened and what to do; nothing is printed here.
import { exitCodes } from "../../protocol/exit-codes.ts";
import type { Io } from "../io.ts";

export interface MasterAddress {
  /** `http(s)://host:port`; `ws(s)://host:port/link`, as agents have it, is understood as well. */
  master: string;
  token?: string;
}

export interface ClientArgs extends MasterAddress {
  /** Print JSON for programs instead of tables for people. */
  json?: boolean;
}

export type Answer<T> = { ok: true; value: T } | ApiFailure;
export interface ApiFailure {
  ok: false;
  message: string;
  remedy: string;
  exitCode: number;
}

/** The address of the HTTP API that belongs to what the user gave. */
export function apiBase(master: string): string {
  return master
    .replace(/^ws/, "http")
    .replace(/\/link\/?$/, "")
    .replace(/\/+$/, "");
}

/** `path` begins with a slash and is encoded already. */
export async function call(
  to: MasterAddress,
  path: string,
  init: RequestInit = {},
): Promise<Answer<Response>> {
  const base = apiBase(to.master);
  const headers = new Headers(init.headers);
  if (to.token !== undefined && to.token !== "") headers.set("authorization", `Bearer ${to.token}`);
  let response: Response;
  try {
    response = await fetch(`${base}${path}`, { ...init, headers });
  } catch (error) {
    return unreachable(base, error);
  }
  if (response.ok) return { ok: true, value: response };
  return failureOf(base, response);
}

export async function get<T>(to: MasterAddress, path: string): Promise<Answer<T>> {
  const answer = await call(to, path);
  // The boundary: the master's OpenAPI document says what each path answers with.
  return answer.ok ? { ok: true, value: (await answer.value.json()) as T } : answer;
}

export async function post<T>(to: MasterAddress, path: string, body?: object): Promise<Answer<T>> {
  const init: RequestInit =
    body === undefined
      ? { method: "POST" }
      : {
          method: "POST",
          body: JSON.stringify(body),
          headers: { "content-type": "application/json" },
        };
  const answer = await call(to, path, init);
  return answer.ok ? { ok: true, value: (await answer.value.json()) as T } : answer;
}

export function printFailure(io: Io, failure: ApiFailure): number {
  io.stderr.write(`edgedag: ${failure.message}\n    ${failure.remedy}\n`);
  return failure.exitCode;
}

function unreachable(base: string, error: unknown): ApiFailure {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
  const detail = cause instanceof Error && cause.message !== "" ? cause.message : String(error);
  return {
    ok: false,
    message: `the master at ${base} cannot be reached${code}: ${detail}`,
    remedy: "Start it (edgedag master, or edgedag up), or set EDGEDAG_MASTER to its address.",
    exitCode: exitCodes.unavailable,
  };
}

async function failureOf(base: string, response: Response): Promise<ApiFailure> {
  const found = errorIn(await response.text());
  const said = found && { message: found.message, remedy: found.remedy };
  if (response.status === 401) {
    return {
      ok: false,
      message: `the master at ${base} does not accept the token`,
      remedy: "Set EDGEDAG_TOKEN (or EDGEDAG_TOKEN_FILE) to the master's token.",
      exitCode: exitCodes.refused,
    };
  }
  if (said !== undefined && (response.status === 403 || response.status === 429)) {
    return { ok: false, ...said, exitCode: exitCodes.refused };
  }
  return {
    ok: false,
    message: said?.message ?? `${base} answered ${response.status} and is no edgedag master`,
    remedy: said?.remedy ?? "Set EDGEDAG_MASTER to the address of a master.",
    exitCode:
      said === undefined || response.status >= 500
        ? exitCodes.unavailable
        : response.status === 404
          ? exitCodes.noInput
          : exitCodes.badDocument,
  };
}

function errorIn(text: string): { message: string; remedy: string } | undefined {
  try {
    const { error } = JSON.parse(text);
    if (typeof error?.message === "string" && typeof error.remedy === "string") return error;
  } catch {
    // Not JSON: no master of ours; the caller says so.
  }
  return undefined;
}
