// The door of a queue: programs in each language, what they get, what they leave, how they end.
import t from "tap";
import type { Accepted, ApiError, Task } from "./answers.ts";
import { Service } from "./serve-rig.ts";

const service = await Service.start();
t.teardown(() => service.end());

async function submit(body: object): Promise<string> {
  const { status, value, text } = await service.post<Accepted>("/submit", body);
  if (status !== 202) throw new Error(`POST /submit answered ${status}: ${text}`);
  return value.task_id;
}

async function ended(id: string): Promise<Task> {
  const { value } = await service.get<Task>(`/result/${id}?wait=60s`);
  return value;
}

async function run(body: object): Promise<Task> {
  return await ended(await submit(body));
}

// Each reads a line, prints it with its first argument, writes to stderr, and ends with 3.
const programs: { [language: string]: string } = {
  python:
    "import sys\nprint(sys.stdin.readline().strip(), sys.argv[1])\nprint('aside', file=sys.stderr)\nsys.exit(3)\n",
  nodejs:
    "const line = require('node:fs').readFileSync(0, 'utf8').trim();\nconsole.log(line, process.argv[2]);\nconsole.error('aside');\nprocess.exitCode = 3;\n",
  typescript:
    "import { readFileSync } from 'node:fs';\nconst line: string = readFileSync(0, 'utf8').trim();\nconsole.log(line, process.argv[2]);\nconsole.error('aside');\nprocess.exitCode = 3;\n",
  bash: 'read -r line\necho "$line" "$1"\necho aside >&2\nexit 3\n',
  c: '#include <stdio.h>\nint main(int n, char **a) { char line[80]; scanf("%79s", line); printf("%s %s\\n", line, a[1]); fprintf(stderr, "aside\\n"); return n + 1; }\n',
  cpp: '#include <iostream>\n#include <string>\nint main(int n, char **a) { std::string line; std::getline(std::cin, line); std::cout << line << " " << a[1] << std::endl; std::cerr << "aside\\n"; return n + 1; }\n',
  java: 'import java.util.Scanner;\npublic class Main { public static void main(String[] a) { String line = new Scanner(System.in).nextLine(); System.out.println(line + " " + a[0]); System.err.println("aside"); System.exit(3); } }\n',
  go: 'package main\nimport ("fmt"; "os")\nfunc main() { var line string; fmt.Scanln(&line); fmt.Println(line, os.Args[1]); fmt.Fprintln(os.Stderr, "aside"); os.Exit(3) }\n',
  rust: 'use std::io;\nfn main() { let mut line = String::new(); io::stdin().read_line(&mut line).unwrap(); println!("{} {}", line.trim(), std::env::args().nth(1).unwrap()); eprintln!("aside"); std::process::exit(3); }\n',
};

t.test("each language reads its input and its arguments, and its end is told", async (t) => {
  const { value } = await service.get<{ nodes: { languages: string[] }[] }>("/resources");
  const known = value.nodes[0]?.languages ?? [];
  await Promise.all(
    Object.entries(programs).map(async ([language, code]) => {
      const name = language === "nodejs" ? "javascript" : language;
      if (!known.includes(name) && language !== "python") {
        t.comment(`${language} is not installed here`);
        return;
      }
      const task = await run({
        language,
        code,
        stdin: "line\n",
        args: ["first"],
        limits: { timeout: "60s", memory: "1Gi" },
      });
      const shown = `${language}: ${JSON.stringify(task)}`;
      t.match(task, { state: "failed", language, attempt: 1, exit_code: 3 }, shown);
      t.equal(task.stdout, "line first\n", shown);
      t.equal(task.stderr, "aside\n", shown);
      t.match(task.error, { class: "Execution", reason: "exit-code", fault: "task" }, shown);
    }),
  );
});

