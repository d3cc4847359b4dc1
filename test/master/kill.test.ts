// A master that is killed at once: what it acknowledged is there when the next one starts.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { startMaster } from "../../master/main.ts";
import { finished, helloOf, runStarted, ScriptedAgent, silentLog } from "./rig.ts";

t.test("kill -9 right after an ack loses nothing", async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), "edgedag-kill-"));
  const main = new URL("../../master/main.ts", import.meta.url).href;
  const program = `
    const { startMaster } = await import(${JSON.stringify(main)});
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const listen = { host: "127.0.0.1", port: 0 };
    const { url } = await startMaster({ listen, dataDir: process.argv[1], log });
    console.log(url);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, dataDir], {
    env: {},
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const [line] = await once(child.stdout, "data");
  const first = await ScriptedAgent.join(String(line).trim(), helloOf("n1"));
  first.agent.records(runStarted(1, "r1"), finished(2, "r1", "a", 42));
  await first.agent.acked(2);
  child.kill("SIGKILL");
  await exited;
  await first.agent.closed();

  const listen = { host: "127.0.0.1", port: 0 };
  const master = await startMaster({ listen, dataDir, log: silentLog });
  const again = await ScriptedAgent.join(master.url, helloOf("n1", { nextSeq: 3, runs: ["r1"] }));
  t.equal(again.welcome.acked, 2);
  const response = await fetch(`${master.url}/api/runs/r1/results/a`);
  t.equal(await response.json(), 42);
  await again.agent[Symbol.asyncDispose]();
  await master.close();
  await rm(dataDir, { recursive: true });
});
