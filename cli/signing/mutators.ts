// The ways in which a signed artifact is changed. Each gives bytes; most that change values write the
// result as canonical JSON again, so that the change is looked at and not only its spelling.
import { createPublicKey } from "node:crypto";
import { canonicalJson, sha256Hex } from "../../protocol/canonical.ts";
import type { Envelope } from "../../protocol/signing/dsse.ts";

/** A small generator with a seed (mulberry32): the mutations of a seed are the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  of<T>(list: readonly T[]): T {
    const one = list[this.below(list.length)];
    if (one === undefined) throw new Error("nothing to choose from");
    return one;
  }
}

export interface Mutation {
  name: string;
  make(original: Buffer, random: Random): Buffer;
}

/** Signs a payload (base64) with keys that nobody trusts. */
export interface Rival {
  ed25519(payload: string): Buffer;
  ed448(payload: string): Buffer;
  p256(payload: string): Buffer;
}

type Tree = { [name: string]: unknown };

export function mutationsOf(text: string, rival: Rival): Mutation[] {
  const onValue = (name: string, change: (tree: Tree, random: Random) => void): Mutation => ({
    name,
    make: (_, random) => {
      const tree: Tree = JSON.parse(text);
      change(tree, random);
      return Buffer.from(`${canonicalJson(tree)}\n`);
    },
  });
  const onEnvelope = (name: string, change: (envelope: Envelope, random: Random) => void) =>
    onValue(name, (tree, random) => change(random.of(envelopesOf(tree)), random));
  const onStatement = (name: string, change: (statement: Tree, random: Random) => void) =>
    onEnvelope(name, (envelope, random) => {
      const statement: Tree = JSON.parse(Buffer.from(envelope.payload, "base64").toString());
      change(statement, random);
      envelope.payload = Buffer.from(canonicalJson(statement)).toString("base64");
    });
  const signedBy = (name: keyof Rival) =>
    onEnvelope(`signed-by-${name}`, (envelope) => {
      envelope.signatures[0].sig = rival[name](envelope.payload).toString("base64");
    });
  return [
    ...byteMutations,
    ...textMutations,
    onValue("value", (tree, random) => changeLeaf(tree, random)),
    onValue("field-added", (tree, random) => {
      objectOf(tree, random)[`x${random.below(1000)}`] = random.below(9);
    }),
    onValue("field-removed", (tree, random) => {
      const object = objectOf(tree, random);
      const names = Object.keys(object);
      if (names.length > 0) delete object[random.of(names)];
    }),
    onValue("field-moved", (tree, random) => {
      const [from, to] = [objectOf(tree, random), objectOf(tree, random)];
      const names = Object.keys(from);
      if (names.length === 0 || from === to) return;
      const name = random.of(names);
      const value = from[name];
      delete from[name];
      // Not into itself: that would be no tree.
      if (!canonicalJson(value).includes(canonicalJson(to))) to[name] = value;
    }),
    onValue("list-reordered", (tree, random) => {
      const list = random.of(listsOf(tree));
      list.push(list.shift());
    }),
    onValue("list-doubled", (tree, random) => {
      const list = random.of(listsOf(tree));
      list.push(structuredClone(list[0]));
    }),
    onValue("signature-removed", (tree) => {
      delete tree.signatures;
    }),
    onValue("signatures-emptied", (tree) => {
      tree.signatures = [];
    }),
    onEnvelope("sig-bit", (envelope, random) => {
      const sig = Buffer.from(envelope.signatures[0].sig, "base64");
      flip(sig, random);
      envelope.signatures[0].sig = sig.toString("base64");
    }),
    onEnvelope("sig-malleable", (envelope) => {
      envelope.signatures[0].sig = plusOrder(envelope.signatures[0].sig);
    }),
    onEnvelope("sig-small-order", (envelope, random) => {
      const sig = Buffer.alloc(64);
      random.of(smallOrderPoints).copy(sig);
      if (random.below(2) === 0)
        Buffer.from(envelope.signatures[0].sig, "base64").copy(sig, 32, 32);
      envelope.signatures[0].sig = sig.toString("base64");
    }),
    onEnvelope("sig-truncated", (envelope, random) => {
      const { sig } = envelope.signatures[0];
      envelope.signatures[0].sig = sig.slice(0, random.below(sig.length));
    }),
    onEnvelope("base64-spelling", (envelope, random) => {
      const [only] = envelope.signatures;
      if (random.below(2) === 0) only.sig = respell(only.sig, random);
      else envelope.payload = respell(envelope.payload, random);
    }),
    onEnvelope("keyid-small-order", (envelope, random) => {
      // Its id would have to be among the trusted ones; a node never lets it in.
      envelope.signatures[0].keyid = random.of(smallOrderIds);
    }),
    onEnvelope("envelope-type", (envelope, random) => {
      envelope.payloadType = random.of(["application/json", "", "application/vnd.in-toto"]);
    }),
    onEnvelope("two-in-one", (envelope) => {
      const signatures: unknown[] = envelope.signatures;
      signatures.push(envelope.signatures[0]);
    }),
    onStatement("statement", (statement, random) => changeLeaf(statement, random)),
    onStatement("statement-field", (statement, random) => {
      const object = objectOf(statement, random);
      const names = Object.keys(object);
      if (random.below(2) === 0 && names.length > 0) delete object[random.of(names)];
      else object[`x${random.below(100)}`] = 1;
    }),
    onStatement("conditions-loosened", (statement, random) => {
      const predicate = statement.predicate as Tree;
      const what = random.of(["expires", "nodes", "once", "notBefore", "id"]);
      if (what === "id") predicate.id = `${random.below(10)}${String(predicate.id).slice(1)}`;
      else if (what === "expires") predicate.expires = 9e15 - random.below(1000);
      else if (what === "nodes") predicate.nodes = ["*"];
      else delete predicate[what];
    }),
    signedBy("ed25519"),
    signedBy("ed448"),
    signedBy("p256"),
    {
      name: "another-artifact",
      make: (_, random) => {
        // The good signatures of this artifact under another one.
        const tree: Tree = JSON.parse(text);
        const { signatures, ...rest } = tree;
        changeLeaf(rest, random);
        return Buffer.from(`${canonicalJson({ ...rest, signatures })}\n`);
      },
    },
  ];
}

