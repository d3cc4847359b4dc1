// The caller's end of the way to the thread of snippets.db: gives each call its answer, and sends what
// is asked in batches. While two batches are under way, calls wait: so the thread always finds its next
// one, and all that came in meanwhile is one commit.
import { InDoubt } from "../doubts.ts";
import { StoreDown } from "../store.ts";
import type { Answer, Call, OperationName, Operations } from "./operations.ts";
import type { Problem } from "./problems.ts";

const underWayLimit = 2;
/** Bounds of one transaction. */
const batchCalls = 1000;
const batchBytes = 16 * 1024 * 1024;

interface Waiting {
  call: Call;
  bytes: number;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class CallLine {
  readonly #post: (calls: readonly Call[]) => void;
  #waiting: Waiting[] = [];
  #underWay: Waiting[][] = [];
  #isFlushing = false;
  #ending: PromiseWithResolvers<void> | undefined;

  constructor(post: (calls: readonly Call[]) => void) {
    this.#post = post;
  }

  /** `bytes`: about how large its arguments are. */
  call<Name extends OperationName>(
    bytes: number,
    name: Name,
    ...args: Parameters<Operations[Name]>
  ): Promise<ReturnType<Operations[Name]>> {
    return new Promise((resolve, reject) => {
      if (this.#ending !== undefined) {
        reject(new StoreDown("the snippets' database is closed", "Ask before the service ends."));
        return;
      }
      this.#waiting.push({
        // Both casts: Call pairs names with arguments and results, and so does this signature.
        call: [name, ...args] as unknown as Call,
        bytes,
        resolve: (value) => resolve(value as ReturnType<Operations[Name]>),
        reject,
      });
      if (this.#isFlushing) return;
      this.#isFlushing = true;
      // What the caller asks in the same turn goes along.
      queueMicrotask(() => {
        this.#isFlushing = false;
        this.#flush();
      });
    });
  }

  /** Of the oldest batch that is under way. */
  answered(answers: readonly Answer[]): void {
    const batch = this.#underWay.shift() ?? [];
    for (const [index, { resolve, reject }] of batch.entries()) {
      const answer = answers[index];
      if (answer === undefined) reject(new Error("the thread of snippets.db gave no answer"));
      else if (answer.ok) resolve(answer.value);
      else if ("problem" in answer) {
        reject(new StoreDown(answer.problem.message, answer.problem.remedy));
      } else reject(new Error(`a call broke in the thread of snippets.db: ${answer.story}`));
    }
    this.#flush();
    this.#checkEnd();
  }

  /** Takes no further calls; resolves when all that were made are answered. */
  end(): Promise<void> {
    this.#ending ??= Promise.withResolvers();
    this.#checkEnd();
    return this.#ending.promise;
  }

  /** The thread is gone: what was under way may have been done, what waited was not. */
  lost({ message, remedy }: Problem): void {
    const underWay = this.#underWay.flat();
    const waiting = this.#waiting;
    this.#underWay = [];
    this.#waiting = [];
    for (const { reject } of underWay) reject(new InDoubt(message, remedy));
    for (const { reject } of waiting) reject(new StoreDown(message, remedy));
    this.#checkEnd();
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#underWay.length < underWayLimit) {
      const batch = this.#waiting.splice(0, this.#batchLength());
      this.#underWay.push(batch);
      this.#post(batch.map(({ call }) => call));
    }
  }

  #checkEnd(): void {
    if (this.#waiting.length === 0 && this.#underWay.length === 0) this.#ending?.resolve();
  }

  #batchLength(): number {
    let bytes = 0;
    let length = 0;
    for (const waiting of this.#waiting) {
      bytes += waiting.bytes;
      if (length > 0 && (bytes > batchBytes || length >= batchCalls)) break;
      length++;
    }
    return length;
  }
}
