// Checks between the fields of one task: what its isolation level cannot give is refused here and
// never left out in silence when it runs. Called by `load-dag.ts` on the whole document.
import type { TaskAttributes } from "./dag.ts";
import type { Draft } from "./draft.ts";
import { type Findings, type PathSegment, pathText } from "./findings.ts";

export function checkTasks({ document, places }: Draft, findings: Findings): void {
  for (const [node, { key, attributes }] of document.nodes.entries()) {
    if (findings.isFull) return;
    if (attributes.isolation === "none") checkUnconfined(attributes, addLevel);
    const { sandbox, inputs, secrets, env } = attributes;
    if (secrets !== undefined) checkSecrets(Object.keys(secrets), env ?? {});
    if (sandbox !== undefined) {
      if (attributes.isolation === "none" || attributes.isolation === "subprocess") {
        if (Object.keys(sandbox).length > 0) {
          addLevel(["sandbox"], "`sandbox` opens what only `seccomp` and above close", "seccomp");
        }
      }
      checkTargets(sandbox.mounts?.map(({ target }) => target) ?? []);
    }
    if (inputs !== undefined) checkClashes(new Set(Object.keys(inputs)));

    function addLevel(field: PathSegment[], what: string, level: string): void {
      findings.add(
        "E_DAG_ISOLATION",
        pathText(places.field(node, field)),
        `${what}, and task \`${key}\` has isolation \`${attributes.isolation}\`.`,
        `Set \`isolation: ${level}\` or higher, or leave the field out.`,
      );
    }

    function checkSecrets(variables: readonly string[], env: { [name: string]: string }): void {
      for (const variable of variables) {
        const path = pathText(places.field(node, ["secrets", variable]));
        if (Object.hasOwn(env, variable)) {
          const message = `Task \`${key}\` has the variable \`${variable}\` from \`env\` and from a secret.`;
          findings.add("E_DAG_DUPLICATE", path, message, "Keep one of them.");
        }
        if (variable.startsWith("EDGEDAG_") || variable === "PATH") {
          const message = `The variable \`${variable}\` is the agent's own.`;
          findings.add("E_DAG_FIELD", path, message, "Give the secret a variable of another name.");
        }
      }
    }

    function checkTargets(targets: readonly string[]): void {
      for (const [i, target] of targets.entries()) {
        if (targets.indexOf(target) === i) continue;
        findings.add(
          "E_DAG_DUPLICATE",
          pathText(places.field(node, ["sandbox", "mounts", i, "target"])),
          `Task \`${key}\` mounts ${JSON.stringify(target)} twice.`,
          "Give each mount a target of its own.",
        );
      }
    }

    /** A file cannot also be a folder of another one. */
    function checkClashes(paths: ReadonlySet<string>): void {
      for (const path of paths) {
        const segments = path.split("/");
        const parents = segments.map((_, i) => segments.slice(0, i).join("/"));
        const clash = parents.find((parent) => paths.has(parent));
        if (clash === undefined) continue;
        findings.add(
          "E_DAG_DUPLICATE",
          pathText(places.field(node, ["inputs", path])),
          `${JSON.stringify(path)} is below ${JSON.stringify(clash)}, which is a file.`,
          "Rename one of them.",
        );
      }
    }
  }
}

/** At `none` a task shares the run's working folder, and functions a worker with other tasks. */
function checkUnconfined(
  { run, stdin, inputs, limits }: TaskAttributes,
  add: (field: PathSegment[], what: string, level: string) => void,
): void {
  const isFunction = run.kind === "python" || run.kind === "node";
  if (stdin !== undefined && isFunction) {
    add(["stdin"], "The `stdin` of a function needs a process of its own", "subprocess");
  }
  if (inputs !== undefined) {
    add(["inputs"], "`inputs` need a working folder of the task's own", "subprocess");
  }
  for (const name of ["cpus", "pids", "diskBytes"] as const) {
    if (limits?.[name] === undefined) continue;
    add(["limits", name], "This limit is held only from `subprocess` on", "subprocess");
  }
}
