// Much log from tasks, and many tasks: what is held in memory and what is left open stays bounded.
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { AgentRig } from "../agent/agent-rig.ts";

const descriptors = () => readdirSync("/proc/self/fd").length;
const threads = () => readdirSync("/proc/self/task").length;
const rssBytes = () => process.memoryUsage.rss();

/** Of this process and below it. */
function zombies(pid = process.pid): number {
  let count = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ");
    for (const child of children.filter(Boolean)) {
      const stat = readFileSync(`/proc/${child}/stat`, "utf8");
      if (stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z")) count += 1;
      else count += zombies(Number(child));
    }
  }
  return count;
}

t.test("after 5,000 tasks descriptors, threads and memory are where they were", async (t) => {
  await using rig = await AgentRig.start();
  const round = async (name: string, tasks: number) => {
    const list = Array.from({ length: tasks }, (_, i) => `  t${i}: { command: ['true'] }`);
    await rig.accept(name, `dag: soak\ntasks:\n${list.join("\n")}\n`);
    await rig.end(name);
  };
  await round("warm", 1000);
  const before = { descriptors: descriptors(), threads: threads(), rss: rssBytes() };
  for (let i = 0; i < 4; i++) await round(`soak${i}`, 1000);
  t.ok(descriptors() <= before.descriptors + 2, `${before.descriptors} became ${descriptors()}`);
  t.ok(threads() <= before.threads + 1, `${before.threads} became ${threads()}`);
  const grown = (rssBytes() - before.rss) / 2 ** 20;
  t.ok(grown < 100, `${grown} MiB more`);
  t.comment(`${grown} MiB more`);
  t.equal(zombies(), 0);
});

t.test(
  "a task that writes 64 MB at once fills no memory, drops nothing, and others run beside it",
  async (t) => {
    const floodBytes = 64_000_000;
    await using rig = await AgentRig.start({ outputLimitBytes: 2 * floodBytes });
    const before = rssBytes();
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, rssBytes());
    }, 20);
    t.teardown(() => clearInterval(watch));
    const chain = Array.from({ length: 100 }, (_, i) => {
      const needs = i === 0 ? "" : `, needs: [t${i - 1}]`;
      return `  t${i}: { command: ['true']${needs} }`;
    });
    const flood = `  flood: { shell: "yes 'one line of the flood' | head -c ${floodBytes}" }`;
    await rig.accept("flood", `dag: flood\ntasks:\n${flood}\n${chain.join("\n")}\n`);
    const { summary } = await rig.end("flood");
    clearInterval(watch);
    const end = rig.ends.get("flood#1")?.[0];
    t.equal(end?.facts.stdoutBytes, floodBytes, "all of it was read");
    t.notOk(end?.facts.droppedBytes, "nothing was dropped");
    const grown = (most - before) / 2 ** 20;
    t.ok(grown < 256, `${grown} MiB more at most`);
    t.ok(summary.succeeded === 101, "all the others ran");
    t.comment(
      `${grown} MiB more, ${summary.wallMs} ms, inter-task p99 ${summary.interTaskP99Ms} ms`,
    );
  },
);
