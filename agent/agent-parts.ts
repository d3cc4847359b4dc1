// What an agent is put together from, opened in the order in which one needs the other; what was opened
// is closed again when a later one cannot be.
import { rmSync } from "node:fs";
import type { Result } from "../protocol/diagnostic.ts";
import { pythonSdkPath } from "../protocol/install-paths.ts";
import type { AgentOptions } from "./agent.ts";
import type { Config } from "./config.ts";
import { type ExecutionParts, startExecution } from "./execution.ts";
import { Journal } from "./journal/journal.ts";
import { Orphans } from "./orphans.ts";
import { makeRuntimeDir, outsidePrefix, outsideTag } from "./outside.ts";
import { isGateOn, makesReceipts } from "./signing/gate-mode.ts";
import type { Receipts } from "./signing/receipts.ts";
import type { SignatureGate } from "./signing/signature-gate.ts";
import { StoreHost } from "./store/store-host.ts";
import { baseEnvironment } from "./task-environment.ts";

export interface AgentParts {
  journal: Journal;
  gate: SignatureGate | undefined;
  receipts: Receipts | undefined;
  execution: ExecutionParts;
  storeHost: StoreHost;
  orphans: Orphans;
  runtimeDir: string;
  baseEnv: Record<string, string>;
}

/** Fails with E_STATE_* diagnostics, E_RUNTIME_DIR, or what is wrong with keys. */
export async function openParts(options: AgentOptions): Promise<Result<AgentParts>> {
  const { config, say, isOneOff = false } = options;
  const gate = await openGate(config);
  if (!gate.ok) return gate;
  const journal = Journal.open({
    stateDir: config.stateDir,
    durability: config.durability,
    ship: config.master !== "",
    isOneOff,
    onProblem: (problem) => say("warn", problem.message),
  });
  if (!journal.ok) return journal;
  const receipts = await openReceipts(options);
  if (!receipts.ok) {
    journal.value.close();
    return receipts;
  }
  const prefix = outsidePrefix(config.stateDir, isOneOff);
  const adopts = config.orphans === "adopt" && !isOneOff;
  const runtimeDir = makeRuntimeDir(config.runtimeDir, prefix, { isKept: adopts });
  if (!runtimeDir.ok) {
    journal.value.close();
    return runtimeDir;
  }
  const baseEnv = baseEnvironment({
    hostEnv: options.hostEnv,
    passEnv: config.passEnv,
    pythonPath: pythonSdkPath(options.root),
  });
  const orphans = await Orphans.find({ stateDir: config.stateDir, adopts, say });
  const storeHost = await StoreHost.start({
    onFault: (detail, isFatal) => say(isFatal ? "error" : "warn", `store: ${detail}`),
    thread: options.storeThread,
  });
  const execution = await startExecution({
    config,
    isOneOff,
    root: options.root,
    runtimeDir: runtimeDir.value,
    tag: outsideTag(config.stateDir, isOneOff),
    baseEnv,
    say,
  });
  if (!execution.ok) {
    await orphans.leave();
    await storeHost.close();
    journal.value.close();
    rmSync(runtimeDir.value, { recursive: true, force: true });
    return execution;
  }
  const value = {
    journal: journal.value,
    gate: gate.value,
    receipts: receipts.value,
    execution: execution.value,
    storeHost,
    orphans,
    runtimeDir: runtimeDir.value,
    baseEnv,
  };
  return { ok: true, value };
}

/** Loaded only where signatures are looked at. */
async function openGate(config: Config): Promise<Result<SignatureGate | undefined>> {
  if (!isGateOn(config)) return { ok: true, value: undefined };
  const { SignatureGate } = await import("./signing/signature-gate.ts");
  return SignatureGate.open(config);
}

/** Loaded only where there are receipts. */
async function openReceipts({
  config,
  version,
  say,
}: AgentOptions): Promise<Result<Receipts | undefined>> {
  if (!makesReceipts(config)) return { ok: true, value: undefined };
  const { Receipts } = await import("./signing/receipts.ts");
  const opened = Receipts.open(config, version);
  if (opened.ok) {
    const { keyId, inlineKey, isNewKey } = opened.value;
    const what = isNewKey ? "a new key" : "the key";
    say("info", `receipts are signed with ${what} ${keyId}: ${inlineKey}`);
  }
  return opened;
}
