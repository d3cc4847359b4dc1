// A run with a real Redis in the place of the agent's store: messages, events and states.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { run } from "../../cli/run.ts";

const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;
const skip = hasRedis ? false : "redis-server is not installed (scripts/test-services redis)";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

function sink() {
  let text = "";
  return {
    write: (chunk: string) => {
      text += chunk;
    },
    text: () => text,
  };
}

t.test("tasks and agent meet in an external Redis", { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ed-redis-"));
  const port = await freePort();
  const server = spawn(
    "redis-server",
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  t.teardown(() => {
    server.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  await new Promise<void>((resolve) => {
    server.stdout.on("data", (chunk: Buffer) => {
      if (chunk.includes("Ready to accept connections")) resolve();
    });
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
      env: { ...process.env, EDGEDAG_STORE_URL: `redis://127.0.0.1:${port}` },
    },
    { stdout, stderr },
  );
  t.equal(exitCode, 0, stderr.text());
  const summary = JSON.parse(stdout.text());
  t.equal(summary.tasks.waits.result, "42");
  t.match(summary.outcome, { kind: "succeeded" });
});
