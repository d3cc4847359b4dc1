// Attacks on the kernel's surface: system calls and devices that no task needs.
import { type Attack, aboveSubprocess, inGvisor, python, syscalls } from "./attack.ts";

/** `act`: Python that calls `refuses(what, got)`; numbers are (x86-64, aarch64). */
function byCall(name: string, does: string, act: string, more: Partial<Attack> = {}): Attack {
  return { name, does, run: python(act, syscalls), unclaimed: aboveSubprocess, ...more };
}

export const kernelAttacks: readonly Attack[] = [
  byCall(
    "ptrace",
    "traces the process above it",
    `refuses("ptrace", call((101, 117), 16, os.getppid(), 0, 0))`,
  ),
  byCall("ptrace-one", "traces process 1", `refuses("ptrace", call((101, 117), 16, 1, 0, 0))`),
  byCall(
    "read-memory",
    "reads the memory of the process above it",
    `
maps = ""
try: maps = open("/proc/%d/maps" % os.getppid()).read()
except OSError as e: print(e)
at = int(maps.split("-")[0], 16) if maps else 0x400000
local = ctypes.create_string_buffer(64)
iov = (ctypes.c_void_p * 2)(ctypes.addressof(local), 64); far = (ctypes.c_void_p * 2)(at, 64)
refuses("process_vm_readv", call((310, 270), os.getppid(), iov, 1, far, 1, 0))`,
  ),
  byCall(
    "pidfd-getfd",
    "takes a descriptor of the process above it",
    `
pidfd = call((434, 434), os.getppid(), 0)
if pidfd >= 0: refuses("pidfd_getfd", call((438, 438), pidfd, 3, 0))`,
  ),
  byCall(
    "kcmp",
    "compares kernel pointers with the process above it",
    `refuses("kcmp", call((312, 272), os.getppid(), os.getpid(), 2, 0, 0))`,
  ),
  byCall(
    "mount-tmpfs",
    "mounts a file system",
    `os.makedirs("m", exist_ok=True)\nrefuses("mount", call((165, 40), b"none", b"m", b"tmpfs", 0, 0))`,
  ),
  byCall(
    "mount-bind",
    "binds the root over its folder",
    `os.makedirs("m", exist_ok=True)\nrefuses("mount", call((165, 40), b"/", b"m", 0, 4096, 0))`,
  ),
  byCall(
    "remount",
    "makes the root writable again",
    `refuses("remount", call((165, 40), b"none", b"/", 0, 32 | 4096, 0))`,
  ),
  byCall(
    "mount-new-api",
    "mounts by the newer system calls",
    `
fd = call((430, 430), b"tmpfs", 0); refuses("fsopen", fd)
refuses("open_tree", call((428, 428), -100, b"/", 1))`,
  ),
  byCall(
    "umount",
    "unmounts what hides the host",
    `
for p in (b"/proc", b"/tmp", b"/dev", b"/proc/sys"): refuses("umount2 %s" % p, call((166, 39), p, 2))`,
  ),
  byCall(
    "pivot-root",
    "changes its root",
    `os.makedirs("m", exist_ok=True)\nrefuses("pivot_root", call((155, 41), b"m", b"m"))`,
  ),
  byCall(
    "chroot",
    "changes its root folder",
    `os.makedirs("m", exist_ok=True)\nrefuses("chroot", call((161, 51), b"m"))`,
  ),
  byCall(
    "unshare-user",
    "makes a user namespace, to be root in it",
    `refuses("unshare", call((272, 97), 0x10000000))`,
    {
      unclaimed: { ...aboveSubprocess, ...inGvisor("a user namespace") },
    },
  ),
  byCall(
    "unshare-mount",
    "makes a mount namespace",
    `refuses("unshare", call((272, 97), 0x00020000))`,
  ),
  byCall(
    "clone-user",
    "clones into new user and mount namespaces",
    `
got = call((56, 220), 0x10000000 | 0x00020000 | 17, 0, 0, 0, 0)
if got == 0: os._exit(0)
refuses("clone", got)`,
    { unclaimed: { ...aboveSubprocess, ...inGvisor("namespaces") } },
  ),
  byCall(
    "clone3-user",
    "clones by the newer call, whose arguments no filter sees",
    `
args = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)
got = call((435, 435), args, 88)
if got == 0: os._exit(0)
refuses("clone3", got)`,
    { unclaimed: { ...aboveSubprocess, ...inGvisor("a user namespace") } },
  ),
  byCall(
    "setns",
    "joins the namespaces of process 1",
    `
for ns in ("mnt", "pid", "net", "user"):
    try: fd = os.open("/proc/1/ns/" + ns, os.O_RDONLY)
    except OSError as e: print(e); continue
    refuses("setns " + ns, call((308, 268), fd, 0))`,
  ),
  byCall(
    "keyctl",
    "uses the kernel's key rings",
    `
refuses("add_key", call((248, 217), b"user", b"edgedag-attack", b"x", 1, -2))
refuses("keyctl", call((250, 219), 0, -3, 1))`,
  ),
  byCall(
    "request-key",
    "asks for keys of others",
    `refuses("request_key", call((249, 218), b"user", b"edgedag-attack", 0, -3))`,
  ),
  byCall(
    "bpf",
    "loads a BPF program",
    `
prog = (ctypes.c_uint64 * 2)(0xb7, 0x95); lic = ctypes.c_char_p(b"GPL")
attr = struct.pack("IIQQ", 1, 2, ctypes.addressof(prog), ctypes.cast(lic, ctypes.c_void_p).value) + b"\\0" * 96
refuses("bpf prog", call((321, 280), 5, ctypes.create_string_buffer(attr), len(attr)))
refuses("bpf map", call((321, 280), 0, ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 8, 1) + b"\\0" * 96), 112))`,
  ),
  byCall(
    "perf-event",
    "watches the kernel by perf events",
    `
attr = struct.pack("IIQQQQQ", 0, 112, 1, 0, 0, 0, 0) + b"\\0" * 72
refuses("perf_event_open", call((298, 241), ctypes.create_string_buffer(attr), 0, -1, -1, 0))`,
  ),
  byCall(
    "userfaultfd",
    "makes a user fault descriptor",
    `refuses("userfaultfd", call((323, 282), 1 | 0x80000))`,
  ),
  byCall(
    "userfaultfd-device",
    "makes a user fault descriptor by the device",
    `
import fcntl
tries("userfaultfd", lambda: fcntl.ioctl(os.open("/dev/userfaultfd", os.O_RDWR), 0xAA00, 1))`,
  ),
  byCall(
    "io-uring",
    "sets up an io_uring",
    `refuses("io_uring_setup", call((425, 425), 8, ctypes.create_string_buffer(120)))`,
  ),
  byCall("kexec", "loads another kernel", `refuses("kexec_load", call((246, 104), 0, 0, 0, 0))`),
  byCall(
    "module",
    "loads a kernel module",
    `
refuses("init_module", call((175, 105), b"x", 1, b""))
refuses("delete_module", call((176, 106), b"nosuch", 0x800))
fd = os.open("/dev/null", os.O_RDONLY); refuses("finit_module", call((313, 273), fd, b"", 0))`,
  ),
  byCall(
    "reboot",
    "restarts the machine (with wrong magic numbers, to be safe)",
    `
got = call((169, 142), 0, 0, 0, 0)
if got == -errno.EINVAL: BREACH("reboot looked at its arguments")
refuses("reboot", got)`,
    { unclaimed: { ...aboveSubprocess, ...inGvisor("the call") } },
  ),
  byCall("swap", "swaps to a file", `refuses("swapon", call((167, 224), b"/dev/null", 0))`),
  byCall(
    "set-clock",
    "sets the clock to what it is",
    `
now = struct.pack("ll", int(time.time()), 0)
refuses("clock_settime", call((227, 112), 0, ctypes.create_string_buffer(now)))
refuses("settimeofday", call((164, 170), ctypes.create_string_buffer(now), 0))`,
  ),
  byCall(
    "kernel-log",
    "reads the kernel's log",
    `
buf = ctypes.create_string_buffer(4096); refuses("syslog", call((103, 116), 3, buf, 4096))
tries("kmsg", lambda: os.read(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK), 200))`,
    {
      unclaimed: { ...aboveSubprocess, ...inGvisor("a made-up log") },
    },
  ),
  byCall(
    "file-handles",
    "opens a file by handle, past every folder",
    `
h = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + b"\\0" * 128); m = ctypes.c_int()
got = call((303, 264), -100, b"/", h, ctypes.byref(m), 0)
fd = os.open("/", os.O_RDONLY)
refuses("open_by_handle_at", call((304, 265), fd, h, 0))`,
  ),
  byCall("fanotify", "watches every file", `refuses("fanotify_init", call((300, 262), 0, 0))`),
  byCall(
    "quota",
    "changes quotas",
    `refuses("quotactl", call((179, 60), 0x80000100, b"/dev/vda", 0, 0))`,
  ),
  byCall("accounting", "switches process accounting", `refuses("acct", call((163, 89), 0))`),
  byCall(
    "ports",
    "asks for the machine's ports",
    `refuses("iopl", call((172, -1), 3))\nrefuses("ioperm", call((173, -1), 0x80, 1, 1))`,
  ),
  byCall(
    "ldt",
    "changes its descriptor table",
    `refuses("modify_ldt", call((154, -1), 1, ctypes.create_string_buffer(struct.pack("IIII", 0, 0, 0, 0x51)), 16))`,
    {
      unclaimed: { ...aboveSubprocess, docker: "Docker's own filter lets it pass" },
    },
  ),
  byCall(
    "hostname",
    "renames the machine",
    `refuses("sethostname", call((170, 161), b"attacked", 8))\nrefuses("setdomainname", call((171, 162), b"attacked", 8))`,
  ),
  byCall(
    "vsock",
    "speaks to the hypervisor",
    `
import socket as s
tries("AF_VSOCK", lambda: s.socket(40, s.SOCK_STREAM, 0).fileno())`,
    {
      unclaimed: { ...aboveSubprocess, docker: "Docker before 23 lets the socket be made" },
    },
  ),
  byCall(
    "alg",
    "uses the kernel's cryptography",
    `tries("AF_ALG", lambda: socket.socket(38, socket.SOCK_SEQPACKET, 0).fileno())`,
    {
      unclaimed: { ...aboveSubprocess, docker: "Docker's own filter lets the socket be made" },
    },
  ),
  byCall(
    "packet",
    "listens on the wire",
    `tries("AF_PACKET", lambda: socket.socket(17, socket.SOCK_RAW, 3).fileno())`,
  ),
  byCall(
    "raw",
    "makes raw sockets",
    `tries("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno())`,
  ),
  byCall(
    "odd-families",
    "makes sockets of rare families",
    `
for f in (3, 4, 5, 6, 9, 15, 21, 22, 24, 30, 31, 35, 36, 37, 39, 44):
    tries("family %d" % f, lambda: socket.socket(f, socket.SOCK_DGRAM, 0).fileno())`,
    {
      unclaimed: { ...aboveSubprocess, docker: "Docker's own filter looks at few families" },
    },
  ),
  byCall(
    "int80",
    "calls the kernel as a 32-bit program would (getpid by int 0x80)",
    `
import mmap
if ARM: sys.exit(0)
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
# push rbx; mov eax, 20; int 0x80; pop rbx; ret
m.write(b"\\x53\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\x5b\\xc3")
f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
got = f()
print(got)
if got == os.getpid(): BREACH("int 0x80 gave %d" % got)`,
    {
      unclaimed: { ...aboveSubprocess, docker: "Docker's own filter allows 32-bit calls" },
    },
  ),
  byCall(
    "x32",
    "calls the kernel by the x32 numbers",
    `
if ARM: sys.exit(0)
got = call((0x40000000 + 39, -1))
print(got)
if got == os.getpid(): BREACH("x32 getpid gave %d" % got)`,
    {
      unclaimed: {
        ...aboveSubprocess,
        docker: "Docker's own filter allows x32 calls where the kernel has them",
      },
    },
  ),
  byCall(
    "tiocsti",
    "types into a terminal",
    `
import fcntl
m, s = os.openpty() if os.path.exists("/dev/ptmx") else (-1, -1)
if s >= 0:
    os.setsid() if os.getpid() != os.getsid(0) else None
    try:
        fcntl.ioctl(s, 0x540E, 0); tries("TIOCSTI", lambda: fcntl.ioctl(s, 0x5412, b"x"))
    except OSError as e: print(e)`,
    {
      unclaimed: {
        ...aboveSubprocess,
        docker: "a terminal of its own only",
        ...inGvisor("a terminal"),
      },
    },
  ),
  byCall(
    "mknod",
    "makes a device of the disk",
    `
tries("mknod", lambda: os.mknod("disk", 0o600 | 0o060000, os.makedev(254, 0)))
tries("open", lambda: os.open("disk", os.O_RDONLY))`,
  ),
  byCall(
    "devices",
    "reads the machine's devices",
    `
for d in ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/cpu/0/msr", "/dev/uinput", "/dev/loop-control"):
    tries(d, lambda: os.open(d, os.O_RDWR))`,
    { unclaimed: { ...aboveSubprocess, ...inGvisor("/dev/fuse and /dev/net/tun") } },
  ),
  byCall(
    "set-uid",
    "becomes root",
    `
tries("setuid", lambda: os.setuid(0)); tries("setresuid", lambda: os.setresuid(0, 0, 0)); tries("setgid", lambda: os.setgid(0)); tries("setgroups", lambda: os.setgroups([0]))
if os.geteuid() == 0: BREACH("it is root")`,
    { unclaimed: {} },
  ),
  byCall(
    "set-uid-program",
    "runs programs that make their caller root",
    `
import subprocess
for p in (["su", "-c", "id -u"], ["mount", "--bind", "/", "/mnt"], ["sudo", "-n", "id", "-u"], ["newgrp", "root"], ["passwd", "-S"]):
    try: got = subprocess.run(p, capture_output=True, text=True, timeout=3, stdin=subprocess.DEVNULL)
    except Exception as e: print(repr(e)[:80]); continue
    print(p[0], got.returncode, got.stderr[:80])
    if got.returncode == 0 and got.stdout.strip() == "0": BREACH(" ".join(p))`,
    { unclaimed: {} },
  ),
  byCall(
    "capabilities",
    "has capabilities left",
    `
for line in open("/proc/self/status"):
    if line.startswith(("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")):
        if int(line.split()[1], 16): BREACH(line.strip())
    if line.startswith("NoNewPrivs") and line.split()[1] != "1": BREACH(line.strip())`,
    { unclaimed: {} },
  ),
];
