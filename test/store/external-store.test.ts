// A run with a real Redis in the place of the agent's store: messages, events and states.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { run } from "../../cli/run.ts";
import { noRedis, startRedis } from "../rig/redis.ts";

function sink() {
  let text = "";
  return {
    write: (chunk: string) => {
      text += chunk;
    },
    text: () => text,
  };
}

t.test("tasks and agent meet in an external Redis", { skip: noRedis }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ed-redis-"));
  const server = await startRedis();
  t.teardown(async () => {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const code = "from edgedag import store, events, log\ndef main():\n";
  writeFileSync(
    join(folder, "dag.json"),
    JSON.stringify({
      dag: "external",
      tasks: {
        says: {
          python: {
            code: `${code}    store.set("n", "42")\n    log.warn("from the task")\n    events.publish("go", {})\n`,
            function: "main",
          },
        },
        waits: {
          python: { code: `${code}    return store.get("n")\n`, function: "main" },
          wait_for: "go",
        },
        after: { command: ["true"], wait_for: "task.waits.succeeded" },
      },
    }),
  );
  const stdout = sink();
  const stderr = sink();
  const exitCode = await run(
    join(folder, "dag.json"),
    {
      params: {},
      json: true,
      quiet: true,
      state: join(folder, "state"),
      env: { ...process.env, EDGEDAG_STORE_URL: server.url },
    },
    { stdout, stderr },
  );
  t.equal(exitCode, 0, stderr.text());
  const summary = JSON.parse(stdout.text());
  t.equal(summary.tasks.waits.result, "42");
  t.match(summary.outcome, { kind: "succeeded" });
});
