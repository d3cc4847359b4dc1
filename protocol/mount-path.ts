// Paths of mounts: absolute paths of the host, and where they appear in a sandbox. Pure.

/** Folders of a sandbox that are its own: nothing may be put over or into them. */
const ownFolders = ["/work", "/run", "/proc", "/sys", "/dev", "/edgedag", "/tmp"];

/** Why the path must not be mounted; undefined when it is fine. */
export function mountPathProblem(path: string): string | undefined {
  if (!path.startsWith("/")) return "is not absolute";
  if (path.length > 4096) return "is longer than 4096 characters";
  if (path.includes("\0")) return "holds a NUL character";
  const isPlain = path
    .slice(1)
    .split("/")
    .every((segment) => segment !== "" && segment !== "." && segment !== "..");
  return isPlain ? undefined : "is `/`, or holds an empty segment, `.` or `..`";
}

export function mountTargetProblem(path: string): string | undefined {
  const problem = mountPathProblem(path);
  if (problem !== undefined) return problem;
  const own = ownFolders.find((folder) => path === folder || path.startsWith(`${folder}/`));
  return own === undefined ? undefined : `is in \`${own}\`, which is the sandbox's own`;
}
