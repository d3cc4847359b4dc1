// One of the caller's tasks, by its id: what became of it, and its cancellation. The same at both
// doors that keep tasks; each names the parameter in its own way.
import { type ApiReply, type ApiRequest, json, queryParameter, type Route } from "../api/route.ts";
import { ref } from "../api/schemas.ts";
import type { Snippets } from "../snippets/snippets.ts";
import { notFound, taskOf, waitMsOf } from "./replies.ts";
import { viewOf } from "./snippet-view.ts";

type Parameter = NonNullable<Route["parameters"]>[number];

export function resultOf(snippets: Snippets, taskId: Parameter) {
  return {
    parameters: [
      taskId,
      queryParameter("wait", "Waits for its end at most so long, like 30s; 60s at most."),
    ],
    responses: { 200: { description: "The task.", schema: ref("Snippet") } },
    handle: async ({ path, query, identity, signal }: ApiRequest): Promise<ApiReply> => {
      const waitMs = waitMsOf(query.wait);
      if (typeof waitMs !== "number") return waitMs;
      const id = path[taskId.name] ?? "";
      const found = await taskOf(snippets, id, identity);
      if (found === undefined) return notFound(id);
      if (found.state === "finished" || waitMs === 0) return json(viewOf(found));
      return json(viewOf((await snippets.wait(id, waitMs, signal)) ?? found));
    },
  };
}

export function cancelOf(snippets: Snippets, taskId: Parameter) {
  return {
    parameters: [taskId],
    responses: { 200: { description: "The task, as it is now.", schema: ref("Snippet") } },
    handle: async ({ path, identity }: ApiRequest): Promise<ApiReply> => {
      const id = path[taskId.name] ?? "";
      const found = await taskOf(snippets, id, identity);
      if (found === undefined) return notFound(id);
      await snippets.cancel(id, "user");
      return json(viewOf((await snippets.get(id)) ?? found));
    },
  };
}
