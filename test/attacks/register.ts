// Registers every attack as a subtest at one level: what the level claims must be held; what it does
// not claim is carried out too and recorded, and fails nothing. The verdicts go to
// build/attacks/<level>.json (EDGEDAG_ATTACKS_DIR: elsewhere), from which docs/attacks.md is made.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import { root } from "../isolation/isolation-rig.ts";
import { type OpenedLevel, openLevel } from "../isolation/open-level.ts";
import type { Attack } from "./attack.ts";
import { LaidBait } from "./bait.ts";
import { poisonEnvironment } from "./evil-host.ts";
import { attackGroups } from "./groups.ts";
import { attack, type Verdict } from "./round.ts";

/** Attacks that eat nothing go on side by side, each lane with a bait of its own. */
const laneCount = 3;
const wholeMs = 600_000;

export async function registerAttacks(t: Test, level: BoxLevel): Promise<void> {
  t.setTimeout(wholeMs);
  const keep = mkdtempSync("/tmp/attacks-");
  chmodSync(keep, 0o711);
  t.teardown(() => rmSync(keep, { recursive: true, force: true }));
  const baits = await LaidBait.layMany(laneCount);
  t.teardown(() => baits[Symbol.asyncDispose]());
  const poison = poisonEnvironment(baits.secret);
  t.teardown(() => poison[Symbol.dispose]());
  const opened = await openLevel(level);
  if (typeof opened === "string") {
    await t.test(`attacks at ${level}`, { skip: opened }, async () => {});
    return;
  }
  try {
    if (opened.report?.holds === false) {
      t.fail(`level ${level} does not hold here`, { detail: opened.report.detail });
      return;
    }
    await runAll(t, { opened, baits: baits.all, keep });
  } finally {
    await opened[Symbol.asyncDispose]();
  }
}

interface Ground {
  opened: OpenedLevel;
  baits: readonly LaidBait[];
  keep: string;
}

async function runAll(t: Test, { opened, baits, keep }: Ground): Promise<void> {
  const { level, isolation } = opened;
  const only = process.env.EDGEDAG_ATTACKS_ONLY?.split(",");
  const all = attackGroups
    .flatMap(({ attacks }) => attacks)
    .filter(({ name }) => only === undefined || only.includes(name));
  let folders = 0;
  const keepFolder = () => {
    folders += 1;
    const folder = join(keep, String(folders));
    mkdirSync(folder, { mode: 0o700 });
    return folder;
  };
  const carryOut = async (one: Attack, laid: LaidBait) => {
    const verdict = await attack(one, { subject: isolation, level, laid, keepFolder });
    verdicts.set(one.name, verdict);
    slots.get(one.name)?.resolve(verdict);
  };
  const verdicts = new Map<string, Verdict>();
  const slots = new Map(all.map(({ name }) => [name, Promise.withResolvers<Verdict>()]));
  const quiet = all.filter(({ isBomb }) => isBomb !== true);
  const bombs = all.filter(({ isBomb }) => isBomb === true);
  const lane = async (laid: LaidBait) => {
    for (let one = quiet.shift(); one !== undefined; one = quiet.shift()) await carryOut(one, laid);
  };
  const [first] = baits;
  if (first === undefined) throw new Error("no bait was laid");
  const going = Promise.all(baits.map(lane)).then(async () => {
    for (const one of bombs) await carryOut(one, first);
  });
  // Whoever waits for a verdict that will never come is told why.
  going.catch((error: unknown) => {
    for (const slot of slots.values()) slot.reject(error);
  });
  for (const one of all) {
    await t.test(`${one.name}: a task that ${one.does}`, { timeout: wholeMs }, async (t) => {
      const verdict = await slots.get(one.name)?.promise;
      if (verdict === undefined) throw new Error("it was not carried out");
      if (verdict.isAbsent) {
        t.pass("not tried: the language is not there", { skip: verdict.ended });
        return;
      }
      const unclaimed = one.unclaimed?.[level];
      if (unclaimed !== undefined) {
        t.comment(`not claimed: ${unclaimed}; ${verdict.isHeld ? "held" : "not held"}`);
        t.pass("recorded");
        return;
      }
      t.strictSame(verdict.breaches, [], "held", { ended: verdict.ended, said: verdict.said });
    });
  }
  await going;
  record(level, [...verdicts.values()]);
}

function record(level: BoxLevel, verdicts: readonly Verdict[]): void {
  const folder = process.env.EDGEDAG_ATTACKS_DIR ?? join(root, "build/attacks");
  mkdirSync(folder, { recursive: true });
  const text = JSON.stringify({ level, at: new Date().toISOString(), verdicts }, null, 1);
  writeFileSync(join(folder, `${level}.json`), `${text}\n`);
}
