// Paths and patterns inside of a document or artifact: relative, with `/`, never upwards. Pure.

/** Why the path must not be used; undefined when it is fine. Patterns are checked the same way. */
export function pathProblem(path: string): string | undefined {
  if (path === "") return "it is empty";
  if (path.length > 4096) return "it is longer than 4096 characters";
  if (path.includes("\0")) return "it holds a NUL character";
  if (path.includes("\\")) return "it holds a backslash; the separator is `/`";
  if (path.startsWith("/") || /^[A-Za-z]:/.test(path)) return "it is absolute";
  if (path.split("/").includes("..")) return "it leads upwards with `..`";
  return undefined;
}

/** As `pathProblem`, and also without empty or `.` segments: one spelling for one file. */
export function artifactPathProblem(path: string): string | undefined {
  const problem = pathProblem(path);
  if (problem !== undefined) return problem;
  const isPlain = path.split("/").every((segment) => segment !== "" && segment !== ".");
  return isPlain ? undefined : "it holds an empty segment or `.`";
}
