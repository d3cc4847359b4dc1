// The list of a caller's tasks, newest first: the same at both doors that keep them.
import { type ApiReply, type ApiRequest, failure, json, queryParameter } from "../api/route.ts";
import { ref } from "../api/schemas.ts";
import type { SnippetState } from "../snippets/snippet.ts";
import type { Snippets } from "../snippets/snippets.ts";
import type { SnippetQuery } from "../snippets/store/store.ts";
import { summaryView } from "./snippet-view.ts";

const states: readonly SnippetState[] = ["queued", "running", "finished"];
const shown = 50;
const mostShown = 500;

export function listOfSnippets(snippets: Snippets, field: "tasks") {
  return {
    parameters: [
      queryParameter("state", "Only those in this state.", { type: "string", enum: states }),
      queryParameter("language", "Only those of this queue."),
      queryParameter("before", "Only those older than the one with this id."),
      queryParameter("limit", `At most so many; ${shown} unless told, ${mostShown} at most.`, {
        type: "integer",
        minimum: 1,
      }),
    ],
    responses: { 200: { description: "The tasks.", schema: ref("Snippets") } },
    handle: async ({ query, identity }: ApiRequest): Promise<ApiReply> => {
      const wanted: SnippetQuery = { limit: Math.min(Number(query.limit ?? shown), mostShown) };
      const state = states.find((known) => known === query.state);
      if (state !== undefined) wanted.state = state;
      if (query.language !== undefined) wanted.language = query.language;
      if (query.before !== undefined) wanted.before = query.before;
      if (!identity.isAdmin) wanted.owner = identity.owner;
      if (Number.isNaN(wanted.limit)) {
        return failure(400, "Validation", "E_API_QUERY", "limit is no number", "Send a number.");
      }
      return json({ [field]: (await snippets.list(wanted)).map(summaryView) });
    },
  };
}
