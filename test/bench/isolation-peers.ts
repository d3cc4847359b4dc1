// What else starts a program behind the same walls: bubblewrap, the container engine's own client,
// runsc's own commands. Each contender is one /bin/true, from the request to its end.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { run } from "../e2e/command.ts";
import { image } from "../isolation/docker-rig.ts";
import type { Contender } from "./frame.ts";
import { median, timed } from "./frame.ts";
import type { MeasuredLevel } from "./isolation-level.ts";

export interface Peers extends AsyncDisposable {
  contenders: Contender[];
}

export async function peersOf(levels: readonly MeasuredLevel[], count: number): Promise<Peers> {
  const contenders: Contender[] = [];
  const undo: (() => Promise<unknown>)[] = [];
  const add = (name: string, argv: readonly string[], env: { [name: string]: string } = {}) => {
    contenders.push({ name, round: () => medianOf(count, () => must(argv, env)) });
  };
  const box = "--unshare-all --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64";
  add("bwrap --unshare-all", ["bwrap", ...box.split(" "), "/usr/bin/true"]);
  for (const { level, opened } of levels) {
    if (level === "docker" && opened.socketPath !== undefined) {
      const env = { DOCKER_HOST: `unix://${opened.socketPath}` };
      const name = `bench-${process.pid}`;
      const walls = ["--network", "none"];
      const held = ["run", "-d", "--name", name, ...walls, image, "sleep", "3600"];
      await must(["docker", ...held], env);
      undo.push(() => must(["docker", "rm", "-f", name], env));
      add("docker run --rm", ["docker", "run", "--rm", ...walls, image, "/bin/true"], env);
      add("docker exec into a running container", ["docker", "exec", name, "/bin/true"], env);
    }
    if (level === "gvisor" && opened.runsc !== undefined) {
      const folder = mkdtempSync("/tmp/edgedag-bench-runsc-");
      undo.push(async () => rmSync(folder, { recursive: true, force: true }));
      const words = `--root ${join(folder, "r")} --network=none --ignore-cgroups`.split(" ");
      add("runsc do", [opened.runsc, ...words, "do", "/bin/true"]);
    }
  }
  return {
    contenders,
    [Symbol.asyncDispose]: async () => {
      for (const one of undo) await one();
    },
  };
}

export async function medianOf(count: number, one: () => Promise<unknown>): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < count; i += 1) samples.push(await timed(one));
  return median(samples);
}

async function must([program = "", ...args]: readonly string[], env: { [name: string]: string }) {
  const ended = await run(program, args, { env });
  if (ended.code !== 0) throw new Error(`${program} ${args[0]}: ${ended.stderr.slice(-200)}`);
}
