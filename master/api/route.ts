// What a route of the HTTP API is: its description and what it does, in one value, so that the OpenAPI
// document and the server can never disagree.
import type { Readable } from "node:stream";

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
  body: unknown;
  /** Aborts when the client went away or the master ends. */
  signal: AbortSignal;
}

export type ErrorClass = "Validation" | "Security" | "Resource" | "Execution" | "Configuration";

export type ApiReply =
  | { kind: "json"; status: number; value: unknown }
  | { kind: "empty"; status: 204 }
  | {
      kind: "stream";
      status: number;
      type: string;
      body: Readable | string;
      headers?: { [name: string]: string };
    }
  | {
      kind: "error";
      status: number;
      error: { class: ErrorClass; code: string; message: string; remedy: string };
    };

export interface Route {
  method: "GET" | "POST";
  /** With parameters in braces, as OpenAPI writes it. A last `{name}` may hold slashes when `isDeep`. */
  path: string;
  isDeep?: boolean;
  /** Name of the operation, unique. */
  id: string;
  summary: string;
  parameters?: readonly Parameter[];
  body?: { description: string; schema: JsonSchema };
  responses: {
    readonly [status: number]: { description: string; type?: string; schema?: JsonSchema };
  };
  /** Answers without a token. */
  isOpen?: boolean;
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
): ApiReply {
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
