// A node behind the link, both ends of it: what is lost on the way is said again, and nothing counts twice.
import t from "tap";
import { SnippetLink } from "../../agent/snippet-link.ts";
import type { Hello } from "../../master/nodes/nodes.ts";
import { LinkNode } from "../../master/snippets/link-node.ts";
import type { AssignmentListener } from "../../protocol/assignment.ts";
import type { MasterToAgent, SnippetOrder, SnippetWord } from "../../protocol/link.ts";
import { decodeAgentToMaster, decodeMasterToAgent } from "../../protocol/link-decode.ts";
import { snippetOf, succeeded } from "./samples.ts";

const hello: Hello = {
  type: "hello",
  version: 1,
  node: "n1",
  boot: "b1",
  agentVersion: "0",
  capabilities: {
    architecture: "x64",
    os: "linux",
    cores: 4,
    memoryBytes: 2 ** 33,
    levels: ["none", "seccomp", "unheard-of"],
    languages: { python: "3.13", shell: "sh" },
    launcher: true,
  },
  labels: {},
  firstHeldSeq: 1,
  nextSeq: 1,
  runs: [],
  wantsRuns: true,
  snippetSlots: 3,
};

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** What the dispatcher is told, in order. */
class Told implements AssignmentListener {
  readonly said: string[] = [];
  readonly ends: Parameters<AssignmentListener["ended"]>[0][] = [];
  started(at: number): void {
    this.said.push(`started ${at}`);
  }
  output(stream: "stdout" | "stderr", bytes: Uint8Array): void {
    this.said.push(`${stream} ${Buffer.from(bytes)}`);
  }
  ended(end: Parameters<AssignmentListener["ended"]>[0]): void {
    this.ends.push(end);
  }
}

/** Both ends with a road between them that may be cut; every frame is really encoded and decoded. */
class Road {
  readonly node: LinkNode;
  readonly agent: SnippetLink;
  readonly started: { id: string; listener: AssignmentListener }[] = [];
  readonly cancelled: string[] = [];
  readonly words: SnippetWord[] = [];
  readonly orders: SnippetOrder[] = [];
  isCut = false;

