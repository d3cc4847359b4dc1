// What waits for a slot, and who is next: higher priority first, then languages in turn, in a language
// owners in turn, and of one owner what came first. Pure: no clock, no I/O. What it costs depends on
// how many languages and priorities there are, never on how much waits.
//
// Aging: what stands first of an owner gains one priority per `agingMs` of waiting, up to the highest,
// where turns decide; so the lowest is never starved. An owner who was just served begins anew,
// because whoever gets turns does not starve: otherwise a flood, once old, would go before everybody
// who came later, and turns between owners would mean nothing.
import { type Link, LinkedList } from "./linked-list.ts";
import { priorities } from "./snippet.ts";
import type { QueueItem } from "./store/store.ts";
import { type InTurn, isBefore, Turns } from "./turns.ts";

export interface FairQueueOptions {
  agingMs?: number;
}

export class FairQueue<T extends { readonly item: QueueItem }> {
  readonly #agingMs: number;
  readonly #languages = new Map<string, Language<T>>();
  /** The last one added of each id. */
  readonly #byId = new Map<string, Entry<T>>();
  readonly #arrivals = new LinkedList<Entry<T>>();
  /** With a head that no `take` has seen: since when it waits is known only at the next one. */
  #unplaced: Flow<T>[] = [];
  #size = 0;
  #turns = 0;
  #now = Number.NEGATIVE_INFINITY;

  constructor({ agingMs = 30_000 }: FairQueueOptions = {}) {
    this.#agingMs = agingMs;
  }

  get size(): number {
    return this.#size;
  }

  /** The same id may wait twice, as it may be delivered twice. */
  add(value: T): void {
    const { item } = value;
    const flow = this.#flowOf(item);
    const entry: Entry<T> = { value, flow, twin: this.#byId.get(item.id) };
    this.#byId.set(item.id, entry);
    entry.inFlow = flow.waiting.push(entry);
    entry.inArrivals = this.#arrivals.push(entry);
    flow.language.size += 1;
    this.#size += 1;
  }

  /** The next one of the languages that can run; `canRun` is asked once a language at most. */
  take(now: number, canRun: (language: string) => boolean): T | undefined {
    // A clock that was set back must not make what waits younger than what was served.
    this.#now = Math.max(this.#now, now);
    this.#place();
    let best: Candidate<T> | undefined;
    for (const language of this.#languages.values()) {
      if (language.size === 0 || !canRun(language.name)) continue;
      const candidate = this.#firstOf(language);
      if (candidate !== undefined && isAhead(candidate, best)) best = candidate;
    }
    const entry = best?.flow.waiting.first;
    if (best === undefined || entry === undefined) return undefined;
    const { flow } = best;
    this.#turns += 1;
    flow.language.servedTurn = this.#turns;
    flow.servedAt = this.#now;
    flow.order = this.#turns;
    this.#forget(entry);
    return entry.value;
  }

  /** The last one added with that id; false where none waits. */
  remove(id: string): boolean {
    const entry = this.#byId.get(id);
    if (entry === undefined) return false;
    this.#forget(entry);
    return true;
  }

  /** How many wait, by language; languages of which none waits are absent. */
  sizes(): ReadonlyMap<string, number> {
    const sizes = new Map<string, number>();
    for (const { name, size } of this.#languages.values()) if (size > 0) sizes.set(name, size);
    return sizes;
  }

  /** The one that was added first of all that wait. */
  oldest(): T | undefined {
    return this.#arrivals.first?.value;
  }

  #firstOf(language: Language<T>): Candidate<T> | undefined {
    let best: Candidate<T> | undefined;
    for (const [priority, group] of language.groups.entries()) {
      const flow = group?.turns.first;
      if (flow === undefined) continue;
      const steps = Math.floor((this.#now - flow.since) / this.#agingMs);
      const candidate = { flow, rank: Math.min(priorities.highest, priority + steps) };
      if (isAhead(candidate, best)) best = candidate;
    }
    return best;
  }

  #place(): void {
    for (const flow of this.#unplaced) {
      const head = flow.waiting.first;
      if (head === undefined) continue;
      // Another machine's clock may be ahead.
      const cameAt = Math.min(head.value.item.createdAt, this.#now);
      flow.since = Math.max(cameAt, flow.servedAt);
      flow.group.turns.add(flow);
    }
    this.#unplaced = [];
  }

  #forget(entry: Entry<T>): void {
    const { flow } = entry;
    const isHead = flow.waiting.first === entry;
    if (entry.inFlow !== undefined) flow.waiting.remove(entry.inFlow);
    if (entry.inArrivals !== undefined) this.#arrivals.remove(entry.inArrivals);
    this.#unindex(entry);
    flow.language.size -= 1;
    this.#size -= 1;
    if (!isHead) return;
    const isPlaced = flow.place !== undefined;
    flow.group.turns.remove(flow);
    if (flow.waiting.first === undefined) flow.group.flows.delete(flow.owner);
    else if (isPlaced) this.#unplaced.push(flow);
  }

  #unindex(entry: Entry<T>): void {
    const { id } = entry.value.item;
    let newer = this.#byId.get(id);
    if (newer === entry) {
      if (entry.twin === undefined) this.#byId.delete(id);
      else this.#byId.set(id, entry.twin);
      return;
    }
    while (newer !== undefined && newer.twin !== entry) newer = newer.twin;
    if (newer !== undefined) newer.twin = entry.twin;
  }

  #flowOf({ language: name, priority, owner }: QueueItem): Flow<T> {
    let language = this.#languages.get(name);
    if (language === undefined) {
      language = { name, size: 0, servedTurn: 0, groups: [] };
      this.#languages.set(name, language);
    }
    let group = language.groups[priority];
    if (group === undefined) {
      group = { flows: new Map(), turns: new Turns() };
      language.groups[priority] = group;
    }
    const known = group.flows.get(owner);
    if (known !== undefined) return known;
    this.#turns += 1;
    const flow: Flow<T> = {
      owner,
      language,
      group,
      waiting: new LinkedList(),
      servedAt: Number.NEGATIVE_INFINITY,
      since: 0,
      order: this.#turns,
      place: undefined,
    };
    group.flows.set(owner, flow);
    this.#unplaced.push(flow);
    return flow;
  }
}

interface Language<T> {
  readonly name: string;
  size: number;
  /** When it was served last, counted in turns; 0: never. */
  servedTurn: number;
  /** By priority. */
  readonly groups: (Group<T> | undefined)[];
}

/** What waits of one language with one priority. */
interface Group<T> {
  readonly flows: Map<string, Flow<T>>;
  readonly turns: Turns<Flow<T>>;
}

/** What waits of one owner in a group; it exists while something does. */
interface Flow<T> extends InTurn {
  readonly owner: string;
  readonly language: Language<T>;
  readonly group: Group<T>;
  readonly waiting: LinkedList<Entry<T>>;
  servedAt: number;
}

interface Entry<T> {
  readonly value: T;
  readonly flow: Flow<T>;
  /** One with the same id that came before. */
  twin: Entry<T> | undefined;
  inFlow?: Link<Entry<T>>;
  inArrivals?: Link<Entry<T>>;
}

interface Candidate<T> {
  flow: Flow<T>;
  /** Its priority with what it has gained. */
  rank: number;
}

function isAhead<T>(a: Candidate<T>, b: Candidate<T> | undefined): boolean {
  if (b === undefined) return true;
  if (a.rank !== b.rank) return a.rank > b.rank;
  const turns = a.flow.language.servedTurn - b.flow.language.servedTurn;
  return turns === 0 ? isBefore(a.flow, b.flow) : turns < 0;
}
