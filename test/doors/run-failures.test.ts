// The door of a sandbox manager: each way in which a snippet can fail, in the words of its callers.
import t, { type Test } from "tap";
import type { RunAnswer } from "./answers.ts";
import { Service } from "./serve-rig.ts";

const service = await Service.start({
  SANDBOX_TIMEOUT: "2",
  SANDBOX_MAX_MEMORY: "128m",
  EDGEDAG_SNIPPET_OUTPUT: "64Ki",
  EDGEDAG_SNIPPET_SLOTS: "6",
});
t.teardown(() => service.end());

type Language = "python" | "nodejs";
interface Case {
  name: string;
  language: Language;
  code: string;
  answer: { [Field in keyof RunAnswer]?: unknown };
}

/** Whatever went wrong, there is no result, and what it used is told. */
async function fails(t: Test, { name, language, code, answer: wanted }: Case): Promise<void> {
  const answer = await service.run(language, code);
  t.match(answer, wanted, `${name}: ${JSON.stringify(answer).slice(0, 600)}`);
  t.notOk(answer.result?.present, `${name}: no result`);
  t.same(answer.artifacts, [], `${name}: no artifacts`);
  t.ok((answer.time_used_ms ?? 0) > 0, `${name}: its time`);
  t.ok((answer.memory_used_kb ?? 0) > 0, `${name}: its memory`);
  t.equal(answer.isolation, "seccomp", `${name}: its level`);
}

const programErrors: Case[] = [
  {
    name: "an exception",
    language: "python",
    code: "def main():\n    print('before')\n    raise ValueError('bad thing')\n",
    answer: {
      status: "program_error",
      exit_code: 1,
      stdout: "before\n",
      stderr:
        /^Traceback \(most recent call last\):\n[\s\S]*line 3, in main\n[\s\S]*\nValueError: bad thing\n?$/,
      runtime_error_type: "nonzero_exit",
    },
  },
  {
    name: "an exception while the module is loaded",
    language: "python",
    code: "import nothing_of_this_name\ndef main():\n    pass\n",
    answer: {
      status: "program_error",
      exit_code: 1,
      stderr: /ModuleNotFoundError: No module named/,
    },
  },
  {
    name: "a syntax error",
    language: "python",
    code: "def main(:\n    pass\n",
    answer: { status: "program_error", exit_code: 1, stderr: /line 1[\s\S]*SyntaxError: / },
  },
  {
    name: "no main",
    language: "python",
    code: "def mein():\n    pass\n",
    answer: { status: "program_error", exit_code: 1, stderr: /main/ },
  },
  {
    name: "no code at all",
    language: "python",
    code: "",
    answer: { status: "program_error", exit_code: 1, stderr: /main/ },
  },
  {
    name: "an exit code",
    language: "python",
    code: "import sys\ndef main():\n    print('x')\n    print('y', file=sys.stderr)\n    sys.exit(3)\n",
    answer: { status: "program_error", exit_code: 3, stdout: "x\n", stderr: "y\n" },
  },
  {
    name: "an exit with a text",
    language: "python",
    code: "import sys\ndef main():\n    sys.exit('the text')\n",
    answer: { status: "program_error", exit_code: 1, stderr: /the text/ },
  },
  {
    name: "a result that is no JSON",
    language: "python",
    code: "def main():\n    return {1, 2}\n",
    answer: { status: "program_error", exit_code: 1, stderr: /set/ },
  },
  {
    name: "an exception",
    language: "nodejs",
    code: "function main() {\n  console.log('before');\n  throw new TypeError('bad thing');\n}\n",
    answer: {
      status: "program_error",
      exit_code: 1,
      stdout: "before\n",
      stderr: /TypeError: bad thing\n +at main/,
      runtime_error_type: "nonzero_exit",
    },
  },
  {
    name: "a syntax error",
    language: "nodejs",
    code: "function main() {\n  let = = ;\n}\n",
    answer: { status: "program_error", exit_code: 1, stderr: /SyntaxError/ },
  },
  {
    name: "an exit code",
    language: "nodejs",
    code: "exports.main = () => { console.log('x'); process.exit(7); };",
    answer: { status: "program_error", exit_code: 7, stdout: "x\n" },
  },
  {
    name: "no main",
    language: "nodejs",
    code: "exports.start = () => 1;",
    answer: { status: "program_error", exit_code: 1, stderr: /main/ },
  },
  {
    name: "a result that is no JSON",
    language: "nodejs",
    code: "exports.main = () => 10n;",
    answer: { status: "program_error", exit_code: 1, stderr: /BigInt|bigint/ },
  },
  {
    name: "an uncaught exception in a timer",
    language: "nodejs",
    code: "exports.main = () => new Promise(() => { setTimeout(() => { throw new Error('late'); }, 5); });",
    answer: { status: "program_error", stderr: /Error: late/ },
  },
];

t.test("program_error: exceptions, exit codes, code that cannot be read", async (t) => {
  for (const one of programErrors) await fails(t, one);
});

t.test("exit code 0 is a success only where the interpreter says so", async (t) => {
  for (const [language, code] of [
    ["python", "import sys\ndef main():\n    print('x')\n    sys.exit(0)\n"],
    ["nodejs", "exports.main = () => { console.log('x'); process.exit(0); };"],
  ] as const) {
    const answer = await service.run(language, code);
    t.match(answer, { status: "success", exit_code: 0, stdout: "x\n", result: { value: null } });
  }
  const cut = await service.run("python", "import os\ndef main():\n    os._exit(0)\n");
  t.match(cut, { status: "program_error", stderr: /./ }, JSON.stringify(cut));
});

