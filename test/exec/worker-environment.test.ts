// EDGEDAG_TASK of a Python worker, which is overwritten where it stands from the 256th call on.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";

const folder = join(import.meta.dirname, "../../agent/exec/workers/python");
const start = `
import os, subprocess, sys
package = type(sys)("edgedag_worker")
package.__path__ = [${JSON.stringify(folder)}]
sys.modules["edgedag_worker"] = package
from edgedag_worker.environment import CALLS_BEFORE_IN_PLACE, Environment
environment = Environment()

def seen():
    words = ["sh", "-c", 'printf %s "\${EDGEDAG_TASK-none} \${OWN-none}"']
    return subprocess.run(words, stdout=subprocess.PIPE).stdout.decode()

def enter(task, **more):
    environment.enter(dict(more, task=task, attempt=1))
    return seen()
`;

/** What the program prints, a line each. */
function python(program: string): string[] {
  const text = execFileSync("python3", ["-c", start + program], { encoding: "utf8" });
  return text.trimEnd().split("\n");
}

t.test("children see the task's name, whatever was done to it", async (t) => {
  const lines = python(`
print(enter("first", env={"PATH": os.environ["PATH"]}))
for number in range(2 * CALLS_BEFORE_IN_PLACE):
    environment.enter({"task": "t%d" % number, "attempt": 1})
print(seen(), environment._in_place is not None)
long = "x" * 5000
print(enter(long) == long + " none", enter("y"))
os.environ["EDGEDAG_TASK"] = "mine"
print(seen(), environment.changed())
environment.restore()
print(seen())
del os.environ["EDGEDAG_TASK"]
print(seen())
environment.restore()
print(seen(), enter("z"))
print(enter("own", own={"OWN": "1"}), enter("after"))
`);
  t.strictSame(lines, [
    "first none",
    "t511 none True",
    "True y none",
    "mine none True",
    "y none",
    "none none",
    "y none z none",
    "own 1 after none",
  ]);
});

t.test("a worker does not grow with the names of its tasks", async (t) => {
  const [grown] = python(`
from resource import RUSAGE_SELF, getrusage
peak = lambda: getrusage(RUSAGE_SELF).ru_maxrss
for number in range(100_000):
    environment.enter({"task": "task-%d" % number, "attempt": 1})
    if number == 1000:
        before = peak()
print(peak() - before)
`);
  // With setenv it is 8,000.
  t.ok(Number(grown) < 1000, `${grown} KiB`);
});
