// Which node a snippet goes to, and at which level: of the nodes that are there, those that can run
// it, the least loaded first. Holds what each node has been given; promises no more memory than a
// node has. Pure book-keeping.
import { runtimeOf } from "../../protocol/assignment.ts";
import type { SandboxLevel } from "../../protocol/outcome.ts";
import type { SnippetNode } from "./node.ts";
import type { Snippet } from "./snippet.ts";

/** Memory that a snippet is counted with where it names no limit. */
const assumedMemoryBytes = 256 * 2 ** 20;

/** What the snippets of a queue may need; one of them is enough to look further. */
const runtimesOfLanguage: { readonly [language: string]: readonly string[] } = {
  nodejs: ["node", "javascript"],
  commands: ["shell"],
};

/** A node's place for one snippet; given back once. */
export interface Place {
  node: SnippetNode;
  giveBack(): void;
}

interface Load {
  node: SnippetNode;
  used: number;
  memoryBytes: number;
}

export class Placing {
  readonly #loads = new Map<string, Load>();

  add(node: SnippetNode): void {
    this.#loads.set(node.id, { node, used: 0, memoryBytes: 0 });
  }

  remove(id: string): void {
    this.#loads.delete(id);
  }

  get nodes(): SnippetNode[] {
    return [...this.#loads.values()].map(({ node }) => node);
  }

  get slots(): { total: number; free: number } {
    let total = 0;
    let used = 0;
    for (const load of this.#loads.values()) {
      total += load.node.slots;
      used += load.used;
    }
    return { total, free: Math.max(0, total - used) };
  }

  /** Memory and processors of all nodes, and what is promised of them. */
  get resources(): { cpus: number; memoryBytes: number; freeMemoryBytes: number } {
    const all = { cpus: 0, memoryBytes: 0, freeMemoryBytes: 0 };
    for (const { node, memoryBytes } of this.#loads.values()) {
      all.cpus += node.cpus;
      all.memoryBytes += node.memoryBytes;
      all.freeMemoryBytes += Math.max(0, node.memoryBytes - memoryBytes);
    }
    return all;
  }

  /** Whether a snippet of that queue may find a place now. */
  hasRoom(language: string): boolean {
    for (const load of this.#loads.values()) {
      if (load.used < load.node.slots && speaks(load.node, language)) return true;
    }
    return false;
  }

  /** A slot of the least loaded node, before it is known what exactly is to run there. */
  hold(language: string): Place | undefined {
    const load = this.#least(({ node }) => speaks(node, language));
    return load === undefined ? undefined : this.#take(load, 0);
  }

  /** A node that fits and has room, and the level that it will run at. */
  place(snippet: Snippet): { place: Place; level: SandboxLevel } | undefined {
    const memoryBytes = memoryOf(snippet);
    for (const level of snippet.levels) {
      const load = this.#least(
        (load) => fits(load.node, snippet, level) && hasMemory(load, memoryBytes),
      );
      // A better level on a node that is busy is not waited for: every one of the list will do.
      if (load !== undefined) return { place: this.#take(load, memoryBytes), level };
    }
    return undefined;
  }

  /** Undefined: some node that is here could run it, now or later. Else why none can. */
  whyImpossible(snippet: Snippet): string | undefined {
    const nodes = this.nodes;
    if (nodes.length === 0) return "no node is here that runs snippets";
    const reasons = new Set<string>();
    for (const node of nodes) {
      const runtime = runtimeOf(snippet.task);
      if (!node.runtimes.has(runtime)) reasons.add(`${node.id} does not have ${runtime}`);
      else if (!snippet.levels.some((level) => node.levels.includes(level))) {
        reasons.add(
          `${node.id} holds ${node.levels.join(", ") || "no level"}, asked for is ${snippet.levels.join(" or ")}`,
        );
      } else if (memoryOf(snippet) > node.memoryBytes) {
        reasons.add(`${node.id} has ${node.memoryBytes} bytes of memory`);
      } else if ((snippet.task.limits?.cpus ?? 0) > node.cpus) {
        reasons.add(`${node.id} has ${node.cpus} processors`);
      } else return undefined;
    }
    return [...reasons].slice(0, 5).join("; ");
  }

  #least(suits: (load: Load) => boolean): Load | undefined {
    let best: Load | undefined;
    for (const load of this.#loads.values()) {
      if (load.used >= load.node.slots || !suits(load)) continue;
      if (best === undefined || share(load) < share(best)) best = load;
    }
    return best;
  }

  #take(load: Load, memoryBytes: number): Place {
    load.used += 1;
    load.memoryBytes += memoryBytes;
    let isHeld = true;
    return {
      node: load.node,
      giveBack: () => {
        if (!isHeld) return;
        isHeld = false;
        load.used -= 1;
        load.memoryBytes -= memoryBytes;
      },
    };
  }
}

export function memoryOf(snippet: Snippet): number {
  return snippet.task.limits?.memoryBytes ?? assumedMemoryBytes;
}

function share(load: Load): number {
  return load.used / load.node.slots;
}

function speaks(node: SnippetNode, language: string): boolean {
  const runtimes = runtimesOfLanguage[language] ?? [language];
  return runtimes.some((runtime) => node.runtimes.has(runtime));
}

function fits(node: SnippetNode, { task }: Snippet, level: SandboxLevel): boolean {
  return (
    node.levels.includes(level) &&
    node.runtimes.has(runtimeOf(task)) &&
    (task.limits?.cpus ?? 0) <= node.cpus
  );
}

/** One that asks for more than there is gets a node that is empty. */
function hasMemory({ node, memoryBytes, used }: Load, wanted: number): boolean {
  return used === 0 || memoryBytes + wanted <= node.memoryBytes;
}