const byteMutations: readonly Mutation[] = [
  {
    name: "bit",
    make: (original, random) => {
      const bytes = Buffer.from(original);
      flip(bytes, random);
      return bytes;
    },
  },
  {
    name: "byte",
    make: (original, random) => {
      const bytes = Buffer.from(original);
      bytes[random.below(bytes.length)] = random.below(256);
      return bytes;
    },
  },
  {
    name: "cut",
    make: (original, random) => original.subarray(0, random.below(original.length)),
  },
  {
    name: "removed",
    make: (original, random) => {
      const at = random.below(original.length);
      const end = at + 1 + random.below(8);
      return Buffer.concat([original.subarray(0, at), original.subarray(end)]);
    },
  },
  {
    name: "inserted",
    make: (original, random) => {
      const at = random.below(original.length + 1);
      const what = random.of([" ", "\n", "\t", "0", '"', ",", "\u0000", "\ufeff", "\u00e9", "}"]);
      return Buffer.concat([original.subarray(0, at), Buffer.from(what), original.subarray(at)]);
    },
  },
  {
    name: "swapped",
    make: (original, random) => {
      const bytes = Buffer.from(original);
      const [a, b] = [random.below(bytes.length), random.below(bytes.length)];
      const held = bytes[a] ?? 0;
      bytes[a] = bytes[b] ?? 0;
      bytes[b] = held;
      return bytes;
    },
  },
];

