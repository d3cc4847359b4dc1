/*
 * Starting a process: what the vfork child does between clone and exec, and what is told then.
 */
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int rlimit_names[] = {RLIMIT_AS,     RLIMIT_CPU,   RLIMIT_CORE, RLIMIT_FSIZE,
                                   RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_STACK};

/* What the child of the clone needs, and where it writes why it failed (shared memory). */
struct launch {
  char **argv, **envp;
  const char *cwd, *channel, *input, *path;
  const uint8_t *rlimits;
  int rlimit_count, out, err, relay;
  uint32_t flags;
  const struct cg *group;
  struct confine confine;
  uid_t own_uid; /* ours: a child in a new user namespace does not know it */
  gid_t own_gid;
  pid_t parent;
  volatile int failed_at, failed_errno;
};

static _Alignas(16) char child_stack[65536];

static int fail(struct launch *l, int at) {
  l->failed_errno = errno;
  l->failed_at = at;
  _exit(127);
}

static int connect_channel(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address.sun_path, path, strlen(path));
  /* Not blocking while it connects: a full backlog must not hold up every other task. */
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
  return fcntl(fd, F_SETFL, 0) < 0 ? -1 : fd;
}

/* Not blocking while it opens: whoever may write to the folder could have put a FIFO there. */
static int take_input(const char *path) {
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fcntl(fd, F_SETFL, 0) < 0) return -1;
  return dup2(fd, 0);
}

static int exec_program(struct launch *l) {
  const char *name = l->argv[0];
  if (strchr(name, '/')) {
    execve(name, l->argv, l->envp);
    int was = errno;
    if (was == ENOENT && access(name, F_OK) == 0) return errno = ENOENT, fail(l, AT_INTERPRETER);
    errno = was;
    return fail(l, AT_EXEC);
  }
  size_t length = strlen(name);
  int denied = 0;
  if (length == 0) return errno = ENOENT, fail(l, AT_LOOKUP);
  for (const char *p = l->path;; p++) {
    const char *end = strchrnul(p, ':');
    char file[PATH_MAX];
    size_t folder = (size_t)(end - p);
    if (folder + length + 2 <= sizeof file) {
      memcpy(file, p, folder);
      if (folder) file[folder++] = '/';
      memcpy(file + folder, name, length + 1);
      if (access(file, X_OK) == 0) { /* cheaper than an execve that fails */
        execve(file, l->argv, l->envp);
        if (errno == ENOENT) return fail(l, AT_INTERPRETER);
        if (errno != EACCES && errno != ENOTDIR) return fail(l, AT_EXEC);
      }
      if (errno == EACCES) denied = 1;
    }
    if (!*end) break;
    p = end;
  }
  errno = denied ? EACCES : ENOENT;
  return fail(l, denied ? AT_EXEC : AT_LOOKUP);
}

/* Runs in the launcher's memory on a stack of its own, until exec. */
static int child(void *arg) {
  struct launch *l = arg;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  /* It died before the line above. From inside a PID namespace no parent is to be seen. */
  if (!(l->flags & WITH_NEWPID) && getppid() != l->parent) _exit(127);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  setsid();
  if (l->group) {
    int error = cg_enter(l->group);
    if (error < 0) return errno = -error, fail(l, AT_CGROUP);
  }
  if ((l->out >= 0 && dup2(l->out, 1) < 0) || dup2(l->err, 2) < 0) return fail(l, AT_RESOURCES);
  if (*l->input && take_input(l->input) < 0) return fail(l, AT_STDIN);
  if (*l->channel || l->relay >= 0) {
    int fd = l->relay >= 0 ? l->relay : connect_channel(l->channel);
    if (fd < 0) return fail(l, AT_CHANNEL);
    if (!(l->flags & WITH_CHANNEL_STDIO)) {
      if (dup2(fd, CHANNEL_FD) < 0) return fail(l, AT_CHANNEL);
    } else if (dup2(fd, 0) < 0 || dup2(fd, 1) < 0) {
      return fail(l, AT_CHANNEL);
    }
  }
  if (chdir(l->cwd) < 0) return fail(l, AT_CWD);
  if (restore_nofile) setrlimit(RLIMIT_NOFILE, &task_nofile);
  for (int i = 0; i < l->rlimit_count; i++) {
    struct rlimit r;
    int name = get_rlimit(l->rlimits + 17 * i, &r);
    if (setrlimit(name, &r) < 0) return fail(l, AT_RLIMIT);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (l->flags & WITH_NEWPID && l->own_uid != 0) {
    prctl(PR_SET_DUMPABLE, 1); /* else the maps would be root's; the launcher takes it back */
    int error = box_own_namespace(l->own_uid, l->own_gid);
    if (error < 0) return errno = -error, fail(l, AT_CONFINEMENT);
  }
  if (l->confine.flags) {
    int error = confine_apply(&l->confine);
    if (error < 0) return errno = -error, fail(l, AT_CONFINEMENT);
  }
  return exec_program(l);
}

static void spawn_failed_why(uint32_t id, int at, int error, const char *why) {
  size_t size = strlen(why) + 1;
  uint8_t *body = frame(EV_SPAWN_FAILED, id, 5 + size);
  body[0] = (uint8_t)at;
  put32(body + 1, (uint32_t)error);
  memcpy(body + 5, why, size);
  urgent = 1;
}

static void spawn_failed(uint32_t id, int at, int error) { spawn_failed_why(id, at, error, ""); }

/* Splits `count` NUL-ended strings off `*p`; false when the frame is too short for them. */
static int take_strings(uint8_t **p, uint8_t *end, char **list, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    uint8_t *nul = memchr(*p, 0, (size_t)(end - *p));
    if (!nul) return 0;
    list[i] = (char *)*p;
    *p = nul + 1;
  }
  list[count] = NULL;
  return 1;
}

