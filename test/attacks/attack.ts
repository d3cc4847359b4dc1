// What an attack is: a program of one vice, what it must not achieve, and which levels claim that.
// A program says `BREACH <what>` when it got what it wanted; what it cannot see itself is looked at
// from outside by `after`.

import type { AttemptEnd } from "../../agent/exec/attempt.ts";
import type { BoxLevel, BoxLimits } from "../../agent/exec/isolation/box.ts";
import type {
  InputFile,
  OutputRules,
  SandboxRun,
} from "../../agent/exec/isolation/sandbox-spec.ts";
import type { FailureReason } from "../../protocol/outcome.ts";

/** Things of the host that attacks go for; the same for all attacks of a round. */
export interface Bait {
  /** A folder that everybody may write, with a file `secret` that everybody may read. */
  openFolder: string;
  /** A folder that only the agent's user may enter, with files `secret` and `secret.json`. */
  closedFolder: string;
  /** What stands in both secrets, in the agent's environment and on a victim's command line. */
  secret: string;
  /** A process of the host that is not part of any sandbox. */
  victimPid: number;
  /** TCP port on 127.0.0.1, and an abstract Unix socket, on which the host listens. */
  port: number;
  abstractName: string;
  /** A Unix socket in `openFolder`, as an engine's socket would be. */
  socketPath: string;
  /** System V shared memory and message queue, and a file of shared memory, open to everybody. */
  sharedMemoryId: number;
  messageQueueId: number;
  sharedMemoryFile: string;
}

export interface Aftermath {
  end: AttemptEnd;
  stdout: string;
  bait: Bait;
  /** Folder where outputs were kept. */
  keepIn: string;
}

export type AttackEnd = FailureReason | "succeeded";

export interface Attack {
  name: string;
  /** Completes "a task that ...". */
  does: string;
  run: SandboxRun;
  /** How it may end. Absent: any end will do, as long as nothing is breached. */
  ends?: readonly AttackEnd[];
  /** Where a level ends it otherwise, without being breached. */
  endsAt?: Partial<Record<BoxLevel, readonly AttackEnd[]>>;
  limits?: Partial<BoxLimits>;
  timeoutMs?: number;
  compileTimeoutMs?: number;
  outputLimitBytes?: number;
  files?: readonly InputFile[];
  outputs?: Partial<OutputRules>;
  stdin?: string;
  /** A task beside it, of somebody else: says `ready`, and must come to a good end. */
  beside?: SandboxRun;
  /** A second task that looks for what this one left. */
  next?: SandboxRun;
  /** Levels that do not claim to hold it, with the reason. */
  unclaimed?: Partial<Record<BoxLevel, string>>;
  /** It eats something: the agent must stay lively, and other tasks go on. */
  isBomb?: true;
  /** Looks from outside; gives what was breached. */
  after?(aftermath: Aftermath): Promise<string | undefined> | string | undefined;
}

/** Subprocess is the level of limits: it hides nothing of the host. */
export const aboveSubprocess = {
  subprocess: "limits only: it sees the host's files, network and processes as any other user",
} as const;

export const inGvisor = (what: string) =>
  ({ gvisor: `${what}, of the sandbox's own kernel: the host's is not reached` }) as const;

export function python(code: string, prelude = ""): SandboxRun {
  return { kind: "command", argv: ["python3", "-c", `${breach}${prelude}\n${code}`] };
}

export function bash(script: string): SandboxRun {
  return { kind: "command", argv: ["bash", "-c", script] };
}

export function node(code: string): SandboxRun {
  return { kind: "code", language: "javascript", code, args: [] };
}

export function pythonFunction(code: string): SandboxRun {
  return { kind: "function", runtime: "python", code, function: "main" };
}

export function code(language: string, text: string): SandboxRun {
  return { kind: "code", language, code: text, args: [] };
}

export function nodeFunction(code: string): SandboxRun {
  return { kind: "function", runtime: "node", code, function: "main" };
}

const breach = `
import os, sys, ctypes, socket, struct, time, signal, errno
def BREACH(what): print("BREACH", what, flush=True)
def tries(what, act):
    try: got = act()
    except Exception as error: print("refused", what, repr(error)[:100], flush=True); return None
    BREACH("%s -> %r" % (what, got if not isinstance(got, (bytes, str)) else got[:60])); return got
`;

/** For attacks by system call: `call(number, ...)` gives the result or -errno. */
export const syscalls = `
import platform
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
ARM = platform.machine() == "aarch64"
def call(number, *args):
    if isinstance(number, tuple): number = number[1 if ARM else 0]
    if number < 0: return -errno.ENOSYS
    got = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return got if got >= 0 else -ctypes.get_errno()
def refuses(what, got):
    if got >= 0: BREACH("%s gave %d" % (what, got))
    else: print("refused", what, errno.errorcode.get(-got, got), flush=True)
`;
