// Compares whole objects with the SHA-256 that their node announced, away from the ingest: one object
// at a time, one part a turn of the event loop. What does not match is kept and marked, never served.
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { crashPoint } from "../../protocol/crash-points.ts";
import type { Logger } from "../clock.ts";
import type { MasterStorage } from "../storage/storage.ts";

export class Verifier {
  readonly #storage: MasterStorage;
  readonly #log: Logger;
  #running: Promise<void> | undefined;
  #isDueAgain = false;
  #isEnding = false;

  constructor(storage: MasterStorage, log: Logger) {
    this.#storage = storage;
    this.#log = log;
  }

  /** Verifies everything that is whole, soon. */
  start(): void {
    if (this.#isEnding) return;
    if (this.#running !== undefined) {
      this.#isDueAgain = true;
      return;
    }
    this.#running = this.#verifyAll()
      .catch((error: unknown) =>
        this.#log.error({ error: String(error) }, "verifying objects failed"),
      )
      .finally(() => {
        this.#running = undefined;
        if (!this.#isDueAgain) return;
        this.#isDueAgain = false;
        this.start();
      });
  }

  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async close(): Promise<void> {
    this.#isEnding = true;
    await this.settled();
  }

  async #verifyAll(): Promise<void> {
    for (const object of await this.#storage.unverifiedObjects()) {
      const hash = createHash("sha256");
      let sizeBytes = 0;
      for await (const part of this.#storage.objectParts(object.id)) {
        if (this.#isEnding) return;
        hash.update(part);
        sizeBytes += part.length;
        await setImmediate();
      }
      crashPoint("master.object-verified");
      const isSame = hash.digest("hex") === object.sha256 && sizeBytes === object.sizeBytes;
      await this.#storage.setObjectState(object.id, isSame ? "verified" : "corrupt");
      if (isSame) continue;
      const { task, attempt, name } = object;
      this.#log.error({ task, attempt, name, sizeBytes }, "an object does not match its SHA-256");
    }
  }
}
