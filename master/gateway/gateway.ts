// Hands DAGs out: takes submitted artifacts, places queued runs on nodes, offers them over the link,
// keeps track of who accepted, and carries cancels to the nodes. A run that was offered stays with its node
// until that node answers: only the node knows whether it began.
import { createHash, randomUUID } from "node:crypto";
import type { DagArtifact } from "../../protocol/artifact.ts";
import { crashPoint } from "../../protocol/crash-points.ts";
import type { Json } from "../../protocol/json.ts";
import { frameLimitBytes } from "../../protocol/link-decode.ts";
import type { Clock, Logger } from "../clock.ts";
import type { LiveNode, Nodes } from "../nodes/nodes.ts";
import type { RunSignals } from "../runs/run-signals.ts";
import type { MasterStorage, RunRow, RunState } from "../storage/storage.ts";
import { whyUnfit } from "./fit.ts";

/** Queued runs that are looked at for a node at a time. */
const queueWindow = 200;
/** Of an offer, beside artifact and params. */
const offerOverheadBytes = 1024;
const openStates: readonly RunState[] = ["offered", "accepted", "running"];
/** Refusals that only mean "not now". */
const passingRefusals: ReadonlySet<string> = new Set([
  "busy",
  "draining",
  // The node takes it when its clock has been set.
  "E_SIGNATURE_CLOCK",
]);

export interface Submission {
  artifact: DagArtifact;
  params?: { [name: string]: Json };
  /** Absent: any node that fits. */
  node?: string;
  labels: { [name: string]: string };
}

export interface GatewayParts {
  storage: MasterStorage;
  nodes: Nodes;
  signals: RunSignals;
  clock: Clock;
  log: Logger;
}

export class Gateway {
  readonly #parts: GatewayParts;
  #placing: Promise<void> | undefined;
  #isPlacingAgain = false;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  /** More than a node can be sent: a frame of the link that would cut its connection, again and again. */
  tooLarge({ artifact, params = {} }: Submission): number | undefined {
    const bytes = Buffer.byteLength(JSON.stringify({ artifact, params })) + offerOverheadBytes;
    return bytes > frameLimitBytes ? bytes : undefined;
  }

  async submit(submission: Submission): Promise<string> {
    const { storage, clock } = this.#parts;
    const { artifact, params, node, labels } = submission;
    const now = clock();
    const id = runId(now);
    const digest = createHash("sha256").update(JSON.stringify(artifact)).digest("hex");
    crashPoint("master.run-submit");
    await storage.createRun({
      id,
      dag: artifact.dag.attributes.dag,
      digest,
      artifact,
      tasks: artifact.dag.nodes.length,
      labels,
      createdAt: now,
      ...(params === undefined ? {} : { params }),
      ...(node === undefined ? {} : { node }),
    });
    crashPoint("master.run-stored");
    this.place();
    return id;
  }

  /** Places queued runs soon. Calls while it works are collected into one further round. */
  place(): void {
    if (this.#placing !== undefined) {
      this.#isPlacingAgain = true;
      return;
    }
    this.#placing = this.#placeAll()
      .catch((error: unknown) => {
        this.#parts.log.error(
          { error: String(error) },
          "placing runs failed; the next event retries",
        );
      })
      .finally(() => {
        this.#placing = undefined;
        if (!this.#isPlacingAgain) return;
        this.#isPlacingAgain = false;
        this.place();
      });
  }

