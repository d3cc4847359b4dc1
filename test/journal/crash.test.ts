import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import t from "tap";
import { Journal } from "../../agent/journal/journal.ts";

const appender = fileURLToPath(new URL("../fixtures/journal-appender.ts", import.meta.url));

function append(stateDir: string): ChildProcess {
  // Without NODE_OPTIONS: the coverage hooks of the test runner would only slow the start.
  return spawn(process.execPath, [appender, stateDir], {
    env: {},
    stdio: ["ignore", "pipe", "inherit"],
  });
}

function open(stateDir: string): ReturnType<typeof Journal.open> {
  return Journal.open({ stateDir, durability: "process", ship: true });
}

t.test("what was committed before a kill is there, and nothing else", async (t) => {
  const stateDir = t.testdir();
  let before = 0;
  for (let round = 0; round < 50; round++) {
    const child = append(stateDir);
    let said = "";
    // Killed after so many turns, in the middle of whatever comes next.
    const killAfter = 1 + Math.floor(Math.random() * 60);
    child.stdout?.setEncoding("utf8");
    child.stdout?.on("data", (text: string) => {
      said += text;
      if (said.split("\n").length > killAfter) {
        child.kill("SIGKILL");
      }
    });
    await once(child, "close");
    t.equal(child.signalCode, "SIGKILL");
    const committed = Number(said.trimEnd().split("\n").at(-1));
    const opened = open(stateDir);
    if (!opened.ok) {
      throw new Error(JSON.stringify(opened.diagnostics));
    }
    const events = opened.value.openRuns()[0]?.events ?? [];
    const expected = Array.from(events, (_, i) => i + 1);
    t.same(events, expected, "a prefix without holes");
    t.ok(events.length >= committed && committed > before, "all that was said to be committed");
    t.equal(opened.value.nextSeq(), events.length + 1, "the outbox is of the same turns");
    before = committed;
    opened.value.close();
  }
});

t.test("a second agent on the same state is refused and told who is first", async (t) => {
  const stateDir = t.testdir();
  const child = append(stateDir);
  await once(child.stdout as NodeJS.ReadableStream, "data");
  const refused = open(stateDir);
  t.notOk(refused.ok);
  t.match(refused, {
    diagnostics: [
      {
        code: "E_STATE_LOCKED",
        message: new RegExp(`process ${child.pid} on `),
        remedy: /EDGEDAG_STATE/,
      },
    ],
  });
  child.kill("SIGKILL");
  await once(child, "close");
  const opened = open(stateDir);
  t.ok(opened.ok, "a killed holder leaves no lock behind");
  t.notOk(open(stateDir).ok, "the same process twice is refused, too");
  if (opened.ok) {
    opened.value.close();
  }
  const last = open(stateDir);
  t.ok(last.ok);
  if (last.ok) {
    last.value.close();
  }
});
