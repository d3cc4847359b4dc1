// The environment of tasks: an allow-list from the agent's own, and what edgedag adds. The one
// place that decides it. Secrets of the agent (EDGEDAG_TOKEN and alike) never pass.

const passed = ["PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"];
const fallbackPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export interface EnvironmentOptions {
  hostEnv: Readonly<Record<string, string | undefined>>;
  /** Further names that pass; edgedag's own settings never do. */
  passEnv: readonly string[];
  pythonPath: string;
}

/** What every task of this agent gets. */
export function baseEnvironment(options: EnvironmentOptions): Record<string, string> {
  const env: Record<string, string> = { PATH: fallbackPath };
  for (const [name, value] of Object.entries(options.hostEnv)) {
    if (value === undefined) continue;
    const isNamed = options.passEnv.includes(name) && !name.startsWith("EDGEDAG_");
    if (passed.includes(name) || name.startsWith("LC_") || isNamed) env[name] = value;
  }
  env.PYTHONPATH = options.pythonPath;
  env.PYTHONUNBUFFERED = "1";
  env.PYTHONDONTWRITEBYTECODE = "1";
  return env;
}

/** What `{{ env.X }}` may read: all of the agent's environment but edgedag's own settings. */
export function templateEnvironment(
  hostEnv: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(hostEnv)) {
    if (value !== undefined && !name.startsWith("EDGEDAG_")) env[name] = value;
  }
  return env;
}
