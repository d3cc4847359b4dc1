// What a check of submitted code says before the code runs, and who can be asked for it. A policy
// tells a person early that code will be refused; it is never what safety rests on (the sandbox is).

export interface CodeFinding {
  /** Stable name, one of `policyRules`. */
  rule: string;
  /** From 1. */
  line: number;
  /** From 1, in characters. */
  column: number;
  /** A plain sentence. */
  message: string;
}

export type PolicyVerdict =
  | { kind: "clean" }
  /** In order of position, at most 50. */
  | { kind: "unsafe"; findings: CodeFinding[] }
  /** Not our grammar: it will fail by itself when it runs. */
  | { kind: "unparsed"; detail: string }
  /** The checker could not be had, or took too long. */
  | { kind: "unavailable"; detail: string };

export type PolicyLanguage = "python" | "javascript";

export interface CodePolicy {
  /** Never rejects. */
  check(language: PolicyLanguage, code: string): Promise<PolicyVerdict>;
  close(): Promise<void>;
}

/** The policy that is turned off: everything is clean, nothing is started. */
export const uncheckedPolicy: CodePolicy = {
  check: async () => ({ kind: "clean" }),
  close: async () => {},
};
