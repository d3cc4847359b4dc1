// The node's identity as the link uses it: opened when it is first needed, moved on when the master has
// let it in or it is old. What the disk does not take is told, and tried again.
import type { Diagnostic } from "../../protocol/diagnostic.ts";
import { Identity, type IdentityOptions, type Shown } from "./identity.ts";
import { troubleOf } from "./trouble.ts";

export interface KeyKeeperOptions extends Omit<IdentityOptions, "now"> {
  /** The link is to connect again, with what is kept now. */
  changed(detail: string): void;
  problem(problem: Diagnostic): void;
}

type Parts = Parameters<Identity["prove"]>[0];

export class KeyKeeper {
  readonly #options: KeyKeeperOptions;
  #identity: Identity | undefined;

  constructor(options: KeyKeeperOptions) {
    this.#options = options;
  }

  /** At each connect: a disk that was full may have room. Throws, with a sentence, where there is none. */
  open(): string | undefined {
    this.#identity ??= Identity.open({ ...this.#options, now: Date.now() });
    return this.#identity?.shown().key;
  }

  /** What the hello says; undefined: this node has no key. */
  shown(): Shown | undefined {
    return this.#identity?.shown();
  }

  prove(parts: Parts): ReturnType<Identity["prove"]> | undefined {
    return this.#identity?.prove(parts);
  }

  welcomed(nextKey: string | undefined): void {
    this.#move((identity) => identity.welcomed(nextKey), "the key in use has changed");
  }

  rotate(): void {
    this.#move((identity) => identity.rotate(Date.now()), "a new key is to be announced");
  }

  /** True: there is another key to be tried. */
  refused(): boolean {
    return this.#identity?.refused() === true;
  }

  #move(change: (identity: Identity) => boolean, detail: string): void {
    if (this.#identity === undefined) return;
    try {
      if (!change(this.#identity)) return;
    } catch (error) {
      this.#options.problem({
        code: "E_LINK_IDENTITY",
        path: "",
        message: `the node's keys cannot be kept: ${troubleOf(error, "")}`,
        remedy: "Check the disk of EDGEDAG_STATE; it is tried again.",
      });
      return;
    }
    // Not in the middle of what the session has asked for.
    queueMicrotask(() => this.#options.changed(detail));
  }
}
