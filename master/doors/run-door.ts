// The door of a sandbox manager: `POST /run` as RAGFlow's executor manager has it. A function `main`
// in Python or Node.js is called once, and the caller waits. Kept nowhere.
import type { Json } from "../../protocol/json.ts";
import { isTooDeep, maxJsonDepth } from "../../protocol/json-depth.ts";
import { type ApiReply, json, type Route } from "../api/route.ts";
import { priorities } from "../snippets/snippet.ts";
import type { DoorParts } from "./door-parts.ts";
import { bytesOf, isObject } from "./input.ts";
import { makeSnippet } from "./make-snippet.ts";
import {
  artifactFolder,
  artifactPatterns,
  busyAnswer,
  mostArtifactBytes,
  mostArtifacts,
  type RunAnswer,
  runAnswer,
  runCodes,
  runnerError,
  tooManyAnswer,
  unsafeAnswer,
} from "./run-answer.ts";
import {
  invalidSchema,
  refusalSchema,
  runExample,
  runRequestExample,
  runSchema,
} from "./run-schema.ts";

export type RunDoorParts = Pick<
  DoorParts,
  "snippets" | "rules" | "policy" | "refused" | "clock" | "log"
>;

interface RunRequest {
  language: "python" | "nodejs";
  code: string;
  args: { [name: string]: Json };
}

/** One field that is wrong, as FastAPI tells of it. */
interface Problem {
  loc: string[];
  msg: string;
  type: string;
}

const runLanguages = ["python", "nodejs"] as const;

export function runDoor(parts: RunDoorParts): Route {
  return {
    method: "POST",
    path: "/run",
    id: "run",
    summary: "Calls `main` of a snippet in a sandbox and answers when it has ended.",
    needs: "snippets",
    isLimited: true,
    body: {
      description: "The code as base64, its language, and the arguments of `main`.",
      schema: {
        type: "object",
        required: ["code_b64"],
        properties: {
          code_b64: { type: "string" },
          language: { type: "string", enum: runLanguages, default: "python" },
          arguments: { type: "object" },
        },
      },
      example: runRequestExample,
    },
    responses: {
      200: { description: "How it ended.", schema: runSchema, example: runExample },
      422: { description: "The request is not valid.", schema: invalidSchema },
      429: { description: "Too many requests.", schema: runSchema },
    },
    refusalSchema,
    refusal: (status, error): ApiReply => {
      if (status === 429) return json(tooManyAnswer(), 429);
      const isOfBody = status === 400 || status === 413 || status === 415;
      if (!isOfBody) return json({ detail: error.message }, status);
      return json({ detail: [{ loc: ["body"], msg: error.message, type: "value_error" }] }, 422);
    },
    handle: async ({ body, identity, signal }) => {
      const read = readRun(body);
      if (!read.ok) {
        parts.refused("invalid");
        return json({ detail: read.problems }, 422);
      }
      const answer = await run(parts, read.value, identity.owner, signal);
      if (answer.exit_code === runCodes.unsafe) parts.refused("unsafe");
      return json(answer);
    },
  };
}

async function run(
  { snippets, rules, policy, clock, log }: RunDoorParts,
  { language, code, args }: RunRequest,
  owner: string,
  signal: AbortSignal,
): Promise<RunAnswer> {
  if (policy !== undefined) {
    const verdict = await policy.check(language === "python" ? "python" : "javascript", code);
    if (verdict.kind === "unsafe") return unsafeAnswer(verdict.findings);
    if (verdict.kind === "unavailable") {
      // Whoever wants code to be looked at does not want it run unseen.
      log.warn({ detail: verdict.detail }, "code could not be checked, and was refused");
      const message = `the code could not be checked: ${verdict.detail}`;
      return unsafeAnswer([{ rule: "unchecked", line: 1, column: 1, message }]);
    }
  }
  const snippet = makeSnippet(
    {
      owner,
      language,
      run: { kind: language === "python" ? "python" : "node", code, function: "main" },
      args,
      outputs: [...artifactPatterns],
      limits: { artifacts: mostArtifacts * 2, artifactBytes: mostArtifacts * mostArtifactBytes },
      priority: priorities.normal,
      lostRetries: 1,
      folders: [artifactFolder],
    },
    rules,
    clock(),
  );
  const end = await snippets.call(snippet, signal);
  switch (end.kind) {
    case "ended":
      return runAnswer(end.end);
    case "busy":
      return busyAnswer();
    case "impossible":
      return runnerError(end.detail, runCodes.internal, "internal_error");
  }
}

function readRun(
  body: unknown,
): { ok: true; value: RunRequest } | { ok: false; problems: Problem[] } {
  const problems: Problem[] = [];
  const add = (field: string, msg: string, type: string) =>
    problems.push({ loc: field === "" ? ["body"] : ["body", field], msg, type });
  if (!isObject(body)) {
    add("", "Input should be a valid dictionary", "model_attributes_type");
    return { ok: false, problems };
  }
  const { code_b64: code64, language: given = "python", arguments: args } = body;
  const language = runLanguages.find((known) => known === given);
  if (language === undefined) add("language", "Input should be 'python' or 'nodejs'", "enum");
  let code = "";
  if (code64 === undefined) add("code_b64", "Field required", "missing");
  else if (typeof code64 !== "string") {
    add("code_b64", "Input should be a valid string", "string_type");
  } else {
    const decoded = decode(code64);
    if (decoded === undefined) {
      add("code_b64", "Value error, Invalid base64 encoding of UTF-8 text", "value_error");
    } else code = decoded;
  }
  const isGiven = args !== undefined && args !== null;
  if (isGiven && !isObject(args)) {
    add("arguments", "Input should be a valid dictionary", "dict_type");
  } else if (isGiven && isTooDeep(args)) {
    add("arguments", `Nested more than ${maxJsonDepth} levels deep`, "value_error");
  }
  if (problems.length > 0 || language === undefined) return { ok: false, problems };
  // The body was parsed from JSON, so what is in it is.
  const values = (isGiven ? args : {}) as { [name: string]: Json };
  return { ok: true, value: { language, code, args: values } };
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function decode(base64: string): string | undefined {
  const bytes = bytesOf(base64);
  if (bytes === undefined) return undefined;
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined; // told by the caller
  }
}
