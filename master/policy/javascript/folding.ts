// Computes what an expression stands for, as far as that can be told without running anything:
// literals, concatenation, templates, a few methods of texts, names that are bound to such. Bounded
// in steps and in length: it never computes what the author of the code could make large.
import type { AnyNode, CallExpression, MemberExpression } from "acorn";
import { lookUp, type Scope, writtenKey } from "./scopes.ts";

export type Folded = string | number | boolean | null | readonly Folded[];

const longest = 4096;
const deepest = 60;
const mostSteps = 200_000;

/** The texts of the program could not all be computed in the steps that are allowed. */
export class OutOfSteps extends Error {}

export class Folder {
  readonly #known = new Map<AnyNode, Folded | undefined>();
  #steps = 0;

  /** Every value that is known; a name may have several. */
  every(node: AnyNode, scope: Scope): Folded[] {
    if (node.type === "Identifier") {
      const values = lookUp(scope, node.name)?.values ?? [];
      this.#count(values.length);
      const found = values
        .filter((value) => value.keys.length === 0)
        .map((value) => this.fold(value.node, value.scope))
        .filter((value) => value !== undefined);
      const whole = this.fold(node, scope);
      return whole === undefined ? found : [...found, whole];
    }
    if (node.type === "ConditionalExpression") {
      return [...this.every(node.consequent, scope), ...this.every(node.alternate, scope)];
    }
    if (node.type === "LogicalExpression") {
      return [...this.every(node.left, scope), ...this.every(node.right, scope)];
    }
    const value = this.fold(node, scope);
    return value === undefined ? [] : [value];
  }

  everyText(node: AnyNode, scope: Scope): string[] {
    return this.every(node, scope).filter((value) => typeof value === "string");
  }

  /** The text with which it begins. */
  prefix(node: AnyNode, scope: Scope): string | undefined {
    const value = this.fold(node, scope);
    if (value !== undefined) return typeof value === "string" ? value : undefined;
    let first: AnyNode = node;
    while (first.type === "BinaryExpression" && first.operator === "+") first = first.left;
    if (first.type === "TemplateLiteral") {
      const text = first.quasis[0]?.value.cooked ?? "";
      const next = first.expressions[0];
      return text !== "" || next === undefined ? text : this.prefix(next, scope);
    }
    return first === node ? undefined : this.prefix(first, scope);
  }

  fold(node: AnyNode, scope: Scope, depth = 0): Folded | undefined {
    if (this.#known.has(node)) return this.#known.get(node);
    this.#count(1);
    if (depth > deepest) return undefined;
    // While it is being computed: a name that stands for itself.
    this.#known.set(node, undefined);
    const value = bounded(this.#compute(node, scope, depth + 1));
    this.#known.set(node, value);
    return value;
  }

  #count(steps: number): void {
    this.#steps += steps;
    if (this.#steps > mostSteps) throw new OutOfSteps();
  }

  #compute(node: AnyNode, scope: Scope, depth: number): Folded | undefined {
    switch (node.type) {
      case "Literal":
        return typeof node.value === "object" || typeof node.value === "bigint"
          ? undefined
          : node.value;
      case "TemplateLiteral": {
        let text = node.quasis[0]?.value.cooked ?? "";
        for (const [at, inner] of node.expressions.entries()) {
          const value = this.fold(inner, scope, depth);
          if (value === undefined || text.length > longest) return undefined;
          text += asText(value) + (node.quasis[at + 1]?.value.cooked ?? "");
        }
        return text;
      }
      case "Identifier":
        return this.#name(node.name, scope, depth);
      case "BinaryExpression":
        return this.#binary(node, scope, depth);
      case "ArrayExpression": {
        const values: Folded[] = [];
        for (const element of node.elements.slice(0, 256)) {
          const value = element === null ? undefined : this.fold(element, scope, depth);
          if (value === undefined) return undefined;
          values.push(value);
        }
        return values;
      }
      case "SequenceExpression": {
        const last = node.expressions.at(-1);
        return last === undefined ? undefined : this.fold(last, scope, depth);
      }
      case "ParenthesizedExpression":
      case "ChainExpression":
        return this.fold(node.expression, scope, depth);
      case "AssignmentExpression":
        return node.operator === "=" ? this.fold(node.right, scope, depth) : undefined;
      case "ConditionalExpression": {
        const test = this.fold(node.test, scope, depth);
        if (test === undefined) return undefined;
        return this.fold(test ? node.consequent : node.alternate, scope, depth);
      }
      case "UnaryExpression": {
        const value = this.fold(node.argument, scope, depth);
        if (value === undefined) return undefined;
        if (node.operator === "-" || node.operator === "+") return Number(value);
        return node.operator === "!" ? !value : undefined;
      }
      case "MemberExpression":
        return this.#member(node, scope, depth);
      case "CallExpression":
        return this.#call(node, scope, depth);
      case "TaggedTemplateExpression": {
        const tag = node.tag;
        const isRaw = tag.type === "MemberExpression" && dotted(tag) === "String.raw";
        return isRaw && node.quasi.expressions.length === 0
          ? node.quasi.quasis[0]?.value.raw
          : undefined;
      }
      default:
        return undefined;
    }
  }

  /** A name that has one value, or one that texts are added to in order. */
  #name(name: string, scope: Scope, depth: number): Folded | undefined {
    const binding = lookUp(scope, name);
    if (binding === undefined || binding.isOpen) return undefined;
    const parts: Folded[] = [];
    for (const value of binding.values.slice(0, 64)) {
      const part = value.keys.length === 0 ? this.fold(value.node, value.scope, depth) : undefined;
      if (part === undefined) return undefined;
      parts.push(part);
    }
    if (parts.length === 1) return parts[0];
    return parts.length > 1 && parts.every((part) => typeof part === "string")
      ? parts.join("")
      : undefined;
  }

