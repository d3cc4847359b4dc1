// Bombs and those who will not end: what every level above `none` must hold.
import { readdirSync } from "node:fs";
import { type Attack, bash, inGvisor, node, python } from "./attack.ts";

const mebibyte = 2 ** 20;

export const limitAttacks: readonly Attack[] = [
  {
    name: "fork-bomb",
    does: "forks for ever",
    isBomb: true,
    ends: ["pids-limit"],
    run: python(`
while True:
    try: os.fork()
    except OSError: pass`),
  },
  {
    name: "fork-bomb-bash",
    does: "is the classic fork bomb of the shell",
    isBomb: true,
    ends: ["pids-limit"],
    // The first shell stays, so that the bomb is not over with it.
    run: bash(":(){ :|:& };: ; sleep 60"),
  },
  {
    name: "fork-bomb-sessions",
    does: "forks for ever, each child into a session of its own",
    isBomb: true,
    ends: ["pids-limit"],
    run: python(`
while True:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: pass`),
  },
  {
    name: "fork-and-exit",
    does: "forks and lets the parent exit, for ever: a process that is never where one looks",
    isBomb: true,
    timeoutMs: 1500,
    ends: ["timeout", "pids-limit"],
    run: python(`
if os.fork() > 0: time.sleep(60)
while True:
    try:
        if os.fork() > 0: os._exit(0)
        os.setsid()
    except OSError: pass`),
  },
  {
    name: "thread-bomb",
    does: "starts threads for ever",
    isBomb: true,
    ends: ["pids-limit"],
    run: python(`
import threading
while True:
    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    except RuntimeError: pass`),
  },
  {
    name: "spawn-bomb-node",
    does: "starts programs for ever from Node.js",
    isBomb: true,
    ends: ["pids-limit"],
    run: node(`
const { spawn } = require("node:child_process");
setInterval(() => { for (let i = 0; i < 50; i++) spawn("sleep", ["60"]).on("error", () => {}); }, 1);`),
  },
  {
    name: "memory-bomb",
    does: "takes memory for ever",
    isBomb: true,
    ends: ["out-of-memory"],
    run: python(`
held = []
while True: held.append(b"x" * (8 << 20))`),
  },
  {
    name: "memory-bomb-children",
    does: "takes memory in many children, each below the limit",
    isBomb: true,
    ends: ["out-of-memory"],
    run: python(`
for _ in range(16):
    if os.fork() == 0:
        held = b"x" * (24 << 20); time.sleep(60)
time.sleep(60)`),
  },
  {
    name: "memory-bomb-mapped",
    does: "maps and touches shared anonymous memory",
    isBomb: true,
    ends: ["out-of-memory"],
    run: python(`
import mmap
held = []
while True:
    m = mmap.mmap(-1, 32 << 20)
    for at in range(0, 32 << 20, 4096): m[at] = 1
    held.append(m)`),
  },
  {
    name: "memory-bomb-memfd",
    does: "takes memory in anonymous files",
    isBomb: true,
    ends: ["out-of-memory", "exit-code", "disk-limit"],
    run: python(`
held = []
while True:
    fd = os.memfd_create("x"); held.append(fd)
    for _ in range(8): os.write(fd, b"x" * (4 << 20))`),
  },
  {
    name: "memory-bomb-node",
    does: "takes memory in buffers of Node.js",
    isBomb: true,
    ends: ["out-of-memory"],
    limits: { memoryBytes: 192 * mebibyte },
    run: node("const held = []; for (;;) held.push(Buffer.alloc(8 << 20, 1));"),
  },
  {
    name: "memory-caught",
    does: "lets a child run out of memory and then says that all is well",
    isBomb: true,
    ends: ["out-of-memory"],
    run: bash(`python3 -c 'x = []
while True: x.append(b"x" * (8 << 20))'; exit 0`),
  },
  {
    name: "tmp-bomb",
    does: "fills /tmp",
    isBomb: true,
    unclaimed: {
      subprocess: "/tmp is the host's; only the memory and the files of the task are limited",
    },
    run: python(`
n = 0
try:
    with open("/tmp/bomb", "wb", buffering=0) as f:
        while n < (1200 << 20): n += f.write(b"x" * (1 << 20))
except OSError as e: print(e)
finally:
    if n > (700 << 20): BREACH("%d bytes in /tmp" % n)
    try: os.unlink("/tmp/bomb")
    except OSError: pass`),
  },
  {
    name: "shm-bomb",
    does: "fills /dev/shm",
    isBomb: true,
    run: python(`
n = 0
try:
    with open("/dev/shm/edgedag-bomb", "wb", buffering=0) as f:
        while n < (700 << 20): n += f.write(b"x" * (1 << 20))
    BREACH("%d bytes in /dev/shm" % n)
except OSError as e: print(e)
finally:
    try: os.unlink("/dev/shm/edgedag-bomb")
    except OSError: pass`),
  },
  {
    name: "disk-bomb",
    does: "writes a file for ever",
    isBomb: true,
    ends: ["disk-limit"],
    limits: { diskBytes: 32 * mebibyte },
    run: python(`
with open("bomb", "wb", buffering=0) as f:
    n = 0
    while True:
        n += f.write(b"x" * (1 << 20))
        if n > (64 << 20): BREACH("%d bytes on disk" % n); break`),
  },
  {
    name: "disk-bomb-files",
    does: "writes many files, each below the limit",
    isBomb: true,
    ends: ["disk-limit"],
    limits: { diskBytes: 32 * mebibyte, fileSizeBytes: 4 * mebibyte },
    run: python(`
for i in range(64):
    with open("bomb%d" % i, "wb", buffering=0) as f: f.write(b"x" * (2 << 20))
BREACH("128 MiB on disk")`),
  },
  {
    name: "file-size",
    does: "writes one file over the size limit",
    ends: ["disk-limit"],
    limits: { fileSizeBytes: mebibyte },
    run: python(`
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
with open("bomb", "wb", buffering=0) as f:
    for _ in range(4): f.write(b"x" * (1 << 20))
BREACH("4 MiB in one file")`),
  },
  {
    name: "inode-bomb",
    does: "makes empty files for ever",
    isBomb: true,
    limits: { diskBytes: 32 * mebibyte },
    run: python(`
n = 0
try:
    while n < 300000: os.close(os.open("f%d" % n, os.O_CREAT | os.O_WRONLY)); n += 1
    BREACH("%d files" % n)
except OSError as e: print(n, e); sys.exit(1)`),
  },
  {
    name: "fd-bomb",
    does: "opens files for ever",
    limits: { openFiles: 64 },
    run: python(`
held = []
try:
    while len(held) < 5000: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as e: print(len(held), e)
if len(held) > 64: BREACH("%d descriptors" % len(held))`),
  },
  {
    name: "pipe-bomb",
    does: "fills pipes with data that nobody reads",
    isBomb: true,
    run: python(`
import fcntl
held = []
try:
    while len(held) < 20000:
        r, w = os.pipe(); held += [r, w]
        try: fcntl.fcntl(w, 1031, 1 << 20)
        except OSError: pass
        os.set_blocking(w, False)
        try: os.write(w, b"x" * (1 << 20))
        except BlockingIOError: pass
    BREACH("%d pipes" % len(held))
except OSError as e: print(len(held), e)`),
  },
  {
    name: "socket-bomb",
    does: "fills socket pairs with data that nobody reads",
    isBomb: true,
    run: python(`
held = []
try:
    while len(held) < 20000:
        a, b = socket.socketpair(); held += [a, b]; a.setblocking(False)
        try:
            while True: a.send(b"x" * 65536)
        except BlockingIOError: pass
    BREACH("%d sockets" % len(held))
except OSError as e: print(len(held), e)`),
  },
  {
    name: "stdout-bomb",
    does: "writes to stdout for ever",
    isBomb: true,
    ends: ["output-limit"],
    run: bash("yes"),
  },
  {
    name: "stderr-bomb",
    does: "writes to stderr for ever",
    isBomb: true,
    ends: ["output-limit"],
    run: bash("yes >&2"),
  },
  {
    name: "line-bomb",
    does: "writes one line without an end",
    isBomb: true,
    ends: ["output-limit"],
    run: bash("tr '\\0' x </dev/zero"),
  },
  {
    name: "output-in-children",
    does: "writes from many children at once",
    isBomb: true,
    ends: ["output-limit"],
    run: bash('for i in 1 2 3 4 5 6 7 8; do yes "$i" & done; wait'),
  },
  {
    name: "cpu-bomb",
    does: "computes for ever",
    isBomb: true,
    ends: ["cpu-time"],
    limits: { cpuTimeMs: 1000 },
    run: python("while True: pass"),
  },
  {
    name: "cpu-bomb-children",
    does: "computes in children, each below the limit",
    isBomb: true,
    ends: ["cpu-time"],
    limits: { cpuTimeMs: 1000 },
    run: python(`
for _ in range(12):
    if os.fork() == 0:
        end = time.process_time() + 0.4
        while time.process_time() < end: pass
        os._exit(0)
for _ in range(12): os.wait()
BREACH("12 times 0.4 s of processor time")`),
  },
  {
    name: "cpu-signal-ignored",
    does: "ignores the signal of the processor time limit",
    isBomb: true,
    ends: ["cpu-time"],
    limits: { cpuTimeMs: 1000 },
    run: python("signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"),
  },
  {
    name: "sleeper",
    does: "sleeps for ever",
    ends: ["timeout"],
    timeoutMs: 700,
    run: bash("sleep 1000"),
  },
  {
    name: "term-ignored",
    does: "ignores every signal that can be ignored",
    ends: ["timeout"],
    timeoutMs: 700,
    run: python(`
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: time.sleep(60)`),
  },
  {
    name: "term-forks",
    does: "answers TERM with more children",
    ends: ["timeout"],
    timeoutMs: 700,
    run: python(`
def more(*_):
    for _ in range(5):
        if os.fork() == 0: os.setsid()
signal.signal(signal.SIGTERM, more)
while True: time.sleep(60)`),
  },
  {
    name: "stop-self",
    does: "stops itself",
    ends: ["timeout"],
    timeoutMs: 700,
    run: python("os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(60)"),
  },
  {
    name: "stop-group",
    does: "stops its whole process group",
    ends: ["timeout"],
    timeoutMs: 700,
    run: bash("kill -STOP 0; sleep 60"),
  },
  {
    name: "stop-all",
    does: "stops every process that it may signal",
    ends: ["timeout"],
    timeoutMs: 700,
    run: bash("kill -STOP -1; sleep 60"),
  },
  {
    name: "kill-all",
    does: "kills every process that it may signal",
    run: bash("kill -KILL -1; sleep 0.2; exit 3"),
  },
  {
    name: "stop-parent",
    does: "stops its parent",
    ends: ["timeout"],
    timeoutMs: 700,
    run: python(`
try: os.kill(os.getppid(), signal.SIGSTOP)
except OSError as e: print(e)
time.sleep(60)`),
  },
  {
    name: "kill-parent",
    does: "kills its parent, the launcher",
    ends: ["timeout"],
    // The kernel of gVisor does not shield the first process: then the box is over with it.
    endsAt: { gvisor: ["timeout", "sandbox"] },
    timeoutMs: 700,
    run: python(`
for s in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
    for pid in (os.getppid(), 1):
        try: os.kill(pid, s)
        except OSError as e: print(e)
time.sleep(60)`),
  },
  {
    name: "daemon",
    does: "leaves a daemon behind (double fork, own session)",
    ends: ["succeeded"],
    run: python(`
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        time.sleep(300)
    os._exit(0)
os.wait()`),
  },
  {
    name: "daemon-holds-pipes",
    does: "leaves a daemon behind that holds stdout open",
    run: python(`
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(300)
    os._exit(0)
os.wait()`),
  },
  {
    name: "daemon-writes",
    does: "leaves a daemon behind that goes on writing into the working folder",
    run: python(`
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        n = 0
        while True:
            try: open("left%d" % (n % 50), "w").close()
            except OSError: pass
            n += 1
    os._exit(0)
os.wait()`),
    outputs: { patterns: ["left*"] },
  },
  {
    name: "zombies",
    does: "collects zombies",
    ends: ["pids-limit", "succeeded", "exit-code"],
    run: python(`
for _ in range(200):
    try:
        if os.fork() == 0: os._exit(0)
    except OSError: sys.exit(1)`),
  },
  {
    name: "nice",
    does: "raises its own priority",
    unclaimed: inGvisor("a priority"),
    run: python(
      "tries('nice', lambda: os.nice(-10))\ntries('fifo', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)))",
    ),
  },
  {
    name: "rlimits-raised",
    does: "raises its own limits",
    limits: { openFiles: 64 },
    run: python(`
import resource
tries("open files", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)))`),
  },
  {
    name: "oom-shield",
    does: "shields itself from the out-of-memory killer",
    run: python(`
for pid in ("self", "1", str(os.getppid())):
    tries("oom_score_adj of " + pid, lambda: os.write(os.open("/proc/%s/oom_score_adj" % pid, os.O_WRONLY), b"-1000"))`),
    unclaimed: inGvisor("a score"),
  },
  {
    name: "core-dump",
    does: "dumps core",
    ends: ["signal"],
    run: python("os.abort()"),
    outputs: { patterns: ["core*"] },
    after: ({ keepIn }) =>
      readdirSync(keepIn, { recursive: true }).some((name) => String(name).includes("core"))
        ? "a core file was kept"
        : undefined,
  },
  {
    name: "deep-folders",
    does: "nests folders thousands deep",
    ends: ["succeeded"],
    run: python(`
for _ in range(3000):
    try: os.mkdir("d"); os.chdir("d")
    except OSError as e: print(e); break`),
    outputs: { patterns: ["**/x"] },
  },
  {
    name: "locked-folders",
    does: "leaves folders and files that nobody may read",
    ends: ["succeeded"],
    run: bash("mkdir -p a/b; touch a/b/c; chmod 000 a/b/c a/b a; mkdir z; chmod 000 z"),
    outputs: { patterns: ["**"] },
  },
  {
    name: "odd-names",
    does: "gives files names that no text can hold",
    ends: ["succeeded"],
    run: python(`
for name in (b"new\\nline", b"\\xff\\xfe", b"x" * 255, b"-rf", b"* $(id)", b"..."):
    open(name, "w").close()`),
    outputs: { patterns: ["*"] },
  },
  {
    name: "immutable",
    does: "makes a file that cannot be removed",
    run: python(`
import fcntl
fd = os.open("stone", os.O_CREAT | os.O_RDONLY)
tries("immutable", lambda: fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x10)))`),
  },
  {
    name: "outputs-closed",
    does: "closes stdout and stderr and goes on",
    ends: ["timeout"],
    timeoutMs: 700,
    run: python("for fd in (0, 1, 2): os.close(fd)\nwhile True: time.sleep(60)"),
  },
  {
    name: "stdin-unread",
    does: "never reads the megabytes on its stdin",
    ends: ["succeeded"],
    stdin: "x".repeat(8 * mebibyte),
    run: bash("sleep 0.3; echo done"),
  },
  {
    name: "memory-bomb-tmpfs",
    does: "fills a file system of its own, made in a user namespace of its own",
    isBomb: true,
    run: bash(
      "mkdir m; unshare -Urm sh -c 'mount -t tmpfs none m && head -c 700M /dev/zero >m/x && echo BREACH 700 MiB'; echo tried; true",
    ),
  },
];
