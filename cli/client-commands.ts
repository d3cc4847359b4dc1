// The commands that ask a master: where it is comes from --master or EDGEDAG_MASTER, the token from
// EDGEDAG_TOKEN (or its _FILE). `logs` without a master reads the log on this machine.
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import type { Command, Option } from "commander";
import { exitCodes } from "../protocol/exit-codes.ts";
import type { Io } from "./io.ts";
import { report } from "./load.ts";
import { readParams } from "./print.ts";
import { agentTable, localRuns, localStates } from "./surroundings.ts";

export interface CommandContext {
  env: Readonly<Record<string, string | undefined>>;
  io: Io & { stdout: { isTTY?: boolean } };
  param(): Option;
  ended(exitCode: number): void;
}

const defaultMaster = "http://127.0.0.1:8700";

export function addClientCommands(program: Command, context: CommandContext): void {
  const { env, io, ended } = context;
  const command = (spec: string, about: string) =>
    program
      .command(spec)
      .description(about)
      .option("--master <url>", `the master (EDGEDAG_MASTER, else ${defaultMaster})`)
      .option("--json", "print JSON", false);
  const to = (options: { master?: string }) => {
    const token = tokenOf(env, io);
    trustCa(env, io);
    return {
      master: options.master ?? env.EDGEDAG_MASTER ?? defaultMaster,
      ...(token === undefined ? {} : { token }),
    };
  };

  command("submit <dag>", "hand a DAG to a node through the master")
    .option("--node <id>", "the node that runs it")
    .option("--any", "any node that can")
    .addOption(context.param())
    .option("--wait", "show progress until the run has ended; the exit code is its outcome")
    .action(async (path: string, options) => {
      const params = readParams(options.param);
      if (!params.ok) return program.error(params.message, { exitCode: exitCodes.usage });
      const { loadPath } = await import("./load.ts");
      const loaded = await loadPath(path);
      if (!loaded.ok) return ended(report(path, loaded.diagnostics, io));
      const { submit } = await import("./client/submit.ts");
      ended(
        await submit(
          { ...options, ...to(options), artifact: loaded.value, params: params.value },
          io,
        ),
      );
    });
  const nodesCommand = command(
    "nodes",
    "list the nodes that the master knows, or change who is let in",
  );
  nodesCommand.action(async (options) => {
    const { nodes } = await import("./client/nodes.ts");
    ended(await nodes({ ...options, ...to(options) }, io));
  });
  nodesCommand
    .command("enroll <node>")
    .description("make a one-time token with which this node gets an identity of its own")
    .option("--expires <duration>", "how long the token can be used, like 30m or 2d", "1h")
    .action(async (node: string, _, self: Command) => {
      const options = self.optsWithGlobals();
      const { enroll } = await import("./client/nodes.ts");
      ended(await enroll({ ...options, ...to(options), node, expires: options.expires }, io));
    });
  nodesCommand
    .command("revoke <node>")
    .description("shut a node out: its connection is closed, its key is worth nothing")
    .action(async (node: string, _, self: Command) => {
      const options = self.optsWithGlobals();
      const { revoke } = await import("./client/nodes.ts");
      ended(await revoke({ ...options, ...to(options), node }, io));
    });
  command("runs [run]", "list the runs at the master, or show one")
    .option("--state <state>", "only runs in this state")
    .option("--node <id>", "only runs of this node")
    .action(async (run: string | undefined, options) => {
      const { runs, showRun } = await import("./client/runs.ts");
      const args = { ...options, ...to(options) };
      ended(run === undefined ? await runs(args, io) : await showRun({ ...args, run }, io));
    });
  command("logs [run]", "print the combined log of a run: at the master, or on this machine")
    .option("--task <task>", "only lines of this task (or item, or all items)")
    .option("--stream <stream>", "stdout, stderr or log")
    .option("--level <level>", "this level and above")
    .option("-f, --follow", "go on as the log grows", false)
    .option("--state <folder>", "read the log of the agent with this state folder")
    .action(async (run: string | undefined, options) => {
      const isRemote =
        options.state === undefined &&
        (options.master !== undefined || (env.EDGEDAG_MASTER ?? "") !== "");
      if (isRemote && run !== undefined) {
        const { logs } = await import("./client/logs.ts");
        return ended(await logs({ ...options, ...to(options), run }, io));
      }
      if (isRemote) return program.error("logs: name a run", { exitCode: exitCodes.usage });
      const { logs } = await import("./logs.ts");
      ended(
        await logs(
          {
            ...options,
            stateDir: options.state ?? localState(env, run),
            ...(run === undefined ? {} : { run }),
            colour: io.stdout.isTTY === true,
          },
          io,
        ),
      );
    });
  command("results <run> [task]", "print the results of a run").action(
    async (run: string, task: string | undefined, options) => {
      const { results } = await import("./client/results.ts");
      const args = { ...options, ...to(options), run };
      ended(await results(task === undefined ? args : { ...args, task }, io));
    },
  );
  command("artifacts <run>", "list or fetch the artifacts of a run")
    .option("-o, --out <folder>", "download them there")
    .action(async (run: string, options) => {
      const { artifacts } = await import("./client/results.ts");
      ended(await artifacts({ ...options, ...to(options), run }, io));
    });
  command(
    "receipt <run>",
    "print what the node has signed of a run: at the master, or on this machine",
  )
    .option("-o, --out <file>", "write it there")
    .option("--state <folder>", "read that of the agent with this state folder")
    .action(async (run: string, options) => {
      const { receipt } = await import("./client/receipt.ts");
      ended(await receipt({ ...options, ...to(options), run }, io));
    });
  command("cancel <run>", "cancel a run").action(async (run: string, options) => {
    const { cancel } = await import("./client/runs.ts");
    ended(await cancel({ ...options, ...to(options), run }, io));
  });
}

/** The authority of the master's certificate, beside those of the system. */
function trustCa(env: CommandContext["env"], io: Io): void {
  const path = env.EDGEDAG_MASTER_CA;
  if (path === undefined || path === "") return;
  try {
    setDefaultCACertificates([...getCACertificates("default"), readFileSync(path, "utf8")]);
  } catch (error) {
    io.stderr.write(`edgedag: EDGEDAG_MASTER_CA cannot be used: ${String(error)}\n`);
  }
}

function tokenOf(env: CommandContext["env"], io: Io): string | undefined {
  const path = env.EDGEDAG_TOKEN_FILE;
  if (path === undefined || path === "") return env.EDGEDAG_TOKEN;
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    io.stderr.write(`edgedag: EDGEDAG_TOKEN_FILE cannot be read: ${String(error)}\n`);
    return undefined;
  }
}

/** The state of that run of `edgedag run`, or of the newest; else the agent's. */
function localState(env: CommandContext["env"], run: string | undefined): string {
  if (env.EDGEDAG_STATE !== undefined && env.EDGEDAG_STATE !== "") return env.EDGEDAG_STATE;
  const parent = localStates();
  const name = run ?? localRuns(parent)[0];
  const folder = name === undefined ? undefined : join(parent, name);
  const isThere =
    folder !== undefined && statSync(folder, { throwIfNoEntry: false })?.isDirectory();
  return folder !== undefined && isThere ? folder : agentTable().stateDir.fallback;
}
