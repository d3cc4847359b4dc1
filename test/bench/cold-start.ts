// How long from nothing to a first task that has ended: `edgedag run` of a document with one
// command, as installed (the bundle in dist/, when there is one), to the end of the process.
// usage: node test/bench/cold-start.ts [--quick]
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { root } from "./bench-agent.ts";
import { ask, type Contender, sized, tell } from "./frame.ts";

const folder = mkdtempSync(join(tmpdir(), "bench-"));
const document = join(folder, "one-command.json");
writeFileSync(
  document,
  JSON.stringify({ dag: "one", tasks: { only: { command: ["/bin/true"] } } }),
);
const env = { PATH: process.env.PATH, HOME: folder, XDG_STATE_HOME: folder, TMPDIR: folder };

function command(name: string, program: string, args: string[]): Contender {
  const round = () => {
    const start = performance.now();
    const { status, stderr } = spawnSync(program, args, { env, timeout: 30_000 });
    const seconds = (performance.now() - start) / 1000;
    if (status !== 0) throw new Error(`${name} ended with ${status}: ${stderr}`);
    return seconds;
  };
  return { name, round };
}

const edgedag = command("edgedag run", join(root, "bin/edgedag"), ["run", document, "-q"]);
const answer = await ask({
  question: "cold start: `edgedag run` of one command, to the end of the process",
  unit: "s",
  better: "less",
  goal: 0.15,
  on: "journal, log, store",
  rounds: sized(15, 3),
  warmUps: 2,
  contenders: [
    { ...edgedag, isOurs: true },
    command("node -e 0 (the same Node.js)", process.execPath, ["-e", "0"]),
    command("python3 -c 0", "python3", ["-c", "0"]),
    command("/bin/true", "/bin/true", []),
  ],
});
answer.notes.push(existsSync(join(root, "dist/edgedag.mjs")) ? "from the bundle" : "from source");
rmSync(folder, { recursive: true });
tell(answer);
