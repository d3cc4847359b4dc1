// Mutation of a JSON tree. Objects are lists of entries here, so that keys can be there twice and
// `__proto__` is a key like any other one.
import type { Random } from "./random.ts";

type Tree =
  | { kind: "leaf"; text: string }
  | { kind: "list"; items: Tree[] }
  | { kind: "map"; entries: [string, Tree][] };

const leaves = [
  "null",
  "true",
  "false",
  "0",
  "-1",
  "1",
  "0.5",
  "1e308",
  "9007199254740993",
  "-0",
  '""',
  '"x"',
  '"__proto__"',
  '"\\u0000"',
  '"\\ud800"',
  '"{{ item }}"',
  '"../x"',
  "[]",
  "{}",
];
const keys = ["__proto__", "constructor", "prototype", "toString", "", "length", "0", "then"];

/** Undefined when the input is no JSON of some structure. */
export function mutateTree(
  input: Buffer,
  random: Random,
  other: Buffer,
  dictionary: readonly string[],
): Buffer | undefined {
  const tree = parse(input.toString("utf8"));
  if (tree === undefined || tree.kind === "leaf") return undefined;
  const donor = parse(other.toString("utf8"));
  const places: Tree[] = [];
  const donors: Tree[] = [];
  collect(tree, places);
  if (donor !== undefined) collect(donor, donors);
  for (let i = 1 + random.small(4); i > 0; i--) {
    change(random.pick(places), random, donors.length > 0 ? donors : places, dictionary);
  }
  const text = write(tree, 0);
  return text === undefined ? undefined : Buffer.from(text);
}

function change(
  tree: Tree,
  random: Random,
  donors: readonly Tree[],
  words: readonly string[],
): void {
  if (tree.kind === "list") {
    const at = random.below(tree.items.length + 1);
    const what = random.below(6);
    if (what < 2) tree.items.splice(at, 1);
    else if (what === 2) tree.items.reverse();
    else tree.items.splice(at, random.below(2), fresh(random, donors, words));
    return;
  }
  if (tree.kind === "map") {
    const at = random.below(tree.entries.length + 1);
    const entry = tree.entries[at];
    switch (random.below(5)) {
      case 0:
        tree.entries.splice(at, 1);
        return;
      case 1:
        if (entry !== undefined) entry[1] = fresh(random, donors, words);
        return;
      case 2:
        if (entry !== undefined) entry[0] = keyOf(random, words);
        return;
      case 3:
        // The same key once more.
        if (entry !== undefined) tree.entries.push([entry[0], fresh(random, donors, words)]);
        return;
      default:
        tree.entries.splice(at, 0, [keyOf(random, words), fresh(random, donors, words)]);
        return;
    }
  }
  const made = fresh(random, donors, words);
  if (made.kind === "leaf") tree.text = made.text;
}

function keyOf(random: Random, words: readonly string[]): string {
  return words.length > 0 && !random.once(3) ? random.pick(words) : random.pick(keys);
}

function fresh(random: Random, donors: readonly Tree[], words: readonly string[]): Tree {
  if (random.once(3)) {
    // A copy: no tree holds itself.
    const text = write(random.pick(donors), 0);
    return (text === undefined ? undefined : parse(text)) ?? { kind: "leaf", text: "null" };
  }
  if (random.once(40)) {
    let deep: Tree = { kind: "leaf", text: "1" };
    for (let i = random.below(300); i > 0; i--) {
      deep = random.once(2)
        ? { kind: "list", items: [deep] }
        : { kind: "map", entries: [[keyOf(random, words), deep]] };
    }
    return deep;
  }
  const word = words.length > 0 && random.once(2);
  return { kind: "leaf", text: word ? JSON.stringify(random.pick(words)) : random.pick(leaves) };
}

function collect(tree: Tree, into: Tree[]): void {
  if (into.length > 3000) return;
  into.push(tree);
  if (tree.kind === "list") for (const item of tree.items) collect(item, into);
  if (tree.kind === "map") for (const [, item] of tree.entries) collect(item, into);
}

function parse(text: string): Tree | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return treeOf(JSON.parse(text), 0);
  } catch {
    return undefined; // no JSON, or deeper than this mutator goes: other mutators take it
  }
}

function treeOf(value: unknown, depth: number): Tree {
  if (depth > 1000) throw new RangeError("too deep");
  if (Array.isArray(value)) return { kind: "list", items: value.map((v) => treeOf(v, depth + 1)) };
  if (value !== null && typeof value === "object") {
    return {
      kind: "map",
      entries: Object.entries(value).map(([k, v]) => [k, treeOf(v, depth + 1)]),
    };
  }
  return { kind: "leaf", text: JSON.stringify(value) };
}

function write(tree: Tree, depth: number): string | undefined {
  if (depth > 2000) return undefined;
  if (tree.kind === "leaf") return tree.text;
  const parts: string[] = [];
  const entries: readonly (readonly [string, Tree])[] =
    tree.kind === "list" ? tree.items.map((item) => ["", item] as const) : tree.entries;
  for (const [key, item] of entries) {
    const text = write(item, depth + 1);
    if (text === undefined) return undefined;
    parts.push(tree.kind === "list" ? text : `${JSON.stringify(key)}:${text}`);
  }
  return tree.kind === "list" ? `[${parts.join(",")}]` : `{${parts.join(",")}}`;
}
