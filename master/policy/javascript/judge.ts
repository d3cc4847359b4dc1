// Judges what was collected from a program: follows what reaches for the system to what is done with
// it, and looks that up in the tables. Says what it found through `report`, in no order.
import type { AnyNode, Expression, Identifier, MemberExpression, Pattern } from "acorn";
import type { RuleName } from "../rules.ts";
import type { Collected, Found } from "./collect.ts";
import { dotted, Folder } from "./folding.ts";
import { type ModuleTarget, moduleTarget } from "./modules.ts";
import {
  type GuardedObject,
  globalObjects,
  guardedObjects,
  processMembers,
  refusedGlobals,
  refusedMembers,
  timers,
} from "./objects.ts";
import { lookUp, type Scope, writtenKey } from "./scopes.ts";
import { isFunctionValue } from "./values.ts";

export type Report = (node: AnyNode, rule: RuleName, what: string) => void;

const comparisons = new Set(["==", "===", "!=", "!=="]);
/** Functions that fetch a member whose name is their second argument. */
const fetchers = new Set([
  "Reflect.get",
  "Reflect.getOwnPropertyDescriptor",
  "Object.getOwnPropertyDescriptor",
]);

export class Judge {
  readonly #collected: Collected;
  readonly #report: Report;
  readonly #folder = new Folder();

  constructor(collected: Collected, report: Report) {
    this.#collected = collected;
    this.#report = report;
  }

  judge(): void {
    const { references, members, calls, patterns, imports, others } = this.#collected;
    for (const node of imports) {
      this.#import(node, String(node.source.value));
    }
    for (const found of others) this.#other(found);
    for (const found of calls) this.#call(found);
    for (const found of references) this.#reference(found);
    for (const found of members) this.#member(found);
    for (const found of patterns) this.#pattern(found);
  }

  // ---- modules ----

