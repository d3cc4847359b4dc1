// Attacks on other processes and on memory that is not the task's own: the launcher above it, the
// boxes of others, files that are mapped into it.
import { type Attack, aboveSubprocess, python, syscalls } from "./attack.ts";

const ownLauncher = {
  docker: "the launcher in its own box has the task's user: the box is its only victim",
  gvisor: "the launcher in its own box has the task's user: the box is its only victim",
} as const;

export const processAttacks: readonly Attack[] = [
  {
    name: "limits-of-others",
    does: "sets limits on the process above it",
    unclaimed: ownLauncher,
    run: python(
      `
for pid in {1, os.getppid(), {VICTIM}}:
    if pid == os.getpid(): continue
    limit = (ctypes.c_uint64 * 2)(0, 0)
    refuses("prlimit of %d" % pid, call((302, 261), pid, 7, limit, 0))`,
      syscalls,
    ),
  },
  {
    name: "priority-of-others",
    does: "slows the process above it down, and chains it to one processor",
    unclaimed: ownLauncher,
    run: python(
      `
try: os.setpriority(os.PRIO_USER, os.getuid(), 5); same = os.getpriority(os.PRIO_PROCESS, 1) == 5 or os.getpriority(os.PRIO_PROCESS, os.getppid()) == 5
except OSError as e: print("refused", e); same = False
if same: BREACH("slowed down by user")
for pid in {1, os.getppid(), {VICTIM}}:
    if pid == os.getpid(): continue
    tries("nice of %d" % pid, lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    tries("affinity of %d" % pid, lambda: os.sched_setaffinity(pid, {0}))
    refuses("I/O of %d" % pid, call((251, 30), 1, pid, 3 << 13))
    tries("policy of %d" % pid, lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))`,
      syscalls,
    ),
  },
  {
    name: "pages-of-others",
    does: "moves and drops the memory of the process above it",
    run: python(
      `
refuses("migrate_pages", call((256, 238), os.getppid(), 8, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)))
pidfd = call((434, 434), os.getppid(), 0)
iov = (ctypes.c_void_p * 2)(0x400000, 4096)
if pidfd >= 0: refuses("process_madvise", call((440, 440), pidfd, iov, 1, 20, 0))`,
      syscalls,
    ),
    unclaimed: aboveSubprocess,
  },
  {
    name: "read-only-memory",
    does: "writes to files that it may only read, by /proc/self/mem and by mappings",
    run: python(`
import mmap
path = "/usr/bin/env"
before = open(path, "rb").read(64)
fd = os.open(path, os.O_RDONLY)
m = mmap.mmap(fd, 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
at = [int(line.split("-")[0], 16) for line in open("/proc/self/maps") if line.rstrip().endswith(path)][0]
def poke():
    with open("/proc/self/mem", "r+b", buffering=0) as f:
        f.seek(at); f.write(b"evil")
try: poke()
except OSError as e: print("refused", e)
tries("shared mapping", lambda: mmap.mmap(fd, 4096, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE))
tries("reopened", lambda: os.open("/proc/self/fd/%d" % fd, os.O_RDWR))
if open(path, "rb").read(64) != before: BREACH("the program was changed")
print("in its own copy:", m[:4])`),
  },
  {
    name: "sibling-kill",
    does: "kills every process id that there can be, while another task is in its midst",
    beside: python("print('ready', flush=True); time.sleep(2)"),
    // In gVisor it may kill the launcher in its own box, and the box is over.
    ends: ["succeeded", "sandbox"],
    run: python(`
if os.getuid() == 0: BREACH("it is root: not tried"); sys.exit(1)
mine = {os.getpid(), 0}
for pid in range(1, 100000):
    if pid in mine: continue
    try: os.kill(pid, signal.SIGKILL)
    except OSError: continue
    print("killed", pid)`),
  },
  {
    name: "sibling-files",
    does: "looks for the folders of other tasks, while one is in its midst",
    beside: python(
      "open('tenant-file', 'w').write('{SECRET}'); print('ready', flush=True); time.sleep(1)",
    ),
    ends: ["succeeded"],
    run: python(`
import glob
here = os.getcwd()
def look(folder, depth):
    try: names = os.listdir(folder)
    except OSError: return
    for name in names:
        path = os.path.join(folder, name)
        if name == "tenant-file": BREACH(path)
        elif depth and os.path.isdir(path) and not os.path.islink(path): look(path, depth - 1)
up = here
for _ in range(5):
    up = os.path.dirname(up)
    look(up, 4 if up != "/" else 2)
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) in (os.getpid(), os.getppid()): continue
    try: names = os.listdir("/proc/%s/cwd" % pid)
    except OSError: continue
    if "tenant-file" in names: BREACH("by cwd of " + pid)
print("looked")`),
  },
];