  #binary(node: Extract<AnyNode, { type: "BinaryExpression" }>, scope: Scope, depth: number) {
    if (node.operator !== "+") {
      const left = this.fold(node.left, scope, depth);
      const right = this.fold(node.right, scope, depth);
      return typeof left === "number" && typeof right === "number"
        ? arithmetic(node.operator, left, right)
        : undefined;
    }
    // A long sum nests to the left.
    const parts: AnyNode[] = [];
    let first: AnyNode = node;
    while (first.type === "BinaryExpression" && first.operator === "+") {
      parts.push(first.right);
      first = first.left;
    }
    let total = this.fold(first, scope, depth);
    for (const part of parts.reverse()) {
      const value = this.fold(part, scope, depth);
      if (total === undefined || value === undefined) return undefined;
      total =
        typeof total === "number" && typeof value === "number"
          ? total + value
          : bounded(asText(total) + asText(value));
    }
    return total;
  }

  #member(node: MemberExpression, scope: Scope, depth: number): Folded | undefined {
    const target = this.fold(node.object, scope, depth);
    if (typeof target !== "string" && !isList(target)) return undefined;
    const key = node.computed
      ? this.fold(node.property, scope, depth)
      : writtenKey({ key: node.property, computed: false });
    if (key === "length") return target.length;
    return typeof key === "number" || (typeof key === "string" && /^\d+$/.test(key))
      ? target[Number(key)]
      : undefined;
  }

  #call(node: CallExpression, scope: Scope, depth: number): Folded | undefined {
    const args: Folded[] = [];
    for (const arg of node.arguments.slice(0, 256)) {
      const value = this.fold(arg, scope, depth);
      if (value === undefined) return undefined;
      args.push(value);
    }
    const callee = node.callee;
    if (callee.type === "Identifier") return calledByName(callee.name, args);
    if (callee.type !== "MemberExpression") return undefined;
    const name = callee.computed
      ? this.fold(callee.property, scope, depth)
      : writtenKey({ key: callee.property, computed: false });
    if (typeof name !== "string") return undefined;
    const path = dotted(callee);
    if (path === "String.fromCharCode" || path === "String.fromCodePoint") {
      return args.every((arg) => typeof arg === "number" && arg >= 0 && arg < 0x110000)
        ? String.fromCodePoint(...args.map(Number))
        : undefined;
    }
    if (name === "toString" && callee.object.type === "CallExpression") {
      const bytes = this.#bytes(callee.object, scope, depth);
      if (bytes !== undefined) return bytes;
    }
    const target = this.fold(callee.object, scope, depth);
    if (typeof target === "string") return textMethod(target, name, args);
    return isList(target) ? listMethod(target, name, args) : undefined;
  }

  /** `Buffer.from("ZnM=", "base64")`, of which the text is taken. */
  #bytes(node: CallExpression, scope: Scope, depth: number): string | undefined {
    if (node.callee.type !== "MemberExpression" || dotted(node.callee) !== "Buffer.from") {
      return undefined;
    }
    const [content, encoding] = node.arguments.map((arg) => this.fold(arg, scope, depth));
    if (isList(content)) {
      return content.every((byte) => typeof byte === "number")
        ? Buffer.from(content.map(Number)).toString()
        : undefined;
    }
    if (typeof content !== "string") return undefined;
    if (encoding === undefined) return content;
    return typeof encoding === "string" && Buffer.isEncoding(encoding)
      ? Buffer.from(content, encoding).toString()
      : undefined;
  }
}