/** Other texts of the same value: JSON.parse would not tell them from the original. */
const textMutations: readonly Mutation[] = [
  {
    name: "keys-reordered",
    make: (original, random) => {
      const tree: Tree = JSON.parse(original.toString());
      const object = objectOf(tree, random);
      const entries = Object.entries(object);
      for (const [name] of entries) delete object[name];
      for (const [name, value] of entries.reverse()) object[name] = value;
      return Buffer.from(`${JSON.stringify(tree)}\n`);
    },
  },
  {
    name: "key-doubled",
    make: (original, random) => {
      const text = original.toString();
      const places = [...text.matchAll(/\{("[^"\\]*"):/g)];
      const place = random.of(places);
      const at = place.index + 1;
      const value = random.of(["null", "1", "[]", "{}", '"x"']);
      return Buffer.from(`${text.slice(0, at)}${place[1]}:${value},${text.slice(at)}`);
    },
  },
  {
    name: "unicode-escape",
    make: (original, random) => {
      const text = original.toString();
      const at = random.of([...text.matchAll(/[A-Za-z]/g)]).index;
      const code = text.charCodeAt(at).toString(16).padStart(4, "0");
      return Buffer.from(`${text.slice(0, at)}\\u${code}${text.slice(at + 1)}`);
    },
  },
  {
    name: "number-rewritten",
    make: (original, random) => {
      const text = original.toString();
      const place = random.of([...text.matchAll(/(?<=[:[,])\d+(?=[,\]}])/g)]);
      const [digits] = place;
      const other = random.of([`${digits}.0`, `${digits}e0`, `${digits}E+0`, `-${digits}`]);
      return Buffer.from(
        `${text.slice(0, place.index)}${other}${text.slice(place.index + digits.length)}`,
      );
    },
  },
  {
    name: "space",
    make: (original, random) => {
      const text = original.toString();
      const at = random.of([...text.matchAll(/[{}[\],:]/g)]).index;
      return Buffer.from(`${text.slice(0, at)}${random.of([" ", "\n", "\t"])}${text.slice(at)}`);
    },
  },
];

function flip(bytes: Buffer, random: Random): void {
  const at = random.below(bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
}

function envelopesOf(tree: Tree): Envelope[] {
  // The original was verified before.
  return tree.signatures as Envelope[];
}

function objectsOf(value: unknown, found: Tree[] = []): Tree[] {
  if (typeof value !== "object" || value === null) return found;
  if (!Array.isArray(value)) found.push(value as Tree);
  for (const member of Object.values(value)) objectsOf(member, found);
  return found;
}

function objectOf(tree: Tree, random: Random): Tree {
  return random.of(objectsOf(tree));
}

function listsOf(value: unknown, found: unknown[][] = []): unknown[][] {
  if (typeof value !== "object" || value === null) return found;
  if (Array.isArray(value) && value.length > 0) found.push(value);
  for (const member of Object.values(value)) listsOf(member, found);
  return found;
}

/** Changes one string, number or truth somewhere. */
function changeLeaf(tree: Tree, random: Random): void {
  const places: [Tree, string][] = [];
  const collect = (value: unknown) => {
    if (typeof value !== "object" || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      if (typeof member === "object" && member !== null) collect(member);
      else places.push([value as Tree, name]);
    }
  };
  collect(tree);
  const [object, name] = random.of(places);
  const value = object[name];
  if (typeof value === "string") {
    const at = random.below(value.length + 1);
    const how = random.below(3);
    if (how === 0)
      object[name] =
        `${value.slice(0, at)}${random.of(["a", "0", "\u0301", "\u200b"])}${value.slice(at)}`;
    else if (how === 1) object[name] = value.slice(0, at) + value.slice(at + 1);
    else object[name] = random.of(["", "x", null, 1]);
  } else if (typeof value === "number") {
    object[name] = random.of([value + 1, value - 1, -value, value * 2, String(value), null]);
  } else object[name] = random.of([true, false, null, 0, ""]);
}

/** Another base64 text of the same or nearly the same bytes. */
function respell(text: string, random: Random): string {
  const at = random.below(text.length);
  switch (random.below(5)) {
    case 0:
      return text.replace(/=+$/, "");
    case 1:
      return `${text}=`;
    case 2:
      return text.replaceAll("+", "-").replaceAll("/", "_");
    case 3:
      return `${text.slice(0, at)}\n${text.slice(at)}`;
    default:
      // The unused bits of the last digit.
      return text.replace(/(.)(=+)$/, (_, digit: string, pad: string) => {
        const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        return `${digits[(digits.indexOf(digit) + 1) % 64]}${pad}`;
      });
  }
}

const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n;

/** S + L: the same signature to who does not look at the range of S. */
function plusOrder(text: string): string {
  const sig = Buffer.from(text, "base64");
  const s = BigInt(`0x${Buffer.from(sig.subarray(32)).reverse().toString("hex")}`) + groupOrder;
  Buffer.from(s.toString(16).padStart(64, "0"), "hex").reverse().copy(sig, 32);
  return sig.toString("base64");
}

const smallOrderPoints = [
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
].map((hex) => Buffer.from(hex, "hex"));

const smallOrderIds = smallOrderPoints.map(idOf);

function idOf(raw: Buffer): string {
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]);
  const key = createPublicKey({ key: spki, format: "der", type: "spki" });
  return sha256Hex(key.export({ format: "der", type: "spki" }));
}
