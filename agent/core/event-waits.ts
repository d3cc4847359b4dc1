// Which events tasks wait for and which of them have been published. Only channels that some task
// of the DAG names are remembered, so publishing on other channels costs nothing.
import type { TaskAttributes } from "../../protocol/dag.ts";
import type { Instance } from "./events.ts";

export class EventWaits {
  readonly #named: ReadonlySet<string>;
  readonly #published = new Set<string>();
  readonly #waiting = new Map<string, Instance[]>();

  constructor(tasks: readonly TaskAttributes[]) {
    const named = new Set<string>();
    for (const { waitFor } of tasks) if (waitFor !== undefined) named.add(waitFor.event);
    this.#named = named;
  }

  /** Whether any task of the DAG waits for an event. */
  get isUsed(): boolean {
    return this.#named.size > 0;
  }

  /** Whether the first publication on this channel is still to come and matters to a task. */
  isWanted(channel: string): boolean {
    return this.#named.has(channel) && !this.#published.has(channel);
  }

  hasHappened(event: string): boolean {
    return this.#published.has(event);
  }

  wait(event: string, instance: Instance): void {
    const others = this.#waiting.get(event);
    if (others === undefined) this.#waiting.set(event, [instance]);
    else others.push(instance);
  }

  /** Those that waited for it; some may have been cancelled or timed out since. */
  publish(channel: string): readonly Instance[] {
    if (!this.isWanted(channel)) return [];
    this.#published.add(channel);
    const waiting = this.#waiting.get(channel) ?? [];
    this.#waiting.delete(channel);
    return waiting;
  }

  published(): string[] {
    return [...this.#published].sort();
  }
}
