// Walks the tree of a program once and writes down what names it binds and what is to be judged when
// all of them are known. It judges nothing.
import type {
  AnyNode,
  CallExpression,
  Expression,
  Function as FunctionNode,
  Identifier,
  ImportDeclaration,
  MemberExpression,
  Pattern,
  Program,
} from "acorn";
import { fullAncestor } from "acorn-walk";
import { declare, functionScope, lookUp, patternNames, type Scope, Scopes } from "./scopes.ts";

export interface Found<N extends AnyNode> {
  node: N;
  scope: Scope;
}

export interface Collected {
  parents: Map<AnyNode, AnyNode>;
  /** Names that are read. */
  references: Found<Identifier>[];
  members: Found<MemberExpression>[];
  calls: Found<CallExpression | Extract<AnyNode, { type: "NewExpression" }>>[];
  /** Patterns that take something apart; without `from` nobody can tell what. */
  patterns: { pattern: Pattern; from: Expression | undefined; scope: Scope }[];
  imports: ImportDeclaration[];
  /** import(), import.meta, with, export from. */
  others: Found<AnyNode>[];
}

const otherTypes = new Set<string>([
  "ImportExpression",
  "MetaProperty",
  "WithStatement",
  "ExportAllDeclaration",
  "ExportNamedDeclaration",
]);

export function collect(program: Program): Collected {
  const scopes = new Scopes();
  const collected: Collected = {
    parents: new Map(),
    references: [],
    members: [],
    calls: [],
    patterns: [],
    imports: [],
    others: [],
  };
  const assigned: { left: Pattern; right: Expression; scope: Scope }[] = [];
  fullAncestor(program, (visited, _state, ancestors, type) => {
    const node: AnyNode = visited;
    const parent = ancestors.at(-2);
    if (parent !== undefined) collected.parents.set(node, parent);
    switch (node.type) {
      case "Identifier":
        // In a pattern it is bound or assigned to, not read.
        if (type === "Identifier") {
          collected.references.push({ node, scope: scopes.at(ancestors) });
        }
        break;
      case "MemberExpression":
        collected.members.push({ node, scope: scopes.at(ancestors) });
        break;
      case "CallExpression":
      case "NewExpression":
        collected.calls.push({ node, scope: scopes.at(ancestors) });
        break;
      case "VariableDeclaration":
        declareVariables(node, ancestors, scopes, collected);
        break;
      case "FunctionDeclaration":
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        declareFunction(node, ancestors, scopes, collected);
        break;
      case "ClassDeclaration":
      case "ClassExpression":
        if (node.id) {
          declare(scopes.at(ancestors), node.id.name).isFunction = true;
          if (node.type === "ClassDeclaration") {
            declare(scopes.at(ancestors, ancestors.length - 1), node.id.name).isFunction = true;
          }
        }
        break;
      case "CatchClause":
        if (node.param) bindOpen(node.param, scopes.at(ancestors), collected);
        break;
      case "ImportDeclaration":
        collected.imports.push(node);
        for (const specifier of node.specifiers) {
          declare(scopes.at(ancestors), specifier.local.name).isOpen = true;
        }
        break;
      case "AssignmentExpression": {
        const scope = scopes.at(ancestors);
        if (node.operator === "=" || node.operator === "+=" || node.operator.endsWith("|=")) {
          assigned.push({ left: node.left, right: node.right, scope });
        }
        break;
      }
      default:
        if (otherTypes.has(node.type)) {
          collected.others.push({ node, scope: scopes.at(ancestors) });
        }
    }
  });
  for (const { left, right, scope } of assigned) assign(left, right, scope, collected);
  return collected;
}

function declareVariables(
  node: Extract<AnyNode, { type: "VariableDeclaration" }>,
  ancestors: readonly AnyNode[],
  scopes: Scopes,
  collected: Collected,
): void {
  const inner = scopes.at(ancestors);
  const scope = node.kind === "var" ? functionScope(inner) : inner;
  const parent = ancestors.at(-2);
  const isLoop = parent?.type === "ForInStatement" || parent?.type === "ForOfStatement";
  for (const { id, init } of node.declarations) {
    const from = init ?? undefined;
    for (const { name, keys, initial } of patternNames(id)) {
      const binding = declare(scope, name.name);
      if (from !== undefined && keys !== undefined) {
        binding.values.push({ node: from, scope: inner, keys });
      } else if (from !== undefined || isLoop) binding.isOpen = true;
      if (initial !== undefined) binding.values.push({ node: initial, scope: inner, keys: [] });
    }
    if (id.type !== "Identifier") collected.patterns.push({ pattern: id, from, scope: inner });
  }
}

function declareFunction(
  node: FunctionNode & { type: string },
  ancestors: readonly AnyNode[],
  scopes: Scopes,
  collected: Collected,
): void {
  const scope = scopes.at(ancestors);
  for (const param of node.params) bindOpen(param, scope, collected);
  if (!node.id) return;
  if (node.type === "FunctionDeclaration") {
    const outer = scopes.at(ancestors, ancestors.length - 1);
    declare(outer, node.id.name).isFunction = true;
    // A function in a block is a name of the function around it too, where code is sloppy.
    declare(functionScope(outer), node.id.name).isFunction = true;
  } else if (!scope.names.has(node.id.name)) declare(scope, node.id.name).isFunction = true;
}

/** Binds names to what comes from outside, with what they are if nothing does. */
function bindOpen(pattern: Pattern, scope: Scope, collected: Collected): void {
  for (const { name, initial } of patternNames(pattern)) {
    const binding = declare(scope, name.name);
    binding.isOpen = true;
    if (initial !== undefined) binding.values.push({ node: initial, scope, keys: [] });
  }
  if (pattern.type === "AssignmentPattern" && pattern.left.type !== "Identifier") {
    collected.patterns.push({ pattern: pattern.left, from: pattern.right, scope });
  }
  if (pattern.type !== "Identifier") collected.patterns.push({ pattern, from: undefined, scope });
}

function assign(left: Pattern, right: Expression, scope: Scope, collected: Collected): void {
  for (const { name, keys, initial } of patternNames(left)) {
    const binding = lookUp(scope, name.name);
    if (binding === undefined) continue;
    if (keys === undefined) binding.isOpen = true;
    else binding.values.push({ node: right, scope, keys });
    if (initial !== undefined) binding.values.push({ node: initial, scope, keys: [] });
  }
  if (left.type === "ObjectPattern" || left.type === "ArrayPattern") {
    collected.patterns.push({ pattern: left, from: right, scope });
  }
}
