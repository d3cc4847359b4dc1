// What is killed, and when: decided by the seed before anything runs. A service (agent or master) gets
// for each of its lives a point or a time; the others are killed at times of their own. Pure.
import { type CrashPoint, crashPoints } from "../../protocol/crash-points.ts";
import { Random } from "./random.ts";

export const targets = ["agent", "master", "launcher", "worker", "task", "all"] as const;
export type Target = (typeof targets)[number];
export type Service = "agent" | "master";

/** How one life of a service ends. */
export type End =
  | { kind: "point"; point: CrashPoint; nth: number }
  | { kind: "time"; afterMs: number }
  /** It is not among the targets. */
  | { kind: "never" };

export interface PlanOptions {
  seed: number;
  /** Number of the box, from 0: each has its own sequence. */
  box: number;
  targets: readonly Target[];
  points: readonly CrashPoint[];
  /** How many times slower than a quiet machine this one is: times are stretched by it. */
  pace: number;
}

/** Lives without a point: the moments that nobody has thought of. */
const shareOfTimes = 0.25;

export class Plan {
  readonly #options: PlanOptions;
  readonly #streams: Record<Service | "others", Random>;
  readonly #decks: Record<Service, CrashPoint[]> = { agent: [], master: [] };

  constructor(options: PlanOptions) {
    this.#options = options;
    const stream = (name: string) => new Random(options.seed, `${name} ${options.box}`);
    this.#streams = {
      agent: stream("agent"),
      master: stream("master"),
      others: stream("others"),
    };
    for (const service of ["agent", "master"] as const) {
      // One order for all boxes, begun at other places: together they come by every point soon.
      const order = this.#deck(service, new Random(options.seed, service));
      const from = (options.box * 7) % Math.max(1, order.length);
      this.#decks[service] = [...order.slice(from), ...order.slice(0, from)];
    }
  }

  get hasServices(): boolean {
    return this.#options.targets.some((target) => target === "agent" || target === "master");
  }

  /** The next life of a service. */
  life(service: Service): End {
    if (!this.#options.targets.includes(service)) return { kind: "never" };
    const random = this.#streams[service];
    const isAtTime = random.next() < shareOfTimes;
    if (this.#decks[service].length === 0) this.#decks[service] = this.#deck(service, random);
    const afterMs = this.#paced(random.between(30, 1200));
    const point = isAtTime ? undefined : this.#decks[service].shift();
    if (point === undefined) return { kind: "time", afterMs };
    // Early passages more often: a life that is long costs time.
    const nth = Math.ceil(crashPoints[point].most * random.next() ** 2);
    return { kind: "point", point, nth: Math.max(1, nth) };
  }

  /** What else is killed, how long after the one before, and which one of several there are. */
  other(): { target: Exclude<Target, Service>; afterMs: number; which: number } | undefined {
    const others = this.#options.targets.filter(
      (target) => target !== "agent" && target !== "master",
    );
    const random = this.#streams.others;
    const target = random.pick(others);
    if (target === undefined) return undefined;
    return { target, afterMs: this.#paced(random.between(150, 900)), which: random.next() };
  }

  #paced(ms: number): number {
    return Math.round(ms * this.#options.pace);
  }

  #deck(service: Service, random: Random): CrashPoint[] {
    const own = this.#options.points.filter((point) => point.startsWith(`${service}.`));
    return random.shuffled(own);
  }
}
