// The HTTP server: carries routes to fastify, checks tokens and query parameters, and turns every
// failure into {error: {class, code, message, remedy}}. Knows nothing of what the routes do.
import { Readable } from "node:stream";
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { FailedAttempts } from "../access/failed-attempts.ts";
import type { Headers, Identity } from "../access/identity.ts";
import type { RateLimit } from "../access/rate-limit.ts";
import type { Clock, Logger } from "../clock.ts";
import { nearest } from "../nearest.ts";
import { contextOf, type TlsTexts } from "../tls/tls-files.ts";
import { admission } from "./admission.ts";
import { openApiDocument } from "./openapi.ts";
import { type ApiReply, failure, json, type Route } from "./route.ts";

/** Largest body of a request: an artifact with its files. */
export const bodyLimitBytes = 64 * 1024 * 1024;
/** Of routes that want none. */
const noBodyLimitBytes = 1024;
/** A whole request must come within this time, else its connection is not kept. */
const requestTimeoutMs = 300_000;
/** A reader that takes nothing for so long is given up. */
const defaultStallMs = 120_000;

/** On routes that are open. */
const nobody: Identity = { owner: "", role: "snippets", isAdmin: false };

export interface ServerOptions {
  routes: readonly Route[];
  log: Logger;
  tls?: TlsTexts;
  identify(headers: Headers): Identity | undefined;
  /** True when there is no token: then only requests to a local name are answered. */
  isLocalOnly: boolean;
  /** Of submissions. */
  rateLimit?: RateLimit;
  /** Of all calls that need a key. */
  calls?: RateLimit;
  failures?: FailedAttempts;
  clock: Clock;
  /** A request was over its caller's limit. */
  onLimited?(): void;
  /** How long a reader may take nothing; two minutes unless told. */
  stallMs?: number;
  /** One line of log a request. */
  hasAccessLog?: boolean;
}

export function makeServer(options: ServerOptions): FastifyInstance {
  const settings = {
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: true,
    logger: false,
  };
  // fastify types its https and http forms apart; both are the same to the routes.
  const app =
    options.tls === undefined
      ? fastify(settings)
      : (fastify({ ...settings, https: httpsOptions(options.tls) }) as unknown as FastifyInstance);
  const routes = [...options.routes, openApiRoute(options.routes)];
  for (const route of routes) addRoute(app, route, options);
  app.removeContentTypeParser("text/plain");
  app.setNotFoundHandler((request, reply) => send(reply, unknownRoute(request, routes)));
  app.setErrorHandler((error, request, reply) => send(reply, errorReply(error, request, options)));
  return app;
}

/** A client's certificate is asked for and never insisted on here: the link says in words what is wrong. */
function httpsOptions(tls: TlsTexts) {
  const asks = tls.clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: false };
  return { ...contextOf(tls), ...asks };
}

function openApiRoute(routes: readonly Route[]): Route {
  const route: Route = {
    method: "GET",
    path: "/openapi.json",
    id: "openApi",
    summary: "This document.",
    needs: "open",
    responses: { 200: { description: "OpenAPI 3.1.", schema: { type: "object" } } },
    handle: async () => json(openApiDocument([...routes, route])),
  };
  return route;
}

function addRoute(app: FastifyInstance, route: Route, options: ServerOptions): void {
  app.route({
    method: route.method,
    url: fastifyPath(route),
    bodyLimit: limitOf(route),
    // Before the body is read: nobody who is not let in has it parsed.
    onRequest: async (request, reply) => {
      const rejected = admission(route, request, options);
      return rejected === undefined ? undefined : send(reply, inItsWords(route, rejected));
    },
    handler: async (request, reply) => {
      const rejected = queryProblem(route, request);
      if (rejected !== undefined) return send(reply, inItsWords(route, rejected));
      const gone = new AbortController();
      reply.raw.on("close", () => gone.abort());
      giveUpStalled(request, reply, options);
      return send(
        reply,
        await route.handle({
          path: pathOf(route, request),
          query: textsOf(request.query),
          headers: request.headers,
          body: request.body,
          identity: options.identify(request.headers) ?? nobody,
          signal: gone.signal,
        }),
      );
    },
    // What was wrong before the handler: no JSON, or too much of it.
    errorHandler: (error, request, reply) =>
      send(reply, inItsWords(route, errorReply(error, request, options, limitOf(route)))),
    onResponse: async (request, reply) => {
      if (options.hasAccessLog === true) logAccess(request, reply, options);
    },
  });
}

function limitOf({ body, bodyLimitBytes: own }: Route): number {
  return own ?? (body === undefined ? noBodyLimitBytes : bodyLimitBytes);
}

/** Node.js looks whether anything was taken since; who only waits for what is to come is not stalled. */
function giveUpStalled(
  request: FastifyRequest,
  { raw }: FastifyReply,
  { stallMs = defaultStallMs, log }: ServerOptions,
): void {
  raw.setTimeout(stallMs, () => {
    if (raw.writableLength === 0) return;
    const fields = { path: request.url.split("?")[0], ip: request.ip };
    log.warn(fields, `a reader that took nothing for ${stallMs} ms was given up`);
    raw.destroy();
  });
}

