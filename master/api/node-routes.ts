// Routes about nodes, and the pull form of the gateway.
import type { NodeKeys } from "../access/node-keys.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { nearest } from "../nearest.ts";
import type { LiveNode, Nodes } from "../nodes/nodes.ts";
import type { MasterStorage } from "../storage/storage.ts";
import { type ApiReply, failure, json, pathParameter, type Route } from "./route.ts";
import { ref } from "./schemas.ts";

const eventsShown = 100;

export interface NodeParts {
  storage: MasterStorage;
  nodes: Nodes;
  gateway: Gateway;
  keys: NodeKeys;
}

export function nodeRoutes({ storage, nodes, gateway, keys }: NodeParts): Route[] {
  const view = (node: LiveNode) => {
    const revokedAt = keys.revokedAt(node.row.id);
    return { ...nodes.view(node), ...(revokedAt === undefined ? {} : { revokedAt }) };
  };
  const unknownNode = (id: string): ApiReply => {
    const near = nearest(
      id,
      nodes.all().map((node) => node.row.id),
    );
    return failure(
      404,
      "Resource",
      "E_API_NODE",
      `no node ${id} has ever connected`,
      near === undefined ? "GET /api/nodes lists the nodes." : `Did you mean ${near}?`,
    );
  };
  return [
    {
      method: "GET",
      path: "/api/nodes",
      needs: "read",
      id: "listNodes",
      summary: "All nodes that ever connected, with their state.",
      responses: { 200: { description: "The nodes, by id.", schema: ref("Nodes") } },
      handle: async () => json({ nodes: nodes.all().map(view) }),
    },
    {
      method: "GET",
      path: "/api/nodes/{node}",
      needs: "read",
      id: "getNode",
      summary: "One node, with its last events, newest first.",
      parameters: [pathParameter("node", "Node id.")],
      responses: { 200: { description: "The node.", schema: ref("Node") } },
      handle: async ({ path: { node: id = "" } }) => {
        const node = nodes.get(id);
        if (node === undefined) return unknownNode(id);
        const known = await keys.keysOf(id);
        return json({
          ...view(node),
          keys: known.map(({ key, state, createdAt }) => ({ key, state, createdAt })),
          events: await storage.nodeEvents(id, eventsShown),
        });
      },
    },
    {
      method: "GET",
      path: "/api/nodes/{node}/dag",
      needs: "admin",
      id: "pullDag",
      summary: "The run that the node should do next; the same one until it accepted or began.",
      parameters: [pathParameter("node", "Node id.")],
      responses: {
        200: { description: "The run and its artifact.", schema: ref("Offer") },
        204: { description: "Nothing is queued for this node." },
      },
      handle: async ({ path: { node: id = "" } }) => {
        const next = await gateway.pull(id);
        if (next === undefined) return { kind: "empty", status: 204 };
        const { run, artifact } = next;
        const params = run.params === undefined ? {} : { params: run.params };
        return json({ run: run.id, artifact, ...params });
      },
    },
  ];
}
