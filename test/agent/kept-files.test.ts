// What of a run is kept and shipped: regular files of its working folder, and nothing else.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { outsidePrefix } from "../../agent/outside.ts";
import { until } from "../rig/until.ts";
import { AgentRig } from "./agent-rig.ts";

const master = { master: "http://127.0.0.1:1" };

function objects(rig: AgentRig): Record<string, unknown>[] {
  return rig
    .outbox()
    .flatMap((entry) => ("$object" in entry ? [entry.$object as object] : [])) as Record<
    string,
    unknown
  >[];
}

t.test("links, pipes and paths that lead outside are no artifacts", async (t) => {
  await using rig = await AgentRig.start(master);
  const script = `
    mkdir -p out/sub; echo good > out/good.csv; echo deep > out/sub/deep.csv
    ln -s /etc/hostname out/link.csv; mkfifo out/pipe.csv
    ln -s /etc elsewhere; mkdir out/folder.csv`;
  const python = `
from edgedag import artifact
def f():
    open("mine.txt", "w").write("mine")
    artifact("mine.txt", name="n" * 1000)
    for path in ["elsewhere/hostname", "/etc/hostname", "../" * 12 + "etc/hostname", "out/link.csv"]:
        artifact(path)
`;
  const dag = {
    dag: "kept",
    tasks: {
      files: {
        shell: script,
        outputs: ["out/*.csv", "**/*.csv", "elsewhere/host*", "{..,out}/x*"],
      },
      named: { needs: ["files"], python: { code: python, function: "f" } },
    },
  };
  await rig.accept("kept", JSON.stringify(dag));
  await rig.end("kept");
  t.equal(rig.failure("named#1"), undefined);
  t.strictSame(
    objects(rig)
      .map(({ name, sizeBytes }) => [name, sizeBytes])
      .sort(),
    [
      ["n".repeat(1000), 4],
      ["out/good.csv", 5],
      ["out/sub/deep.csv", 5],
    ],
  );
  const log = (await rig.log("kept")).map(({ text }) => text ?? "");
  t.ok(log.some((text) => /pipe.csv is not an artifact: only regular files/.test(text)));
  t.ok(
    log.some((text) => /hostname is not an artifact: only files in the working folder/.test(text)),
  );
});

t.test(
  "copies that the end of the agent has cut short are made by the next one, each once",
  async (t) => {
    await using rig = await AgentRig.start(master);
    const python = `
from edgedag import artifact
def f():
    open("mine.txt", "w").write("mine")
    artifact("mine.txt")
    return list(range(30000))
`;
    const dag = {
      dag: "cut",
      tasks: {
        kept: { python: { code: python, function: "f" } },
        files: { shell: "echo a > a.csv", outputs: ["*.csv"] },
        last: { needs: ["kept", "files"], shell: "sleep 60" },
      },
    };
    await rig.accept("cut", JSON.stringify(dag));
    await until(
      "the last one runs",
      () => rig.agent.current?.host.running(),
      (running) => running?.[0]?.task === "last",
    );
    await until(
      "all are on record",
      () => objects(rig).length,
      (count) => count === 3,
    );
    await rig.stop();
    // As if the agent had ended before any of it was on record.
    const { DatabaseSync } = await import("node:sqlite");
    const database = new DatabaseSync(join(rig.config.stateDir, "journal.db"));
    const rows = database.prepare("SELECT id, data FROM events").all();
    for (const { id, data } of rows) {
      const events = (JSON.parse(String(data)) as { type: string }[]).filter(
        ({ type }) => type !== "object-kept",
      );
      database
        .prepare("UPDATE events SET data = ?, sum = NULL WHERE id = ?")
        .run(JSON.stringify(events), Number(id));
    }
    database.close();
    await rig.begin();
    await until(
      "all are on record again",
      () => objects(rig).length,
      (count) => count === 6,
    );
    await rig.stop();
    await rig.begin();
    rig.agent.cancel("cut", "user");
    await rig.end("cut");
    t.equal(objects(rig).length, 6);
  },
);

t.test("a large result is found again after a reboot where a copy was made", async (t) => {
  await using rig = await AgentRig.start(master);
  const dag = {
    dag: "reboot",
    tasks: {
      large: { shell: "python3 -c 'print(list(range(30000)))' > $EDGEDAG_RESULT" },
      wait: { needs: ["large"], shell: "test -e go || sleep 60", retries: { lost: 3 } },
      user: {
        needs: ["large", "wait"],
        shell: "echo {{ needs.large.result | length }} > $EDGEDAG_RESULT",
      },
    },
  };
  await rig.accept("reboot", JSON.stringify(dag));
  await until(
    "it waits",
    () => rig.agent.current?.host.running(),
    (running) => running?.[0]?.task === "wait",
  );
  await until(
    "it is on record",
    () => objects(rig).length,
    (count) => count === 1,
  );
  const work = rig.agent.current?.folders.work ?? "";
  await rig.stop();
  const shm = join("/dev/shm", `${outsidePrefix(rig.config.stateDir, false)}reboot`);
  t.ok(existsSync(shm) && readdirSync(shm).length > 0);
  rmSync(shm, { recursive: true });
  const { writeFileSync } = await import("node:fs");
  writeFileSync(join(work, "go"), "");
  await rig.begin();
  t.strictSame((await rig.end("reboot")).outcome, { kind: "succeeded" });
  t.equal(rig.ends.get("user#1")?.[0]?.result, 30000);
});
