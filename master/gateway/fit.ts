// Whether a node can run a DAG: runtimes, isolation levels, size of its tasks, labels. Pure. Anything that is
// not known of a node counts as absent: a run is never placed on a guess. Languages of `code` tasks are
// the node's to judge, whose registry knows their aliases: it refuses, and the run goes elsewhere.
import type { DagArtifact } from "../../protocol/artifact.ts";
import type { NodeRow, RunRow } from "../storage/storage.ts";

/** Why the node cannot run it, as a sentence; undefined when it can. */
export function whyUnfit(
  node: NodeRow,
  run: Pick<RunRow, "labels">,
  artifact: DagArtifact,
): string | undefined {
  for (const [name, value] of Object.entries(run.labels)) {
    if (node.labels[name] !== value) return `has not the label ${name}=${value}`;
  }
  const { languages, levels, cores, memoryBytes, gpus = 0 } = node.capabilities;
  for (const { key, attributes } of artifact.dag.nodes) {
    const { kind } = attributes.run;
    if ((kind === "python" || kind === "node") && !Object.hasOwn(languages, kind)) {
      const name = kind === "node" ? "Node.js" : "Python";
      return `has no ${name}, which task ${key} needs`;
    }
    if (!levels.includes(attributes.isolation)) {
      return `does not hold isolation level ${attributes.isolation}, which task ${key} asks for`;
    }
    const cpu = attributes.resources?.cpu ?? 0;
    if (cpu > cores) return `has ${cores} cores, task ${key} asks for ${cpu}`;
    const gpu = attributes.resources?.gpu ?? 0;
    if (gpu > gpus) return `has ${gpus} GPUs, task ${key} asks for ${gpu}`;
    const memory = attributes.resources?.memoryBytes ?? 0;
    if (memory > memoryBytes) {
      return `has ${memoryBytes} bytes of memory, task ${key} asks for ${memory}`;
    }
  }
  return undefined;
}
