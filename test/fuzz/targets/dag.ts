// DAG documents: YAML, JSON, the serialized form. What is accepted is written and read again.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeDag, parseDagText } from "../../../protocol/load-dag.ts";
import { templateFilters } from "../../../protocol/template-filters.ts";
import { must, shown, type Target } from "../target.ts";
import { mustBeDiagnostics } from "./diagnostics.ts";

const root = join(import.meta.dirname, "../../..");

export const dagWords: readonly string[] = [
  ..."dag tasks exit defaults params pools description command shell python node code language needs on map when wait_for timeout retries limit backoff isolation limits memory cpu pids outputs inputs files env secrets args priority pool resources gpu concurrency counter allow_failure stdin mounts network syscalls success failure any none subprocess seccomp docker gvisor attributes nodes edges options key source target type directed multi allowSelfLoops".split(
    " ",
  ),
  "{{ needs.a.result }}",
  "{{ item }}",
  "{{ params.x | default(1) }}",
  ...[...templateFilters.keys()].map((name) => ` | ${name}`),
  "&a",
  "*a",
  "<<: *a",
  "- ",
  "? ",
  "!!binary",
  "!!set",
  "!!timestamp",
  "|-\n",
  ">+2\n",
  "---\n",
  "...\n",
  "%YAML 1.2\n",
  "\t",
  "\n  ",
  "60s",
  "256Mi",
  "a.py:f",
];

const small = [
  "dag: a\ntasks:\n  x: { command: [echo, hi] }\n  y: { shell: 'echo {{ needs.x.result }}', needs: [x] }\n",
  "dag: a\ntasks:\n  x: { python: 'a.py:f', map: '{{ params.l }}', retries: { limit: 2, backoff: 1s } }\nparams: { l: [1, 2] }\n",
  "dag: a\npools: { p: 2 }\ntasks:\n  x: { node: 'a.ts:f', pool: p, needs: [{ task: y, on: failure }] }\n  y: { command: [a], limits: { memory: 256Mi }, isolation: seccomp }\nexit:\n  z: { shell: rm x }\n",
  '{"dag":"a","tasks":{"x":{"command":["a"]},"y":{"command":["b"],"needs":["x"],"when":"{{ needs.x.outcome | eq(\\"succeeded\\") }}"}}}',
  "dag: a\ntasks: { x: &b { command: [a] }, y: { <<: *b, needs: [x] } }\n",
  "dag: a\ntasks:\n  c: { code: 'print(1)', language: python, isolation: gvisor, env: { A: b }, secrets: [S] }\n",
];

export function open(): Target {
  return {
    covers: /\/protocol\/(?!.*(?:link|outbox|snippet)).*\.ts$/,
    dictionary: dagWords,
    seeds: () => {
      const found: (Buffer | string)[] = [...small];
      const examples = join(root, "dag-examples");
      for (const folder of readdirSync(examples, { withFileTypes: true })) {
        if (!folder.isDirectory()) continue;
        for (const name of readdirSync(join(examples, folder.name))) {
          if (/\.(ya?ml|json)$/.test(name))
            found.push(readFileSync(join(examples, folder.name, name)));
        }
      }
      return found.filter((seed) => seed.length < 16_000);
    },
    async run(input) {
      const text = input.toString("utf8");
      const asYaml = await parseDagText(text);
      await judge(asYaml);
      if (/^\s*[[{]/.test(text)) await judge(await parseDagText(text, { path: "a.json" }));
    },
  };
}

export async function judge(result: Awaited<ReturnType<typeof parseDagText>>): Promise<void> {
  if (!result.ok) {
    mustBeDiagnostics(result.diagnostics);
    return;
  }
  const text = JSON.stringify(result.value);
  const again = await decodeDag(JSON.parse(text));
  must(
    again.ok,
    `what it accepted is refused when it is written: ${shown(again)} of ${shown(text)}`,
  );
  const twice = JSON.stringify(again.value);
  must(twice === text, `it is another document when it is read again: ${shown(twice)}`);
  const fromText = await parseDagText(text, { path: "x.json" });
  must(fromText.ok && JSON.stringify(fromText.value) === text, "its text is another document");
}