function isList(value: Folded | undefined): value is readonly Folded[] {
  return Array.isArray(value);
}

/** `a.b` as it is written; undefined when it is anything else. */
export function dotted(node: MemberExpression): string | undefined {
  const name = writtenKey({ key: node.property, computed: node.computed });
  return node.object.type === "Identifier" && name !== undefined
    ? `${node.object.name}.${name}`
    : undefined;
}

function bounded(value: Folded | undefined): Folded | undefined {
  return (typeof value === "string" || isList(value)) && value.length > longest ? undefined : value;
}

function asText(value: Folded): string {
  // Lists of lists could be made as long as anybody likes.
  return isList(value)
    ? value.map((item) => (isList(item) ? "" : String(item))).join()
    : `${value}`;
}

function arithmetic(operator: string, left: number, right: number): number | undefined {
  switch (operator) {
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "%":
      return left % right;
    case "^":
      return left ^ right;
    case "|":
      return left | right;
    case "&":
      return left & right;
    case ">>":
      return left >> right;
    case "<<":
      return left << right;
    default:
      return undefined;
  }
}

function calledByName(name: string, [first]: Folded[]): Folded | undefined {
  if (first === undefined) return undefined;
  switch (name) {
    case "String":
      return asText(first);
    case "Number":
      return Number(first);
    case "atob":
      return typeof first === "string"
        ? Buffer.from(first, "base64").toString("latin1")
        : undefined;
    case "unescape":
    case "decodeURIComponent":
    case "decodeURI":
      return typeof first === "string" ? decoded(first) : undefined;
    default:
      return undefined;
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined; // not escaped in the way that it understands
  }
}

function textMethod(target: string, name: string, args: Folded[]): Folded | undefined {
  const [first, second] = args;
  switch (name) {
    case "toString":
    case "valueOf":
    case "normalize":
      return target;
    case "toLowerCase":
    case "toLocaleLowerCase":
      return target.toLowerCase();
    case "toUpperCase":
    case "toLocaleUpperCase":
      return target.toUpperCase();
    case "trim":
      return target.trim();
    case "concat":
      return target + args.map(asText).join("");
    case "slice":
    case "substring":
    case "substr": {
      const [from, to] = args.map(Number);
      return from === undefined ? target : target[name](from, to);
    }
    case "at":
    case "charAt":
      return target.at(Number(first ?? 0)) ?? "";
    case "charCodeAt":
      return target.charCodeAt(Number(first ?? 0));
    case "split":
      return typeof first === "string" ? target.split(first, 256) : undefined;
    case "repeat":
      return typeof first === "number" && first >= 0 && first * target.length <= longest
        ? target.repeat(first)
        : undefined;
    case "replace":
    case "replaceAll": {
      if (typeof first !== "string" || typeof second !== "string") return undefined;
      if ((target.length + 1) * (second.length + 1) > longest * 16) return undefined;
      return name === "replace"
        ? target.replace(first, () => second)
        : target.replaceAll(first, () => second);
    }
    default:
      return undefined;
  }
}

function listMethod(
  target: readonly Folded[],
  name: string,
  [first, second]: Folded[],
): Folded | undefined {
  switch (name) {
    case "join": {
      const separator = first === undefined ? "," : asText(first);
      const texts = target.map(asText);
      const length = texts.reduce((sum, text) => sum + text.length + separator.length, 0);
      return length <= longest ? texts.join(separator) : undefined;
    }
    case "reverse":
    case "toReversed":
      return target.toReversed();
    case "slice":
      return target.slice(Number(first ?? 0), second === undefined ? undefined : Number(second));
    case "at":
      return target.at(Number(first ?? 0));
    case "concat":
      return isList(first) ? [...target, ...first] : undefined;
    case "pop":
      return target.at(-1);
    default:
      return undefined;
  }
}