function fastifyPath(route: Route): string {
  const path = route.path.replaceAll(/\{(\w+)\}/g, ":$1");
  return route.isDeep === true ? path.replace(/:\w+$/, "*") : path;
}

function pathOf(route: Route, request: FastifyRequest): { [name: string]: string } {
  const path = textsOf(request.params);
  const last = /\{(\w+)\}$/.exec(route.path)?.[1];
  if (route.isDeep === true && last !== undefined) path[last] = path["*"] ?? "";
  return path;
}

/** Of a parameter that is given twice, the last counts. */
function textsOf(values: unknown): { [name: string]: string } {
  if (typeof values !== "object" || values === null) return {};
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      String(Array.isArray(value) ? value.at(-1) : value),
    ]),
  );
}

function inItsWords(route: Route, reply: ApiReply): ApiReply {
  if (reply.kind !== "error" || route.refusal === undefined) return reply;
  const said = route.refusal(reply.status, reply.error);
  return said.kind === "json" && reply.headers !== undefined
    ? { ...said, headers: reply.headers }
    : said;
}

function logAccess(request: FastifyRequest, reply: FastifyReply, { log, identify }: ServerOptions) {
  const { method, url, ip } = request;
  const fields = {
    method,
    // Without the query: it may hold what is nobody's business.
    path: url.split("?")[0],
    status: reply.statusCode,
    ms: Math.round(reply.elapsedTime * 1000) / 1000,
    ip,
    owner: identify(request.headers)?.owner ?? null,
  };
  log.info(fields, "request");
}

function queryProblem(route: Route, request: FastifyRequest): ApiReply | undefined {
  const known = (route.parameters ?? []).filter((parameter) => parameter.in === "query");
  for (const [name, value] of Object.entries(textsOf(request.query))) {
    const { schema } = known.find((parameter) => parameter.name === name) ?? {};
    if (schema === undefined) {
      const names = known.map((parameter) => parameter.name);
      const near = nearest(name, names);
      const remedy =
        near !== undefined ? `Did you mean ${near}?` : `Known: ${names.join(", ") || "none"}.`;
      return badQuery(`there is no query parameter ${name}`, remedy);
    }
    if (schema.enum !== undefined && !schema.enum.includes(value)) {
      return badQuery(`${name} must be one of ${schema.enum.join(", ")}`, "Choose one of them.");
    }
    if (schema.type === "boolean" && !["", "true", "false"].includes(value)) {
      return badQuery(`${name} must be true or false`, "Leave it out for false.");
    }
    if (schema.type === "integer") {
      const number = value === "" ? Number.NaN : Number(value);
      if (!Number.isSafeInteger(number) || number < (schema.minimum ?? 0)) {
        return badQuery(
          `${name} must be a whole number, at least ${schema.minimum ?? 0}`,
          "Give a number, or leave the parameter out.",
        );
      }
    }
  }
  return undefined;
}

function badQuery(message: string, remedy: string): ApiReply {
  return failure(400, "Validation", "E_API_QUERY", message, remedy);
}

function unknownRoute(request: FastifyRequest, routes: readonly Route[]): ApiReply {
  const path = request.url.split("?")[0] ?? "";
  const near = nearest(
    path,
    routes.map((route) => route.path),
  );
  return failure(
    404,
    "Resource",
    "E_API_ROUTE",
    `there is nothing at ${request.method} ${path}`,
    near === undefined ? "GET /openapi.json describes the API." : `Did you mean ${near}?`,
  );
}

function errorReply(
  error: unknown,
  request: FastifyRequest,
  options: ServerOptions,
  limitBytes = bodyLimitBytes,
): ApiReply {
  const status =
    typeof error === "object" && error !== null && "statusCode" in error
      ? Number(error.statusCode)
      : 500;
  const message = error instanceof Error ? error.message : String(error);
  if (status === 413) {
    return failure(
      413,
      "Validation",
      "E_API_TOO_LARGE",
      `the body is larger than ${limitBytes} bytes`,
      limitBytes < bodyLimitBytes
        ? "Send less: this request wants next to nothing."
        : "Leave large files out of the artifact; let a task fetch them.",
    );
  }
  if (status >= 400 && status < 500) {
    return failure(status, "Validation", "E_API_BODY", message, "Send JSON as application/json.");
  }
  options.log.error({ url: request.url, error: message }, "a request failed");
  return failure(
    500,
    "Execution",
    "E_API_INTERNAL",
    "the master failed to answer",
    "The master's log tells why; ask again.",
  );
}

function send(reply: FastifyReply, answer: ApiReply): FastifyReply {
  reply.header("x-content-type-options", "nosniff");
  switch (answer.kind) {
    case "json":
      return reply
        .code(answer.status)
        .headers(answer.headers ?? {})
        .send(answer.value);
    case "empty":
      return reply.code(answer.status).send();
    case "error":
      return reply
        .code(answer.status)
        .headers(answer.headers ?? {})
        .send({ error: answer.error });
    case "stream":
      if (answer.body instanceof Readable) answer.body.on("error", () => reply.raw.destroy());
      return reply
        .code(answer.status)
        .headers({ "cache-control": "no-cache", ...answer.headers })
        .type(answer.type)
        .send(answer.body);
  }
}
