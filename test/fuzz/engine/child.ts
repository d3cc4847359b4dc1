// One target in a process of its own: prints its figures as one line of JSON, or what broke. The
// parent (run-target.ts) keeps what breaks, also when it takes this process with it.
import { writeFileSync } from "node:fs";
import { guardJson } from "../../../protocol/json-guard.ts";
import { Missing } from "../target.ts";
import { selfTest, targets } from "../targets.ts";
import { readCorpus, replaceCorpus } from "./corpus.ts";
import { Crash, Loop, minimise } from "./loop.ts";
import { brokenCode, type ChildOptions, failedCode, missingCode } from "./report.ts";

async function main(options: ChildOptions): Promise<number> {
  guardJson(); // as every program of ours has it
  const load = { ...targets, ...selfTest }[options.name];
  if (load === undefined) throw new Error(`no target ${options.name}`);
  const { open } = await load();
  let target: Awaited<ReturnType<typeof open>>;
  try {
    target = await open();
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    console.log(error.message);
    return missingCode;
  }
  const { inputBase64, ...rest } = options;
  const corpus =
    inputBase64 === undefined
      ? readCorpus(options.name)
      : [{ name: "given", bytes: Buffer.from(inputBase64, "base64") }];
  const loop = new Loop({ ...rest, target, corpus });
  let broken: Error | undefined;
  const late = Promise.withResolvers<never>();
  for (const event of ["uncaughtException", "unhandledRejection"]) {
    process.on(event, (error: unknown) => {
      broken ??= error instanceof Error ? error : new Error(String(error));
      late.reject(new Crash(Buffer.alloc(0), `${event}: ${broken.stack}`));
    });
  }
  try {
    const figures = await Promise.race([loop.run(), late.promise]);
    if (options.shouldDistil) replaceCorpus(options.name, await loop.distil());
    console.log(JSON.stringify(figures));
    await target.close?.();
    return 0;
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    const isOwn = error.input.length > 0;
    writeFileSync(options.brokenPath, isOwn ? await minimise(target, error, 5000) : error.input);
    console.log(error.message);
    return brokenCode;
  }
}

const [given] = process.argv.slice(2);
if (given === undefined) throw new Error("no options");
try {
  // Written by run-target.ts.
  process.exit(await main(JSON.parse(given) as ChildOptions));
} catch (error) {
  // Of the fuzzer itself: its own net above must not catch it.
  console.log(error);
  process.exit(failedCode);
}
