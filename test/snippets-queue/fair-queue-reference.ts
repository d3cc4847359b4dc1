// The fair queue said as plainly as can be: one list that is searched from end to end. What it says
// is what the real one must do.
import type { QueueItem } from "../../master/snippets/store/store.ts";

interface Flow {
  servedAt: number;
  order: number;
  /** What `since` is said of. */
  head: QueueItem | undefined;
  since: number;
}

export class ReferenceQueue {
  readonly #agingMs: number;
  readonly #waiting: { item: QueueItem }[] = [];
  readonly #flows = new Map<string, Flow>();
  readonly #languageTurns = new Map<string, number>();
  #count = 0;

  constructor(agingMs: number) {
    this.#agingMs = agingMs;
  }

  get items(): QueueItem[] {
    return this.#waiting.map(({ item }) => item);
  }

  add(item: QueueItem): void {
    if (!this.#waiting.some((other) => flowName(other.item) === flowName(item))) {
      const order = ++this.#count;
      this.#flows.set(flowName(item), { servedAt: -Infinity, order, head: undefined, since: 0 });
    }
    this.#waiting.push({ item });
  }

  take(now: number, canRun: (language: string) => boolean): QueueItem | undefined {
    const heads = new Map<string, QueueItem>();
    for (const { item } of this.#waiting) {
      if (!heads.has(flowName(item))) heads.set(flowName(item), item);
    }
    const candidates = [...heads].map(([name, item]) => {
      const flow = this.#flow(name);
      if (flow.head !== item) {
        flow.head = item;
        flow.since = Math.max(Math.min(item.createdAt, now), flow.servedAt);
      }
      const rank = Math.min(9, item.priority + Math.floor((now - flow.since) / this.#agingMs));
      const turn = this.#languageTurns.get(item.language) ?? 0;
      return { item, flow, key: [-rank, turn, flow.since, flow.order] };
    });
    const [best] = candidates
      .filter(({ item }) => canRun(item.language))
      .sort((a, b) => compare(a.key, b.key));
    if (best === undefined) return undefined;
    this.#languageTurns.set(best.item.language, ++this.#count);
    best.flow.servedAt = now;
    best.flow.order = this.#count;
    this.#waiting.splice(
      this.#waiting.findIndex(({ item }) => item === best.item),
      1,
    );
    return best.item;
  }

  remove(id: string): boolean {
    const index = this.#waiting.findLastIndex(({ item }) => item.id === id);
    if (index >= 0) this.#waiting.splice(index, 1);
    return index >= 0;
  }

  #flow(name: string): Flow {
    const flow = this.#flows.get(name);
    if (flow === undefined) throw new Error(`no flow ${name}`);
    return flow;
  }
}

function flowName({ language, priority, owner }: QueueItem): string {
  return `${language} ${priority} ${owner}`;
}

function compare(a: number[], b: number[]): number {
  for (const [i, value] of a.entries()) {
    const other = b[i] ?? 0;
    if (value !== other) return value - other;
  }
  return 0;
}