t.test("a task's life: queued, then its end with times, usage, level and node", async (t) => {
  const before = Date.now();
  const { status, value } = await service.post<Accepted>("/submit", {
    language: "python",
    code: "import time\ntime.sleep(0.1)\nprint('done')\n",
  });
  t.equal(status, 202);
  t.match(value, { task_id: /^[A-Za-z0-9._-]{8,}$/, state: "queued" });
  const task = await ended(value.task_id);
  t.match(task, {
    id: value.task_id,
    state: "succeeded",
    exit_code: 0,
    stdout: "done\n",
    stderr: "",
  });
  t.match(task, { priority: 5, language: "python", isolation: "seccomp", node: "box", files: [] });
  const { created_at, started_at = 0, finished_at = 0, queue_ms = -1, usage = {} } = task;
  t.ok(before - 5 <= created_at && created_at <= started_at, `${created_at}, ${started_at}`);
  t.ok(started_at + 95 <= finished_at && finished_at <= Date.now() + 5, `${finished_at}`);
  t.ok(queue_ms >= 0 && queue_ms < 20_000, `${queue_ms}`);
  t.ok((usage.wall_ms ?? 0) >= 100, JSON.stringify(usage));
  for (const name of ["cpu_user_ms", "peak_memory_bytes", "stdout_bytes"]) {
    t.ok((usage[name] ?? 0) > 0, `${name}: ${JSON.stringify(usage)}`);
  }
});

t.test("waiting: not at all, for a time, until the end", async (t) => {
  const id = await submit({
    language: "bash",
    code: "read -r _ </dev/zero",
    limits: { timeout: "20s" },
  });
  const now = await service.get<Task>(`/result/${id}`);
  t.match(now.value.state, /^(queued|running)$/);
  const since = performance.now();
  const later = await service.get<Task>(`/result/${id}?wait=300ms`);
  const waitedMs = performance.now() - since;
  t.match(later.value.state, /^(queued|running)$/);
  t.ok(waitedMs >= 290 && waitedMs < 5000, `${waitedMs} ms`);
  const end = ended(id);
  t.match((await service.post<Task>(`/cancel/${id}`)).value.id, id);
  t.match(await end, { state: "cancelled" }, "whoever waits hears at once");
  t.ok(performance.now() - since < 15_000);
  for (const wait of ["soon", "-1", "1y"]) {
    const { status, value } = await service.get<ApiError>(`/result/${id}?wait=${wait}`);
    t.equal(status, 400, wait);
    t.equal(value.error.class, "Validation");
  }
  t.equal((await service.get(`/result/${id}?wait=2`)).status, 200, "a bare number is seconds");
});

t.test("environment: what is given, and nothing of the service's own", async (t) => {
  const code = "import os, json\nprint(json.dumps(dict(os.environ)))\n";
  const task = await run({ language: "python", code, env: { MINE: "ü $HOME {{x}}", EMPTY: "" } });
  const env = JSON.parse(task.stdout ?? "{}") as { [name: string]: string };
  t.match(env, { MINE: "ü $HOME {{x}}", EMPTY: "" });
  const secret = /TOKEN|API_KEYS|DATABASE|AMQP|REDIS|EDGEDAG_(?:STATE|DATA|LISTEN|MASTER)/;
  t.same(
    Object.keys(env).filter((name) => secret.test(name)),
    [],
  );
});

t.test("files: text, bytes, programs, in folders; and outputs, to the byte", async (t) => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
  const task = await run({
    language: "bash",
    code: "./bin/tool.sh >made.txt\ncat in/data.bin in/data.bin >out/twice.bin\nhead -c 0 in/t.txt >out/empty\necho no >not-wanted\n",
    files: {
      "in/t.txt": "text ü\n",
      "in/data.bin": { base64: bytes.toString("base64") },
      "bin/tool.sh": { text: "#!/bin/sh\ncat in/t.txt\n", executable: true },
      "out/.keep": "",
    },
    outputs: ["out/*", "made.txt", "absent*"],
  });
  t.match(task, { state: "succeeded" }, JSON.stringify(task));
  const found = Object.fromEntries((task.files ?? []).map(({ name, size }) => [name, size]));
  t.match(found, { "made.txt": 8, "out/twice.bin": 512, "out/empty": 0 });
  t.notOk("not-wanted" in found);
  const made = await service.get(`/result/${task.id}/files/made.txt`);
  t.equal(made.status, 200);
  t.equal(made.text, "text ü\n");
  t.match(made.headers.get("content-type"), /^application\/octet-stream/);
  t.match(made.headers.get("content-disposition"), /^attachment/);
  const twice = await fetch(`${service.url}/result/${task.id}/files/out/twice.bin`);
  t.same(Buffer.from(await twice.arrayBuffer()), Buffer.concat([bytes, bytes]));
  for (const name of ["absent", "../made.txt", "..%2f..%2fetc%2fpasswd", "out"]) {
    t.equal((await service.get(`/result/${task.id}/files/${name}`)).status, 404, name);
  }
});

