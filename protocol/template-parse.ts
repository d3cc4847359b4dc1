// Turns the text of a `{{ }}` template into parts, once. Pure, bounded, never throws: a malformed
// template is a problem with a remedy. What the parts mean is in `template.ts`.
import type { Json } from "./json.ts";
import { didYouMean } from "./nearest.ts";
import { templateFilters } from "./template-filters.ts";

export type Expression =
  | { kind: "literal"; value: Json }
  /** `root` is one of `roots`; `text` is how the path was written, for messages. */
  | { kind: "path"; root: Root; members: (string | number)[]; text: string }
  | { kind: "filter"; name: string; input: Expression; args: Expression[] };

export type TemplatePart = string | Expression;
export interface TemplateProblem {
  message: string;
  remedy: string;
}
export type ParseResult =
  | { ok: true; parts: TemplatePart[] }
  | { ok: false; problem: TemplateProblem };

/** What a path may begin with, and the members that must follow (`null`: any or none). */
const roots = {
  needs: null,
  env: null,
  params: null,
  item: null,
  index: [],
  run: ["id", "outcome", "failed"],
  task: ["id", "attempt"],
  dag: ["name"],
} as const;
export type Root = keyof typeof roots;

const maxTextLength = 1_048_576;
const maxParts = 10_000;
const maxDepth = 32;
const maxFilters = 32;

export function parseTemplate(text: string): ParseResult {
  if (text.length > maxTextLength) {
    const message = `A template must not be longer than ${maxTextLength} characters.`;
    return { ok: false, problem: { message, remedy: "Put the text into a file." } };
  }
  const parts: TemplatePart[] = [];
  let at = 0;
  for (;;) {
    const open = text.indexOf("{{", at);
    if (open === -1) break;
    if (open > at) parts.push(text.slice(at, open));
    const parsed = new Parser(text, open + 2).expressionToClose();
    if (!("expression" in parsed)) return { ok: false, problem: parsed };
    parts.push(parsed.expression);
    if (parts.length > maxParts) {
      const message = `A template must not have more than ${maxParts} parts.`;
      return { ok: false, problem: { message, remedy: "Compute the text in a task instead." } };
    }
    at = parsed.end;
  }
  if (at < text.length) parts.push(text.slice(at));
  return { ok: true, parts };
}

const namePattern = /[A-Za-z0-9_$-]+/y;
const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const spacePattern = /\s*/y;

/** Recursive descent over one expression. Every method gives its value or a problem. */
class Parser {
  readonly #text: string;
  #at: number;

  constructor(text: string, at: number) {
    this.#text = text;
    this.#at = at;
  }

  expressionToClose(): { expression: Expression; end: number } | TemplateProblem {
    const expression = this.#pipeline(0);
    if ("message" in expression) return expression;
    this.#skipSpace();
    if (!this.#text.startsWith("}}", this.#at)) {
      return this.#problem("`}}` is expected", "Close the expression with `}}`.");
    }
    return { expression, end: this.#at + 2 };
  }

  #pipeline(depth: number): Expression | TemplateProblem {
    if (depth > maxDepth) return this.#problem("nested too deeply", "Use fewer parentheses.");
    let input = this.#primary();
    for (let count = 0; ; count++) {
      if ("message" in input) return input;
      this.#skipSpace();
      if (this.#text[this.#at] !== "|") return input;
      if (count === maxFilters) return this.#problem("too many filters", "Compute it in a task.");
      this.#at++;
      input = this.#filter(input, depth);
    }
  }

  #filter(input: Expression, depth: number): Expression | TemplateProblem {
    this.#skipSpace();
    const name = this.#match(namePattern);
    if (name === undefined) return this.#problem("a filter is expected after `|`", "Name one.");
    const filter = templateFilters.get(name);
    if (filter === undefined) {
      const known = [...templateFilters.keys()];
      return {
        message: `There is no filter \`${name.slice(0, 80)}\`.`,
        remedy: didYouMean(name, known, `Known filters: ${known.join(" ")}.`),
      };
    }
    const args: Expression[] = [];
    this.#skipSpace();
    if (this.#text[this.#at] === "(") {
      this.#at++;
      for (;;) {
        this.#skipSpace();
        if (args.length === 0 && this.#text[this.#at] === ")") break;
        const arg = this.#pipeline(depth + 1);
        if ("message" in arg) return arg;
        args.push(arg);
        this.#skipSpace();
        if (this.#text[this.#at] !== ",") break;
        this.#at++;
      }
      if (this.#text[this.#at] !== ")") {
        return this.#problem("`)` is expected", "Close the arguments of the filter with `)`.");
      }
      this.#at++;
    }
    const [least, most] = filter.args;
    if (args.length < least || args.length > most) {
      const wanted = least === most ? `${least}` : `${least} or ${most}`;
      return {
        message: `Filter \`${name}\` takes ${wanted} argument(s), not ${args.length}.`,
        remedy: `For example: {{ ${filter.example} }}`,
      };
    }
    return { kind: "filter", name, input, args };
  }

  #primary(): Expression | TemplateProblem {
    this.#skipSpace();
    const char = this.#text[this.#at];
    if (char === '"' || char === "'") {
      const value = this.#string(char);
      return typeof value === "string" ? { kind: "literal", value } : value;
    }
    if (char !== undefined && /[0-9-]/.test(char)) {
      const number = this.#match(numberPattern);
      if (number === undefined) return this.#problem("a value is expected", "Write a number.");
      return { kind: "literal", value: Number(number) };
    }
    const start = this.#at;
    const name = this.#match(namePattern);
    if (name === undefined) {
      return this.#problem(
        "a path or a value is expected",
        'Write a path such as `needs.fetch.result`; for the text {{ itself write {{ "{{" }}.',
      );
    }
    if (name === "true" || name === "false") return { kind: "literal", value: name === "true" };
    if (name === "null") return { kind: "literal", value: null };
    if (!isRoot(name)) {
      if (name === "secrets") {
        return {
          message: "Secrets are not known in templates: what a template gives is kept and shown.",
          remedy: 'Name it in `secrets` of the task and read the variable, in a script as "$NAME".',
        };
      }
      const known = Object.keys(roots);
      return {
        message: `\`${name.slice(0, 80)}\` is not known in templates.`,
        remedy: didYouMean(name, known, `A path begins with one of: ${known.join(" ")}.`),
      };
    }
    return this.#path(name, start);
  }

