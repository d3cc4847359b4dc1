// Looks for secrets where none may be: in every file below a folder, in the command lines of every
// process, and in values. Searches for the bytes and for their base64 and hexadecimal forms.
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export function formsOf(secret: string): Buffer[] {
  const bytes = Buffer.from(secret);
  const base64 = [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    return Buffer.from(text.slice(before === 0 ? 0 : before + 1, -5));
  });
  return [bytes, Buffer.from(bytes.toString("hex")), ...base64];
}

export function isIn(bytes: Buffer | string, secrets: readonly string[]): boolean {
  const where = Buffer.from(bytes);
  return secrets.flatMap(formsOf).some((form) => where.includes(form));
}

/** Paths of files below `folder` with a secret in their name or in them. */
export function filesWith(folder: string, secrets: readonly string[]): string[] {
  const found: string[] = [];
  const walk = (path: string): void => {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (isIn(path, secrets)) found.push(path);
    if (stat.isDirectory()) for (const name of readdirSync(path)) walk(join(path, name));
    else if (stat.isFile() && isIn(readFileSync(path), secrets)) found.push(path);
  };
  walk(folder);
  return found;
}

/** Command lines of processes with a secret in them, of everybody on this machine. */
export function commandLinesWith(secrets: readonly string[]): string[] {
  const found: string[] = [];
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`);
      if (isIn(line, secrets)) found.push(line.toString());
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}
