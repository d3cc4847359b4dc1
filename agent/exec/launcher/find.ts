// Where the launcher's binary is. Reads no environment: the caller passes EDGEDAG_LAUNCHER on.
import { accessSync, constants } from "node:fs";
import { machine } from "node:os";
import { join } from "node:path";

export type FoundLauncher =
  | { found: true; path: string }
  | { found: false; detail: string; remedy: string };

/** `explicit` is the value of EDGEDAG_LAUNCHER; with it nothing else is tried. */
export function findLauncher(options: {
  root: string;
  explicit?: string | undefined;
}): FoundLauncher {
  const path = options.explicit ?? join(options.root, "build", `launcher-${machine()}`);
  try {
    accessSync(path, constants.X_OK);
    return { found: true, path };
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return {
      found: false,
      detail: `no launcher at ${path} (${why})`,
      remedy:
        options.explicit === undefined
          ? "build it with scripts/build-launcher (it needs a C compiler)"
          : "EDGEDAG_LAUNCHER must name an executable file; without it build/ is searched",
    };
  }
}