int get_rlimit(const uint8_t *p, struct rlimit *r) {
  if (p[0] >= sizeof rlimit_names / sizeof *rlimit_names) return -1;
  r->rlim_cur = (rlim_t)get64(p + 1);
  r->rlim_max = (rlim_t)get64(p + 9);
  return rlimit_names[p[0]];
}

/* The descriptors of a start: ours stay with the task, theirs are the child's. */
struct ends { int ours[3], theirs[3]; };

static void close_all(const int *fds) {
  for (int s = 0; s < 3; s++)
    if (fds[s] >= 0) close(fds[s]);
}

static int open_ends(struct ends *e, struct task *t, uint32_t flags) {
  int pipes[2];
  for (int s = flags & WITH_CHANNEL_STDIO ? 1 : 0; s < 2; s++) {
    if (pipe2(pipes, O_CLOEXEC) < 0) return -1;
    e->ours[s] = pipes[0];
    e->theirs[s] = pipes[1];
  }
  if (!(flags & WITH_RELAY)) return 0;
  if (relay_open(t, &e->theirs[RELAY]) < 0) return -1;
  e->ours[RELAY] = t->fd[RELAY];
  return 0;
}

/* Splits the body of a spawn (PROTOCOL.md) into `l` and `t`. False when it makes no sense. */
static int parse(struct launch *l, struct task *t, uint8_t *body, size_t size) {
  enum { FIXED = 71 };
  static char **strings;
  static size_t strings_cap;
  if (size < FIXED) return 0;
  uint8_t *p = body + FIXED, *end = body + size;
  uint32_t argc = get32(body + 26), envc = get32(body + 30), writable = body[70];
  l->rlimit_count = body[25];
  l->rlimits = p;
  if (argc == 0 || argc > size || envc > size || (size_t)(end - p) < 17u * body[25]) return 0;
  p += 17 * l->rlimit_count;
  struct rlimit r;
  for (int i = 0; i < l->rlimit_count; i++)
    if (get_rlimit(l->rlimits + 17 * i, &r) < 0) return 0;
  size_t count = 5u + writable + 1 + argc + 1 + envc + 1;
  if (strings_cap < count) {
    strings_cap = count + 64;
    strings = need(realloc(strings, strings_cap * sizeof *strings));
  }
  char **head = strings, **paths = head + 5, **argv = paths + writable + 1, **envp = argv + argc + 1;
  if (!take_strings(&p, end, head, 4) || !take_strings(&p, end, paths, writable) ||
      !take_strings(&p, end, argv, argc) || !take_strings(&p, end, envp, envc))
    return 0;
  l->cwd = head[0];
  l->channel = head[1];
  l->input = head[2];
  l->argv = argv;
  l->envp = envp;
  for (char **e = envp; *e; e++)
    if (strncmp(*e, "PATH=", 5) == 0) l->path = *e + 5;
  l->flags = get32(body + 34);
  if (*l->channel && l->flags & WITH_RELAY) return 0;
  if (l->flags & WITH_CHANNEL_STDIO && !*l->channel && !(l->flags & WITH_RELAY)) return 0;
  l->confine = (struct confine){
      .flags = (l->flags & WITH_PRIVS ? (uint32_t)CONFINE_PRIVS : 0) |
               (l->flags & WITH_SECCOMP ? (uint32_t)CONFINE_SECCOMP : 0) |
               (l->flags & WITH_LANDLOCK ? (uint32_t)CONFINE_LANDLOCK : 0),
      .uid = (uid_t)get32(body + 38),
      .gid = (gid_t)get32(body + 42),
      .allow = head[3],
      .writable = (const char *const *)paths,
  };
  t->grace_ms = get32(body + 4);
  t->limit = get64(body + 8);
  t->has_mark = body[16];
  memcpy(t->mark, body + 17, 8);
  t->limits = (struct cg_limits){
      .memory_bytes = get64(body + 46), .cpu_milli = get32(body + 62), .pids = get32(body + 66)};
  t->cpu_limit_ms = get64(body + 54);
  t->is_sampled = (l->flags & WITH_SAMPLES) != 0;
  t->is_watched = (l->flags & (WITH_SAMPLES | WITH_CGROUP)) || t->limits.memory_bytes ||
                  t->limits.pids || t->cpu_limit_ms;
  return 1;
}