  /** Resolves when no placing is under way. */
  async settled(): Promise<void> {
    while (this.#placing !== undefined) await this.#placing;
  }

  async #placeAll(): Promise<void> {
    const { storage, nodes } = this.#parts;
    const ready = nodes.all().filter(isReady);
    if (ready.length === 0) return;
    const open = await storage.openRuns();
    const load = (node: LiveNode): number => open.get(node.row.id) ?? 0;
    // The node with the fewest runs chooses first, one run a turn.
    let isPlaced = true;
    while (isPlaced) {
      isPlaced = false;
      for (const node of ready.sort((a, b) => load(a) - load(b))) {
        if (load(node) >= (node.heartbeat?.slots ?? 1)) continue;
        if (!(await this.#offerNext(node))) continue;
        open.set(node.row.id, load(node) + 1);
        isPlaced = true;
        break;
      }
    }
  }

  async #offerNext(node: LiveNode): Promise<boolean> {
    const { storage, clock } = this.#parts;
    for (const run of await storage.queuedRuns(node.row.id, queueWindow)) {
      const artifact = await storage.artifact(run.digest);
      if (artifact === undefined) continue;
      if (run.any) {
        if (run.refusals.some((refusal) => refusal.node === node.row.id)) continue;
        if (whyUnfit(node.row, run, artifact) !== undefined) continue;
      }
      const change = { state: "offered", node: node.row.id, offeredAt: clock() } as const;
      if (!(await storage.moveRun(run.id, ["queued"], change))) continue;
      this.#send(node, run, artifact);
      return true;
    }
    return false;
  }

  #send(node: LiveNode, run: RunRow, artifact: DagArtifact): void {
    node.connection?.send({
      type: "run-offered",
      run: run.id,
      artifact,
      ...(run.params === undefined ? {} : { params: run.params }),
    });
    crashPoint("master.run-offered");
    this.#parts.signals.notify([run.id]);
  }

  async accepted(node: string, id: string): Promise<void> {
    const { storage, clock, signals } = this.#parts;
    const run = await storage.run(id);
    if (run === undefined || run.node !== node) return;
    await storage.moveRun(id, ["offered"], { state: "accepted", acceptedAt: clock() });
    crashPoint("master.run-accepted");
    signals.notify([id]);
  }

  async refused(node: LiveNode, id: string, code: string, detail: string): Promise<void> {
    const { storage, log, signals } = this.#parts;
    const run = await storage.run(id);
    if (run === undefined || run.node !== node.row.id) return;
    log.warn({ run: id, node: node.row.id, code }, `run refused by the node: ${detail}`);
    if (passingRefusals.has(code)) {
      node.isHeldBack = true;
      await storage.moveRun(id, ["offered"], {
        state: "queued",
        node: run.any ? null : node.row.id,
      });
    } else {
      const refusals = [...run.refusals, { node: node.row.id, code, detail }];
      const others = this.#parts.nodes
        .all()
        .some(({ row }) => !refusals.some((refusal) => refusal.node === row.id));
      const goesOn = run.any && others;
      await storage.moveRun(
        id,
        ["offered"],
        goesOn ? { state: "queued", node: null, refusals } : { state: "refused", refusals },
      );
    }
    signals.notify([id]);
    this.place();
  }

  /** Runs that the master believes the node has; taken at its hello, before any of its records. */
  openRunsOf(node: string): Promise<RunRow[]> {
    return this.#parts.storage.runsOfNode(node, openStates);
  }

  /** Tells a node that just connected which of its runs were cancelled while it was away. */
  async resendCancels(node: LiveNode, believed: readonly RunRow[]): Promise<void> {
    for (const run of believed) {
      if (run.cancel !== undefined) {
        node.connection?.send({ type: "cancel-run", run: run.id, by: run.cancel });
      }
    }
  }

  /**
   * Every record that existed at the node's hello is stored now. Runs that the master believed to be there
   * and the node does not name are settled: offered again, cancelled, or lost.
   */
  async reconcile(node: LiveNode, believed: readonly RunRow[], named: ReadonlySet<string>) {
    const { storage, nodes, clock, signals } = this.#parts;
    for (const { id } of believed) {
      const run = await storage.run(id);
      if (run === undefined || !openStates.includes(run.state)) continue;
      if (named.has(id)) {
        await storage.moveRun(id, ["offered"], { state: "accepted", acceptedAt: clock() });
      } else if (run.state === "running") {
        await storage.moveRun(id, ["running"], { state: "lost", finishedAt: clock() });
        await nodes.note(node.row.id, "run-lost", `the node no longer knows run ${id}`);
      } else if (run.cancel !== undefined) {
        await this.#cancelled(run);
      } else {
        const artifact = await storage.artifact(run.digest);
        if (artifact === undefined) continue;
        await storage.moveRun(id, ["offered", "accepted"], {
          state: "offered",
          offeredAt: clock(),
        });
        this.#send(node, run, artifact);
      }
    }
    node.isReconciled = true;
    signals.notify(believed.map((run) => run.id));
    this.place();
  }