const timeouts: Case[] = [
  {
    language: "python",
    code: "def main():\n    print('on my way', flush=True)\n    while True:\n        pass\n",
  },
  { language: "python", code: "import time\nprint('on my way', flush=True)\ntime.sleep(60)\n" },
  {
    language: "python",
    code: "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef main():\n    print('on my way', flush=True)\n    while True:\n        time.sleep(1)\n",
  },
  { language: "nodejs", code: "exports.main = () => { console.log('on my way'); for (;;); };" },
  {
    language: "nodejs",
    code: "exports.main = () => { console.log('on my way'); return new Promise(() => { setInterval(() => {}, 1000); }); };",
  },
].map(({ language, code }, index) => ({
  name: `loop ${index}`,
  language: language as Language,
  code,
  answer: {
    status: "resource_limit_exceeded",
    resource_limit_type: "time",
    exit_code: -124,
    stdout: "on my way\n",
    stderr: /Execution timeout/,
  },
}));

t.test("a timeout is told in time: exit code -124", async (t) => {
  const since = performance.now();
  await Promise.all(timeouts.map((one) => fails(t, one)));
  // All at once: two seconds, and a grace for the one that does not want to end.
  t.ok(performance.now() - since < 15_000, `${performance.now() - since} ms`);
});

const memory: Case[] = [
  { language: "python", code: "def main():\n    return len(bytearray(400 * 1024 * 1024))\n" },
  {
    language: "python",
    code: "def main():\n    held = []\n    while True:\n        held.append('x' * 1_000_000 + str(len(held)))\n",
  },
  {
    language: "nodejs",
    code: "exports.main = () => { const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1)); };",
  },
  {
    language: "nodejs",
    code: "exports.main = () => { const a = []; for (;;) a.push({ b: new Array(1000).fill(0.5) }); };",
  },
].map(({ language, code }, index) => ({
  name: `hoard ${index}`,
  language: language as Language,
  code,
  answer: {
    status: "resource_limit_exceeded",
    resource_limit_type: "memory",
    exit_code: -137,
    stderr: /Memory limit exceeded/,
  },
}));

t.test("too much memory: exit code -137", async (t) => {
  for (const one of memory) await fails(t, one);
});

t.test("a MemoryError of Python's own is one of memory too", async (t) => {
  const code = "def main():\n    raise MemoryError()\n";
  t.match(await service.run("python", code), {
    status: "resource_limit_exceeded",
    resource_limit_type: "memory",
    stderr: /MemoryError/,
  });
});

t.test("too much output: what fits is kept", async (t) => {
  for (const [language, code] of [
    ["python", "def main():\n    while True:\n        print('0123456789' * 100)\n"],
    ["nodejs", "exports.main = () => { for (;;) console.log('0123456789'.repeat(100)); };"],
  ] as const) {
    const answer = await service.run(language, code);
    t.match(
      { ...answer, stdout: "" },
      { status: "resource_limit_exceeded", resource_limit_type: "output", stderr: /Output limit/ },
    );
    t.not(answer.exit_code, 0);
    const { length } = answer.stdout;
    t.ok(length > 32 * 1024 && length <= 64 * 1024, `${length} characters`);
    t.match(answer.stdout, /^(?:0123456789){100}\n/);
  }
});

const unauthorized: Case[] = [
  ["file_access", "python", "def main():\n    open('/etc/of-mine', 'w')\n"],
  ["file_access", "python", "def main():\n    open('/proc/1/mem', 'w')\n"],
  ["file_access", "nodejs", "exports.main = () => require('node:fs').writeFileSync('/usr/x', '');"],
  [
    "network_access",
    "python",
    "import socket\ndef main():\n    socket.create_connection(('192.0.2.1', 80), 1)\n",
  ],
  [
    "network_access",
    "python",
    "import urllib.request\ndef main():\n    urllib.request.urlopen('http://name.invalid', timeout=1)\n",
  ],
  ["network_access", "nodejs", "exports.main = () => fetch('http://192.0.2.1/');"],
  ["network_access", "nodejs", "exports.main = () => fetch('http://name.invalid/');"],
  ["disallowed_syscall", "python", "import os\ndef main():\n    os.chroot('/')\n"],
  ["disallowed_syscall", "python", "import socket\ndef main():\n    socket.sethostname('mine')\n"],
].map(([kind = "", language, code = ""], index) => ({
  name: `${kind} ${index}`,
  language: language as Language,
  code,
  answer: {
    status: "unauthorized_access",
    unauthorized_access_type: kind,
    exit_code: 1,
    stderr: /./,
  },
}));

t.test("unauthorized_access: files, network, system calls", async (t) => {
  for (const one of unauthorized) await fails(t, one);
});

t.test("ended by a signal: runtime_error, signalled", async (t) => {
  const kill = (name: string) =>
    `import os, signal\ndef main():\n    os.kill(os.getpid(), signal.${name})\n    signal.pause()\n`;
  for (const [name, number] of [
    ["SIGSEGV", 11],
    ["SIGABRT", 6],
    ["SIGKILL", 9],
    ["SIGTERM", 15],
  ] as const) {
    await fails(t, {
      name,
      language: "python",
      code: kill(name),
      answer: {
        status: "runtime_error",
        runtime_error_type: "signalled",
        exit_code: 128 + number,
        detail: new RegExp(name),
      },
    });
  }
});

t.test("a snippet cannot pass for another kind of end by what it prints", async (t) => {
  const code =
    "def main():\n    print('MemoryError\\nPermission denied\\nExecution timeout')\n    return 1\n";
  t.match(await service.run("python", code), { status: "success", exit_code: 0 });
});

t.test("after all of this, it serves as before", async (t) => {
  t.equal((await service.run("python", "def main():\n    return 1\n")).result?.value, 1);
});
