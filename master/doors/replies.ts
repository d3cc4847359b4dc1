// Answers that the doors share: errors by their class, and the look-up of a caller's own task.
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import { parseDuration } from "../../protocol/units.ts";
import type { Identity } from "../access/identity.ts";
import { type ApiReply, failure } from "../api/route.ts";
import type { CodePolicy } from "../policy/policy.ts";
import type { SnippetRecord } from "../snippets/snippet.ts";
import { snippetIdPattern } from "../snippets/snippet-id.ts";
import { QueueFull, type Snippets } from "../snippets/snippets.ts";
import { StoreDown } from "../snippets/store/store.ts";
import type { DoorParts } from "./door-parts.ts";

export const mostWaitMs = 60_000;

export function invalid(diagnostics: readonly Diagnostic[]): ApiReply {
  const [first] = diagnostics;
  const more = diagnostics.length > 1 ? ` (and ${diagnostics.length - 1} more)` : "";
  return {
    kind: "error",
    status: 400,
    error: {
      class: "Validation",
      code: first?.code ?? "E_SNIPPET_FIELD",
      message: `${first?.path || "the body"} ${first?.message ?? "is not valid"}${more}`,
      remedy: first?.remedy ?? "See /docs.",
      diagnostics,
    },
  };
}

export function notFound(id: string): ApiReply {
  return failure(
    404,
    "Resource",
    "E_SNIPPET_UNKNOWN",
    `there is no task ${id.slice(0, 200)}`,
    "Ends are kept for the time of EDGEDAG_RETENTION, and shown to the key that sent the task.",
  );
}

/** The same reply, with its refusal counted. */
export function counted({ refused }: Pick<DoorParts, "refused">, reply: ApiReply): ApiReply {
  if (reply.kind !== "error") return reply;
  const { code } = reply.error;
  if (code === "E_QUEUE_FULL") refused("full");
  else if (code === "E_CODE_UNSAFE") refused("unsafe");
  else if (reply.status < 500) refused("invalid");
  return reply;
}

/** Of what `Snippets.submit` rejects with; anything else goes on up. */
export function submitFailure(error: unknown): ApiReply {
  if (error instanceof QueueFull) {
    const full = failure(
      503,
      "Resource",
      "E_QUEUE_FULL",
      error.message,
      "Nothing of the request was taken in: send it again later.",
    );
    return { ...full, headers: { "retry-after": "1" } };
  }
  if (error instanceof StoreDown) {
    const down = failure(503, "Resource", "E_STORE_DOWN", error.message, error.remedy);
    return { ...down, headers: { "retry-after": "1" } };
  }
  throw error;
}

/** Undefined too where it is somebody else's: that there is one is not told. */
export async function taskOf(
  snippets: Snippets,
  id: string,
  identity: Identity,
): Promise<SnippetRecord | undefined> {
  if (!snippetIdPattern.test(id)) return undefined;
  const record = await snippets.get(id);
  if (record === undefined) return undefined;
  return identity.isAdmin || record.snippet.owner === identity.owner ? record : undefined;
}

/** Milliseconds, or what is wrong with it. */
export function waitMsOf(text: string | undefined): number | ApiReply {
  if (text === undefined) return 0;
  const ms = parseDuration(/^\d+(\.\d+)?$/.test(text) ? Number(text) : text);
  if (ms !== undefined) return Math.min(ms, mostWaitMs);
  return failure(
    400,
    "Validation",
    "E_API_QUERY",
    `wait=${text.slice(0, 40)} is no duration`,
    "Write seconds, or a number with its unit: 500ms, 30s.",
  );
}

/** Undefined: it may run. */
export async function unsafeCode(
  policy: CodePolicy,
  language: string,
  code: string,
): Promise<ApiReply | undefined> {
  const parsed = { python: "python", nodejs: "javascript" } as const;
  if (language !== "python" && language !== "nodejs") return undefined;
  const verdict = await policy.check(parsed[language], code);
  if (verdict.kind === "clean" || verdict.kind === "unparsed") return undefined;
  const diagnostics =
    verdict.kind === "unsafe"
      ? verdict.findings.map(({ rule, line, column, message }) => ({
          code: `E_CODE_${rule.toUpperCase().replaceAll("-", "_")}`,
          path: `code:${line}:${column}`,
          message,
          remedy: "Leave it out; docs/code-policy.md says what is refused.",
        }))
      : [];
  const message =
    verdict.kind === "unsafe"
      ? "Code is unsafe"
      : `the code could not be checked: ${verdict.detail}`;
  return {
    kind: "error",
    status: 422,
    error: {
      class: "Security",
      code: "E_CODE_UNSAFE",
      message,
      remedy: "Leave out what reaches for the operating system.",
      diagnostics,
    },
  };
}
