// Which names a program binds, where, and to what: the ground on which names are judged. Scopes are
// made on demand while the tree is walked; a look-up is valid when the walk is over.
import type { AnyNode, Expression, Identifier, Pattern } from "acorn";

export interface Value {
  node: Expression;
  scope: Scope;
  /** What is taken out of it, from the outside in: `const { a: { b } } = node`. */
  keys: readonly string[];
}

export interface Binding {
  values: Value[];
  /** It may also stand for what is not among the values. */
  isOpen: boolean;
  /** A function or a class was declared by that name. */
  isFunction: boolean;
}

export interface Scope {
  parent: Scope | undefined;
  /** `var` belongs to functions and to the program. */
  isFunction: boolean;
  /** `arguments` of an arrow function are those of the function around it. */
  isArrow: boolean;
  names: Map<string, Binding>;
}

const scopeTypes = new Set<string>([
  "Program",
  "FunctionDeclaration",
  "FunctionExpression",
  "ArrowFunctionExpression",
  "BlockStatement",
  "ForStatement",
  "ForInStatement",
  "ForOfStatement",
  "CatchClause",
  "SwitchStatement",
  "ClassDeclaration",
  "ClassExpression",
  "StaticBlock",
]);

export class Scopes {
  readonly #scopes = new Map<AnyNode, Scope>();

  /** The innermost scope of the last of the ancestors, looking at the first `count` of them. */
  at(ancestors: readonly AnyNode[], count = ancestors.length): Scope {
    for (let at = count - 1; at >= 0; at--) {
      const node = ancestors[at];
      if (node !== undefined && scopeTypes.has(node.type)) return this.#of(node, ancestors, at);
    }
    throw new Error("a tree begins with a program");
  }

  #of(node: AnyNode, ancestors: readonly AnyNode[], at: number): Scope {
    const known = this.#scopes.get(node);
    if (known !== undefined) return known;
    const isArrow = node.type === "ArrowFunctionExpression";
    const scope: Scope = {
      parent: node.type === "Program" ? undefined : this.at(ancestors, at),
      isFunction:
        isArrow ||
        node.type === "Program" ||
        node.type === "FunctionDeclaration" ||
        node.type === "FunctionExpression" ||
        node.type === "StaticBlock",
      isArrow,
      names: new Map(),
    };
    this.#scopes.set(node, scope);
    return scope;
  }
}

export function functionScope(scope: Scope): Scope {
  let found = scope;
  while (!found.isFunction && found.parent !== undefined) found = found.parent;
  return found;
}

export function lookUp(scope: Scope, name: string): Binding | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.parent) {
    const binding = at.names.get(name);
    if (binding !== undefined) return binding;
  }
  return undefined;
}

export function declare(scope: Scope, name: string): Binding {
  const known = scope.names.get(name);
  if (known !== undefined) return known;
  const binding: Binding = { values: [], isOpen: false, isFunction: false };
  scope.names.set(name, binding);
  return binding;
}

/** The names of a pattern, each with the keys by which it is taken out; undefined: not told. */
export function* patternNames(
  pattern: Pattern,
  keys: readonly string[] | undefined = [],
): Generator<{ name: Identifier; keys: readonly string[] | undefined; initial?: Expression }> {
  switch (pattern.type) {
    case "Identifier":
      yield { name: pattern, keys };
      break;
    case "AssignmentPattern":
      for (const found of patternNames(pattern.left, keys)) {
        yield pattern.left.type === "Identifier" ? { ...found, initial: pattern.right } : found;
      }
      break;
    case "RestElement":
      yield* patternNames(pattern.argument, undefined);
      break;
    case "ArrayPattern":
      for (const [at, element] of pattern.elements.entries()) {
        if (element !== null) yield* patternNames(element, keys && [...keys, String(at)]);
      }
      break;
    case "ObjectPattern":
      for (const property of pattern.properties) {
        if (property.type === "RestElement") yield* patternNames(property, undefined);
        else {
          const key = writtenKey(property);
          const below = keys !== undefined && key !== undefined ? [...keys, key] : undefined;
          yield* patternNames(property.value, below);
        }
      }
      break;
    case "MemberExpression":
      break;
    default:
      pattern satisfies never;
  }
}

/** The name of a property or a member, when it is written down. */
export function writtenKey(property: { key: AnyNode; computed: boolean }): string | undefined {
  const { key, computed } = property;
  if (!computed && key.type === "Identifier") return key.name;
  if (key.type === "Literal") return String(key.value);
  return undefined;
}
