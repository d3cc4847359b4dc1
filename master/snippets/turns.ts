// Whose turn it is: the one that has waited longest since it came or was last served. A binary heap
// whose members know their places, so that one in the middle can leave or be put elsewhere.

export interface InTurn {
  /** Waits since then, Unix milliseconds. */
  since: number;
  /** Decides between equals; unique. */
  order: number;
  /** The heap's own; undefined while it is not in one. */
  place: number | undefined;
}

export class Turns<T extends InTurn> {
  readonly #heap: T[] = [];

  get first(): T | undefined {
    return this.#heap[0];
  }

  add(member: T): void {
    this.#heap.push(member);
    this.#up(member, this.#heap.length - 1);
  }

  /** Nothing where it is in no heap. */
  remove(member: T): void {
    const { place } = member;
    if (place === undefined) return;
    member.place = undefined;
    const last = this.#heap.pop();
    if (last === undefined || last === member) return;
    this.#down(last, place);
    if (last.place === place) this.#up(last, place);
  }

  #up(member: T, from: number): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const other = this.#heap[above];
      if (other === undefined || !isBefore(member, other)) break;
      this.#put(other, place);
      place = above;
    }
    this.#put(member, place);
  }

  #down(member: T, from: number): void {
    let place = from;
    for (;;) {
      let below = 2 * place + 1;
      let other = this.#heap[below];
      const right = this.#heap[below + 1];
      if (other === undefined) break;
      if (right !== undefined && isBefore(right, other)) {
        other = right;
        below += 1;
      }
      if (!isBefore(other, member)) break;
      this.#put(other, place);
      place = below;
    }
    this.#put(member, place);
  }

  #put(member: T, place: number): void {
    this.#heap[place] = member;
    member.place = place;
  }
}

export function isBefore(a: InTurn, b: InTurn): boolean {
  return a.since < b.since || (a.since === b.since && a.order < b.order);
}
