/*
 * launcher --box options: the process becomes the first one of a sandbox, and then serves frames on
 * fd 3 as in PROTOCOL.md, or runs one program (--). The options are in PROTOCOL.md, "Box".
 *
 * It is process 1 of a new PID namespace, by its parent's clone, or by a fork of its own when it was
 * called by hand. As root it makes the other namespaces with its full power, so that they belong
 * to the host's user namespace, becomes the box's user, and last enters a user namespace in which
 * only that user exists: nothing inside has a capability over mounts, network or processes of the box,
 * not even by a mistake of the kernel's about namespaces. An ordinary user has to begin with the
 * user namespace (with its own number, inside and outside the same) and gives up all capabilities in it
 * at the end. Either way nothing can be regained: bounding set empty, no_new_privs, and tasks have no
 * unshare (filter.c). Being undumpable, process 1 cannot be traced or opened through /proc
 * by tasks of the same user.
 *
 * The memory-killer's score is not lowered: tasks would inherit it. When process 1 is killed for the
 * memory of the box, the box ends, which is what exceeding a limit means.
 */
#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher.h"

#define EXIT_BOX 71
#define EXIT_USAGE 64
#define SHM_BYTES (64ull * 1024 * 1024)

struct options {
  struct box box;
  const char *allow, *cwd, **writable;
  char **program;
};

void box_fail(const char *what, ...) {
  int error = errno;
  va_list args;
  va_start(args, what);
  fputs("launcher: box: ", stderr);
  vfprintf(stderr, what, args);
  fprintf(stderr, ": %s\n", strerror(error));
  va_end(args);
  _exit(EXIT_BOX);
}

/* ---- options ---- */

__attribute__((noreturn)) static void usage(const char *why, const char *what) {
  fprintf(stderr, "launcher: box: %s %s\n", why, what);
  _exit(EXIT_USAGE);
}

static uint64_t number(const char *text) {
  char *end;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  if (errno || end == text || *end || *text == '-') usage("not a number:", text);
  return n;
}

static const char *absolute(const char *path) {
  if (*path != '/') usage("not an absolute path:", path);
  return path;
}

/* What the option takes; fewer is a mistake of the caller. */
static char **take(char ***at, int n) {
  char **values = *at + 1;
  for (int i = 0; i < n; i++)
    if (!values[i]) usage("a value is missing after", **at);
  *at += n;
  return values;
}

static void add(struct box *b, enum entry_kind kind, const char *from, const char *path) {
  b->entries[b->count++] =
      (struct entry){.kind = kind, .from = from, .path = absolute(path), .tree = -1};
}

