// Routes about who nodes are: one-time tokens that let a node in, and revocation. For admins alone.
import type { NodeKeys } from "../access/node-keys.ts";
import type { LinkServer } from "../link/link-server.ts";
import type { Nodes } from "../nodes/nodes.ts";
import { failure, json, pathParameter, type Route } from "./route.ts";
import { ref } from "./schemas.ts";

const defaultExpiresMs = 3_600_000;
const mostExpiresMs = 30 * 86_400_000;
const nodePattern = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

export interface EnrollParts {
  nodes: Nodes;
  keys: NodeKeys;
  link: LinkServer;
}

export function enrollRoutes({ nodes, keys, link }: EnrollParts): Route[] {
  return [
    {
      method: "POST",
      path: "/api/nodes/{node}/enroll-token",
      needs: "admin",
      id: "makeEnrollToken",
      bodyLimitBytes: 1024,
      summary: "Makes a one-time token with which this node gets an identity of its own.",
      parameters: [pathParameter("node", "Node id; it need not have connected before.")],
      body: {
        description: "How long the token can be used: an hour unless told, 30 days at most.",
        schema: {
          type: "object",
          properties: {
            expiresMs: { type: "integer", minimum: 1000, maximum: mostExpiresMs },
          },
        },
      },
      responses: {
        201: { description: "The token, which is told only here.", schema: ref("EnrollToken") },
      },
      handle: async ({ path: { node = "" }, body }) => {
        const expiresMs = expiryOf(body);
        if (expiresMs === undefined) {
          return failure(
            400,
            "Validation",
            "E_API_EXPIRY",
            `expiresMs must be a whole number from 1000 to ${mostExpiresMs}`,
            "Leave it out for an hour.",
          );
        }
        if (!nodePattern.test(node)) {
          return failure(
            400,
            "Validation",
            "E_API_NODE",
            "this is no node id",
            "Use letters, digits, dots, dashes and underscores, at most 128.",
          );
        }
        return json({ node, ...(await keys.makeToken(node, expiresMs)) }, 201);
      },
    },
    {
      method: "POST",
      path: "/api/nodes/{node}/revoke",
      needs: "admin",
      id: "revokeNode",
      summary: "Shuts a node out: its connection is closed, its keys and tokens are worth nothing.",
      parameters: [pathParameter("node", "Node id; it need not have connected before.")],
      responses: { 200: { description: "It is revoked.", schema: ref("Revoked") } },
      handle: async ({ path: { node = "" } }) => {
        const revokedAt = await keys.revoke(node);
        link.revoke(node);
        if (nodes.get(node) !== undefined) await nodes.note(node, "revoked", "by an admin");
        return json({ node, revokedAt });
      },
    },
  ];
}

function expiryOf(body: unknown): number | undefined {
  if (body === undefined || body === null) return defaultExpiresMs;
  if (typeof body !== "object") return undefined;
  const expiresMs: unknown = Reflect.get(body, "expiresMs");
  if (expiresMs === undefined) return defaultExpiresMs;
  const isFine =
    typeof expiresMs === "number" &&
    Number.isInteger(expiresMs) &&
    expiresMs >= 1000 &&
    expiresMs <= mostExpiresMs;
  return isFine ? expiresMs : undefined;
}
