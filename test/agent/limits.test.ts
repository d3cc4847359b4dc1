// Limits of a document that are larger than what a timer or the host can hold.
import t from "tap";
import { AgentRig } from "./agent-rig.ts";

t.test("a timeout of more than 24 days is not one of no time", async (t) => {
  await using rig = await AgentRig.start({ drainMs: 365 * 86_400_000 });
  const code = "import time\ndef f():\n  time.sleep(0.2)\n  return 1";
  const dag = {
    dag: "far",
    timeout: "40d",
    tasks: {
      call: { python: { code, function: "f" }, timeout: "40d" },
      process: { shell: "sleep 0.2", timeout: "60d" },
    },
  };
  await rig.accept("far", JSON.stringify(dag));
  t.strictSame((await rig.end("far")).outcome, { kind: "succeeded" });
  await rig.accept("near", JSON.stringify({ dag: "near", tasks: { a: { shell: "sleep 0.2" } } }));
  t.equal(await rig.agent.drain(365 * 86_400_000), "drained");
});

t.test("a task that asks for more memory than the host has fails with the reason", async (t) => {
  await using rig = await AgentRig.start();
  const dag = { dag: "much", tasks: { a: { shell: "true", resources: { memory: "1000Ti" } } } };
  await rig.accept("much", JSON.stringify(dag));
  t.strictSame((await rig.end("much")).outcome, { kind: "failed", failed: ["a"] });
  t.match(rig.tasks.get("a"), { failure: { reason: "backend", detail: /memory/ } });
  t.ok((await rig.log("much")).some(({ text }) => text?.includes("a failed: the task asks for")));
});
