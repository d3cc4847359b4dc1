// The command `edgedag`: what there is, and where each part begins. Commands are loaded when they
// are called, because a run on a small device must not pay for the others.
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { exitCodes } from "../protocol/exit-codes.ts";
import { guardJson } from "../protocol/json-guard.ts";
import { readParams } from "./print.ts";
import { findRoot, versionOf } from "./surroundings.ts";

guardJson();

const io = { stdout: process.stdout, stderr: process.stderr };

// A reader that goes away (`edgedag run ... | head`) is no reason to end what runs.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: Error) => {
    if (!("code" in error) || error.code !== "EPIPE") throw error;
  });
}

async function main(argv: readonly string[]): Promise<number> {
  const { env } = process;
  let code: number = exitCodes.ok;
  const program = new Command("edgedag")
    .description("Runs DAGs of tasks on edge nodes and delivers every result and log line.")
    .version(versionOf(findRoot()))
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: false });
  const collect = (value: string, all: string[]) => [...all, value];
  const param = () =>
    new Option("-p, --param <name=value>", "value of a param (repeatable)")
      .argParser(collect)
      .default([], "none");

  program
    .command("run <dag>")
    .description("run a DAG in the foreground, without a master")
    .option("--state <folder>", "keep the state there; an unfinished run goes on")
    .option("--slots <n>", "attempts that run at once", positive)
    .addOption(param())
    .option("--json", "print one JSON object at the end, progress on stderr", false)
    .option("-q, --quiet", "print nothing but errors (and --json)", false)
    .action(async (dag: string, options) => {
      const params = readParams(options.param);
      if (!params.ok) return program.error(params.message, { exitCode: exitCodes.usage });
      const { startStoreThread } = await import("../agent/store/start-thread.ts");
      const store = env.EDGEDAG_STORE_URL ? {} : { storeThread: startStoreThread() };
      const { run } = await import("./run.ts");
      code = await run(dag, { ...options, ...store, params: params.value, env }, io);
    });
  program
    .command("agent")
    .description("run the agent as a service; configured by environment variables (edgedag config)")
    .action(async () => {
      await armForChaos(env);
      const { agent } = await import("./agent.ts");
      code = await agent({ env: await withDotenv(env) }, io);
    });
  program
    .command("master")
    .description("run the core services; configured by environment variables (edgedag config)")
    .action(async () => {
      await armForChaos(env);
      const { master } = await import("./master.ts");
      code = await master(await withDotenv(env), io);
    });
  program
    .command("up")
    .description("run a master and one agent on this machine")
    .option("--dir <folder>", "one folder for the state of both")
    .action(async (options) => {
      const { up } = await import("./up.ts");
      code = await up({ ...options, env: await withDotenv(env) }, io);
    });
  program
    .command("serve")
    .description(
      "run a code-execution service: a master with its doors, and a node with warm pools",
    )
    .option("--dir <folder>", "one folder for the data of both")
    .action(async (options) => {
      const { serve } = await import("./serve.ts");
      code = await serve({ ...options, env: await withDotenv(env) }, io);
    });
  program
    .command("languages")
    .description("list the languages of code, and which of them this machine has")
    .option("--json", "print JSON", false)
    .action(async (options) => {
      const { languages } = await import("./languages.ts");
      code = await languages({ ...options, env }, io);
    });
  program
    .command("validate <paths...>")
    .description("check DAG documents or artifacts and explain all that is wrong")
    .option("--json", "print JSON")
    .action(async (paths: string[], options) => {
      const { validate } = await import("./validate.ts");
      code = await validate(paths, options, io);
    });
  program
    .command("graph <dag>")
    .description("draw a DAG")
    .addOption(new Option("--format <format>", "").choices(["mermaid", "dot"]).default("mermaid"))
    .action(async (dag: string, options) => {
      const { graph } = await import("./graph.ts");
      code = await graph(dag, options, io);
    });
  program
    .command("pack <dag>")
    .description("make one artifact file of a DAG and every file that it needs")
    .requiredOption("-o, --out <file>", "where to write it")
    .action(async (dag: string, options) => {
      const { pack } = await import("./pack-command.ts");
      code = await pack(dag, options, io);
    });
  program
    .command("schema")
    .description("print the JSON Schema of DAG documents")
    .action(async () => {
      const { schema } = await import("./schema.ts");
      code = await schema(io);
    });
  program
    .command("health")
    .description("say whether the agent on this machine is well (exit code 0 or 69)")
    .option("--state <folder>", "the agent's EDGEDAG_STATE")
    .action(async (options) => {
      const { health } = await import("./health.ts");
      code = health({ ...options, env }, io);
    });
  program
    .command("doctor")
    .description("try each isolation level on this host, and say what holds and what would help")
    .option("--json", "print the report as JSON", false)
    .action(async (options) => {
      const { doctor } = await import("./doctor.ts");
      code = await doctor({ ...options, env }, io);
    });
  program
    .command("chaos")
    .description("kill agents, masters and what they start, and see that nothing is lost")
    .option("--seed <n>", "chooses what is killed and when; printed", whole)
    .option("--kills <n>", "how many", positive, 100)
    .option("--dag <file>", "a DAG of your own; the built-in one else")
    .addOption(param())
    .option("--points <list>", "named points, separated by commas; none: only at times")
    .option("--targets <list>", "of agent, master, launcher, worker, task, all")
    .option("--jobs <n>", "agents with a master each, side by side", positive)
    .option("--megabytes <n>", "output of the built-in DAG's largest task", positive, 10)
    .option("--json", "print one JSON object at the end, progress on stderr", false)
    .action(async (options) => {
      const params = readParams(options.param);
      if (!params.ok) return program.error(params.message, { exitCode: exitCodes.usage });
      const { chaos } = await import("./chaos.ts");
      code = await chaos({ ...options, params: params.value, env }, io);
    });
  program
    .command("config")
    .description("print every variable with its value's origin; --markdown prints the table")
    .option("--markdown", "print the table of the documentation", false)
    .action(async (options) => {
      const { config } = await import("./config.ts");
      code = config({ ...options, env }, io);
    });
  // They bring along what others do not need.
  if (!program.commands.some((command) => command.name() === argv[0])) {
    const ended = (exitCode: number) => {
      code = exitCode;
    };
    const { addSigningCommands } = await import("./signing/commands.ts");
    addSigningCommands(program, { env, io, ended });
    const { addClientCommands } = await import("./client-commands.ts");
    addClientCommands(program, { env, io, param, ended });
  }

  try {
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // commander has said it already; 0 is for --help and --version.
    return error.exitCode === 1 ? exitCodes.usage : error.exitCode;
  }
  return code;
}

function whole(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new InvalidArgumentError("It must be a whole number.");
}

function positive(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new InvalidArgumentError("It must be a positive whole number.");
}

/** Only what the process was really started with counts: no file, no other command. */
async function armForChaos(env: NodeJS.ProcessEnv): Promise<void> {
  if (env.EDGEDAG_CHAOS_POINT === undefined) return;
  const { armCrashPoint } = await import("../protocol/arm-crash-point.ts");
  const refusal = armCrashPoint(env);
  if (refusal !== undefined) io.stderr.write(`edgedag: ${refusal}\n`);
}

async function withDotenv(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const dotenv = await import("./dotenv-file.ts");
  return dotenv.withDotenv(env);
}

/** A pipe takes what is written to it later than it is written. */
async function written(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength === 0) return;
  await new Promise<void>((resolve) => {
    stream.write("", () => resolve());
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const story = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`edgedag: a bug of edgedag, please report it: ${story}\n`);
  process.exitCode = exitCodes.internal;
}
await Promise.all([written(process.stdout), written(process.stderr)]);
// Everything is closed by now; a handle of a library that is left must not keep the process, and
// taking V8's heap down would cost milliseconds.
process.exit();
