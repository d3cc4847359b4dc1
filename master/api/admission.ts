// Who is let in at a route of the HTTP API, and how often: 401 for strangers, 403 for those whose role is
// not enough, 429 for those who call too often or guess.
import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";
import { type Identity, secretOf } from "../access/identity.ts";
import type { RateLimit } from "../access/rate-limit.ts";
import { allows, rolesFor } from "../access/roles.ts";
import { digestOf } from "../access/secret-digest.ts";
import { type ApiReply, failure, type Route } from "./route.ts";
import type { ServerOptions } from "./server.ts";

/** Undefined: let in. Asked before the body is read. */
export function admission(
  route: Route,
  request: FastifyRequest,
  options: ServerOptions,
): ApiReply | undefined {
  if (options.isLocalOnly && !isLocalName(request.headers.host)) {
    // A web page whose name was made to point here would otherwise command a master without a token.
    return failure(
      403,
      "Security",
      "E_API_HOST",
      "a master without a token answers only to a local name",
      "Use http://127.0.0.1 or http://localhost, or give the master a token.",
    );
  }
  if (route.needs === "open") return undefined;
  const blockedMs = options.failures?.blockedMs(request.ip, options.clock()) ?? 0;
  const given = secretOf(request.headers);
  if (given !== undefined && blockedMs > 0) return tooManyFailures(blockedMs);
  const identity = options.identify(request.headers);
  if (identity === undefined) return stranger(given, request, options);
  if (!allows(identity.role, route.needs)) {
    const [least] = rolesFor(route.needs);
    return failure(
      403,
      "Security",
      "E_API_ROLE",
      `a key with the role ${identity.role} is not enough for this`,
      `Use a key with the role ${least}, or the master's token.`,
    );
  }
  const { calls, rateLimit } = options;
  return (
    tooMany(identity, request, calls, "EDGEDAG_API_RATE", options) ??
    (route.isLimited === true
      ? tooMany(identity, request, rateLimit, "EDGEDAG_RATE_LIMIT", options)
      : undefined)
  );
}

/** Nobody that is known: 401; where wrong secrets come too often, 429. */
function stranger(
  given: string | undefined,
  { ip }: FastifyRequest,
  { failures, clock }: ServerOptions,
): ApiReply {
  const waitMs = given === undefined ? 0 : (failures?.failed(ip, digestOf(given), clock()) ?? 0);
  if (waitMs > 0) return tooManyFailures(waitMs);
  const error = failure(
    401,
    "Security",
    "E_API_TOKEN",
    given === undefined ? "a token is needed for this" : "the token is wrong",
    "Send `Authorization: Bearer TOKEN` with the master's token or an API key.",
  );
  return { ...error, headers: { "www-authenticate": "Bearer" } };
}

function tooManyFailures(waitMs: number): ApiReply {
  return limited(
    waitMs,
    "E_API_FAILURES",
    "too many wrong tokens came from this address",
    "the limit is the operator's EDGEDAG_AUTH_LIMIT",
  );
}

function tooMany(
  { owner }: Identity,
  request: FastifyRequest,
  limit: RateLimit | undefined,
  name: string,
  { clock, onLimited }: ServerOptions,
): ApiReply | undefined {
  // Who has no name of its own is known by its address.
  const waitMs = limit?.take(owner === "" ? `@${request.ip}` : owner, clock());
  if (waitMs === undefined || waitMs === 0) return undefined;
  onLimited?.();
  return limited(
    waitMs,
    "E_API_RATE",
    "Too many requests, please try again later",
    `the limit is the operator's ${name}`,
  );
}

function limited(waitMs: number, code: string, message: string, whose: string): ApiReply {
  const seconds = String(Math.ceil(waitMs / 1000));
  const error = failure(429, "Resource", code, message, `Wait ${seconds} s; ${whose}.`);
  return { ...error, headers: { "retry-after": seconds } };
}

function isLocalName(host: string | undefined): boolean {
  const name = (host ?? "").replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return name === "localhost" || name.endsWith(".localhost") || isIP(name) !== 0;
}
