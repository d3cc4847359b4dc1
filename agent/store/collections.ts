// The containers of the store: hash, set and list, each with a running estimate of its bytes.
// Hash and set keep their members in an array too, so that a random member costs O(1) and a scan
// can hold its place. A scan walks that array from the end down: a removal moves the last member
// into the gap, below or at a place that is still to come, so no member that stays is missed.

/** Estimated overhead in bytes, measured on V8: string header, slots, and share of the table. */
export const memberBytes = 64;
export const itemBytes = 32;

/** Map with O(1) access by position. Positions change when a member is removed. */
export class IndexedMap<V> {
  readonly #positions = new Map<string, number>();
  readonly keys: string[] = [];
  readonly values: V[] = [];

  get size(): number {
    return this.keys.length;
  }

  has(key: string): boolean {
    return this.#positions.has(key);
  }

  get(key: string): V | undefined {
    const position = this.#positions.get(key);
    return position === undefined ? undefined : this.values[position];
  }

  /** Returns the value that was there. */
  set(key: string, value: V): V | undefined {
    const position = this.#positions.get(key);
    if (position !== undefined) {
      const old = this.values[position];
      this.values[position] = value;
      return old;
    }
    this.#positions.set(key, this.keys.length);
    this.keys.push(key);
    this.values.push(value);
    return undefined;
  }

  /** Returns the value that was there. */
  delete(key: string): V | undefined {
    const position = this.#positions.get(key);
    if (position === undefined) return undefined;
    const old = this.values[position];
    this.#positions.delete(key);
    const lastKey = this.keys.pop();
    const lastValue = this.values.pop();
    if (lastKey !== undefined && lastValue !== undefined && position < this.keys.length) {
      this.keys[position] = lastKey;
      this.values[position] = lastValue;
      this.#positions.set(lastKey, position);
    }
    return old;
  }
}

export class HashValue {
  readonly fields = new IndexedMap<string>();
  bytes = memberBytes;

  get size(): number {
    return this.fields.size;
  }

  /** True when the field is new. */
  set(field: string, value: string): boolean {
    const old = this.fields.set(field, value);
    if (old !== undefined) {
      this.bytes += value.length - old.length;
      return false;
    }
    this.bytes += field.length + value.length + memberBytes + itemBytes;
    return true;
  }

  delete(field: string): boolean {
    const old = this.fields.delete(field);
    if (old === undefined) return false;
    this.bytes -= field.length + old.length + memberBytes + itemBytes;
    return true;
  }

  copy(): HashValue {
    const copy = new HashValue();
    this.fields.keys.forEach((field, at) => {
      copy.set(field, this.fields.values[at] ?? "");
    });
    return copy;
  }
}

export class SetValue {
  readonly #members = new IndexedMap<true>();
  bytes = memberBytes;

  get size(): number {
    return this.#members.size;
  }

  get members(): readonly string[] {
    return this.#members.keys;
  }

  has(member: string): boolean {
    return this.#members.has(member);
  }

  add(member: string): boolean {
    if (this.#members.set(member, true) !== undefined) return false;
    this.bytes += member.length + memberBytes;
    return true;
  }

  delete(member: string): boolean {
    if (this.#members.delete(member) === undefined) return false;
    this.bytes -= member.length + memberBytes;
    return true;
  }

  copy(): SetValue {
    const copy = new SetValue();
    for (const member of this.members) copy.add(member);
    return copy;
  }
}

/** A list with O(1) work at both ends and by index: a ring in an array of a power of two. */
export class ListValue {
  #ring: (string | undefined)[] = new Array(8).fill(undefined);
  #head = 0;
  size = 0;
  bytes = memberBytes;

  at(index: number): string | undefined {
    if (index < 0 || index >= this.size) return undefined;
    return this.#ring[(this.#head + index) & (this.#ring.length - 1)];
  }

  pushBack(item: string): void {
    if (this.size === this.#ring.length) this.#resize(this.#ring.length * 2);
    this.#ring[(this.#head + this.size++) & (this.#ring.length - 1)] = item;
    this.bytes += item.length + itemBytes;
  }

  pushFront(item: string): void {
    if (this.size === this.#ring.length) this.#resize(this.#ring.length * 2);
    this.#head = (this.#head - 1) & (this.#ring.length - 1);
    this.#ring[this.#head] = item;
    this.size++;
    this.bytes += item.length + itemBytes;
  }

  popFront(): string | undefined {
    const item = this.at(0);
    if (item === undefined) return undefined;
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#removed(item);
    return item;
  }

  popBack(): string | undefined {
    const item = this.at(this.size - 1);
    if (item === undefined) return undefined;
    this.#ring[(this.#head + this.size - 1) & (this.#ring.length - 1)] = undefined;
    this.#removed(item);
    return item;
  }

  /** `index` must be within the list. */
  set(index: number, item: string): void {
    const old = this.at(index) ?? "";
    this.#ring[(this.#head + index) & (this.#ring.length - 1)] = item;
    this.bytes += item.length - old.length;
  }

  slice(start: number, end: number): string[] {
    const items: string[] = [];
    for (let at = start; at < end; at++) items.push(this.at(at) ?? "");
    return items;
  }

  /** Replaces the whole content: for the commands that change the middle of a list. */
  replace(items: readonly string[]): void {
    let capacity = 8;
    while (capacity < items.length) capacity *= 2;
    this.#ring = items.slice();
    while (this.#ring.length < capacity) this.#ring.push(undefined);
    this.#head = 0;
    this.size = items.length;
    this.bytes = memberBytes;
    for (const item of items) this.bytes += item.length + itemBytes;
  }

  copy(): ListValue {
    const copy = new ListValue();
    copy.replace(this.slice(0, this.size));
    return copy;
  }

  #removed(item: string): void {
    this.size--;
    this.bytes -= item.length + itemBytes;
    if (this.#ring.length > 64 && this.size < this.#ring.length / 4) {
      this.#resize(this.#ring.length / 2);
    }
  }

  #resize(capacity: number): void {
    const items: (string | undefined)[] = this.slice(0, this.size);
    while (items.length < capacity) items.push(undefined);
    this.#ring = items;
    this.#head = 0;
  }
}