t.test("limits: time, memory, output, processes, disk, processor time", async (t) => {
  const cases: [limits: object, language: string, code: string, error: object][] = [
    [{ timeout: "300ms" }, "python", "while True: pass", { class: "Timeout", reason: "timeout" }],
    [{ timeout: 0.3 }, "bash", "sleep 30", { class: "Timeout", reason: "timeout" }],
    [
      { memory: "64Mi" },
      "python",
      "x = bytearray(200 * 2**20)",
      { class: "Resource", reason: "out-of-memory" },
    ],
    [
      { output: "10Ki" },
      "python",
      "while True: print('x' * 99)",
      { class: "Resource", reason: "output-limit" },
    ],
    [
      { pids: 10 },
      "bash",
      "for n in $(seq 50); do sleep 20 & done; wait",
      { class: "Resource", reason: "pids-limit" },
    ],
    [
      { disk: "2Mi" },
      "bash",
      "head -c 9000000 /dev/zero >file",
      { class: "Resource", reason: "disk-limit" },
    ],
    [
      { cpu_time: "300ms", timeout: "10s" },
      "python",
      "while True: pass",
      { class: "Timeout", reason: "cpu-time" },
    ],
  ];
  await Promise.all(
    cases.map(async ([limits, language, code, error]) => {
      const task = await run({ language, code, limits });
      const shown = `${JSON.stringify(limits)}: ${JSON.stringify(task).slice(0, 500)}`;
      t.match(task, { state: "failed", error: { ...error, fault: "limit" } }, shown);
    }),
  );
  const little = await run({
    language: "python",
    code: "while True: print('x' * 99)",
    limits: { output: 1000 },
  });
  t.equal(little.stdout?.length, 1000, "what fits is kept");
});

t.test("code that cannot be compiled says where, and a crash its signal", async (t) => {
  const [bad, crash, unsound] = await Promise.all([
    run({ language: "c", code: "int main(void) {\n  return nothing;\n}\n" }),
    run({
      language: "c",
      code: "#include <signal.h>\nint main(void) { raise(SIGSEGV); return 0; }\n",
    }),
    run({ language: "python", code: "print(" }),
  ]);
  t.match(bad, { state: "failed" });
  t.match(`${bad.stderr}${bad.error?.message}`, /:2:\d+: error: .*nothing/);
  t.match(crash, {
    state: "failed",
    signal: "SIGSEGV",
    error: { reason: "signal", class: "Execution" },
  });
  t.match(unsound, { state: "failed", exit_code: 1, stderr: /SyntaxError/ });
});

t.test("other names of languages are taken", async (t) => {
  for (const language of ["py", "Python3", "js", "node", "sh"]) {
    const code = /py/i.test(language)
      ? "print(1)"
      : language === "sh"
        ? "echo 1"
        : "console.log(1)";
    t.match(await run({ language, code }), { state: "succeeded", stdout: "1\n" }, language);
  }
});

t.test("a task is cancelled while it runs; once more says how it ended", async (t) => {
  const id = await submit({
    language: "bash",
    code: "echo here; sleep 600",
    limits: { timeout: "2m" },
  });
  await service.get(`/result/${id}?wait=300ms`);
  const { status, value } = await service.post<Task>(`/cancel/${id}`);
  t.equal(status, 200);
  t.match(value.state, /^(running|cancelled)$/);
  const task = await ended(id);
  t.match(task, { state: "cancelled" });
  t.notOk(task.error, "it is nobody's fault");
  const again = await service.post<Task>(`/cancel/${id}`);
  t.match(again, { status: 200, value: { state: "cancelled" } });
  const done = await run({ language: "bash", code: "true" });
  t.match((await service.post<Task>(`/cancel/${done.id}`)).value, { state: "succeeded" });
});

t.test("what is not there is 404, without telling more", async (t) => {
  for (const path of [
    "/result/nothing",
    "/result/0mf1k2j3h40000-9c51e0a2b7d4",
    "/result/..%2f..",
    "/result/nothing/stream",
  ]) {
    const { status, value } = await service.get<ApiError>(path);
    t.equal(status, 404, path);
    t.match(value.error, { class: "Resource", code: /^E_/, message: /./, remedy: /./ });
  }
  t.equal((await service.post("/cancel/nothing")).status, 404);
});
