// A program in a language of the registry: compiled where the language needs that, then run, both in
// the same box. What the compiler says goes to the task's log, and its failure says that it was one.
import {
  commandOf,
  type Language,
  languageEnv,
  type Places,
  unitOf,
} from "../languages/language.ts";
import type { SandboxRun } from "../sandbox-spec.ts";
import type { Ran, RunContext, Running } from "./ran.ts";
import { runCommand } from "./run-command.ts";

type CodeRun = Extract<SandboxRun, { kind: "code" }>;

/** A language, and where its programs are at the level of the box, when not on the PATH. */
export interface UsedLanguage {
  language: Language;
  programs: Readonly<Record<string, string>>;
}

/** Below the io folder: what a compiler makes, and its caches. The attempt makes the folder. */
export const buildFolder = "build";

export function placesOf(
  { inside }: RunContext["box"],
  { language }: UsedLanguage,
  { fileName, source }: { fileName: string; source: string },
): Places {
  const tmp = `${inside.io}/${buildFolder}`;
  return {
    dir: inside.work,
    file: `${inside.work}/${fileName}`,
    out: `${tmp}/program`,
    tmp,
    ...unitOf(language, source),
  };
}

export function runCode(
  context: RunContext,
  run: CodeRun,
  { used, places }: { used: UsedLanguage; places: Places },
): Running {
  const { language, programs } = used;
  let current: Running | undefined;
  let stopGraceMs: number | undefined;
  const start = (running: Running): Promise<Ran> => {
    current = running;
    if (stopGraceMs !== undefined) running.stop(stopGraceMs);
    return running.ran;
  };
  const env = { ...languageEnv(language, places), ...context.env };

  const all = async (): Promise<Ran> => {
    let compiled: Ran | undefined;
    if (language.compile !== undefined) {
      const argv = commandOf(language.compile, places, [], programs);
      const { compileTimeoutMs } = context.spec;
      compiled = await start(
        // The compiler has no use for what is only the program's.
        runCommand({ ...context, env, stdinPath: undefined, secretEnv: undefined }, argv, {
          onlyStream: "stderr",
          ...(compileTimeoutMs === undefined ? {} : { timeoutMs: compileTimeoutMs }),
        }),
      );
      if (compiled.failure !== undefined || compiled.stopped !== undefined) {
        return { ...compiled, facts: { ...asStderr(compiled), phase: "compile" } };
      }
    }
    const usedOutputBytes = compiled === undefined ? 0 : outputBytes(compiled);
    const argv = commandOf(language.run, places, run.args, programs);
    const ran = await start(runCommand({ ...context, env }, argv, { usedOutputBytes }));
    return compiled === undefined ? ran : { ...ran, facts: addedFacts(compiled, ran) };
  };

  return {
    ran: all(),
    stop: (graceMs) => {
      stopGraceMs = graceMs;
      current?.stop(graceMs);
    },
  };
}

function outputBytes({ facts }: Ran): number {
  return (facts.stdoutBytes ?? 0) + (facts.stderrBytes ?? 0);
}

function asStderr(compiled: Ran): Ran["facts"] {
  return { ...compiled.facts, stdoutBytes: 0, stderrBytes: outputBytes(compiled) };
}

/** Of both steps together, as the task's one attempt. */
function addedFacts(compiled: Ran, { facts }: Ran): Ran["facts"] {
  const added = { ...facts };
  const { startedAt } = compiled.facts;
  if (startedAt !== undefined && facts.startedAt !== undefined && facts.wallMs !== undefined) {
    added.wallMs = facts.startedAt + facts.wallMs - startedAt;
    added.startedAt = startedAt;
  }
  added.stderrBytes = (facts.stderrBytes ?? 0) + outputBytes(compiled);
  return added;
}
