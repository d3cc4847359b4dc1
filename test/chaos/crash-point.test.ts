// A crash point kills only a process whose own parent is the chaos that made the permission, and says
// so otherwise; what it kills was there, at the passage that was asked for.
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import t from "tap";
import { exitCodes } from "../../protocol/exit-codes.ts";
import { Box } from "../rig/box.ts";

const document = `dag: two
tasks:
  a: { shell: "echo a" }
  b: { shell: "echo b", needs: [a] }
`;

async function start(permission: string, mode = 0o600, point = "agent.journal-committed:2") {
  const box = await Box.create();
  const dag = await box.write("dag.yaml", document);
  await mkdir(box.path("chaos"));
  await writeFile(box.path("chaos/permission"), permission);
  await chmod(box.path("chaos/permission"), mode);
  const env = {
    EDGEDAG_DAG: dag,
    EDGEDAG_CHAOS_POINT: point,
    EDGEDAG_CHAOS_DIR: box.path("chaos"),
  };
  const { code, signal, stderr } = await box.run(["agent"], { env });
  const evidence = await readFile(box.path("chaos/evidence"), "utf8").catch(() => "");
  await box[Symbol.asyncDispose]();
  return { code, signal, stderr, evidence };
}

t.test("with its parent's permission the process dies of SIGKILL at the passage", async (t) => {
  const { signal, evidence } = await start(`${process.pid}\n`);
  t.equal(signal, "SIGKILL");
  t.match(evidence, /^point \d+ agent\.journal-committed:2\n$/, "and has written where");
});

for (const { name, permission, mode, point, says } of [
  { name: "of another process", permission: "1\n", says: /is not its parent's/ },
  { name: "that others can write", mode: 0o666, says: /can be written by others/ },
  { name: "for a point that is none", point: "agent.nowhere:1", says: /it names no point/ },
  { name: "for no passage", point: "agent.journal-committed:0", says: /it names no point/ },
]) {
  t.test(`a permission ${name} is ignored, and said`, async (t) => {
    const { code, stderr, evidence } = await start(permission ?? `${process.pid}\n`, mode, point);
    t.equal(code, exitCodes.ok, stderr);
    t.match(stderr, says);
    t.match(stderr, /EDGEDAG_CHAOS_POINT is ignored/);
    t.equal(evidence, "");
  });
}

t.test("the variable alone is ignored, and said; in a file .env it is not even read", async (t) => {
  await using box = await Box.create();
  const dag = await box.write("dag.yaml", document);
  const env = { EDGEDAG_DAG: dag, EDGEDAG_CHAOS_POINT: "agent.journal-committed:1" };
  const alone = await box.run(["agent"], { env });
  t.equal(alone.code, exitCodes.ok, alone.stderr);
  t.match(alone.stderr, /EDGEDAG_CHAOS_POINT is ignored: EDGEDAG_CHAOS_DIR names no folder/);
  await box.write(".env", `EDGEDAG_CHAOS_POINT=agent.journal-committed:1\n`);
  const file = await box.run(["agent"], { env: { EDGEDAG_DAG: dag } });
  t.equal(file.code, exitCodes.ok, file.stderr);
  t.notMatch(file.stderr, /CHAOS/);
});
