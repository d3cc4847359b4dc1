// Tells, of an expression, whether it stands for a function, whatever that is called by now: the
// constructor of any function makes functions from text. Pure.
import type { AnyNode } from "acorn";
import type { Folder } from "./folding.ts";
import { isGlobalFunction } from "./objects.ts";
import { lookUp, type Scope, writtenKey } from "./scopes.ts";

const deepest = 40;
const literals = new Set<string>([
  "ArrayExpression",
  "ObjectExpression",
  "Literal",
  "TemplateLiteral",
]);
const prototypeGetters = new Set(["getPrototypeOf", "bind"]);

export function isFunctionValue(
  node: AnyNode,
  scope: Scope,
  folder: Folder,
  depth = 0,
  seen = new Set<AnyNode>(),
): boolean {
  if (depth > deepest || seen.has(node)) return false;
  seen.add(node);
  const again = (inner: AnyNode, at = scope) => isFunctionValue(inner, at, folder, depth + 1, seen);
  switch (node.type) {
    case "FunctionExpression":
    case "ArrowFunctionExpression":
    case "ClassExpression":
      return true;
    case "Identifier": {
      const binding = lookUp(scope, node.name);
      if (binding === undefined) return node.name === "require" || isGlobalFunction([node.name]);
      return (
        binding.isFunction ||
        binding.values.some((value) =>
          value.keys.length === 0
            ? again(value.node, value.scope)
            : literals.has(value.node.type) || value.keys.at(-1) === "constructor",
        )
      );
    }
    case "MemberExpression": {
      const key = node.computed
        ? folder.fold(node.property, scope)
        : writtenKey({ key: node.property, computed: false });
      if (typeof key !== "string") return false;
      if (key === "constructor") return true;
      if (literals.has(node.object.type)) return key !== "length" && !isOwnKey(node.object, key);
      if (key === "__proto__" || key === "prototype") {
        return key === "__proto__" ? again(node.object) : isFunctionGlobal(node.object, scope);
      }
      const path = pathOf(node);
      return path !== undefined && lookUp(scope, path[0] ?? "") === undefined
        ? isGlobalFunction(path)
        : false;
    }
    case "CallExpression": {
      const callee = node.callee;
      if (callee.type !== "MemberExpression") return false;
      const name = writtenKey({ key: callee.property, computed: callee.computed });
      if (name === undefined || !prototypeGetters.has(name)) return false;
      const target = name === "bind" ? callee.object : node.arguments[0];
      return target !== undefined && again(target);
    }
    case "AssignmentExpression":
      return again(node.right);
    case "ConditionalExpression":
      return again(node.consequent) || again(node.alternate);
    case "LogicalExpression":
      return again(node.left) || again(node.right);
    case "SequenceExpression": {
      const last = node.expressions.at(-1);
      return last !== undefined && again(last);
    }
    case "ChainExpression":
    case "ParenthesizedExpression":
      return again(node.expression);
    case "AwaitExpression":
      return again(node.argument);
    default:
      return false;
  }
}

/** `Function.prototype` is a function; no other prototype is. */
function isFunctionGlobal(node: AnyNode, scope: Scope): boolean {
  return (
    node.type === "Identifier" && node.name === "Function" && lookUp(scope, node.name) === undefined
  );
}

/** `{ map: 1 }.map` is not what arrays have. */
function isOwnKey(node: AnyNode, key: string): boolean {
  return (
    node.type === "ObjectExpression" &&
    node.properties.some((property) => property.type === "Property" && writtenKey(property) === key)
  );
}

/** `a.b.c` as names; undefined when it is anything else. */
function pathOf(node: AnyNode): string[] | undefined {
  const names: string[] = [];
  let at: AnyNode = node;
  while (at.type === "MemberExpression") {
    const name = writtenKey({ key: at.property, computed: at.computed });
    if (name === undefined) return undefined;
    names.unshift(name);
    at = at.object;
  }
  return at.type === "Identifier" ? [at.name, ...names] : undefined;
}
