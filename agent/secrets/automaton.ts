// Finds many patterns in one pass over bytes (Aho and Corasick). Nodes that branch have a row for
// every byte; the many that do not compare one byte and else follow their link, so that a secret of
// many kilobytes costs little memory. Immutable once built; `scan.ts` and `stream-mask.ts` walk it.

const none = -1;

export class Automaton {
  /** Number of the row of a node, or `none`. The root's is 0. */
  readonly rowOf: Int32Array;
  /** 256 targets each. */
  readonly rows: Int32Array;
  /** Of a node without a row: the one byte that leads on, and where to. */
  readonly onlyByte: Int16Array;
  readonly onlyChild: Int32Array;
  /** The longest other node that ends in the same bytes. */
  readonly link: Int32Array;
  /** How many of the last bytes may be the beginning of a pattern. */
  readonly depth: Int32Array;
  /** Length of the longest pattern that ends here; 0: none. */
  readonly longest: Int32Array;
  /** Length of the shortest pattern that goes through this node. */
  readonly shortest: Int32Array;

  constructor(patterns: readonly Uint8Array[]) {
    const trie = new Trie(patterns);
    const { size } = trie;
    this.rowOf = new Int32Array(size).fill(none);
    this.onlyByte = trie.onlyByte.subarray(0, size);
    this.onlyChild = trie.onlyChild.subarray(0, size);
    this.link = new Int32Array(size);
    this.depth = trie.depth.subarray(0, size);
    this.longest = trie.ends.subarray(0, size);
    this.shortest = trie.shortest.subarray(0, size);
    let rows = 0;
    for (let node = 0; node < size; node++) {
      // The first ones always: they are where ordinary text leads.
      const isDense = (this.depth[node] as number) <= 1 || trie.branches.has(node);
      if (isDense) this.rowOf[node] = rows++;
    }
    this.rows = new Int32Array(rows * 256);
    // By depth, because links and rows lead to nodes nearer to the root.
    for (const node of trie.byDepth()) this.#connect(node, trie);
  }

  /** The node after one more byte. */
  next(node: number, byte: number): number {
    const { rowOf, rows, onlyByte, onlyChild, link } = this;
    for (let at = node; ; at = link[at] as number) {
      const row = rowOf[at] as number;
      if (row >= 0) return rows[row * 256 + byte] as number;
      if (onlyByte[at] === byte) return onlyChild[at] as number;
    }
  }

  #connect(node: number, trie: Trie): void {
    const first = this.onlyByte[node] as number;
    const branches = trie.branches.get(node);
    if (first !== none) this.#linkChild(node, first, this.onlyChild[node] as number);
    if (branches !== undefined) {
      for (const [byte, child] of branches) this.#linkChild(node, byte, child);
    }
    const row = (this.rowOf[node] as number) * 256;
    if (row < 0) return;
    const link = this.link[node] as number;
    for (let byte = 0; byte < 256; byte++) {
      this.rows[row + byte] = node === 0 ? 0 : this.next(link, byte);
    }
    if (first !== none) this.rows[row + first] = this.onlyChild[node] as number;
    for (const [byte, child] of branches ?? []) this.rows[row + byte] = child;
  }

  #linkChild(node: number, byte: number, child: number): void {
    const link = node === 0 ? 0 : this.next(this.link[node] as number, byte);
    this.link[child] = link;
    const inherited = this.longest[link] as number;
    if (inherited > (this.longest[child] as number)) this.longest[child] = inherited;
  }
}

class Trie {
  readonly depth: Int32Array;
  /** Length of the pattern that is exactly this node; 0: none. */
  readonly ends: Int32Array;
  readonly shortest: Int32Array;
  /** The first child of each node; further ones are in `branches`. */
  readonly onlyByte: Int16Array;
  readonly onlyChild: Int32Array;
  readonly branches = new Map<number, Map<number, number>>();
  size = 1;

  constructor(patterns: readonly Uint8Array[]) {
    const most = patterns.reduce((sum, { length }) => sum + length, 1);
    this.depth = new Int32Array(most);
    this.ends = new Int32Array(most);
    this.shortest = new Int32Array(most);
    this.onlyByte = new Int16Array(most).fill(none);
    this.onlyChild = new Int32Array(most);
    for (const pattern of patterns) if (pattern.length > 0) this.#add(pattern);
  }

  byDepth(): Int32Array {
    const { depth, size } = this;
    const starts: number[] = [];
    for (let node = 0; node < size; node++) {
      const below = (depth[node] as number) + 1;
      starts[below] = (starts[below] ?? 0) + 1;
    }
    starts[0] = 0;
    for (let i = 1; i < starts.length; i++) starts[i] = (starts[i] ?? 0) + (starts[i - 1] ?? 0);
    const order = new Int32Array(size);
    for (let node = 0; node < size; node++) {
      const own = depth[node] as number;
      const place = starts[own] ?? 0;
      starts[own] = place + 1;
      order[place] = node;
    }
    return order;
  }

  #add(pattern: Uint8Array): void {
    let node = 0;
    for (const byte of pattern) {
      const child = this.#child(node, byte) ?? this.#newChild(node, byte);
      const shortest = this.shortest[child] as number;
      if (shortest === 0 || pattern.length < shortest) this.shortest[child] = pattern.length;
      node = child;
    }
    this.ends[node] = pattern.length;
  }

  #child(node: number, byte: number): number | undefined {
    if (this.onlyByte[node] === byte) return this.onlyChild[node];
    return this.branches.get(node)?.get(byte);
  }

  #newChild(node: number, byte: number): number {
    const child = this.size;
    this.size += 1;
    this.depth[child] = (this.depth[node] as number) + 1;
    if (this.onlyByte[node] === none) {
      this.onlyByte[node] = byte;
      this.onlyChild[node] = child;
      return child;
    }
    const branches = this.branches.get(node);
    if (branches === undefined) this.branches.set(node, new Map([[byte, child]]));
    else branches.set(byte, child);
    return child;
  }
}