  #path(root: Root, start: number): Expression | TemplateProblem {
    const members: (string | number)[] = [];
    for (;;) {
      const char = this.#text[this.#at];
      if (char === ".") {
        this.#at++;
        const name = this.#match(namePattern);
        if (name === undefined) return this.#problem("a name is expected after `.`", "Name it.");
        members.push(name);
      } else if (char === "[") {
        this.#at++;
        this.#skipSpace();
        const member = this.#bracketed();
        if (typeof member === "object") return member;
        members.push(member);
      } else break;
    }
    const text = this.#text.slice(start, this.#at);
    const problem = membersProblem(root, members, text);
    return problem ?? { kind: "path", root, members, text };
  }

  #bracketed(): string | number | TemplateProblem {
    const char = this.#text[this.#at];
    let member: string | number | TemplateProblem;
    if (char === '"' || char === "'") member = this.#string(char);
    else {
      const number = this.#match(numberPattern);
      member = number === undefined ? -1 : Number(number);
      if (!Number.isSafeInteger(member) || Object.is(member, -0) || member < 0) {
        return this.#problem("`[` takes an index or a text", 'Write `[0]` or `["name"]`.');
      }
    }
    if (typeof member === "object") return member;
    this.#skipSpace();
    if (this.#text[this.#at] !== "]") return this.#problem("`]` is expected", "Close with `]`.");
    this.#at++;
    return member;
  }

  /** JSON's escapes, in either kind of quotes. */
  #string(quote: string): string | TemplateProblem {
    let value = "";
    for (let at = this.#at + 1; at < this.#text.length; at++) {
      const char = this.#text[at] ?? "";
      if (char === quote) {
        this.#at = at + 1;
        return value;
      }
      if (char !== "\\") {
        value += char;
        continue;
      }
      at++;
      const escaped = this.#text[at] ?? "";
      const code = /^u[0-9a-fA-F]{4}/.exec(this.#text.slice(at, at + 5));
      if (code !== null) {
        value += String.fromCharCode(Number.parseInt(code[0].slice(1), 16));
        at += 4;
      } else if (escapes.has(escaped)) value += escapes.get(escaped);
      else {
        this.#at = at;
        return this.#problem("the text has an unknown escape", "Use \\\\ for a backslash.");
      }
    }
    return this.#problem("a text is not closed", `Close it with ${quote}.`);
  }

  #skipSpace(): void {
    spacePattern.lastIndex = this.#at;
    spacePattern.exec(this.#text);
    this.#at = spacePattern.lastIndex;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #problem(what: string, remedy: string): TemplateProblem {
    const near = this.#text.slice(this.#at, this.#at + 20);
    const where = near === "" ? "at the end" : `before ${JSON.stringify(near)}`;
    return { message: `The template is malformed: ${what} ${where}.`, remedy };
  }
}

const escapes: ReadonlyMap<string, string> = new Map([
  ...['"', "'", "\\", "/", "{", "}"].map((char): [string, string] => [char, char]),
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

function isRoot(name: string): name is Root {
  return Object.hasOwn(roots, name);
}

function membersProblem(
  root: Root,
  members: readonly (string | number)[],
  text: string,
): TemplateProblem | undefined {
  const shown = text.slice(0, 80);
  if (root === "needs") {
    const [task, kind] = members;
    const isOutcome = kind === "outcome" && members.length === 2;
    if (typeof task === "string" && (kind === "result" || isOutcome)) return undefined;
    return {
      message: `\`${shown}\` does not say what of which task.`,
      remedy: "Write `needs.<task>.result`, with members after it, or `needs.<task>.outcome`.",
    };
  }
  if (root === "env" || root === "params") {
    const isNamed = typeof members[0] === "string" && (root === "params" || members.length === 1);
    if (isNamed) return undefined;
    return { message: `\`${shown}\` names nothing.`, remedy: `Write \`${root}.<name>\`.` };
  }
  const known: readonly string[] | null = roots[root];
  if (known === null || (known.length === 0 && members.length === 0)) return undefined;
  const [name] = members;
  const isKnown = typeof name === "string" && known.includes(name);
  if (isKnown && (members.length === 1 || name === "failed")) return undefined;
  const remedy =
    known.length === 0
      ? `\`${root}\` has no members.`
      : `Write ${known.map((member) => `\`${root}.${member}\``).join(" or ")}.`;
  return { message: `\`${shown}\` is not known in templates.`, remedy };
}
