// Carries out one attack at one level and says whether it was held. The agent must stay lively
// meanwhile: its heartbeat is measured, and during bombs other tasks must go on.
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { AttemptEnd, AttemptListener } from "../../agent/exec/attempt.ts";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import type { SandboxRun, SandboxSpec } from "../../agent/exec/isolation/sandbox-spec.ts";
import type { Attack } from "./attack.ts";
import type { LaidBait } from "./bait.ts";

/** What carries out a spec, at any level. */
export interface Subject {
  start(spec: SandboxSpec, listener: AttemptListener): { stop(graceMs: number): void };
}

export interface RoundParts {
  subject: Subject;
  level: BoxLevel;
  laid: LaidBait;
  /** A new folder for what each attack leaves. */
  keepFolder(): string;
}

export interface Verdict {
  attack: string;
  level: BoxLevel;
  isHeld: boolean;
  /** Everything that went wrong; empty when it was held. */
  breaches: string[];
  ended: string;
  /** The outcome, its beginning. */
  detail: string;
  wallMs: number;
  /** The longest that the agent's event loop did not turn, milliseconds. */
  stallMs: number;
  /** The language of the attack is not there at this level, so nothing was tried. */
  isAbsent?: true;
  /** What the attack wrote, its end. */
  said: string;
}

const mebibyte = 2 ** 20;
const graceMs = 300;
/** From the end that was due to the end that came. */
const lateMs = 8_000;
/** A heartbeat of ten seconds may be this late before anybody would notice. */
const stallLimitMs = 1_500;
const marker = "EDGEDAG_ATTACK";

export async function attack(attacked: Attack, parts: RoundParts): Promise<Verdict> {
  const { level, laid } = parts;
  const breaches: string[] = [];
  const timeoutMs = attacked.timeoutMs ?? 15_000;
  const stalls = new Stalls();
  const companion = attacked.isBomb === true ? new Companion(parts) : undefined;
  const beside = await startBeside(attacked, parts);
  const began = performance.now();
  const first = await carryOut(attacked, attacked.run, parts, timeoutMs);
  const wallMs = performance.now() - began;
  if (first === undefined) breaches.push(`it did not end within ${timeoutMs + lateMs} ms`);
  else {
    breaches.push(...first.said.split("\n").filter((line) => line.startsWith("BREACH")));
    if (first.said.includes("cannot be preloaded")) breaches.push("it has the agent's LD_PRELOAD");
    const how = describeEnd(first.end);
    const ends = attacked.endsAt?.[level] ?? attacked.ends;
    if (ends !== undefined && !ends.some((end) => end === how)) {
      breaches.push(`it ended as ${how}, not as ${ends.join(" or ")}`);
    }
    const seen = await attacked.after?.({
      end: first.end,
      stdout: first.said,
      bait: laid.bait,
      keepIn: first.keepIn,
    });
    if (seen !== undefined) breaches.push(seen);
  }
  if (attacked.next !== undefined) {
    const second = await carryOut(attacked, attacked.next, parts, timeoutMs);
    if (second === undefined) breaches.push("the task after it did not end");
    else {
      breaches.push(...second.said.split("\n").filter((line) => line.startsWith("BREACH")));
      if (second.end.outcome.kind !== "succeeded") {
        breaches.push(`the task after it ended as ${describeEnd(second.end)}`);
      }
    }
  }
  const harm = await beside?.();
  if (harm !== undefined) breaches.push(harm);
  const left = await leftovers(first?.token);
  if (left.length > 0) breaches.push(`processes were left: ${left.join(", ")}`);
  const others = await companion?.end();
  if (others !== undefined) breaches.push(others);
  const stallMs = stalls.end();
  if (stallMs > stallLimitMs) breaches.push(`the agent stood still for ${Math.round(stallMs)} ms`);
  const bitten = laid.bitten();
  if (bitten !== undefined) breaches.push(bitten);
  laid.restore();
  return {
    attack: attacked.name,
    level,
    isHeld: breaches.length === 0,
    breaches,
    ended: first === undefined ? "not at all" : describeEnd(first.end),
    detail: JSON.stringify(first?.end.outcome ?? "").slice(0, 500),
    wallMs,
    stallMs,
    said: first?.said.slice(-2_000) ?? "",
    ...(isAbsent(attacked, first) ? { isAbsent: true } : {}),
  };
}

function isAbsent({ run }: Attack, carried: Carried | undefined): boolean {
  if (run.kind !== "code" || carried === undefined) return false;
  const how = describeEnd(carried.end);
  return how === "spawn" || how === "sandbox";
}

interface Carried {
  end: AttemptEnd;
  said: string;
  keepIn: string;
  token: string;
}

let lastToken = 0;