static void parse(int argc, char **argv, struct options *o) {
  struct box *b = &o->box;
  size_t writable = 0;
  int has_tmp = 0, has_shm = 0;
  *o = (struct options){.box = {.uid = (uid_t)-1, .gid = (gid_t)-1, .hostname = "sandbox"},
                        .allow = "", .cwd = "/"};
  b->entries = calloc((size_t)argc + 2, sizeof *b->entries);
  o->writable = calloc((size_t)argc + 3, sizeof *o->writable);
  if (!b->entries || !o->writable) box_fail("reading the options");
  for (char **at = argv; *at; at++) {
    char **v;
    if (strcmp(*at, "--") == 0) {
      if (!at[1]) usage("no program after", "--");
      o->program = at + 1;
      break;
    }
    if (strcmp(*at, "--uid") == 0) {
      v = take(&at, 1);
      b->uid = (uid_t)number(v[0]);
    } else if (strcmp(*at, "--gid") == 0) {
      v = take(&at, 1);
      b->gid = (gid_t)number(v[0]);
    } else if (strcmp(*at, "--net") == 0) {
      v = take(&at, 1);
      b->is_network = strcmp(v[0], "host") == 0;
      if (!b->is_network && strcmp(v[0], "none") != 0) usage("--net is none or host, not", v[0]);
    } else if (strcmp(*at, "--hostname") == 0) {
      v = take(&at, 1);
      b->hostname = v[0];
    } else if (strcmp(*at, "--tmpfs") == 0) {
      v = take(&at, 2);
      add(b, ENTRY_TMPFS, NULL, v[0]);
      b->entries[b->count - 1].bytes = number(v[1]);
      if (b->entries[b->count - 1].bytes == 0) usage("a tmpfs of 0 bytes would have no limit:", v[0]);
      has_tmp |= strcmp(v[0], "/tmp") == 0;
      has_shm |= strcmp(v[0], "/dev/shm") == 0;
      o->writable[writable++] = v[0];
    } else if (strcmp(*at, "--bind") == 0) {
      v = take(&at, 2);
      add(b, ENTRY_BIND, v[0], v[1]);
      o->writable[writable++] = v[1];
    } else if (strcmp(*at, "--bind-ro") == 0) {
      v = take(&at, 2);
      add(b, ENTRY_BIND_RO, v[0], v[1]);
    } else if (strcmp(*at, "--try-bind-ro") == 0) {
      v = take(&at, 2);
      add(b, ENTRY_TRY_BIND_RO, v[0], v[1]);
    } else if (strcmp(*at, "--symlink") == 0) {
      v = take(&at, 2);
      add(b, ENTRY_SYMLINK, v[0], v[1]);
    } else if (strcmp(*at, "--allow") == 0) {
      v = take(&at, 1);
      o->allow = v[0];
    } else if (strcmp(*at, "--chdir") == 0) {
      v = take(&at, 1);
      o->cwd = v[0];
    } else {
      usage("unknown option", *at);
    }
  }
  for (int i = 0; i < 2; i++) {
    if (i == 0 ? has_tmp : has_shm) continue;
    const char *path = i == 0 ? "/tmp" : "/dev/shm";
    add(b, ENTRY_TMPFS, NULL, path);
    b->entries[b->count - 1].bytes = SHM_BYTES;
    o->writable[writable++] = path;
  }
}

/* ---- namespaces and user ---- */

static int write_at(int folder, const char *path, const char *text) {
  int fd = openat(folder, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int error = write(fd, text, strlen(text)) < 0 ? -errno : 0;
  close(fd);
  return error;
}

/* One user and one group, by the same numbers inside and outside: that needs no privilege. `proc` is
 * the host's, since that of the box is read-only. */
static int map_user(int proc, uid_t uid, gid_t gid) {
  char text[64];
  int error = write_at(proc, "self/setgroups", "deny");
  snprintf(text, sizeof text, "%u %u 1", uid, uid);
  if (error == 0) error = write_at(proc, "self/uid_map", text);
  snprintf(text, sizeof text, "%u %u 1", gid, gid);
  return error < 0 ? error : write_at(proc, "self/gid_map", text);
}

static void need_user(int proc, const struct box *b) {
  int error = map_user(proc, b->uid, b->gid);
  if (error == 0) return;
  errno = -error;
  box_fail("mapping user %u into the user namespace", b->uid);
}

static void forward(pid_t program) {
  sigset_t all;
  sigfillset(&all);
  for (;;) {
    int sig = sigwaitinfo(&all, NULL), status;
    if (sig > 0 && sig != SIGCHLD) kill(program, sig);
    for (pid_t pid; sig == SIGCHLD && (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      if (pid == program) _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  }
}

/* Called by hand: the parent only waits, the child goes on as process 1. */
static void become_first(void) {
  if (unshare(CLONE_NEWPID) < 0) box_fail("making a PID namespace");
  pid_t pid = fork();
  if (pid < 0) box_fail("starting the first process");
  if (pid > 0) forward(pid);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void bring_up_loopback(void) {
  struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};
  strcpy(request.ifr_name, "lo");
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0) box_fail("bringing up the loopback device");
  close(fd);
}

/* As root, at the end: the box's user, and a user namespace where nobody else exists. */
static void become_user(int proc, const struct box *b) {
  if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0) box_fail("setting securebits");
  if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, b->gid, b->gid, b->gid) < 0 ||
      syscall(SYS_setresuid, b->uid, b->uid, b->uid) < 0)
    box_fail("becoming user %u", b->uid);
  if (unshare(CLONE_NEWUSER) < 0) box_fail("making a user namespace");
  prctl(PR_SET_DUMPABLE, 1); /* the change of user cleared it, and the maps would be root's */
  need_user(proc, b);
}

