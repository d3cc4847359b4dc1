// What a look at submitted code gives. The look is a courtesy to callers who expect that code which
// reaches for the operating system is refused before it runs; safety rests on the sandbox alone.

export interface CodeFinding {
  rule: string;
  /** From 1. */
  line: number;
  /** From 1. */
  column: number;
  message: string;
}

export type PolicyVerdict =
  | { kind: "clean" }
  | { kind: "unsafe"; findings: CodeFinding[] }
  /** Not our grammar: it will fail by itself when it runs. */
  | { kind: "unparsed"; detail: string }
  /** The checker could not be had, or took too long. */
  | { kind: "unavailable"; detail: string };

export interface CodePolicy {
  check(language: "python" | "javascript", code: string): Promise<PolicyVerdict>;
  close(): Promise<void>;
}