async function carryOut(
  attacked: Attack,
  run: SandboxRun,
  { subject, level, laid, keepFolder }: RoundParts,
  timeoutMs: number,
  heard: (said: string) => void = () => {},
): Promise<Carried | undefined> {
  lastToken += 1;
  const token = `${process.pid}-${lastToken}`;
  const keepIn = keepFolder();
  const named = withBait(run, laid);
  let said = "";
  const { promise, resolve } = Promise.withResolvers<AttemptEnd | undefined>();
  const attempt = subject.start(
    {
      kind: { level, language: languageOf(run), network: false, mounts: [], syscalls: [] },
      run: named,
      task: attacked.name,
      attempt: 1,
      runId: "attacks",
      env: { [marker]: token },
      inputs: {},
      files: attacked.files ?? [],
      limits: {
        memoryBytes: 256 * mebibyte,
        pids: 64,
        diskBytes: 64 * mebibyte,
        ...attacked.limits,
      },
      outputLimitBytes: attacked.outputLimitBytes ?? mebibyte,
      timeoutMs,
      graceMs,
      ...(attacked.compileTimeoutMs === undefined
        ? {}
        : { compileTimeoutMs: attacked.compileTimeoutMs }),
      outputs: { patterns: [], maxCount: 100, maxBytes: 64 * mebibyte, ...attacked.outputs },
      keepIn,
      ...(attacked.stdin === undefined ? {} : { stdin: attacked.stdin }),
    },
    {
      started: () => {},
      output: (_stream, bytes) => {
        if (said.length >= 200_000) return;
        said += bytes.toString("latin1");
        heard(said);
      },
      ended: (end) => resolve(end === "returned" ? undefined : end),
    },
  );
  const net = setTimeout(
    () => {
      attempt.stop(0);
      resolve(undefined);
    },
    timeoutMs + graceMs + lateMs,
  );
  const end = await promise;
  clearTimeout(net);
  return end === undefined ? undefined : { end, said, keepIn, token };
}

/** Somebody else's task that is in its midst; resolves to a look at how it went. */
async function startBeside(
  { beside }: Attack,
  parts: RoundParts,
): Promise<(() => Promise<string | undefined>) | undefined> {
  if (beside === undefined) return undefined;
  const other: Attack = { name: "beside", does: "does its work", run: beside };
  const ready = Promise.withResolvers<void>();
  const going = carryOut(other, beside, parts, 20_000, (said) => {
    if (said.includes("ready")) ready.resolve();
  });
  await Promise.race([ready.promise, going]);
  return async () => {
    const carried = await going;
    const how = carried === undefined ? "not at all" : describeEnd(carried.end);
    return how === "succeeded" ? undefined : `the task beside it ended as ${how}`;
  };
}

function withBait(run: SandboxRun, laid: LaidBait): SandboxRun {
  if (run.kind === "command") return { ...run, argv: run.argv.map((word) => laid.name(word)) };
  return run.code === undefined ? run : { ...run, code: laid.name(run.code) };
}

function languageOf(run: SandboxRun): string {
  if (run.kind === "code") return run.language;
  if (run.kind === "function") return run.runtime;
  return run.argv[0] === "python3" ? "python" : "shell";
}

function describeEnd({ outcome }: AttemptEnd): string {
  return outcome.kind === "failed" ? outcome.failure.reason : outcome.kind;
}

/** Processes of the attack that live a second after its end. Those of a box have its environment. */
async function leftovers(token: string | undefined): Promise<string[]> {
  if (token === undefined) return [];
  let found: string[] = [];
  for (let look = 0; look < 10; look++) {
    found = await marked(`${marker}=${token}`);
    if (found.length === 0) return [];
    await sleep(100); // "the whole tree is gone within a second"
  }
  return found;
}

/** Not at once: reading the environment of a process that is short of memory may wait for it. */
async function marked(mark: string): Promise<string[]> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    names.map(async (name) => {
      try {
        const environ = await readFile(`/proc/${name}/environ`, "latin1");
        return environ.split("\0").includes(mark);
      } catch {
        return false; // it has gone in the meantime
      }
    }),
  );
  return names.filter((_name, i) => found[i]);
}

/** A heartbeat: how late the event loop was at worst. */
class Stalls {
  #worstMs = 0;
  #last = performance.now();
  readonly #timer = setInterval(() => this.#beat(), 20);

  end(): number {
    this.#beat();
    clearInterval(this.#timer);
    return this.#worstMs;
  }

  #beat(): void {
    const now = performance.now();
    this.#worstMs = Math.max(this.#worstMs, now - this.#last - 20);
    this.#last = now;
  }
}

/** Small tasks that must go on while a bomb goes off. */
class Companion {
  readonly #parts: RoundParts;
  readonly #done: Promise<void>;
  #isOver = false;
  #finished = 0;
  #failure: string | undefined;

  constructor(parts: RoundParts) {
    this.#parts = parts;
    this.#done = this.#go();
  }

  async end(): Promise<string | undefined> {
    this.#isOver = true;
    await this.#done;
    if (this.#failure !== undefined) return this.#failure;
    return this.#finished === 0 ? "no other task came to its end meanwhile" : undefined;
  }

  async #go(): Promise<void> {
    const other: Attack = {
      name: "companion",
      does: "does its work",
      run: { kind: "command", argv: ["sh", "-c", "echo done"] },
    };
    do {
      const carried = await carryOut(other, other.run, this.#parts, 20_000);
      if (carried === undefined) this.#failure = "another task did not end meanwhile";
      else if (carried.end.outcome.kind !== "succeeded" || carried.said !== "done\n") {
        this.#failure = `another task ended as ${JSON.stringify(carried.end.outcome)} meanwhile`;
      } else this.#finished += 1;
    } while (!this.#isOver && this.#failure === undefined);
  }
}
