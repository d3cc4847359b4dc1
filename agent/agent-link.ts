// Wires the link to the agent: offers and cancels in, acknowledgements into the journal, and what
// the connection has to say into the agent's log.
import type { DagArtifact } from "../protocol/artifact.ts";
import type { Diagnostic, Result } from "../protocol/diagnostic.ts";
import type { Json } from "../protocol/json.ts";
import type { Capabilities } from "../protocol/link.ts";
import type { LogLevel } from "../protocol/log.ts";
import type { CancelledBy } from "../protocol/outcome.ts";
import { loadArtifact } from "../protocol/pack.ts";
import type { Config } from "./config.ts";
import type { Journal } from "./journal/journal.ts";
import { defaultBackoff } from "./link/backoff.ts";
import { Link, type LinkStatus } from "./link/link.ts";
import { SnippetLink } from "./snippet-link.ts";
import type { Snippets } from "./snippets.ts";

export interface AgentLinkOptions {
  config: Config;
  version: string;
  boot: string;
  capabilities: Capabilities;
  journal: Journal;
  /** For heartbeats; asked for when one is due. */
  status(): LinkStatus;
  /** Absent: this node runs none. */
  snippets: Snippets | undefined;
  say(level: LogLevel, text: string): void;
  accept(
    run: string,
    artifact: DagArtifact,
    params: { [name: string]: Json },
  ): Promise<Result<null>>;
  cancel(run: string, by: CancelledBy): boolean;
  drain(): void;
  refused(code: string, detail: string): void;
  acked(): void;
  /** Records were lost on this node's disk. */
  lost(text: string): void;
  /** What the thread cannot read; undefined: it can again. */
  unreadable(problem: string | undefined): void;
}

/** `http://host:8700` is `ws://host:8700/link`; a path that is given stays. */
export function linkUrl(master: string): string {
  const url = new URL(master);
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  if (url.pathname === "/" || url.pathname === "") url.pathname = "/link";
  return url.href;
}

export function startLink(options: AgentLinkOptions): Link {
  const { config, journal, say } = options;
  const report = (result: Result<unknown>) => {
    if (!result.ok) say("error", `the journal: ${result.diagnostics[0]?.message}`);
  };
  const refuse = (run: string, diagnostics: readonly Diagnostic[]) => {
    const detail = diagnostics.map((d) => d.message).join("; ");
    say("error", `run ${run} was refused: ${detail}`);
    link.answer({ type: "run-refused", run, code: diagnostics[0]?.code ?? "E_INTERNAL", detail });
  };
  const snippets =
    options.snippets === undefined
      ? undefined
      : new SnippetLink(options.snippets, (word) => link.answer(word));
  const link: Link = Link.start(
    {
      url: linkUrl(config.master),
      ...(config.token === "" ? {} : { token: config.token }),
      ...(config.masterCa === "" ? {} : { tlsCa: config.masterCa }),
      ...(config.nodeCert === "" ? {} : { tlsCert: config.nodeCert }),
      ...(config.nodeKey === "" ? {} : { tlsKey: config.nodeKey }),
      ...(config.enrollToken === "" ? {} : { enrollToken: config.enrollToken }),
      keyRotationMs: config.keyRotationMs,
      node: config.node,
      boot: options.boot,
      agentVersion: options.version,
      capabilities: options.capabilities,
      labels: config.labels,
      wantsRuns: true,
      snippetSlots: options.snippets === undefined ? 0 : config.snippetSlots,
      heartbeatMs: config.heartbeatMs,
      backoff: { ...defaultBackoff, maxMs: config.reconnectMs },
      uplink: { bytesPerSecond: config.uplinkBytes, framesPerSecond: config.uplinkFrames },
      compress: config.uplinkCompression === "on",
      stateDir: config.stateDir,
      status: options.status,
    },
    {
      acked: (seq) => {
        report(journal.ack(seq));
        link.setDepth(journal.outboxDepth());
        options.acked();
      },
      offered: ({ run, artifact, params = {} }) => {
        takeOffer(options, { run, artifact, params }).then(
          (taken) => {
            if (taken.ok) link.answer({ type: "run-accepted", run });
            else refuse(run, taken.diagnostics);
          },
          (error: unknown) => refuse(run, [internal(error)]),
        );
      },
      cancelled: ({ run, by }) => {
        if (!options.cancel(run, by)) say("info", `run ${run} is not here to be cancelled`);
      },
      drain: options.drain,
      ordered: (order) => snippets?.ordered(order),
      connected: (acked, hasSnippets) => {
        say("info", `connected to ${config.master}; it has ${acked} records`);
        if (hasSnippets) snippets?.connected();
        else if (snippets !== undefined) {
          say("warn", "the master has no doors for snippets: set EDGEDAG_DOORS=on there");
        }
      },
      disconnected: (detail, retryInMs) =>
        say("warn", `no connection to ${config.master}: ${detail}; next try in ${retryInMs} ms`),
      refused: ({ code, detail, remedy, retryInMs }) => {
        say("error", `the master refuses this node (${code}): ${detail}. ${remedy}`);
        say("info", `next try in ${Math.round(retryInMs / 1000)} s; runs go on`);
        options.refused(code, detail);
      },
      ahead: (acked, nextSeq) => {
        say("warn", `the master has ${acked} records of this node, here the next is ${nextSeq}`);
        report(journal.renumber(acked));
        link.renumbered();
      },
      behind: (acked, firstHeldSeq) =>
        say("warn", `the master has lost records ${acked + 1} to ${firstHeldSeq - 1} of this node`),
      damaged: (detail) => {
        const repaired = repair(journal);
        if (repaired.ok) {
          const { lost, folder } = repaired.value;
          const copy = lost === 0 ? "it was read well the second time" : `a copy is in ${folder}`;
          options.lost(`E_STATE_CORRUPT: the journal was damaged: ${detail}; ${copy}`);
        } else report(repaired);
        // Read again, from the row that was put in its place.
        setTimeout(() => link.renumbered(), repaired.ok ? 0 : repairRetryMs).unref();
      },
      unreadable: (problem) => {
        if (problem === undefined) {
          options.unreadable(undefined);
          return;
        }
        options.unreadable(
          `E_STATE_IO: the outbox cannot be read: ${problem.detail} (${diskRemedy})`,
        );
        // The kernel may have dropped what it could not write.
        if (problem.isSync) report(journal.rewrite());
      },
      problem: (problem) => say("error", `${problem.code}: ${problem.message}. ${problem.remedy}`),
    },
  );
  return link;
}

const repairRetryMs = 1000;
const diskRemedy = "Check the disk; the link tries again by itself.";

function repair(journal: Journal): ReturnType<Journal["repairOutbox"]> {
  try {
    return journal.repairOutbox();
  } catch (error) {
    // No room for the copy: nothing is replaced before it is there.
    const message = error instanceof Error ? error.message : String(error);
    const problem = { code: "E_STATE_IO", path: "", message, remedy: diskRemedy };
    return { ok: false, diagnostics: [problem] };
  }
}

async function takeOffer(
  { accept }: AgentLinkOptions,
  offer: { run: string; artifact: unknown; params: { [name: string]: Json } },
): Promise<Result<null>> {
  // The master has checked it too; a node believes nobody.
  const artifact = await loadArtifact(offer.artifact);
  return artifact.ok ? await accept(offer.run, artifact.value, offer.params) : artifact;
}

function internal(error: unknown): Diagnostic {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: "E_INTERNAL", path: "", message, remedy: "Report it as a bug of edgedag." };
}