/* Whatever was prepared for a task that does not come to be. */
static void forget(struct task *t, const struct ends *e) {
  close_all(e->ours);
  close_meter(t);
  relay_free(t);
  if (t->group) {
    cg_drop(t->group);
    cgroup_at = now;
  }
  free(t);
}

void spawn(uint32_t id, uint8_t *body, size_t size) {
  struct launch l = {.parent = self, .path = "/usr/local/bin:/usr/bin:/bin"};
  struct ends e = {{-1, -1, -1}, {-1, -1, -1}};
  char why[200] = "";
  int at = 0, error = 0;
  pid_t pid = -1;
  if (find_id(id)) {
    hold_announced(NULL);
    return spawn_failed(id, AT_REQUEST, EEXIST);
  }
  struct task *t = need(calloc(1, sizeof *t));
  t->fd[0] = t->fd[1] = t->fd[RELAY] = -1;
  if (!parse(&l, t, body, size)) {
    free(t);
    hold_announced(NULL);
    return spawn_failed(id, AT_REQUEST, EINVAL);
  }
  if (t->has_mark) open_meter(t, l.envp);
  if (l.confine.flags && confine_prepare(&l.confine, why, sizeof why) < 0) {
    at = AT_CONFINEMENT;
    error = EPERM;
  } else if (l.flags & WITH_CGROUP && cgroup_version && !(t->group = cg_take(&t->limits))) {
    at = AT_CGROUP;
    error = errno;
  } else if (open_ends(&e, t, l.flags) < 0) {
    at = AT_RESOURCES;
    error = errno;
  } else {
    l.group = t->group;
    l.out = e.theirs[0];
    l.err = e.theirs[1];
    l.relay = e.theirs[RELAY];
    int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    l.own_uid = geteuid();
    l.own_gid = getegid();
    if (l.flags & WITH_NEWPID) flags |= CLONE_NEWPID | (l.own_uid == 0 ? 0 : CLONE_NEWUSER);
    t->started_ms = (double)(clock_ns(CLOCK_REALTIME) / 1000) / 1000;
    t->start_ns = clock_ns(CLOCK_MONOTONIC);
    pid = clone(child, child_stack + sizeof child_stack, flags, &l);
    if (flags & CLONE_NEWUSER) prctl(PR_SET_DUMPABLE, 0);
    if (pid < 0) {
      at = AT_RESOURCES;
      error = errno;
    } else if (l.failed_at) {
      at = l.failed_at;
      error = l.failed_errno;
      waitpid(pid, NULL, 0);
    }
  }
  close_all(e.theirs);
  if (at) {
    forget(t, &e);
    hold_announced(NULL);
    return spawn_failed_why(id, at, error, why);
  }
  uint32_t timeout_ms = get32(body);
  t->id = id;
  t->pid = pid;
  memcpy(t->fd, e.ours, sizeof t->fd);
  t->register_at = t->start_ns + LAZY_NS;
  t->timeout_at = timeout_ms ? t->start_ns + timeout_ms * MS : NEVER;
  t->kill_at = t->drain_at = t->watch_at = t->slow_at = NEVER;
  due(t->register_at);
  due(t->timeout_at);
  add_task(t);
  hold_announced(t);
  if (t->group) cgroup_at = now; /* one is to be made ahead */
  if (t->is_watched) watch_begin(t);
  no_children = 0;
  uint8_t *started = frame(EV_STARTED, id, 12);
  put32(started, (uint32_t)pid);
  put_double(started + 4, t->started_ms);
}
