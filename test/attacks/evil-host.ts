// An agent whose own environment is full of what must not reach its tasks: a secret, and the
// variables by which programs are made to load foreign code. Set before anything is started.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Puts it into this process's environment; disposing takes it out again. */
export function poisonEnvironment(secret: string): Disposable {
  const folder = mkdtempSync(join(tmpdir(), "edgedag-evil-"));
  chmodSync(folder, 0o755);
  const script = join(folder, "inject.cjs");
  writeFileSync(script, "globalThis.injected = true;\n");
  const startup = join(folder, "sitecustomize.py");
  writeFileSync(startup, 'print("BREACH sitecustomize of the agent was run")\n');
  const shell = join(folder, "env.sh");
  writeFileSync(shell, "echo BREACH BASH_ENV of the agent was run\n");
  const poison: { [name: string]: string } = {
    AGENT_SECRET: secret,
    EDGEDAG_TOKEN: secret,
    NODE_OPTIONS: `--require ${script}`,
    PYTHONPATH: folder,
    PYTHONSTARTUP: startup,
    BASH_ENV: shell,
    // Does not exist: whoever loads programs with it complains on stderr.
    LD_PRELOAD: join(folder, "preload.so"),
  };
  const before = Object.keys(poison).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, poison);
  return {
    [Symbol.dispose]: () => {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
