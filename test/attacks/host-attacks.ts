// Attacks on the host around a sandbox: its files, processes, network, control groups.
// `{OPEN}`, `{CLOSED}`, `{SECRET}`, `{VICTIM}`, `{PORT}`, `{ABSTRACT}`, `{SOCKET}` stand for the bait.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Aftermath, type Attack, aboveSubprocess, bash, inGvisor, python } from "./attack.ts";

const isolated = { unclaimed: aboveSubprocess };

function untouched({ bait }: Aftermath): string | undefined {
  const file = join(bait.openFolder, "secret");
  if (!existsSync(file) || readFileSync(file, "utf8") !== bait.secret)
    return "the host's file was changed";
  return existsSync(join(bait.openFolder, "planted"))
    ? "a file was planted on the host"
    : undefined;
}

export const hostAttacks: readonly Attack[] = [
  {
    name: "read-open-file",
    does: "reads a file of the host that everybody may read",
    ...isolated,
    run: python(`tries("read", lambda: open("{OPEN}/secret").read())`),
  },
  {
    name: "read-closed-file",
    does: "reads a file that belongs to the agent",
    run: python(`tries("read", lambda: open("{CLOSED}/secret").read())`),
  },
  {
    name: "write-open-folder",
    does: "writes into a folder of the host that everybody may write",
    ...isolated,
    after: untouched,
    run: bash(
      `echo x >{OPEN}/planted && echo BREACH planted; rm -f {OPEN}/secret && [ ! -e {OPEN}/secret ] && echo gone; true`,
    ),
  },
  {
    name: "write-system",
    does: "changes the system's programs and settings",
    run: python(`
for p in ("/usr/bin/edgedag-planted", "/etc/edgedag-planted", "/bin/edgedag-planted", "/lib/edgedag-planted", "/edgedag/planted", "/planted", "/var/planted", "/root/planted", "/home/planted"):
    tries(p, lambda: open(p, "w").close())
for p in ("/etc/passwd", "/usr/bin/env", "/etc/ld.so.cache"): tries(p, lambda: open(p, "a").close())`),
  },
  {
    name: "host-folders",
    does: "looks into the host's private folders",
    ...isolated,
    run: python(`
for p in ("/root", "/home", "/var/lib", "/srv", "/boot", "/mnt", "/var/run/docker.sock", "/run/systemd"):
    try: names = os.listdir(p) if os.path.isdir(p) else [p] if os.path.exists(p) else []
    except OSError as e: print(e); continue
    if names and p not in ("/var/lib", "/home", "/srv", "/mnt", "/boot", "/root"): BREACH("%s: %r" % (p, names[:3]))
if os.path.isdir("{OPEN}"): BREACH("it sees {OPEN}")`),
  },
  {
    name: "proc-list",
    does: "lists the processes of the host",
    ...isolated,
    run: python(`
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: line = open("/proc/%s/cmdline" % pid).read()
    except OSError: continue
    if "{SECRET}" in line and int(pid) not in (os.getpid(), os.getppid()) and "proc-list" not in line and "tries" not in line: BREACH("it sees the victim as %s" % pid)`),
  },
  {
    name: "signal-victim",
    does: "signals a process of the host",
    run: python(
      `tries("kill", lambda: os.kill({VICTIM}, signal.SIGTERM)) if {VICTIM} not in (os.getpid(), os.getppid(), 1, 2, 3) else None`,
    ),
    unclaimed: {},
  },
  {
    name: "proc-environ",
    does: "reads the environment of processes above it",
    run: python(`
for pid in ("1", str(os.getppid()), "{VICTIM}"):
    try: text = open("/proc/%s/environ" % pid, "rb").read()
    except OSError as e: print(e); continue
    if b"{SECRET}" in text: BREACH("environment of " + pid)`),
  },
  {
    name: "proc-root",
    does: "leaves by /proc/<pid>/root and cwd",
    run: python(`
for pid in ("1", str(os.getppid()), "{VICTIM}"):
    for way in ("root", "cwd"):
        try: got = open("/proc/%s/%s{CLOSED}/secret" % (pid, way)).read()
        except OSError as e: print(e); continue
        if "{SECRET}" in got: BREACH("by %s of %s" % (way, pid))`),
  },
  {
    name: "proc-mem",
    does: "writes into the memory of processes above it",
    run: python(`
for pid in {1, os.getppid(), {VICTIM}}:
    if pid != os.getpid(): tries("mem of %d" % pid, lambda: open("/proc/%d/mem" % pid, "r+b").fileno())`),
  },
  {
    name: "proc-fd",
    does: "opens the descriptors of processes above it",
    unclaimed: inGvisor("a pipe of the launcher in its box"),
    run: python(`
for pid in {1, os.getppid(), {VICTIM}}:
    if pid == os.getpid(): continue
    for fd in range(12): 
        p = "/proc/%d/fd/%d" % (pid, fd)
        try: os.close(os.open(p, os.O_RDWR | os.O_NONBLOCK))
        except OSError as e: print("refused", e); continue
        if os.path.realpath(p) != os.path.realpath("/proc/self/fd/%d" % min(fd, 2)) and "null" not in os.readlink(p): BREACH(p + " " + os.readlink(p))`),
  },
  {
    name: "proc-exe",
    does: "overwrites the program of the launcher (as CVE-2019-5736 did)",
    run: python(`
for pid in ("self", "1", str(os.getppid())):
    tries("exe of " + pid, lambda: os.open("/proc/%s/exe" % pid, os.O_WRONLY))
tries("launcher", lambda: os.open("/edgedag/launcher", os.O_WRONLY))`),
  },
  {
    name: "proc-sys",
    does: "changes kernel settings",
    run: python(`
for p in ("kernel/core_pattern", "kernel/hostname", "vm/overcommit_memory", "net/ipv4/ip_forward", "kernel/modprobe", "fs/suid_dumpable", "kernel/randomize_va_space"):
    def write():
        fd = os.open("/proc/sys/" + p, os.O_RDWR); old = os.read(fd, 200); os.lseek(fd, 0, 0); return os.write(fd, old)
    tries(p, write)
tries("sysrq", lambda: os.open("/proc/sysrq-trigger", os.O_WRONLY))`),
  },
  {
    name: "sys-write",
    does: "changes the machine through /sys",
    run: python(`
for p in ("/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/memory/release_agent", "/sys/kernel/debug", "/sys/kernel/tracing/trace_marker"):
    tries(p, lambda: os.open(p, os.O_WRONLY))`),
  },
  {
    name: "cgroup-escape",
    does: "moves itself into the root control group",
    run: python(`
import glob
for p in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True)[:400] + ["/sys/fs/cgroup/cgroup.procs"]:
    try: fd = os.open(p, os.O_WRONLY)
    except OSError as e: print("refused", e); continue
    try: os.write(fd, b"0"); BREACH(p)
    except OSError as e: print(p, e)
    os.close(fd)`),
  },
  {
    name: "cgroup-limits",
    does: "raises the limits of its control group",
    run: python(`
import glob
for pattern in ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.max", "notify_on_release", "cgroup.subtree_control"):
    for p in glob.glob("/sys/fs/cgroup/**/" + pattern, recursive=True)[:200]:
        try: os.close(os.open(p, os.O_WRONLY)); BREACH(p)
        except OSError as e: print("refused", e)`),
  },
  {
    name: "cgroup-mount",
    does: "mounts the control groups to leave by release_agent (CVE-2022-0492)",
    run: bash(
      `mkdir -p m; mount -t cgroup -o memory none m 2>/dev/null && echo BREACH mounted; unshare -UrmC sh -c 'mount -t cgroup -o memory none m && echo BREACH mounted in a user namespace' 2>/dev/null; true`,
    ),
    unclaimed: aboveSubprocess,
  },
  {
    name: "connect-loopback",
    does: "connects to a service of the host",
    ...isolated,
    run: python(`
def go():
    s = socket.create_connection(("127.0.0.1", {PORT}), 2); s.sendall(b"x"); return 1
tries("connect", go)`),
  },
  {
    name: "connect-abstract",
    does: "connects to an abstract socket of the host",
    ...isolated,
    run: python(`
def go():
    s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect("\\0{ABSTRACT}"); return 1
tries("connect", go)`),
  },
  {
    name: "connect-engine",
    does: "speaks to the container engine's socket",
    ...isolated,
    run: python(`
for p in ("{SOCKET}", "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
    def go():
        s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(p); return 1
    tries(p, go)`),
  },
  {
    name: "metadata-service",
    does: "asks the cloud's metadata service",
    ...isolated,
    run: python(`
def go():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("169.254.169.254", 80)); return s.getsockname()
tries("route", go)`),
  },
  {
    name: "outside-network",
    does: "has a way to the outside",
    ...isolated,
    run: python(`
def go():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("192.0.2.1", 53)); return s.getsockname()
tries("udp4", go)
def six():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.connect(("2001:db8::1", 53)); return s.getsockname()
tries("udp6", six)
names = [n for _, n in socket.if_nameindex() if n != "lo"]
up = [n for n in names if "up" in (open("/sys/class/net/%s/operstate" % n).read() if os.path.exists("/sys/class/net/%s" % n) else "")]
if up: BREACH("interfaces %r" % up)`),
  },
  {
    name: "environment-secrets",
    does: "finds the agent's secrets in its environment",
    run: python(`
for k, v in os.environ.items():
    if "{SECRET}" in v or k in ("EDGEDAG_TOKEN", "NODE_OPTIONS", "PYTHONSTARTUP", "LD_PRELOAD"): BREACH("%s=%s" % (k, v))`),
  },
  {
    name: "command-line-secrets",
    does: "finds secrets on command lines",
    ...isolated,
    // The brackets keep it from finding itself.
    run: bash(
      `cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -x -e '[-]-password={SECRET}' >/dev/null && echo BREACH found; true`,
    ),
  },
  {
    name: "inherited-descriptors",
    does: "inherits descriptors of the agent",
    run: python(`
for fd in os.listdir("/proc/self/fd"):
    try: to = os.readlink("/proc/self/fd/" + fd)
    except OSError: continue
    print(fd, to)
    if int(fd) > 2 and not to.startswith("/proc"): BREACH("%s -> %s" % (fd, to))`),
  },
  {
    name: "inherited-terminal",
    does: "has the agent's terminal",
    run: python(`tries("tty", lambda: os.open("/dev/tty", os.O_RDWR))`),
  },
  {
    name: "shared-memory",
    does: "finds shared memory and message queues of the host",
    run: python(`
libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_long
got = libc.shmat({SHMID}, None, 0)
if got == -1: print("refused shmat", errno.errorcode.get(ctypes.get_errno()))
else: BREACH("shared memory of the host")
got = libc.msgctl({MSGID}, 2, ctypes.create_string_buffer(512))
if got == -1: print("refused msgctl", errno.errorcode.get(ctypes.get_errno()))
else: BREACH("message queue of the host")
tries("file", lambda: open("{SHMFILE}").read())`),
    unclaimed: aboveSubprocess,
  },
  {
    name: "cgroup-user-namespace",
    does: "mounts its control groups in a user namespace, to raise their limits",
    run: bash(`mkdir c; unshare -UrmC sh -c '
for o in memory pids cpu; do mount -t cgroup -o $o none c && break; done || mount -t cgroup2 none c || exit 0
for f in c/memory.limit_in_bytes c/memory.max c/pids.max c/release_agent c/notify_on_release c/cgroup.procs c/tasks; do
  [ -e $f ] || continue; (echo 1 >$f) 2>/dev/null && echo BREACH wrote $f || echo refused $f
done; mkdir c/mine && echo BREACH made a group; true'; true`),
  },
];
