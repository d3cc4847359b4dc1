// All that can be asked of the thread of snippets.db, and how one batch of it is done: everything that
// came while the last commit was under way is one transaction, answered after its commit. Each call is
// atomic in it: what one of them breaks, the others do not feel.
import type { DatabaseSync } from "node:sqlite";
import type { Durability } from "./database.ts";
import { type Problem, problemOf } from "./problems.ts";
import { type Reads, readsOf } from "./reads.ts";
import { Statements } from "./statements.ts";
import { syncs, type Writes, writesOf } from "./writes.ts";

export type Operations = Reads & Writes;
export type OperationName = keyof Operations;

/** Goes between threads: plain data only. */
export type Call = {
  [Name in OperationName]: [Name, ...Parameters<Operations[Name]>];
}[OperationName];

export type Answer =
  | { ok: true; value: unknown }
  | { ok: false; problem: Problem }
  /** A bug. */
  | { ok: false; story: string };

export class BatchRunner {
  readonly #database: DatabaseSync;
  readonly #statements: Statements;
  readonly #operations: Operations;
  readonly #durability: Durability;
  #syncMode: "FULL" | "NORMAL" | undefined;

  constructor(database: DatabaseSync, durability: Durability) {
    this.#database = database;
    this.#durability = durability;
    this.#statements = new Statements(database);
    this.#operations = { ...readsOf(this.#statements), ...writesOf(this.#statements) };
  }

  /** Answers in the order of the calls. */
  run(calls: readonly Call[]): Answer[] {
    if (!calls.some(isWrite)) return calls.map((call) => this.#alone(call));
    const ended = this.#together(calls);
    if (ended.isCommitted) return ended.answers;
    if (calls.length === 1) return [ended.answer];
    // Whether all of them fail, or only one that was too large for what is left, each finds out.
    return calls.flatMap((call) => this.run([call]));
  }

  #together(
    calls: readonly Call[],
  ): { isCommitted: true; answers: Answer[] } | { isCommitted: false; answer: Answer } {
    const answers: Answer[] = [];
    try {
      if (this.#durability === "power") this.#sync(calls.some(mustSync) ? "FULL" : "NORMAL");
      this.#exec("BEGIN IMMEDIATE");
      for (const call of calls) {
        // A call by itself is as atomic as its transaction.
        const answer = calls.length === 1 ? this.#alone(call) : this.#within(call);
        // Some errors end the whole transaction.
        if (!this.#database.isTransaction) return { isCommitted: false, answer };
        answers.push(answer);
      }
      this.#exec(calls.length === 1 && answers[0]?.ok === false ? "ROLLBACK" : "COMMIT");
      return { isCommitted: true, answers };
    } catch (error) {
      if (this.#database.isTransaction) this.#exec("ROLLBACK");
      return { isCommitted: false, answer: failed(error) };
    }
  }

  #within(call: Call): Answer {
    if (!isWrite(call)) return this.#alone(call);
    this.#exec("SAVEPOINT one_call");
    const answer = this.#alone(call);
    if (!this.#database.isTransaction) return answer;
    if (!answer.ok) this.#exec("ROLLBACK TO one_call");
    this.#exec("RELEASE one_call");
    return answer;
  }

  #alone([name, ...args]: Call): Answer {
    try {
      // The type of Call pairs each name with its own arguments; TypeScript loses that here.
      const operation = this.#operations[name] as (...args: unknown[]) => unknown;
      return { ok: true, value: operation(...args) };
    } catch (error) {
      return failed(error);
    }
  }

  #exec(text: string): void {
    this.#statements.sql(text).run();
  }

  #sync(mode: "FULL" | "NORMAL"): void {
    if (mode === this.#syncMode) return;
    // Takes effect when it is prepared, not when it runs; not within a transaction.
    this.#database.exec(`PRAGMA synchronous = ${mode}`);
    this.#syncMode = mode;
  }
}

function isWrite([name]: Call): boolean {
  return name in syncs;
}

function mustSync([name]: Call): boolean {
  return name in syncs && syncs[name as keyof Writes];
}

function failed(error: unknown): Answer {
  const problem = problemOf(error);
  if (problem !== undefined) return { ok: false, problem };
  return { ok: false, story: error instanceof Error ? (error.stack ?? error.message) : `${error}` };
}
