// Routes about the master itself: health, metrics, its OpenAPI document, the dashboard's files.
import { readFile } from "node:fs/promises";
import type { LinkServer } from "../link/link-server.ts";
import type { Nodes } from "../nodes/nodes.ts";
import type { SnippetService } from "../snippet-service.ts";
import { type MasterStorage, runStates } from "../storage/storage.ts";
import { docsRoutes } from "./docs-routes.ts";
import { json, type Route } from "./route.ts";
import { ref } from "./schemas.ts";

export interface MetaParts {
  storage: MasterStorage;
  nodes: Nodes;
  link: LinkServer;
  /** Of a code-execution service. */
  service: SnippetService | undefined;
}

export function metaRoutes({ storage, nodes, link, service }: MetaParts): Route[] {
  return [
    {
      method: "GET",
      path: "/healthz",
      id: "health",
      summary: "Whether the master lives: it reads its storage to answer.",
      needs: "open",
      responses: {
        200: { description: "It lives.", schema: ref("Health"), example: { status: "ok" } },
      },
      handle: async () => {
        await storage.recordsStored();
        return json({ status: "ok" });
      },
    },
    {
      method: "GET",
      path: "/readyz",
      id: "ready",
      summary: "Whether new work can be done now, and if not, why.",
      needs: "open",
      responses: {
        200: { description: "It is ready.", schema: ref("Readiness") },
        503: { description: "It is not.", schema: ref("Readiness") },
      },
      handle: async () => {
        const problems = (await service?.snippets.problems()) ?? [];
        const { connections } = link;
        const figures = { nodes: nodes.all().length, connections, problems };
        if (problems.length > 0) return json({ status: "not ready", ...figures }, 503);
        return json({ status: "ready", ...figures });
      },
    },
    {
      method: "GET",
      path: "/metrics",
      id: "metrics",
      summary: "Counts in Prometheus text format.",
      needs: "open",
      responses: { 200: { description: "The metrics.", type: "text/plain" } },
      handle: async () => ({
        kind: "stream",
        status: 200,
        type: "text/plain; version=0.0.4; charset=utf-8",
        body: (await metrics(storage, nodes, link)) + ((await service?.metrics.text()) ?? ""),
      }),
    },
    ...docsRoutes(),
    ...dashboardRoutes(service !== undefined),
  ];
}

async function metrics(storage: MasterStorage, nodes: Nodes, link: LinkServer): Promise<string> {
  const byState = { alive: 0, late: 0, lost: 0 };
  let outbox = 0;
  for (const node of nodes.all()) {
    byState[nodes.livenessOf(node)]++;
    outbox += node.heartbeat?.outbox ?? 0;
  }
  const runs = await storage.runsByState();
  const wire = link.wire();
  return [
    "# HELP edgedag_nodes Nodes by state.",
    "# TYPE edgedag_nodes gauge",
    ...Object.entries(byState).map(([state, count]) => `edgedag_nodes{state="${state}"} ${count}`),
    "# HELP edgedag_connections Nodes that are connected.",
    "# TYPE edgedag_connections gauge",
    `edgedag_connections ${link.connections}`,
    "# HELP edgedag_outbox_records Records that connected nodes still hold, as they last said.",
    "# TYPE edgedag_outbox_records gauge",
    `edgedag_outbox_records ${outbox}`,
    "# HELP edgedag_link_received_bytes_total Bytes that came from nodes, framing included.",
    "# TYPE edgedag_link_received_bytes_total counter",
    `edgedag_link_received_bytes_total ${wire.receivedBytes}`,
    "# HELP edgedag_link_sent_bytes_total Bytes that went to nodes, framing included.",
    "# TYPE edgedag_link_sent_bytes_total counter",
    `edgedag_link_sent_bytes_total ${wire.sentBytes}`,
    ...sandboxLines(nodes),
    "# HELP edgedag_runs Runs by state.",
    "# TYPE edgedag_runs gauge",
    ...runStates.map((state) => `edgedag_runs{state="${state}"} ${runs[state] ?? 0}`),
    "# HELP edgedag_records_total Records that were stored, each once.",
    "# TYPE edgedag_records_total counter",
    `edgedag_records_total ${await storage.recordsStored()}`,
    "",
  ].join("\n");
}

const sandboxFigures = [
  ["ready", "gauge", "Sandboxes that wait for a task."],
  ["starting", "gauge", "Sandboxes that are being made."],
  ["inUse", "gauge", "Sandboxes that serve a task."],
  ["served", "counter", "Sandboxes that have served a task."],
  ["cold", "counter", "Tasks for which no sandbox was ready."],
  ["died", "counter", "Sandboxes that ended while they waited."],
  ["expired", "counter", "Sandboxes that were too old, or not wanted any more."],
  ["failed", "counter", "Sandboxes that could not be made."],
] as const;

/** Of the pools of all connected nodes, as they last said. */
function sandboxLines(nodes: Nodes): string[] {
  const pools = nodes
    .all()
    .flatMap((node) =>
      (node.heartbeat?.sandboxes ?? []).map((pool) => ({ node: node.row.id, pool })),
    );
  if (pools.length === 0) return [];
  return sandboxFigures.flatMap(([field, type, help]) => {
    const snake = field === "inUse" ? "in_use" : field;
    const name = `edgedag_sandboxes_${snake}${type === "counter" ? "_total" : ""}`;
    return [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...pools.map(({ node, pool }) => {
        const labels = [
          ["node", node],
          ["level", pool.level],
          ["language", pool.language],
        ].map(([label, value]) => `${label}=${JSON.stringify(value)}`);
        return `${name}{${labels.join(",")}} ${pool[field]}`;
      }),
    ];
  });
}

const dashboardFiles = [
  ["/", "index.html", "text/html; charset=utf-8"],
  ["/app.js", "app.js", "text/javascript; charset=utf-8"],
  ["/style.css", "style.css", "text/css; charset=utf-8"],
] as const;

// In a bundle the files lie beside it.
const dashboardFolder = import.meta.url.endsWith(".ts") ? "../dashboard" : "./dashboard";

/** Who asks for JSON at / wants to know whether it lives, as of a sandbox manager. */
function dashboardRoutes(hasDoors: boolean): Route[] {
  return dashboardFiles.map(([path, file, type]) => ({
    method: "GET",
    path,
    id: `dashboard_${file.replace(".", "_")}`,
    summary: "The dashboard, for browsers.",
    needs: "open",
    responses: { 200: { description: file, type: type.split(";")[0] ?? type } },
    handle: async ({ headers }) => {
      const wantsPage = !hasDoors || path !== "/" || String(headers.accept).includes("text/html");
      if (!wantsPage) return json({ status: "ok" });
      return {
        kind: "stream",
        status: 200,
        type,
        body: await readFile(new URL(`${dashboardFolder}/${file}`, import.meta.url), "utf8"),
        headers: {
          "content-security-policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
        },
      };
    },
  }));
}
