// Removes containers: at once, again and again while the engine is away, and those that an earlier
// agent of the same state left. A container that was given to it is gone when `idle` resolves.
import { setTimeout as delay } from "node:timers/promises";
import { BoxError } from "../box.ts";
import { agentLabel } from "./docker-container.ts";
import { type DockerEngine, type EngineFailure, fields } from "./docker-engine.ts";
import { remedyOf } from "./docker-images.ts";

/** Killing and removing is slow on a busy machine. */
const removeTimeoutMs = 60_000;
const firstPauseMs = 100;
const longestPauseMs = 5_000;
const removedAtOnce = 4;

export class DockerRemoval {
  readonly #engine: DockerEngine;
  readonly #tag: string;
  readonly #pending = new Map<string, Promise<void>>();
  /** First tries: who asked for them may not wait for an engine that hangs. */
  readonly #first = new Map<string, Promise<unknown>>();
  readonly #closing = new AbortController();

  constructor(engine: DockerEngine, tag: string) {
    this.#engine = engine;
    this.#tag = tag;
  }

  /**
   * Undefined: it is gone. Else why the engine did not do it just now; it is asked again in the
   * background until it has.
   */
  async remove(name: string): Promise<EngineFailure | undefined> {
    const trying = this.#try(name);
    this.#first.set(name, trying);
    const failure = await trying.finally(() => this.#first.delete(name));
    if (failure !== undefined && !this.#pending.has(name)) {
      const removal = this.#insist(name).finally(() => this.#pending.delete(name));
      this.#pending.set(name, removal);
    }
    return failure;
  }

  /** Throws BoxError when the engine does not answer, or does not remove them. */
  async removeLeftovers(): Promise<void> {
    const filters = encodeURIComponent(JSON.stringify({ label: [`${agentLabel}=${this.#tag}`] }));
    const path = `/containers/json?all=1&filters=${filters}`;
    const answer = await this.#engine.ask({ method: "GET", path });
    if (!answer.ok) throw new BoxError(answer.detail, remedyOf(this.#engine.socketPath));
    const ids = Array.isArray(answer.value)
      ? answer.value.map((container) => String(fields(container).Id))
      : [];
    const one = async () => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
        const failure = await this.#try(id);
        if (failure === undefined) continue;
        throw new BoxError(
          `a container of an earlier agent cannot be removed: ${failure.detail}`,
          `Run: docker rm -f ${id}`,
        );
      }
    };
    await Promise.all(Array.from({ length: removedAtOnce }, one));
  }

  /** Throws BoxError with those that are not gone after `limitMs`. */
  async close(limitMs: number): Promise<void> {
    const all = Promise.all(this.#first.values()).then(() => Promise.all(this.#pending.values()));
    const won = new AbortController();
    const late = delay(limitMs, undefined, { signal: won.signal }).catch((error: unknown) => {
      if (!won.signal.aborted) throw error;
    });
    await Promise.race([all, late]);
    won.abort();
    const left = [...this.#first.keys(), ...this.#pending.keys()];
    this.#closing.abort();
    await all;
    if (left.length === 0) return;
    throw new BoxError(
      `the engine has not removed ${left.length} containers: ${left.join(", ")}`,
      "The next agent on this state removes them when the engine answers, or run: " +
        `docker rm -f $(docker ps -aq --filter label=${agentLabel}=${this.#tag})`,
    );
  }

  async #insist(name: string): Promise<void> {
    const { signal } = this.#closing;
    let pauseMs = firstPauseMs;
    while (!signal.aborted) {
      await delay(pauseMs, undefined, { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
      if (signal.aborted || (await this.#try(name)) === undefined) return;
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    }
  }

  async #try(name: string): Promise<EngineFailure | undefined> {
    const path = `/containers/${name}?force=1&v=1`;
    const timeoutMs = removeTimeoutMs;
    const answer = await this.#engine.ask({ method: "DELETE", path, timeoutMs });
    return answer.ok || answer.status === 404 ? undefined : answer;
  }
}
