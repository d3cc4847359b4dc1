import { readFileSync, statSync, writeFileSync } from "node:fs";
import t from "tap";
import { type AgentLogOptions, openAgentLog } from "../../agent/log/agent-log.ts";
import { RepeatLimit } from "../../agent/log/repeat-limit.ts";

async function open(stateDir: string, more: Partial<AgentLogOptions> = {}) {
  const said: string[] = [];
  const io = { stderr: { write: (text: string) => said.push(text) } };
  const opened = await openAgentLog({ stateDir, level: "info", io, now: () => 5, ...more });
  if (!opened.ok) {
    throw new Error(JSON.stringify(opened.diagnostics));
  }
  return { ...opened.value, said };
}

t.test(
  "lines have the shape of the combined log, and a level below the bound is left out",
  async (t) => {
    const dir = t.testdir();
    const log = await open(dir);
    log.say("warn", "careful", { a: 1 });
    log.say("debug", "not this");
    await log.close();
    const text = readFileSync(`${dir}/log/agent.ndjson`, "utf8");
    t.same(JSON.parse(text), {
      level: "warn",
      time: 5,
      source: "agent",
      fields: { a: 1 },
      text: "careful",
    });
    t.same(log.said, ["1970-01-01T00:00:00.005Z warn careful\n"]);
  },
);

t.test("files stay within their bound", async (t) => {
  const dir = t.testdir();
  let now = 0;
  const log = await open(dir, { limitBytes: 10_000, now: () => (now += 10_000) });
  for (let i = 0; i < 500; i++) {
    log.say("info", "x".repeat(100));
  }
  await log.close();
  const sizes = ["agent.ndjson", "agent.1.ndjson"].map(
    (name) => statSync(`${dir}/log/${name}`).size,
  );
  t.ok(
    sizes.every((size) => size > 0 && size < 5_300),
    `${sizes}`,
  );
});

t.test("lines that repeat are held back and counted", async (t) => {
  const dir = t.testdir();
  let now = 0;
  const log = await open(dir, { now: () => now });
  for (let i = 0; i < 1_000; i++) {
    log.say("error", `attempt ${i} failed`);
  }
  log.say("error", "something else");
  t.equal(log.said.length, 21);
  now = 5_000;
  log.say("error", "attempt 1000 failed");
  t.match(log.said.at(-1), /attempt 1000 failed \(980 more like it were left out\)/);
  await log.close();
});

t.test("the memory of repeated lines is bounded", async (t) => {
  const limit = new RepeatLimit();
  const letters = (n: number) => [...String(n)].map((c) => "abcdefghij"[Number(c)]).join("");
  for (let n = 0; n < 1_000; n++) {
    t.equal(limit.pass(letters(n), 0), 0);
  }
  for (let n = 0; n < 19; n++) {
    limit.pass("jjj", 0);
  }
  t.equal(limit.pass("jjj", 0), undefined, "a recent kind is remembered");
});

t.test("a state folder that cannot be used is a value", async (t) => {
  const dir = t.testdir();
  writeFileSync(`${dir}/state`, "");
  const io = { stderr: { write: () => undefined } };
  const opened = await openAgentLog({ stateDir: `${dir}/state`, level: "info", io });
  t.match(opened, { ok: false, diagnostics: [{ code: "E_STATE_READONLY" }] });
});