  constructor(graceMs = 60_000) {
    this.node = new LinkNode({ hello, send: (m) => this.#toAgent(m), graceMs, log: silent });
    this.agent = new SnippetLink(
      {
        start: ({ id }, listener) => void this.started.push({ id, listener }),
        cancel: (id) => void this.cancelled.push(id),
      },
      (word) => this.#toMaster(word),
    );
    this.agent.connected();
  }

  cut(): void {
    this.isCut = true;
    this.node.disconnected();
  }

  mend(): void {
    this.isCut = false;
    this.node.reconnected((message) => this.#toAgent(message));
    this.agent.connected();
  }

  #toAgent(message: MasterToAgent): void {
    if (this.isCut) return;
    const decoded = decodeMasterToAgent(JSON.stringify(message));
    if (!decoded.ok) throw new Error(JSON.stringify(decoded.diagnostics));
    this.orders.push(decoded.value as SnippetOrder); // nothing else is sent here
    this.agent.ordered(decoded.value as SnippetOrder);
  }

  #toMaster(word: SnippetWord): void {
    if (this.isCut) return;
    const decoded = decodeAgentToMaster(JSON.stringify(word));
    if (!decoded.ok) throw new Error(JSON.stringify(decoded.diagnostics));
    this.words.push(word);
    this.node.said(decoded.value as SnippetWord);
  }
}

function assign(road: Road, told: Told, change: Parameters<typeof snippetOf>[0] = {}) {
  const { id, task, files } = snippetOf(change);
  road.node.assign({ id, attempt: 1, task, files, folders: ["artifacts"] }, told);
  return id;
}

t.test("carries an attempt from its assignment to its end, and settles it", async (t) => {
  const road = new Road();
  t.match(road.node, { slots: 3, cpus: 4, levels: ["none", "seccomp"] }, "unknown levels are none");
  const told = new Told();
  const id = assign(road, told);
  t.match(road.orders[0], {
    task: { run: { kind: "python", function: "main" } },
    folders: ["artifacts"],
  });
  const { listener } = road.started[0] ?? { listener: told };
  listener.started(5);
  listener.output("stdout", Buffer.from("\u00fcber"));
  const content = Buffer.alloc(2.5 * 2 ** 20, 7);
  const files = [{ name: "a/b.bin", sizeBytes: content.length, content }];
  listener.ended({ kind: "ended", ...succeeded, files, result: [1, null], facts: { wallMs: 3 } });
  t.strictSame(told.said, ["started 5", "stdout \u00fcber"]);
  t.match(told.ends, [{ kind: "ended", result: [1, null], facts: { wallMs: 3 } }]);
  const [end] = told.ends;
  t.equal(
    end?.kind === "ended" && Buffer.compare(Buffer.from(end.files[0]?.content ?? []), content),
    0,
  );
  t.match(road.orders.at(-1), { type: "snippet-settled", id });
  road.agent.connected();
  t.strictSame(road.words.at(-1), { type: "snippets-held", held: [] }, "it is forgotten");
});

t.test("says everything again after a cut, and nothing counts twice", async (t) => {
  const road = new Road();
  const told = new Told();
  assign(road, told);
  const { listener } = road.started[0] ?? { listener: told };
  listener.started(1);
  listener.output("stdout", Buffer.from("one"));
  road.cut();
  listener.output("stdout", Buffer.from("two"));
  listener.output("stderr", Buffer.from("aside"));
  listener.ended({ kind: "ended", ...succeeded });
  t.equal(told.ends.length, 0);
  road.mend();
  t.strictSame(told.said, ["started 1", "stdout one", "stdout two", "stderr aside"]);
  t.equal(told.ends.length, 1);
  road.mend();
  t.equal(told.ends.length, 1);
});

t.test("what was on its way when the road broke comes back as never begun", async (t) => {
  const road = new Road();
  road.isCut = true;
  const told = new Told();
  assign(road, told);
  road.mend();
  t.match(told.ends, [{ kind: "returned", detail: /does not have it/ }]);
});

t.test(
  "a node that does not come back in time has lost what it ran; late ends count for nothing",
  async (t) => {
    const road = new Road(20);
    const told = new Told();
    const id = assign(road, told);
    const ended = Promise.withResolvers<void>();
    told.ended = (end) => {
      told.ends.push(end);
      ended.resolve();
    };
    const awake = setInterval(() => {}, 1000);
    road.cut();
    await ended.promise;
    clearInterval(awake);
    t.match(told.ends, [{ kind: "lost", detail: /did not come back/ }]);
    road.mend();
    t.strictSame(road.cancelled, [id], "it is ended there");
    (road.started[0] ?? { listener: told }).listener.ended({ kind: "ended", ...succeeded });
    t.equal(told.ends.length, 1);
    t.match(road.orders.at(-1), { type: "snippet-settled", id }, "the node may forget it");
  },
);

t.test("is told at once what cannot be carried", async (t) => {
  const road = new Road();
  const told = new Told();
  const code = "x".repeat(17 * 2 ** 20);
  const { task } = snippetOf();
  assign(road, told, { task: { ...task, run: { kind: "python", code, function: "main" } } });
  t.match(told.ends, [{ kind: "ended", outcome: { failure: { reason: "bad-result" } } }]);
  t.equal(road.started.length, 0);
});

t.test("an agent refuses what it does not understand field by field", async (t) => {
  const { id, task } = snippetOf();
  const good = { type: "snippet-assigned", id, attempt: 1, task, files: [], folders: [] };
  t.equal(decodeMasterToAgent(JSON.stringify(good)).ok, true);
  for (const [field, value] of [
    ["id", "../../etc"],
    ["attempt", 0],
    ["task", { ...task, isolation: "loose" }],
    ["task", { ...task, run: { kind: "exec" } }],
    ["files", [{ path: "../up", sha256: "", text: "" }]],
    ["files", [{ path: "a", sha256: "0".repeat(64), text: "not this" }]],
    ["folders", ["/etc"]],
  ] as const) {
    const frame = JSON.stringify({ ...good, [field]: value });
    t.equal(decodeMasterToAgent(frame).ok, false, `${field} ${JSON.stringify(value).slice(0, 60)}`);
  }
});