int box_own_namespace(uid_t uid, gid_t gid) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct caps[2];
  int proc = open("/proc", O_PATH | O_CLOEXEC);
  if (proc < 0) return -errno;
  int error = map_user(proc, uid, gid);
  close(proc);
  if (error < 0) return error;
  if (syscall(SYS_capget, &header, caps) < 0) return -errno;
  for (int i = 0; i < 2; i++) caps[i].inheritable = caps[i].permitted;
  if (syscall(SYS_capset, &header, caps) < 0) return -errno;
  for (unsigned cap = 0; cap < 64; cap++)
    if (caps[cap / 32].permitted >> (cap % 32) & 1 &&
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
      return -errno;
  return 0;
}

/* ---- the program of --, under a small init ---- */

__attribute__((noreturn)) static void run_program(const struct options *o, const struct confine *c) {
  close(3);
  pid_t pid = fork();
  if (pid < 0) box_fail("starting %s", o->program[0]);
  if (pid > 0) {
    forward(pid);
    abort();
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (chdir(o->cwd) < 0) box_fail("changing to %s", o->cwd);
  int error = confine_apply(c);
  if (error < 0) {
    errno = -error;
    box_fail("confining %s", o->program[0]);
  }
  execvp(o->program[0], o->program);
  fprintf(stderr, "launcher: box: starting %s: %s\n", o->program[0], strerror(errno));
  _exit(errno == ENOENT ? 127 : 126);
}

void box_enter(int argc, char **argv) {
  struct options o;
  parse(argc, argv, &o);
  struct box *b = &o.box;
  char why[300];
  struct confine c = {.flags = CONFINE_PRIVS | CONFINE_SECCOMP | CONFINE_LANDLOCK,
                      .uid = (uid_t)-1, .gid = (gid_t)-1, .allow = o.allow, .writable = o.writable};
  if (o.program && confine_prepare(&c, why, sizeof why) < 0) {
    fprintf(stderr, "launcher: box: %s\n", why);
    _exit(EXIT_BOX);
  }
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  if (syscall(SYS_close_range, 4u, ~0u, 0u) < 0) box_fail("closing descriptors");

  int proc = open("/proc", O_PATH | O_CLOEXEC);
  if (proc < 0) box_fail("opening /proc");
  int is_root = geteuid() == 0;
  if (is_root) {
    if (b->uid == (uid_t)-1 || b->gid == (gid_t)-1 || b->uid == 0 || b->gid == 0)
      usage("needed, and not 0:", "--uid and --gid");
    if (getpid() != 1) become_first();
  } else {
    b->uid = getuid();
    b->gid = getgid();
  }
  if (!is_root && getpid() != 1) {
    if (unshare(CLONE_NEWUSER) < 0) box_fail("making a user namespace");
    need_user(proc, b);
    become_first();
  }
  int death_signal = 0; /* a change of user will clear it */
  prctl(PR_GET_PDEATHSIG, &death_signal);
  if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |
              (b->is_network ? 0 : CLONE_NEWNET)) < 0)
    box_fail("making namespaces");
  if (sethostname(b->hostname, strlen(b->hostname)) < 0) box_fail("naming the host");
  if (!b->is_network) bring_up_loopback();
  box_make_root(b);
  if (is_root) become_user(proc, b);
  close(proc); /* with it goes the last way to the host's files */
  struct confine privileges = {.flags = CONFINE_PRIVS, .uid = (uid_t)-1, .gid = (gid_t)-1};
  int error = confine_apply(&privileges);
  if (error < 0) {
    errno = -error;
    box_fail("giving up privileges");
  }
  if (prctl(PR_SET_DUMPABLE, 0) < 0) box_fail("becoming undumpable");
  if (death_signal != 0) prctl(PR_SET_PDEATHSIG, death_signal);
  if (o.program) run_program(&o, &c);
  for (char **at = argv; *at; at++) memset(*at, 0, strlen(*at)); /* tasks see it: the host's paths */
}
