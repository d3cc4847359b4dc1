// The DAG that chaos runs when none is given: short tasks of every kind, that write evidence of what
// they do. Everything but the attempts is the same in each run.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Returns the document's path. */
export async function writeBuiltIn(folder: string, outputMegabytes: number): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "tasks.py"), python);
  await writeFile(join(folder, "tasks.ts"), nodeJs);
  const path = join(folder, "dag.yaml");
  await writeFile(path, document(outputMegabytes));
  return path;
}

/** No fork: the time is read by the shell itself. */
const mark = (kind: "begin" | "end") =>
  `read up _ < /proc/uptime; echo "${kind} $EDGEDAG_RUN $EDGEDAG_TASK $EDGEDAG_ATTEMPT \${up%.*}\${up#*.}0000000 $$" >> "$CHAOS_EVIDENCE"`;

const document = (outputMegabytes: number) => `dag: chaos
defaults: { retries: { limit: 100, lost: 1000, backoff: 5ms, max_backoff: 20ms }, timeout: 60s }
tasks:
  list: { python: "tasks.py:numbers" }
  squares:
    python: "tasks.py:square"
    needs: [list]
    map: "{{ needs.list.result }}"
    args: { n: "{{ item }}" }
  cubes:
    node: "tasks.ts:cube"
    needs: [squares]
    map: "{{ needs.squares.result }}"
    args: { n: "{{ item }}" }
  programs:
    needs: [list]
    map: "{{ needs.list.result }}"
    shell: |
      ${mark("begin")}
      seq 100; echo program {{ item }} >&2
      sleep 0.03
      echo {{ item }} > "$EDGEDAG_RESULT"
      ${mark("end")}
  link1: { python: "tasks.py:link", args: { value: 0 } }
${Array.from({ length: 9 }, (_, index) => `  link${index + 2}: { python: "tasks.py:link", needs: [link${index + 1}], args: { value: "{{ needs.link${index + 1}.result }}" } }`).join("\n")}
  flaky:
    shell: |
      ${mark("begin")}
      echo flaky
      [ "$EDGEDAG_ATTEMPT" -ge 3 ] || exit 7
      ${mark("end")}
  flood: { python: "tasks.py:flood", args: { megabytes: ${outputMegabytes} } }
  large: { python: "tasks.py:large", needs: [squares] }
  size: { node: "tasks.ts:size", needs: [large], args: { value: "{{ needs.large.result }}" } }
  file:
    needs: [programs]
    outputs: [big.txt, small.txt]
    shell: |
      ${mark("begin")}
      seq 60000 > big.txt; echo small > small.txt; echo wrote
      ${mark("end")}
  shelf: { python: "tasks.py:shelf" }
  teller: { python: "tasks.py:teller", needs: [shelf] }
  listener: { python: "tasks.py:listener", wait_for: { event: chaos.told, timeout: 100s } }
exit:
  last: { shell: '${mark("begin").replaceAll("'", "''")}; echo the run {{ run.outcome }}; ${mark("end").replaceAll("'", "''")}' }
`;

const python = `import os, sys, time
from edgedag import artifact, events, log, store

def mark(kind):
    env = os.environ
    line = "%s %s %s %s %d %d\\n" % (kind, env["EDGEDAG_RUN"], env["EDGEDAG_TASK"], env["EDGEDAG_ATTEMPT"], time.monotonic_ns(), os.getpid())
    file = os.open(env["CHAOS_EVIDENCE"], os.O_WRONLY | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)

def marked(function):
    def call(**args):
        mark("begin")
        result = function(**args)
        mark("end")
        return result
    return call

@marked
def numbers():
    return list(range(12))

@marked
def square(n):
    print("squaring", n)
    time.sleep(0.005)
    return n * n

@marked
def link(value):
    print("link", value)
    return value + 1

@marked
def flood(megabytes):
    line = "0123456789" * 9 + "012345678\\n"
    for number in range(megabytes * 100):
        sys.stdout.write(line * 100)
    return megabytes

@marked
def large():
    return ["x" * 100] * 5000

@marked
def shelf():
    store.set("shelf", "first")
    store.delete("authors", "readers")
    store.hset("authors", "a", "b")
    store.incr("readers")
    log.info("on the shelf", books=2)
    with open("shelf.txt", "w") as file:
        file.write("a\\nb\\n")
    artifact("shelf.txt")
    return [store.get("shelf"), store.hgetall("authors"), store.incr("readers")]

@marked
def teller():
    events.publish("chaos.told", {"by": "teller"})
    return "told"

@marked
def listener():
    print("heard")
    return "heard"
`;

const nodeJs = `import { appendFileSync } from "node:fs";

function mark(kind: string): void {
  const { EDGEDAG_RUN, EDGEDAG_TASK, EDGEDAG_ATTEMPT, CHAOS_EVIDENCE = "" } = process.env;
  const at = process.hrtime.bigint();
  appendFileSync(CHAOS_EVIDENCE, \`\${kind} \${EDGEDAG_RUN} \${EDGEDAG_TASK} \${EDGEDAG_ATTEMPT} \${at} \${process.pid}\\n\`);
}

export async function cube({ n }: { n: number }): Promise<number> {
  mark("begin");
  console.log("cubing", n);
  await new Promise((resolve) => setTimeout(resolve, 3));
  mark("end");
  return n ** 1.5;
}

export function size({ value }: { value: string[] }): number {
  mark("begin");
  mark("end");
  return value.join("").length;
}
`;