  #import(node: AnyNode, specifier: string): void {
    const target = moduleTarget(specifier);
    if (target.kind === "refused") this.#report(node, target.rule, specifier);
    if (target.kind !== "process" || node.type !== "ImportDeclaration") return;
    for (const specifier of node.specifiers) {
      if (specifier.type !== "ImportSpecifier") continue;
      const name = nameOf(specifier.imported);
      if (name !== "default") this.#guarded(specifier, "process", name);
    }
  }

  /** `require(x)` and `import(x)`: what it loads, when that can be told. */
  #loaded(node: AnyNode, argument: AnyNode | undefined, scope: Scope, what: string): void {
    const names = argument === undefined ? [] : this.#folder.everyText(argument, scope);
    for (const name of names) {
      const target = moduleTarget(name);
      if (target.kind === "refused") this.#report(node, target.rule, name);
      if (target.kind === "process") this.#loadedProcess(node, scope);
    }
    if (names.length > 0 || argument === undefined) return;
    const prefix = this.#folder.prefix(argument, scope) ?? "";
    const isBelow = prefix.startsWith("./") && !prefix.includes("..");
    if (!isBelow) this.#report(node, "dynamic-import", `${what} of a computed name`);
  }

  /** `require("process").kill`; what gets a name is judged where the name is used. */
  #loadedProcess(node: AnyNode, scope: Scope): void {
    const around = this.#parent(node);
    const loaded = around?.type === "AwaitExpression" ? around : node;
    const parent = this.#parent(loaded);
    const isNameless =
      !(parent?.type === "VariableDeclarator" && parent.id.type === "Identifier") &&
      !(parent?.type === "AssignmentExpression" && parent.left.type === "Identifier");
    if (isNameless) this.#used(loaded, "process", scope);
  }

  #other({ node, scope }: Found<AnyNode>): void {
    switch (node.type) {
      case "ImportExpression":
        this.#loaded(node, node.source, scope, "import()");
        break;
      case "WithStatement":
        this.#report(node, "with-statement", "with");
        break;
      case "ExportAllDeclaration":
      case "ExportNamedDeclaration":
        if (node.source) this.#import(node, String(node.source.value));
        break;
      case "MetaProperty":
        if (node.meta.name === "import") this.#used(node, "import.meta", scope);
        break;
    }
  }

  // ---- names ----

  #reference({ node, scope }: Found<Identifier>): void {
    const { name } = node;
    const binding = lookUp(scope, name);
    if (binding !== undefined) {
      if (binding.values.some((value) => this.#isProcess(value.node, value.scope, value.keys))) {
        this.#used(node, "process", scope);
      } else if (binding.isOpen && this.#isImportedProcess(name)) {
        this.#used(node, "process", scope);
      }
      return;
    }
    if (name === "arguments") {
      if (isOfModule(scope)) this.#report(node, "import-machinery", "arguments of the module");
      return;
    }
    if (globalObjects.has(name)) this.#globalObject(node, scope);
    else this.#global(node, name, scope);
  }

  /** A global, as a name or as a member of the global object. */
  #global(node: AnyNode, name: string, scope: Scope): void {
    const rule = refusedGlobals.get(name);
    if (rule !== undefined) {
      if (!this.#isOnlyAsked(node)) this.#report(node, rule, name);
    } else if (guardedObjects.has(name)) this.#used(node, name, scope);
  }

  #globalObject(node: AnyNode, scope: Scope): void {
    if (this.#isOnlyAsked(node)) return;
    const taken = this.#takenFrom(node);
    if (taken !== undefined) {
      this.#takenApart(taken, scope, (key, inner) => {
        if (key === undefined)
          this.#report(inner, "global-object", "The global object, taken apart,");
        else this.#global(inner, key, scope);
      });
      return;
    }
    const member = this.#memberOf(node);
    if (member === undefined) {
      this.#report(node, "global-object", "The global object, handed on,");
      return;
    }
    const names = this.#names(member, scope);
    if (names.length === 0) {
      this.#report(member, "global-object", "The global object with a computed name");
    }
    for (const name of names) {
      if (globalObjects.has(name)) this.#globalObject(member, scope);
      else this.#global(member, name, scope);
    }
  }

  /** `process`, `module`, `require`, `Function`, `import.meta`: what is done with it. */
  #used(node: AnyNode, name: string, scope: Scope): void {
    const guard = guardedObjects.get(name);
    if (guard === undefined || this.#isOnlyAsked(node)) return;
    const parent = this.#parent(node);
    if (name === "require" && parent?.type === "CallExpression" && parent.callee === node) {
      this.#loaded(parent, parent.arguments[0], scope, "require");
      return;
    }
    const taken = this.#takenFrom(node);
    if (taken !== undefined) {
      // `const { default: p } = await import("process")`: judged where p is used.
      this.#takenApart(taken, scope, (key, inner) => {
        if (name !== "process" || key !== "default") this.#guarded(inner, name, key);
      });
      return;
    }
    const member = this.#memberOf(node);
    if (member === undefined) {
      this.#report(node, name === "require" ? "dynamic-import" : guard.rule, `${name}, handed on,`);
      return;
    }
    if (name === "require" && this.#isMainCheck(member)) return;
    const keys = this.#names(member, scope);
    if (keys.length === 0) this.#report(member, guard.rule, `${name} with a computed name`);
    for (const key of keys) {
      if (name === "process" && key === "default") this.#used(member, name, scope);
      else this.#guarded(member, name, key);
    }
  }

  #guarded(node: AnyNode, name: string, key: string | undefined): void {
    const guard = guardedObjects.get(name);
    if (guard === undefined) return;
    if (key === undefined) this.#report(node, guard.rule, `${name}, taken apart,`);
    else if (!guard.harmless.has(key)) this.#report(node, ruleOf(guard, key), `${name}.${key}`);
  }

  /** `require.main === module`. */
  #isMainCheck(member: MemberExpression): boolean {
    return writtenKey({ key: member.property, computed: member.computed }) === "main"
      ? this.#isOnlyAsked(member)
      : false;
  }

  /** Compared, asked for its type or its truth: nothing is done with it. */
  #isOnlyAsked(node: AnyNode): boolean {
    const parent = this.#parent(node);
    if (parent === undefined) return false;
    switch (parent.type) {
      case "UnaryExpression":
        return parent.operator === "typeof" || parent.operator === "!";
      case "BinaryExpression":
        return (
          comparisons.has(parent.operator) ||
          (parent.operator === "instanceof" && parent.right === node)
        );
      case "IfStatement":
      case "ConditionalExpression":
        return parent.test === node;
      case "LogicalExpression":
        return parent.operator === "&&" && parent.left === node;
      case "ExpressionStatement":
        return true;
      case "ExportSpecifier":
        return false;
      default:
        return false;
    }
  }

  #isProcess(node: Expression, scope: Scope, keys: readonly string[]): boolean {
    if (keys.length > (keys[0] === "default" ? 1 : 0)) return false;
    const inner = node.type === "AwaitExpression" ? node.argument : node;
    let argument: AnyNode | undefined;
    if (inner.type === "ImportExpression") argument = inner.source;
    else if (inner.type === "CallExpression" && isNamed(inner.callee, "require")) {
      argument = inner.arguments[0];
    }
    if (argument === undefined) return false;
    const names = this.#folder.everyText(argument, scope);
    return names.some((name) => moduleTarget(name).kind === "process");
  }

  #isImportedProcess(name: string): boolean {
    return this.#collected.imports.some(
      (node) =>
        moduleTarget(String(node.source.value)).kind === "process" &&
        node.specifiers.some(
          (specifier) =>
            specifier.local.name === name &&
            (specifier.type !== "ImportSpecifier" || nameOf(specifier.imported) === "default"),
        ),
    );
  }

  // ---- members, calls and patterns of whatever object ----

  #member({ node, scope }: Found<MemberExpression>): void {
    const isOfThis = node.object.type === "ThisExpression" && node.computed;
    for (const name of this.#names(node, scope)) {
      // Where `this` is the global object, this hides which of its names is meant.
      if (isOfThis && (guardedObjects.has(name) || refusedGlobals.get(name) === "run-code")) {
        this.#report(node, "global-object", `this with the name ${name}`);
      }
      const rule = refusedMembers.get(name);
      if (rule !== undefined) this.#report(node, rule, name);
      else if (name === "constructor") this.#constructorOf(node, scope);
      else if (name === "caller") this.#caller(node, scope);
      else if (processMembers.has(name) && isMemberNamed(node.object, "process")) {
        const guard = guardedObjects.get("process");
        if (guard) this.#report(node, ruleOf(guard, name), `process.${name}`);
      }
    }
  }

  #constructorOf(node: MemberExpression, scope: Scope): void {
    if (this.#isOnlyAsked(node)) return;
    const parent = this.#parent(node);
    if (parent?.type === "MemberExpression" && parent.object === node) {
      const next = this.#names(parent, scope);
      if (next.length > 0 && next.every((name) => name === "name" || name === "prototype")) return;
    }
    const isCalled =
      (parent?.type === "CallExpression" &&
        parent.callee === node &&
        parent.arguments.length > 0) ||
      (parent?.type === "TaggedTemplateExpression" && parent.tag === node);
    const isOwn = node.object.type === "ThisExpression" || node.object.type === "Super";
    if ((isCalled && !isOwn) || isFunctionValue(node.object, scope, this.#folder)) {
      this.#report(node, "function-constructor", "The constructor of a function");
    } else if (isModuleLike(node.object)) {
      this.#report(node, "import-machinery", "module.constructor");
    }
  }

  #caller(node: MemberExpression, scope: Scope): void {
    const parent = this.#parent(node);
    const goesOn =
      parent?.type === "MemberExpression" &&
      this.#names(parent, scope).some((name) => name === "arguments" || name === "caller");
    const isOfFunction =
      isMemberNamed(node.object, "callee") || isFunctionValue(node.object, scope, this.#folder);
    if (goesOn || isOfFunction) this.#report(node, "frames", "The caller of a function");
  }

  #call({ node, scope }: Collected["calls"][number]): void {
    const { callee } = node;
    const [first, second] = node.arguments;
    if (callee.type === "Identifier" && lookUp(scope, callee.name) === undefined) {
      if (timers.has(callee.name) && first !== undefined && this.#isText(first, scope)) {
        this.#report(node, "run-code", `${callee.name} with a text`);
      }
    }
    const target = unchained(callee);
    if (target.type === "FunctionExpression" && returnsThis(target)) {
      this.#report(node, "global-object", "A function that returns the global object");
    }
    if (target.type !== "MemberExpression") return;
    const [name] = this.#names(target, scope);
    if (
      (name === "call" || name === "apply") &&
      target.object.type === "FunctionExpression" &&
      returnsThis(target.object)
    ) {
      this.#report(node, "global-object", "A function that returns the global object");
    }
    if (name !== undefined && timers.has(name) && first !== undefined) {
      if (this.#isText(first, scope)) this.#report(node, "run-code", `${name} with a text`);
    }
    if (name === "require" && !isNamed(target.object, "module")) {
      this.#requiredFrom(node, first, scope);
    }
    if (fetchers.has(dotted(target) ?? "") && first !== undefined && second !== undefined) {
      this.#fetched(node, second, scope);
    }
  }

  /** `anything.require("fs")`. */
  #requiredFrom(node: AnyNode, argument: AnyNode | undefined, scope: Scope): void {
    if (argument === undefined) return;
    for (const name of this.#folder.everyText(argument, scope)) {
      const target: ModuleTarget = moduleTarget(name);
      if (target.kind === "refused") this.#report(node, target.rule, name);
    }
  }

  /** `Reflect.get(x, "constructor")`. Objects that are guarded are refused as what they are. */
  #fetched(node: AnyNode, key: AnyNode, scope: Scope): void {
    for (const name of this.#folder.everyText(key, scope)) {
      const rule = name === "constructor" ? "function-constructor" : refusedMembers.get(name);
      if (rule !== undefined) this.#report(node, rule, name);
    }
  }

  #pattern({ pattern, from, scope }: Collected["patterns"][number]): void {
    for (const { key, node } of this.#keysOf(pattern, scope)) {
      const rule = refusedMembers.get(key);
      if (rule !== undefined) this.#report(node, rule, key);
      if (key === "constructor" && from?.type !== "ThisExpression") {
        this.#report(node, "function-constructor", "constructor, taken out of an object,");
      }
    }
  }

  *#keysOf(pattern: Pattern, scope: Scope): Generator<{ key: string; node: AnyNode }> {
    if (pattern.type === "AssignmentPattern") yield* this.#keysOf(pattern.left, scope);
    if (pattern.type === "ArrayPattern") {
      for (const element of pattern.elements) {
        if (element !== null) yield* this.#keysOf(element, scope);
      }
    }
    if (pattern.type !== "ObjectPattern") return;
    for (const property of pattern.properties) {
      if (property.type === "RestElement") continue;
      for (const key of this.#keys(property, scope)) yield { key, node: property };
      yield* this.#keysOf(property.value, scope);
    }
  }

  // ---- what is around a node ----

  #parent(node: AnyNode): AnyNode | undefined {
    let parent = this.#collected.parents.get(node);
    while (parent?.type === "ChainExpression" || parent?.type === "ParenthesizedExpression") {
      parent = this.#collected.parents.get(parent);
    }
    return parent;
  }

  /** The member that is taken of it: `node.x`. */
  #memberOf(node: AnyNode): MemberExpression | undefined {
    const parent = this.#parent(node);
    return parent?.type === "MemberExpression" && unchained(parent.object) === node
      ? parent
      : undefined;
  }

  /** The pattern that takes it apart: `const { x } = node`. */
  #takenFrom(node: AnyNode): Extract<Pattern, { type: "ObjectPattern" }> | undefined {
    const parent = this.#parent(node);
    let pattern: Pattern | undefined;
    if (parent?.type === "VariableDeclarator" && parent.init === node) pattern = parent.id;
    else if (parent?.type === "AssignmentExpression" && parent.right === node) {
      pattern = parent.left;
    } else if (parent?.type === "AssignmentPattern" && parent.right === node) pattern = parent.left;
    return pattern?.type === "ObjectPattern" ? pattern : undefined;
  }

  #takenApart(
    pattern: Extract<Pattern, { type: "ObjectPattern" }>,
    scope: Scope,
    each: (key: string | undefined, node: AnyNode) => void,
  ): void {
    for (const property of pattern.properties) {
      if (property.type === "RestElement") {
        each(undefined, property);
        continue;
      }
      const keys = this.#keys(property, scope);
      if (keys.length === 0) each(undefined, property);
      for (const key of keys) {
        each(key, property);
        const below =
          property.value.type === "AssignmentPattern" ? property.value.left : property.value;
        if (below.type !== "ObjectPattern") continue;
        if (guardedObjects.has(key)) {
          this.#takenApart(below, scope, (inner, node) => this.#guarded(node, key, inner));
        }
      }
    }
  }

  #keys(property: { key: AnyNode; computed: boolean }, scope: Scope): string[] {
    const written = writtenKey(property);
    return written === undefined ? this.#folder.everyText(property.key, scope) : [written];
  }

  /** What the member may be called. */
  #names(node: MemberExpression, scope: Scope): string[] {
    return this.#keys({ key: node.property, computed: node.computed }, scope);
  }

  #isText(node: AnyNode, scope: Scope): boolean {
    return this.#folder.prefix(node, scope) !== undefined;
  }
}

