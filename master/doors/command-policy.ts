// Which commands are not even tried: those that only do harm, and those that the operator names. Told
// by the program's name and by what a shell is handed; it is a courtesy to callers and no wall: what
// keeps a command from doing harm is its sandbox.

/** Programs that change the machine as a whole; none of them can do so from a sandbox. */
export const usuallyDenied: readonly string[] = [
  "dd",
  "fdisk",
  "halt",
  "init",
  "insmod",
  "mkfs",
  "modprobe",
  "mount",
  "parted",
  "poweroff",
  "reboot",
  "rmmod",
  "shutdown",
  "su",
  "sudo",
  "umount",
];

const shells: ReadonlySet<string> = new Set(["sh", "bash", "dash", "zsh", "ksh", "ash"]);
const wrappers: ReadonlySet<string> = new Set([
  "env",
  "nice",
  "nohup",
  "timeout",
  "exec",
  "command",
]);

/** What is wrong with it, as a sentence; undefined: it may be tried. */
export function commandProblem(
  argv: readonly string[],
  denied: readonly string[],
): string | undefined {
  const names = new Set(denied);
  const [program = "", ...rest] = argv;
  const script = shells.has(baseOf(program)) ? scriptOf(rest) : undefined;
  if (script !== undefined) return scriptProblem(script, names);
  return wordsProblem(argv, names);
}

function scriptOf(args: readonly string[]): string | undefined {
  const at = args.findIndex((arg) => /^-[a-z]*c$/.test(arg));
  return at === -1 ? undefined : args[at + 1];
}

function scriptProblem(script: string, denied: ReadonlySet<string>): string | undefined {
  if (/:\s*\(\s*\)\s*\{[^}]*:\s*\|\s*:/.test(script)) return "it holds a fork bomb";
  for (const simple of script.split(/&&|\|\||[;|&\n]|\$\(|`/)) {
    const problem = wordsProblem(simple.trim().split(/\s+/), denied);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function wordsProblem(words: readonly string[], denied: ReadonlySet<string>): string | undefined {
  const at = words.findIndex((word) => !wrappers.has(baseOf(word)) && !/^(-|\w+=|\d+$)/.test(word));
  const program = baseOf(words[at] ?? "");
  if (denied.has(program) || denied.has(program.split(".")[0] ?? "")) {
    return `\`${program}\` is not allowed here`;
  }
  if (program !== "rm") return undefined;
  const args = words.slice(at + 1).map((word) => word.replace(/^["']|["']$/g, ""));
  const isRecursive = args.some((arg) => /^-[a-zA-Z]*[rR]|^--recursive$/.test(arg));
  const isWhole = args.some((arg) => /^\/+(\*|\.)?$/.test(arg) || arg === "--no-preserve-root");
  return isRecursive && isWhole ? "it removes the whole file system" : undefined;
}

function baseOf(path: string): string {
  return path.split("/").at(-1) ?? path;
}
