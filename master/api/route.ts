// What a route of the HTTP API is: its description and what it does, in one value, so that the OpenAPI
// document and the server can never disagree.
import type { Readable } from "node:stream";
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import type { Identity } from "../access/identity.ts";
import type { Need } from "../access/roles.ts";

export type JsonSchema = { readonly [key: string]: unknown };

export interface Parameter {
  name: string;
  in: "path" | "query";
  description: string;
  /** Query parameters are optional; a pattern of words or a kind of number is checked. */
  schema: { type: "string" | "integer" | "boolean"; enum?: readonly string[]; minimum?: number };
}

export interface ApiRequest {
  path: { [name: string]: string };
  query: { [name: string]: string };
  /** Names in lower case. */
  headers: { readonly [name: string]: string | string[] | undefined };
  body: unknown;
  /** Who asks. */
  identity: Identity;
  /** Aborts when the client went away or the master ends. */
  signal: AbortSignal;
}

export const errorClasses = [
  "Validation",
  "Security",
  "Resource",
  "Execution",
  "Timeout",
  "Sandbox",
  "Monitoring",
  "Configuration",
] as const;
export type ErrorClass = (typeof errorClasses)[number];

export interface ApiError {
  class: ErrorClass;
  code: string;
  message: string;
  remedy: string;
  /** Of bad input: all that is wrong. */
  diagnostics?: readonly Diagnostic[];
}

export type ApiReply =
  | { kind: "json"; status: number; value: unknown; headers?: { [name: string]: string } }
  | { kind: "empty"; status: 204 }
  | {
      kind: "stream";
      status: number;
      type: string;
      body: Readable | string | Buffer;
      headers?: { [name: string]: string };
    }
  | { kind: "error"; status: number; error: ApiError; headers?: { [name: string]: string } };

export interface Route {
  method: "GET" | "POST";
  /** With parameters in braces, as OpenAPI writes it. A last `{name}` may hold slashes when `isDeep`. */
  path: string;
  isDeep?: boolean;
  /** Name of the operation, unique. */
  id: string;
  summary: string;
  parameters?: readonly Parameter[];
  body?: { description: string; schema: JsonSchema; example?: unknown };
  responses: {
    readonly [status: number]: {
      description: string;
      type?: string;
      schema?: JsonSchema;
      example?: unknown;
    };
  };
  /** The least that its caller must be. */
  needs: Need;
  /** Largest body; absent: 64 MiB where a body is described, else next to nothing. */
  bodyLimitBytes?: number;
  /** Counts against the caller's rate limit. */
  isLimited?: boolean;
  /** What is said instead of the usual error, where the route speaks another's protocol. */
  refusal?(status: number, error: ApiError): ApiReply;
  /** What `refusal` says. */
  refusalSchema?: JsonSchema;
  handle(request: ApiRequest): Promise<ApiReply>;
}

export function json(value: unknown, status = 200): ApiReply {
  return { kind: "json", status, value };
}

export function failure(
  status: number,
  of: ErrorClass,
  code: string,
  message: string,
  remedy: string,
): ApiReply & { kind: "error" } {
  return { kind: "error", status, error: { class: of, code, message, remedy } };
}

export const pathParameter = (name: string, description: string): Parameter => ({
  name,
  in: "path",
  description,
  schema: { type: "string" },
});

export const queryParameter = (
  name: string,
  description: string,
  schema: Parameter["schema"] = { type: "string" },
): Parameter => ({ name, in: "query", description, schema });