function ruleOf(guard: GuardedObject, key: string): RuleName {
  return guard.others.get(key) ?? guard.rule;
}

function nameOf(node: AnyNode): string {
  return node.type === "Identifier" ? node.name : node.type === "Literal" ? String(node.value) : "";
}

function isNamed(node: AnyNode, name: string): boolean {
  return node.type === "Identifier" && node.name === name;
}

function unchained(node: AnyNode): AnyNode {
  return node.type === "ChainExpression" || node.type === "ParenthesizedExpression"
    ? unchained(node.expression)
    : node;
}

function isMemberNamed(node: AnyNode, name: string): boolean {
  const inner = unchained(node);
  return (
    inner.type === "MemberExpression" &&
    writtenKey({ key: inner.property, computed: inner.computed }) === name
  );
}

function isModuleLike(node: AnyNode): boolean {
  return (
    isNamed(node, "module") || isMemberNamed(node, "mainModule") || isMemberNamed(node, "main")
  );
}

/** In the module itself, or in arrow functions only: `arguments` are those of its wrapper. */
function isOfModule(scope: Scope): boolean {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.parent) {
    if (at.isFunction && !at.isArrow) return at.parent === undefined;
  }
  return true;
}

/** `function () { return this }`: called without an object, that is the global one. */
function returnsThis(node: AnyNode): boolean {
  if (node.type !== "FunctionExpression" || node.body.type !== "BlockStatement") return false;
  return node.body.body.some(
    (statement) =>
      statement.type === "ReturnStatement" && statement.argument?.type === "ThisExpression",
  );
}
