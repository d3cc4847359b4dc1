// The file `.env` in the current folder: it fills in what the environment does not have.
import { config } from "dotenv";

export function withDotenv(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const filled: NodeJS.ProcessEnv = { ...env };
  // dotenv's type asks for values that are all set; it only adds names that are not there.
  config({ processEnv: filled as Record<string, string>, quiet: true });
  return filled;
}