  /**
   * The pull form of the gateway: the run that the node should do next, the same one until it was
   * accepted or began; undefined when there is none.
   */
  async pull(node: string): Promise<{ run: RunRow; artifact: DagArtifact } | undefined> {
    const { storage, nodes, clock } = this.#parts;
    const offered = await storage.runsOfNode(node, ["offered"]);
    const queued = offered.length > 0 ? [] : await storage.queuedRuns(node, queueWindow);
    const known = nodes.get(node);
    for (const run of [...offered, ...queued]) {
      const artifact = await storage.artifact(run.digest);
      if (artifact === undefined) continue;
      if (run.any && run.state === "queued") {
        if (known === undefined || whyUnfit(known.row, run, artifact) !== undefined) continue;
      }
      const change = { state: "offered", node, offeredAt: clock() } as const;
      if (await storage.moveRun(run.id, ["queued", "offered"], change)) {
        this.#parts.signals.notify([run.id]);
        return { run, artifact };
      }
    }
    return undefined;
  }

  /** Cancels a run: at once while it is queued, else by the node, told now or when it connects. */
  async cancel(id: string): Promise<"cancelled" | "requested" | "over" | "unknown"> {
    const { storage, nodes } = this.#parts;
    const run = await storage.run(id);
    if (run === undefined) return "unknown";
    if (run.state === "queued" && (await this.#cancelled(run))) return "cancelled";
    if (!(await storage.moveRun(id, openStates, { cancel: "user" }))) return "over";
    if (run.node !== undefined) {
      nodes.get(run.node)?.connection?.send({ type: "cancel-run", run: id, by: "user" });
    }
    this.#parts.signals.notify([id]);
    return "requested";
  }

  async #cancelled(run: RunRow): Promise<boolean> {
    const { storage, clock, signals } = this.#parts;
    const isMoved = await storage.moveRun(run.id, ["queued", "offered", "accepted"], {
      state: "finished",
      finishedAt: clock(),
      cancel: "user",
      outcome: { kind: "cancelled", by: "user" },
    });
    signals.notify([run.id]);
    return isMoved;
  }

  /** Why a queued run still waits, as a sentence. */
  async whyWaiting(run: RunRow): Promise<string> {
    const { storage, nodes } = this.#parts;
    const artifact = await storage.artifact(run.digest);
    if (run.node !== undefined) {
      const node = nodes.get(run.node);
      if (node === undefined) return `node ${run.node} has never connected`;
      return `node ${run.node}: ${whyNotReady(node) ?? "has no free slot"}`;
    }
    const reasons = nodes.all().map((node) => {
      const unfit = artifact === undefined ? undefined : whyUnfit(node.row, run, artifact);
      return `${node.row.id} ${unfit ?? whyNotReady(node) ?? "has no free slot"}`;
    });
    return reasons.length === 0 ? "no node has ever connected" : reasons.slice(0, 5).join("; ");
  }
}

function isReady(node: LiveNode): boolean {
  return whyNotReady(node) === undefined;
}

function whyNotReady(node: LiveNode): string | undefined {
  if (node.connection === undefined) return "is not connected";
  if (!node.row.wantsRuns) return "takes no runs from the gateway";
  if (node.heartbeat?.state === "draining") return "is draining";
  if (node.liveness !== "alive") return `is ${node.liveness}`;
  if (!node.isReconciled) return "is still sending what it kept";
  if (node.isHeldBack) return "refused for now";
  return undefined;
}

/** Sorts by time, is safe as a file name, and does not repeat: `r20261123-154500-1f0c9a52`. */
function runId(now: number): string {
  const time = new Date(now).toISOString().replaceAll(/[-:]/g, "").slice(0, 15).replace("T", "-");
  return `r${time}-${randomUUID().slice(0, 8)}`;
}
