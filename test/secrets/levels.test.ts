// Secrets at every isolation level that this machine can have: they reach the program that the box is
// for, and no configuration, command line or file outside of it.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { type Config, configTable } from "../../agent/config.ts";
import type { BoxLevel } from "../../agent/exec/isolation/box.ts";
import { readEnv } from "../../protocol/env-table.ts";
import { AgentRig } from "../agent/agent-rig.ts";
import { image, startEngine, type TestEngine } from "../isolation/docker-rig.ts";
import { findTestRunsc } from "../isolation/gvisor-rig.ts";
import { isRoot } from "../isolation/isolation-rig.ts";
import { until } from "../rig/until.ts";
import { commandLinesWith, filesWith, isIn } from "./leaks.ts";

const password = `pw-${randomBytes(12).toString("hex")}`;
const key = `key-${randomBytes(12).toString("hex")}`;
const secrets = [password, key];

const levels: BoxLevel[] = ["subprocess", "seccomp", "docker", "gvisor"];

/** What the level needs, or why this machine cannot have it. */
async function needsOf(level: BoxLevel): Promise<Needs | string> {
  if (!isRoot) return "the levels are tried as root";
  if (level === "docker") {
    const engine = await startEngine();
    return typeof engine === "string" ? engine : { engine };
  }
  if (level !== "gvisor") return {};
  const runsc = findTestRunsc();
  return "reason" in runsc ? runsc.reason : { runsc: runsc.path };
}

interface Needs {
  engine?: TestEngine;
  runsc?: string;
}

for (const level of levels) {
  const needs = await needsOf(level);
  const skip = typeof needs === "string" && needs;
  t.test(`at level ${level}`, { skip }, async (t) => {
    if (typeof needs === "string") return;
    const { engine } = needs;
    await using _ = { [Symbol.asyncDispose]: async () => await engine?.stop() };
    const folder = await mkdtemp("/tmp/node-secrets-");
    t.teardown(() => rm(folder, { recursive: true }));
    writeFileSync(join(folder, "db-password"), `${password}\n`, { mode: 0o600 });
    writeFileSync(join(folder, "key"), key, { mode: 0o600 });
    await using rig = await AgentRig.start({
      ...settingsOf(level, needs),
      secretsDirs: [folder],
    });
    await rig.accept("boxes", documentOf(level));
    // While they run: the last task waits for the file that is made below.
    await until(
      "the tasks run",
      () => rig.tasks.size,
      (ended) => ended >= 3 || rig.finished.has("boxes"),
      { describe: () => rig.said.join("\n") },
    );
    t.same(commandLinesWith(secrets), [], "command lines");
    if (engine !== undefined) t.notOk(isIn(inspect(engine), secrets), "docker inspect");
    const { outcome } = await rig.end("boxes");
    t.same(
      outcome,
      { kind: "succeeded" },
      `${rig.said.join("\n")}${JSON.stringify(rig.failure("command#1"))}`,
    );
    for (const task of ["command", "python", "node"]) {
      const lines = (await rig.log("boxes")).filter((line) => line.task === task);
      t.same(
        lines.map(({ text }) => text),
        ["*** ***", `${key.length} 600`],
        task,
      );
      t.equal(rig.ends.get(`${task}#1`)?.[0]?.facts.isolation, level);
    }
    t.same(rig.ends.get("code#1")?.[0]?.outcome, { kind: "succeeded" });
    const other = (await rig.log("boxes")).filter((line) => line.task === "other");
    t.same(
      other.map(({ text }) => text),
      ["none"],
    );
    t.same(filesWith(rig.dir, secrets), []);
  });
}

function settingsOf(level: BoxLevel, { engine, runsc }: Needs): Partial<Config> {
  const env: { [name: string]: string } = {
    EDGEDAG_LEVELS: level,
    EDGEDAG_POOL_SIZE: "0,seccomp/python=1,seccomp/node=1",
  };
  env.EDGEDAG_SANDBOX_UID = String(1_400_000_000 + (process.pid % 100_000) * 1000);
  if (engine !== undefined) {
    env.EDGEDAG_DOCKER_SOCKET = engine.socketPath;
    env.EDGEDAG_DOCKER_IMAGES = `*=${image}`;
  }
  if (runsc !== undefined) env.EDGEDAG_RUNSC = runsc;
  const table = configTable({ hostname: "t", cores: 2, stateDir: "", runtimeDir: "" });
  const read = readEnv(table, { env, readFile: () => ({ problem: "none here" }) });
  if (!read.config.ok) throw new Error(JSON.stringify(read.config.diagnostics));
  const { stateDir, runtimeDir, secretsDirs, secretValues, ...config } = read.config.value;
  return config;
}

function documentOf(level: BoxLevel): string {
  const named = `secrets: { PGPASSWORD: db-password, KEY: { secret: key, file: true } }`;
  return `dag: boxes
defaults: { isolation: ${level}, timeout: 60s }
tasks:
  command:
    shell: |
      echo "$PGPASSWORD" "$(cat "$KEY")"
      wc -c < "$KEY" | tr -d '\\n'
      stat -c ' %a' "$KEY"
    ${named}
  python:
    python:
      code: |
        import os
        def main():
            path = os.environ["KEY"]
            with open(path) as file: value = file.read()
            print(os.environ["PGPASSWORD"], value)
            print(len(value), "%o" % (os.stat(path).st_mode & 0o777))
    ${named}
  node:
    node:
      code: |
        const fs = require("node:fs");
        exports.main = () => {
          const value = fs.readFileSync(process.env.KEY, "utf8");
          console.log(process.env.PGPASSWORD, value);
          console.log(value.length, (fs.statSync(process.env.KEY).mode & 0o777).toString(8));
        };
    ${named}
  code:
    code: { language: bash, code: 'test "$PGPASSWORD"' }
    secrets: { PGPASSWORD: db-password }
  other:
    needs: [command, python, node, code]
    shell: 'env | grep -E "^(PGPASSWORD|KEY)=" || echo none'
`;
}

/** Everything that the engine tells of its containers. */
function inspect({ socketPath }: TestEngine): string {
  const ask = (path: string) =>
    execFileSync("curl", ["-s", "--unix-socket", socketPath, `http://d${path}`], {
      maxBuffer: 2 ** 26,
    }).toString();
  const list = ask("/containers/json?all=1");
  const containers = JSON.parse(list) as { Id: string }[];
  return [list, ...containers.map(({ Id }) => ask(`/containers/${Id}/json`))].join("\n");
}
