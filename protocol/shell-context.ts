// Says whether the templates of a shell script stand where a quoted word stays one word.
// A value arrives in single quotes; inside other quotes, comments, here-documents or arithmetic
// those quotes mean something else, and data could become code. This scan follows POSIX shell
// syntax (and the bash extensions that differ) and refuses wherever it is not sure.

/** Stands for a template in the text that is scanned; a script itself cannot hold it. */
export const templateMark = "\0";

type Context = "plain" | "paren" | "substitution" | "double" | "backtick" | "arithmetic";
/** `${...}` without quotes or nesting means the same to everybody and is stepped over. */
const simpleParameter = /\$\{[^'"`\\$\n\0{}]*\}/y;
const spaces = /\s/;

/** What is wrong with the place of the first template that is not safe; undefined: all are. */
export function shellPlaceProblem(script: string): string | undefined {
  return new Scan(script).run();
}

class Scan {
  readonly #script: string;
  readonly #lastTemplate: number;
  #at = 0;
  /** The first template at or behind the place that was asked last. */
  #nextTemplate = -1;
  readonly #stack: Context[] = ["plain"];
  readonly #hereDocuments: { delimiter: string; stripsTabs: boolean }[] = [];
  #isWordStart = true;
  /** Parentheses open inside arithmetic. */
  #depth = 0;
  /** Set where shells differ or this scan gives up; no template may follow. */
  #unsure = false;

  constructor(script: string) {
    this.#script = script;
    this.#lastTemplate = script.lastIndexOf(templateMark);
  }

  run(): string | undefined {
    while (this.#at <= this.#lastTemplate) {
      const context = this.#stack.at(-1) ?? "plain";
      const problem =
        context === "double"
          ? this.#double()
          : context === "backtick"
            ? this.#backtick()
            : context === "arithmetic"
              ? this.#arithmetic()
              : this.#plain();
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  #plain(): string | undefined {
    const char = this.#script[this.#at] ?? "";
    const wasWordStart = this.#isWordStart;
    this.#isWordStart = spaces.test(char) || ";&|()<>".includes(char);
    if (char === templateMark) {
      if (this.#unsure) return "it follows shell syntax that is not understood here";
      if (this.#script[this.#at - 1] === "$") return "`$` stands directly before it";
      this.#at++;
      return undefined;
    }
    if (char === "\\") return this.#escape(wasWordStart);
    if (char === "'") return this.#singleQuotes();
    if (char === "#" && wasWordStart) return this.#skipTo("\n", "it is in a comment");
    if (char === "<" && this.#script[this.#at + 1] === "<") return this.#hereDocument();
    if (char === "\n" && this.#hereDocuments.length > 0) return this.#hereDocumentBodies();
    if (this.#opened(char)) return undefined;
    if (
      char === "c" &&
      wasWordStart &&
      /^case\s/.test(this.#script.slice(this.#at, this.#at + 5))
    ) {
      // The `)` of its patterns would end a substitution for this scan.
      if (this.#stack.length > 1) this.#unsure = true;
    }
    const context = this.#stack.at(-1);
    if (char === "(") {
      // Arrays and arithmetic of bash: after an error in them it runs the next line of a value.
      const before = this.#script[this.#at - 1];
      if (before === "=" || before === "(" || before === "$") this.#unsure = true;
      this.#stack.push("paren");
    } else if (char === ")" && this.#stack.length > 1) {
      this.#isWordStart = context === "paren";
      this.#stack.pop();
    }
    this.#at++;
    return undefined;
  }

  #double(): string | undefined {
    const char = this.#script[this.#at] ?? "";
    if (char === templateMark) return "it is inside double quotes";
    if (char === "\\") return this.#escape(false);
    if (char === '"') {
      this.#stack.pop();
      this.#isWordStart = false;
      this.#at++;
      return undefined;
    }
    if (!this.#opened(char)) this.#at++;
    return undefined;
  }

  #backtick(): string | undefined {
    const char = this.#script[this.#at] ?? "";
    if (char === templateMark) return "it is inside backticks";
    if (char === "\\") return this.#escape(false);
    if (char === "`") {
      this.#stack.pop();
      this.#isWordStart = false;
    }
    this.#at++;
    return undefined;
  }

  #arithmetic(): string | undefined {
    const char = this.#script[this.#at] ?? "";
    if (char === templateMark) return "it is inside `$(( ))`";
    if (`'"\`\\`.includes(char)) this.#unsure = true;
    if (char === "(") this.#depth++;
    if (char === ")") this.#depth--;
    if (this.#depth === 0) {
      this.#stack.pop();
      this.#isWordStart = false;
    }
    this.#at++;
    return undefined;
  }

  /** Double quotes, backticks and everything that begins with `$`; true when stepped over. */
  #opened(char: string): boolean {
    const isDouble = this.#stack.at(-1) === "double";
    if (char === '"' && !isDouble) this.#stack.push("double");
    else if (char === "`") this.#stack.push("backtick");
    else if (char !== "$") return false;
    else if (this.#script.startsWith("$((", this.#at)) {
      this.#stack.push("arithmetic");
      this.#depth = 2;
      this.#at += 2;
    } else if (this.#script[this.#at + 1] === "(") {
      this.#stack.push("substitution");
      this.#isWordStart = true;
      this.#at++;
    } else if (this.#script[this.#at + 1] === "{") {
      simpleParameter.lastIndex = this.#at;
      const parameter = simpleParameter.exec(this.#script)?.[0];
      if (parameter === undefined) this.#unsure = true;
      this.#at += (parameter?.length ?? 2) - 1;
    } else if (!isDouble && this.#script[this.#at + 1] === "'") {
      // bash reads escapes in $'...', other shells do not.
      this.#unsure = true;
    }
    this.#at++;
    return true;
  }

  #escape(wasWordStart: boolean): string | undefined {
    const next = this.#script[this.#at + 1];
    if (next === templateMark) return "a backslash stands directly before it";
    if (next === "\n") this.#isWordStart = wasWordStart;
    this.#at += 2;
    return undefined;
  }

  #singleQuotes(): string | undefined {
    this.#at++;
    const problem = this.#skipTo("'", "it is inside single quotes");
    this.#at++;
    return problem;
  }

  /** Goes to the next `end` (or the end of the script); no template may be on the way. */
  #skipTo(end: string, otherwise: string): string | undefined {
    const found = this.#script.indexOf(end, this.#at);
    const stop = found === -1 ? this.#script.length : found;
    // Looked for once, not once a quote: a script may hold very many quotes.
    if (this.#nextTemplate < this.#at) {
      this.#nextTemplate = this.#script.indexOf(templateMark, this.#at);
      if (this.#nextTemplate === -1) this.#nextTemplate = this.#script.length;
    }
    if (this.#nextTemplate < stop) return otherwise;
    this.#at = stop;
    return undefined;
  }

  #hereDocument(): string | undefined {
    if (this.#script[this.#at + 2] === "<") {
      this.#at += 3;
      return undefined;
    }
    const match = /^<<(-?)[ \t]*([^\s;&|()<>]*)/.exec(this.#script.slice(this.#at, this.#at + 300));
    const [whole = "<<", dash = "", word = ""] = match ?? [];
    if (word.includes(templateMark)) return "it names the end of a here-document";
    if (!/^(['"]?)[\w.-]+\1$/.test(word)) this.#unsure = true;
    this.#hereDocuments.push({ delimiter: word.replace(/['"\\]/g, ""), stripsTabs: dash !== "" });
    this.#at += whole.length;
    return undefined;
  }

  #hereDocumentBodies(): string | undefined {
    let at = this.#at + 1;
    for (const { delimiter, stripsTabs } of this.#hereDocuments.splice(0)) {
      for (let isBody = true; isBody; ) {
        if (at >= this.#script.length) break;
        const newline = this.#script.indexOf("\n", at);
        const stop = newline === -1 ? this.#script.length : newline;
        const line = this.#script.slice(at, stop);
        if (line.includes(templateMark)) return "it is inside a here-document";
        isBody = (stripsTabs ? line.replace(/^\t+/, "") : line) !== delimiter;
        at = stop + 1;
      }
    }
    this.#isWordStart = true;
    this.#at = at;
    return undefined;
  }
}
