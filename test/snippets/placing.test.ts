// Which node gets a snippet, at which level, and why one gets none.
import t from "tap";
import { Placing } from "../../master/snippets/placing.ts";
import { CommandedNode, snippetOf } from "./samples.ts";

const MiB = 2 ** 20;

function withMemory(memoryBytes: number) {
  const snippet = snippetOf();
  return { ...snippet, task: { ...snippet.task, limits: { memoryBytes } } };
}

t.test("takes the first level of the list that some node with room holds", async (t) => {
  const placing = new Placing();
  placing.add(new CommandedNode("n1"));
  const placed = placing.place(snippetOf({ levels: ["gvisor", "seccomp", "subprocess"] }));
  t.equal(placed?.level, "seccomp");
  t.equal(placed?.place.node.id, "n1");
});

t.test("prefers the least loaded node, by its share of slots", async (t) => {
  const placing = new Placing();
  placing.add(new CommandedNode("small", { slots: 2, memoryBytes: 2 ** 32 }));
  placing.add(new CommandedNode("large", { slots: 8, memoryBytes: 2 ** 32 }));
  const ids = Array.from({ length: 10 }, () => placing.place(snippetOf())?.place.node.id);
  t.equal(ids.filter((id) => id === "small").length, 2);
  t.equal(ids.filter((id) => id === "large").length, 8);
  t.equal(placing.place(snippetOf()), undefined, "every slot is taken");
  t.strictSame(placing.slots, { total: 10, free: 0 });
});

t.test("promises no more memory than a node has, but an empty node is never refused", async (t) => {
  const placing = new Placing();
  placing.add(new CommandedNode("n1", { slots: 4, memoryBytes: 600 * MiB }));
  const first = placing.place(withMemory(400 * MiB));
  t.ok(first);
  t.equal(placing.place(withMemory(400 * MiB)), undefined);
  t.ok(placing.place(withMemory(100 * MiB)), "what is left is enough for it");
  first?.place.giveBack();
  first?.place.giveBack();
  t.equal(placing.resources.freeMemoryBytes, 500 * MiB, "a place is given back once");
});

t.test(
  "says why no node can ever run something, and is silent where one could later",
  async (t) => {
    const placing = new Placing();
    t.match(placing.whyImpossible(snippetOf()), /no node is here/);
    const node = new CommandedNode("n1");
    placing.add(node);
    t.equal(placing.whyImpossible(snippetOf()), undefined);
    placing.place(snippetOf());
    t.equal(placing.whyImpossible(snippetOf()), undefined, "busy is not impossible");
    t.match(placing.whyImpossible(snippetOf({ levels: ["gvisor"] })), /asked for is gvisor/);
    t.match(placing.whyImpossible(withMemory(2 ** 40)), /bytes of memory/);
    const rust = snippetOf();
    const code = { kind: "code", language: "rust", code: "", args: [] } as const;
    rust.task = { ...rust.task, run: { ...code, args: [] } };
    t.match(placing.whyImpossible(rust), /n1 does not have rust/);
  },
);

t.test("holds slots by queue: nodejs by either runtime, others by their name", async (t) => {
  const placing = new Placing();
  placing.add(new CommandedNode("n1"));
  t.equal(placing.hasRoom("nodejs"), true);
  t.equal(placing.hasRoom("commands"), true);
  t.equal(placing.hasRoom("cobol"), false);
  const held = placing.hold("python");
  t.equal(placing.hasRoom("python"), false);
  held?.giveBack();
  t.equal(placing.hasRoom("python"), true);
});
