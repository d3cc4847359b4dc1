// A day without a master, in virtual time: what is tried, and what it costs in memory.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { test } from "tap";
import { Journal } from "../../agent/journal/journal.ts";
import { defaultBackoff } from "../../agent/link/backoff.ts";
import { Session } from "../../agent/link/session.ts";
import { finished } from "../master/rig.ts";

const dayMs = 86_400_000;
const mostGrowthBytes = 10 * 1024 * 1024;

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

function usedBytes(): number {
  collect();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

test("a link tries all day long, with chance, and never waits for long", (t) => {
  const session = new Session({ heartbeatMs: 10_000, backoff: defaultBackoff });
  let now = 0;
  let random = 0.1;
  const moment = () => {
    random = (random * 7.13 + 0.17) % 1;
    return { now, random };
  };
  session.handle({ type: "started" }, moment());
  const before = usedBytes();
  const waits = new Set<number>();
  let tries = 0;
  while (now < dayMs) {
    session.handle({ type: "lost", detail: "ECONNREFUSED" }, moment());
    const due = session.dueAt ?? Number.NaN;
    waits.add(Math.round(due - now));
    if (due - now > 4_000 || due <= now) t.fail(`it waits for ${due - now} ms`);
    now = due;
    session.handle({ type: "ticked" }, moment());
    tries += 1;
    if (tries > 100_000) break;
  }
  t.ok(tries > dayMs / 4_000 && tries < dayMs / 2_000, `${tries} tries`);
  t.ok(waits.size > 1_000, `${waits.size} different waits`);
  t.ok(usedBytes() - before < mostGrowthBytes);
  t.end();
});

test("a day's outcomes, one a second, wait on the disk and not in memory", (t) => {
  const opened = Journal.open({ stateDir: t.testdir(), durability: "process", ship: true });
  if (!opened.ok) throw new Error(JSON.stringify(opened.diagnostics));
  const journal = opened.value;
  journal.beginRun("r", { digest: "d", startedAt: 0 });
  journal.commit();
  const second = (n: number) => {
    const { seq: _, ...record } = finished(1, "r", `t${n % 1000}`, n);
    journal.record(record as Parameters<typeof journal.record>[0]);
    journal.commit();
  };
  // Statements, pages and code are there once.
  for (let n = 0; n < 2_000; n++) second(n);
  const before = usedBytes();
  for (let n = 2_000; n < 86_400; n++) second(n);
  const grown = usedBytes() - before;
  t.ok(journal.outboxDepth() >= 86_400, `${journal.outboxDepth()} records wait`);
  t.ok(grown < mostGrowthBytes, `${grown} bytes more`);
  t.comment(`${grown} bytes more after 86,400 records`);
  journal.close();
  t.end();
});
