// Messages of the link, both ways, and the agent's session that acts on them: a message or
// diagnostics; what is understood is understood again when it is written.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Session } from "../../../agent/link/session.ts";
import { decodeAgentToMaster, decodeMasterToAgent } from "../../../protocol/link-decode.ts";
import { mutateBytes } from "../engine/bytes.ts";
import type { Random } from "../engine/random.ts";
import { mutateTree } from "../engine/tree.ts";
import { must, shown, type Target } from "../target.ts";
import { mustBeDiagnostics } from "./diagnostics.ts";

const transcript = join(import.meta.dirname, "../../fixtures/wire/link-session.ndjson");

export function sampleMessages(from: "agent" | "master"): string[] {
  return readFileSync(transcript, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { from: string; message: object })
    .filter((line) => line.from === from)
    .map((line) => JSON.stringify(line.message));
}

export const linkWords =
  "type version node boot agentVersion capabilities labels firstHeldSeq nextSeq runs wantsRuns snippetSlots welcome hello heartbeat records record seq time run ack acked run-offered run-accepted run-refused cancel-run drain refused snippet artifact dag params outcome facts log lines progress attempt-started attempt-finished task-finished run-started run-finished object-part data sha256 parts part unauthorized twin gap bad-message too-large user master".split(
    " ",
  );

/** Lines of JSON: some are changed, some change places. */
export function mutateLines(input: Buffer, random: Random, other: Buffer): Buffer {
  const lines = input.toString("utf8").split("\n");
  const donors = other.toString("utf8").split("\n");
  for (let i = 1 + random.small(3); i > 0; i--) {
    const at = random.below(lines.length);
    const line = Buffer.from(lines[at] ?? "");
    const donor = Buffer.from(random.pick(donors));
    const what = random.below(8);
    if (what === 0) lines.splice(at, 1);
    else if (what === 1) lines.splice(at, 0, random.pick(donors));
    else if (what === 2) lines.push(lines[at] ?? "");
    else {
      const made =
        mutateTree(line, random, donor, linkWords) ?? mutateBytes(line, random, donor, linkWords);
      lines[at] = made.toString("utf8").replaceAll("\n", " ");
    }
    if (lines.length === 0) lines.push("");
  }
  return Buffer.from(lines.join("\n"));
}

const isLinkCode = (code: unknown): code is never =>
  typeof code === "string" && /^E_(LINK|DAG)_[A-Z_]+$/.test(code);

export function open(): Target {
  return {
    covers:
      /\/(protocol\/(link|outcome-decode|snippet-decode|json-read)[\w-]*|agent\/link\/(session|backoff))\.ts$/,
    dictionary: linkWords,
    maxBytes: 16 * 1024,
    seeds: () => [
      ...sampleMessages("agent"),
      ...sampleMessages("master"),
      sampleMessages("master").join("\n"),
    ],
    mutate: mutateLines,
    run(input) {
      const session = new Session({
        heartbeatMs: 1000,
        backoff: { firstMs: 10, maxMs: 100, slowMs: 1000 },
      });
      let now = 1;
      const moment = () => {
        now += 7;
        return { now, random: 0.5 };
      };
      session.handle({ type: "started" }, moment());
      session.handle({ type: "connected" }, moment());
      for (const line of input.toString("utf8").split("\n").slice(0, 50)) {
        for (const decode of [decodeAgentToMaster, decodeMasterToAgent]) {
          const decoded = decode(line);
          if (!decoded.ok) {
            mustBeDiagnostics(decoded.diagnostics, isLinkCode);
            continue;
          }
          const text = JSON.stringify(decoded.value);
          const again = decode(text);
          must(again.ok, `refused when it is written: ${shown(again)} of ${shown(text)}`);
          must(JSON.stringify(again.value) === text, "another message when it is read again");
        }
        const decoded = decodeMasterToAgent(line);
        if (!decoded.ok) continue;
        session.handle({ type: "received", message: decoded.value }, moment());
        session.handle({ type: "ticked" }, moment());
        const { dueAt } = session;
        must(dueAt === undefined || Number.isFinite(dueAt), `the next look is at ${dueAt}`);
        must(
          session.heartbeatMs >= 20 && Number.isFinite(session.heartbeatMs),
          `a heartbeat of ${session.heartbeatMs} ms`,
        );
      }
    },
  };
}
