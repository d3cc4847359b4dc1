// Data of users on its way through templates, workers and result files: it arrives as it is, and
// what is no result is said to be none.
import t from "tap";
import { AgentRig } from "./agent-rig.ts";

const echo =
  "def echo(**a):\n  from edgedag import inputs\n  return [a, inputs['params'], inputs.get('item')]\n";

t.test("objects that look like references arrive as data, from wherever they come", async (t) => {
  await using rig = await AgentRig.start();
  const lookAlike = { $ref: { file: "/etc/hostname" } };
  const yaml = JSON.stringify({
    dag: "refs",
    params: { given: null, name: "/etc/hostname" },
    tasks: {
      constant: { python: { code: echo, function: "echo" }, args: { c: lookAlike } },
      built: {
        python: { code: echo, function: "echo" },
        args: { b: { $ref: { file: "{{ params.name }}" } }, p: "{{ params.given }}" },
      },
      whole: { node: { code: "export const f = (a) => a;", function: "f" }, args: lookAlike },
      items: {
        map: [lookAlike],
        python: { code: echo, function: "echo" },
        args: { i: "{{ item }}" },
      },
      later: {
        needs: ["constant"],
        python: { code: echo, function: "echo" },
        args: { r: "{{ needs.constant.result[0].c }}", d: "{{ needs.constant.result | first }}" },
      },
    },
  });
  await rig.accept("refs", yaml, { given: lookAlike });
  t.strictSame((await rig.end("refs")).outcome, { kind: "succeeded" });
  const params = { given: lookAlike, name: "/etc/hostname" };
  const result = (task: string) => rig.ends.get(`${task}#1`)?.[0]?.result;
  t.strictSame(result("constant"), [{ c: lookAlike }, params, null]);
  t.strictSame(result("built"), [{ b: lookAlike, p: lookAlike }, params, null]);
  t.strictSame(result("whole"), lookAlike);
  t.strictSame(result("items[0]"), [{ i: lookAlike }, params, lookAlike]);
  t.strictSame(result("later"), [{ r: lookAlike, d: { c: lookAlike } }, params, null]);
});

const bad: [name: string, script: string, detail: RegExp][] = [
  ["link", "echo 1 > one; ln -s $PWD/one $EDGEDAG_RESULT", /not a regular file/],
  ["pipe", "mkfifo $EDGEDAG_RESULT", /not a regular file/],
  ["folder", "mkdir $EDGEDAG_RESULT", /not a regular file/],
  [
    "socket",
    "python3 -c 'import os,socket;socket.socket(socket.AF_UNIX).bind(os.environ[\"EDGEDAG_RESULT\"])'",
    /not a regular file/,
  ],
  ["text", "echo no json > $EDGEDAG_RESULT", /is not JSON/],
  ["deep", 'python3 -c \'print("["*30000+"]"*30000)\' > $EDGEDAG_RESULT', /nested more than/],
  ["deepLarge", 'python3 -c \'print("["*90000+"]"*90000)\' > $EDGEDAG_RESULT', /nested more than/],
];

t.test("a program that leaves no good result fails, and the run goes on", async (t) => {
  await using rig = await AgentRig.start();
  const tasks = Object.fromEntries(
    bad.map(([name, script]) => [name, { shell: script, retries: 0 }]),
  );
  await rig.accept(
    "bad",
    JSON.stringify({ dag: "bad", tasks: { ...tasks, good: { shell: "true" } } }),
  );
  const { summary } = await rig.end("bad");
  t.equal(summary.succeeded, 1);
  for (const [name, , detail] of bad) {
    const failure = rig.failure(`${name}#1`);
    t.match(failure, { reason: "bad-result", detail }, name);
  }
  t.notMatch(rig.said.join("\n"), /a bug of edgedag/);
});

t.test("a function whose result is nested too deeply fails alone", async (t) => {
  await using rig = await AgentRig.start();
  const code =
    "export const f = () => { let a = []; for (let i = 0; i < 2000; i++) a = [a]; return a; };";
  await rig.accept(
    "deep",
    JSON.stringify({ dag: "deep", tasks: { f: { node: { code, function: "f" }, retries: 0 } } }),
  );
  await rig.end("deep");
  t.match(rig.failure("f#1"), { reason: "bad-result", detail: /nested/ });
});

t.test("a large result that is gone fails what needs it, not the run's agent", async (t) => {
  await using rig = await AgentRig.start();
  const yaml = `
dag: gone
tasks:
  large: { shell: 'python3 -c "print(list(range(30000)))" > $EDGEDAG_RESULT' }
  other: { shell: 'python3 -c "print(list(range(30000)))" > $EDGEDAG_RESULT' }
  remover: { needs: [large, other], shell: 'rm "$EDGEDAG_SHM"/large*' }
  user: { needs: [large, remover], shell: 'true', retries: { lost: 0 }, env: { N: '{{ needs.large.result | length }}' } }
  asked: { needs: [large, remover], when: '{{ needs.large.result | length }}', shell: 'true' }
`;
  await rig.accept("gone", yaml);
  t.equal((await rig.end("gone")).outcome.kind, "failed");
  t.match(rig.failure("user#1"), { reason: "lost", detail: /can no longer be read/ });
  t.match(rig.tasks.get("asked"), { kind: "failed", failure: { reason: "bad-result" } });
  const log = await rig.log("gone");
  t.ok(log.some(({ text }) => text?.includes("asked") && text.includes("can no longer be read")));
  t.notMatch(rig.said.join("\n"), /a bug of edgedag/);
});
