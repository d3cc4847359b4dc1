// Processes that have outlived an earlier agent of this state folder: which attempts they are, which
// of them go on and which do not. A launcher that holds some is ended when the last one has ended.
import type { LogLevel } from "../protocol/log.ts";
import { orphansDir, runLogDir } from "../protocol/state-paths.ts";
import type { Orphan } from "./exec/attempt.ts";
import { findHolders } from "./exec/launcher/find-holders.ts";
import type { Launcher, Taking } from "./exec/launcher/launcher.ts";
import type { HeldProcess, LauncherProcess, StreamBytes } from "./exec/launcher/process.ts";
import { nameOfTag } from "./holding.ts";
import { countLogged } from "./log/logged-bytes.ts";

export interface OrphansOptions {
  stateDir: string;
  /** False: they are killed as soon as they are found. */
  adopts: boolean;
  say(level: LogLevel, text: string): void;
}

interface Found {
  holder: Holder;
  held: HeldProcess;
  run: string;
  task: string;
  attempt: number;
  socket: string;
}

/** A launcher of an earlier agent, and how many processes it still has for us. */
class Holder {
  readonly launcher: Launcher;
  #left: number;

  constructor(launcher: Launcher, held: number) {
    this.launcher = launcher;
    this.#left = held;
  }

  /** One of its processes is done with: nothing more will be asked of it. */
  done(): void {
    this.#left -= 1;
    if (this.#left === 0) void this.launcher.close();
  }
}

export class Orphans {
  readonly #options: OrphansOptions;
  readonly #holders: Holder[];
  readonly #found: Found[];

  /** Connects with all that are there. Costs a look at a folder where none are. */
  static async find(options: OrphansOptions): Promise<Orphans> {
    const { stateDir, adopts, say } = options;
    const found = await findHolders(orphansDir(stateDir), (text) => say("warn", text));
    if (!adopts || found.length === 0) {
      const tasks = found.reduce((sum, { held }) => sum + held.length, 0);
      if (found.length > 0) say("warn", `${tasks} tasks of an earlier agent are killed`);
      await Promise.all(found.map(({ launcher }) => launcher.close()));
      return new Orphans(options, [], []);
    }
    const holders: Holder[] = [];
    const all: Found[] = [];
    for (const { launcher, held } of found) {
      const holder = new Holder(launcher, held.length);
      holders.push(holder);
      if (held.length === 0) await launcher.close();
      for (const process of held) {
        const name = nameOfTag(process.tag);
        if (name !== undefined) all.push({ holder, held: process, ...name });
        else await launcher.drop(process).then(() => holder.done());
      }
    }
    return new Orphans(options, holders, all);
  }

  private constructor(options: OrphansOptions, holders: Holder[], found: Found[]) {
    this.#options = options;
    this.#holders = holders;
    this.#found = found;
  }

  /** Those of one run; they are this run's to sort. */
  of(run: string): RunOrphans {
    const mine: Found[] = [];
    for (let i = this.#found.length - 1; i >= 0; i--) {
      if (this.#found[i]?.run === run) mine.push(...this.#found.splice(i, 1));
    }
    return new RunOrphans(this.#options, mine);
  }

  /** Those of runs that are not open end; resolves when nothing of them is left. */
  async dropAllBut(runs: readonly string[]): Promise<void> {
    const isOpen = new Set(runs);
    const strays = this.#found.filter(({ run }) => !isOpen.has(run));
    for (const found of strays) this.#found.splice(this.#found.indexOf(found), 1);
    await Promise.all(strays.map((found) => dropOne(found)));
  }

  /** `RUN/KEY#ATTEMPT` of all that are there. */
  attempts(): Set<string> {
    return new Set(this.#found.map((found) => `${found.run}/${keyOf(found)}`));
  }

  /** Of runs that have not begun again. */
  get waiting(): number {
    return this.#found.length;
  }

  flush(): void {
    for (const { launcher } of this.#holders) launcher.flush();
  }

  /** They are left to the next agent. */
  async leave(): Promise<void> {
    await Promise.all(this.#holders.map(({ launcher }) => launcher.leave()));
  }

  /** They end. */
  async close(): Promise<void> {
    await Promise.all(this.#holders.map(({ launcher }) => launcher.close()));
  }
}

export class RunOrphans {
  readonly #options: OrphansOptions;
  readonly #found: Found[];

  constructor(options: OrphansOptions, found: Found[]) {
    this.#options = options;
    this.#found = found;
  }

  get isEmpty(): boolean {
    return this.#found.length === 0;
  }

  /** How the store's socket was named, which they know. */
  get socket(): string | undefined {
    return this.#found[0]?.socket;
  }

  /** `KEY#ATTEMPT` of all of them. */
  keys(): Set<string> {
    return new Set(this.#found.map(keyOf));
  }

  /**
   * What goes on of the attempts in flight. All others are killed: what the journal knows nothing
   * of, what the log cannot go on with. Resolves when nothing of those is left.
   */
  async sort(
    inFlight: readonly { task: string; attempt: number }[],
  ): Promise<ReadonlyMap<string, Orphan>> {
    const wanted = new Set(inFlight.map(keyOf));
    const adopted = new Map<string, Orphan>();
    const drops: Promise<void>[] = [];
    for (const found of this.#found) {
      const key = keyOf(found);
      const isOne = wanted.has(key) && this.#found.every((f) => f === found || keyOf(f) !== key);
      const from = isOne ? this.#loggedOf(found) : undefined;
      if (from === undefined) drops.push(dropOne(found));
      else adopted.set(key, { launcher: taker(found), held: found.held, from });
    }
    await Promise.all(drops);
    return adopted;
  }

  /** How many bytes of its streams the log has; `undefined`: it has less than what was let go of. */
  #loggedOf({ held, run, task, attempt }: Found): StreamBytes | undefined {
    const { stateDir, say } = this.#options;
    const [segment, offset] = held.note;
    const name = { task, attempt };
    const counted = countLogged(runLogDir(stateDir, run), { segment, offset }, name);
    const from = [held.from[0] + (counted?.[0] ?? 0), held.from[1] + (counted?.[1] ?? 0)] as const;
    if (counted !== undefined && from[0] <= held.to[0] && from[1] <= held.to[1]) return from;
    say("warn", `${task}#${attempt} cannot go on: its log since byte ${offset} is not whole`);
    return undefined;
  }
}

/** The launcher of one process, with a look at when it is done with. */
function taker({ holder }: Found): Pick<Launcher, "take"> {
  return {
    take: (held: HeldProcess, taking: Taking): LauncherProcess => {
      const process = holder.launcher.take(held, taking);
      const handle = process.held;
      if (handle === undefined) return process;
      const forget = () => {
        handle.forget();
        holder.done();
      };
      return { ...process, held: { ...handle, forget } };
    },
  };
}

async function dropOne({ holder, held }: Found): Promise<void> {
  await holder.launcher.drop(held);
  holder.done();
}

function keyOf({ task, attempt }: { task: string; attempt: number }): string {
  return `${task}#${attempt}`;
}
