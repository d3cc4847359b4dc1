// The nodes behind the link that run snippets: which of them are here, which are missed, and which
// have no room because they drain. Told by the link's sessions; speaks to the service of snippets.
import type { MasterToAgent, NodeState, SnippetWord } from "../../protocol/link.ts";
import type { Logger } from "../clock.ts";
import type { Hello } from "../nodes/nodes.ts";
import { LinkNode } from "./link-node.ts";
import type { Snippets } from "./snippets.ts";

export class LinkNodes {
  readonly #snippets: Pick<Snippets, "addNode" | "removeNode">;
  readonly #graceMs: number;
  readonly #log: Logger;
  readonly #nodes = new Map<string, LinkNode>();
  readonly #draining = new Set<string>();

  constructor(
    snippets: Pick<Snippets, "addNode" | "removeNode">,
    { graceMs, log }: { graceMs: number; log: Logger },
  ) {
    this.#snippets = snippets;
    this.#graceMs = graceMs;
    this.#log = log;
  }

  arrived(hello: Hello, send: (message: MasterToAgent) => void): void {
    const known = this.#nodes.get(hello.node);
    if (known !== undefined && known.boot !== hello.boot) {
      // Another process: what the one before ran went with it.
      this.#forget(known, "its agent was started again");
    }
    if ((hello.snippetSlots ?? 0) === 0) return;
    let node = this.#nodes.get(hello.node);
    if (node === undefined) {
      node = new LinkNode({ hello, send, graceMs: this.#graceMs, log: this.#log });
      this.#nodes.set(hello.node, node);
    } else node.reconnected(send);
  }

  /** Nothing is assigned to a node before it has said what it holds. */
  said(id: string, word: SnippetWord): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    node.said(word);
    if (word.type === "snippets-held" && !this.#draining.has(id)) this.#snippets.addNode(node);
  }

  beat(id: string, state: NodeState): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    if (state === "draining" && !this.#draining.has(id)) {
      this.#draining.add(id);
      this.#snippets.removeNode(id);
    } else if (state !== "draining" && this.#draining.delete(id)) this.#snippets.addNode(node);
  }

  left(id: string): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    this.#snippets.removeNode(id);
    node.disconnected();
  }

  close(): void {
    for (const node of this.#nodes.values()) node.lose("the master ends");
    this.#nodes.clear();
  }

  #forget(node: LinkNode, why: string): void {
    this.#snippets.removeNode(node.id);
    this.#nodes.delete(node.id);
    this.#draining.delete(node.id);
    node.lose(why);
  }
}
