/*
 * launcher - parent of every task process and of every warm worker of an edgedag agent.
 *
 * Theory of operation
 * ===================
 * Who is whose parent.  The agent (Node.js) starts one launcher. The launcher starts the leader of
 * each task with clone(CLONE_VM|CLONE_VFORK): no page table is copied and exec errors come back
 * through shared memory. A leader gets its own session, PDEATHSIG=KILL, and is a child subreaper:
 * its double-forked descendants stay below it for as long as it lives. The launcher is a subreaper
 * too, so when a leader dies everything that it left behind becomes a child of the launcher. Hence
 * the one rule on which cleaning up rests: a child of the launcher that is not a live leader is an
 * orphan of a dead task, and is killed with its descendants.
 *
 * File descriptors.  0 is /dev/null and is inherited by every task. 3 is the socket to the agent
 * (PROTOCOL.md). All others are close-on-exec, so a task finds 0, 1, 2 and nothing else,
 * or also 3 if it asked for a channel: a Unix socket that is connected for it before exec. Signals
 * are blocked for good and dispositions are at their defaults from the start, so a child has only
 * to clear its mask.
 *
 * One loop.  epoll waits for the agent's socket, a signalfd with SIGCHLD, and the read ends of the
 * tasks' pipes. Pipes are blocking (O_NONBLOCK would hit the task's end as well) and are read once
 * per readiness, at most 64 KiB; epoll hands out few at a time in rotation, so a flood starves
 * nobody. A pipe joins epoll only a millisecond after the start: a short task is drained when
 * its death is seen, which saves four system calls and a wake-up. Frames to the agent are
 * collected and sent with one send() a turn; frames that nobody waits for (started, output) are
 * held for up to a millisecond so that they travel with what follows. With more than 256 KiB
 * unsent the pipes are not read at all, while deaths, timeouts and commands are.
 *
 * Meter.  A process with a mark and EDGEDAG_WORKER_CLAIM in its environment shares that file with us:
 * there we count what we have read of its pipes, under a sequence number that is odd while we read.
 * With FIONREAD the worker then knows whether a call has written anything, and spares the marks of
 * one that has not. The pipe's lock orders our read against its FIONREAD.
 *
 * Who kills whom.  A stop (timeout, output limit, kill command) sends TERM and CONT to the leader's
 * group, waits the grace period, and then kills the tree: SIGSTOP from the top down, reading
 * /proc/<pid>/task/<tid>/children, until a pass finds nobody new, then SIGKILL from the bottom up. Pids
 * cannot be confused: a leader or an orphan is our own unreaped child, and the descendants of a
 * stopped process are not reaped by it. Orphans in the session of a task that is being stopped
 * keep the rest of its grace period (a shell dies of TERM before the program that it waits for).
 * A task has ended when its leader is reaped, its pipes are at their end and no orphan is left, or
 * one second after its last kill (`leaked`; the orphans that would not die are then abandoned).
 * End of file on fd 3 kills every tree without grace; the launcher then exits. If the launcher is
 * itself killed, PDEATHSIG takes the leaders.
 *
 * launcher --init -- program args...  is a small init for containers: it forwards signals, reaps
 * orphans and exits with the program's code.
 *
 * Exit codes: 0 the agent hung up and everything is gone, 64 wrong usage, 70 a failure of ours.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_close_range /* one number on all architectures; C libraries before 2021 lack it */
#define SYS_close_range 436
#endif

#define PROTOCOL_VERSION 1
#define AGENT_FD 3
#define HEADER_BYTES 9
#define READ_BYTES 65536
#define STALL_BYTES (256 * 1024)
#define PUSH_BYTES (32 * 1024)
#define MAX_FRAME_BYTES (16u * 1024 * 1024)
#define EVENTS_PER_TURN 8
#define BUCKETS 1024
#define PAGE_BYTES 65536
#define METER_AT 64
#define MS 1000000LL
#define NEVER INT64_MAX
#define LAZY_NS (1 * MS)      /* how long output and `started` may wait for company */
#define SWEEP_NS (5 * MS)     /* between two looks at orphans that do not die at once */
#define REKILL_NS (20 * MS)   /* between two kills of a tree whose leader lives on */
#define DRAIN_NS (1000 * MS)  /* from the last kill to giving up on pipes and orphans */
#define CLOSING_NS (5000 * MS)

enum { CMD_SPAWN = 1, CMD_KILL = 2 };
enum { EV_HELLO = 128, EV_STARTED, EV_STDOUT, EV_STDERR, EV_MARK, EV_ENDED, EV_SPAWN_FAILED };
enum { STOP_NONE, STOP_TIMEOUT, STOP_OUTPUT, STOP_KILLED };
enum { /* where a start failed; the client makes a sentence of it */
  AT_RESOURCES = 1, AT_CWD, AT_LOOKUP, AT_EXEC, AT_INTERPRETER, AT_CHANNEL, AT_RLIMIT, AT_REQUEST
};

/* Our part of the page that agent and worker share (PROTOCOL.md, "Claim page"). */
struct meter {
  uint32_t sequence, unused;
  double drained[2];
};

struct task {
  struct task *next, *prev, *next_id, *next_pid;
  uint32_t id, grace_ms;
  pid_t pid;
  int fd[2];
  uint64_t bytes[2], dropped, limit;
  int64_t start_ns, register_at, timeout_at, kill_at, drain_at, died_at;
  double started_ms, wall_ms, user_ms, system_ms, rss_bytes;
  int code;
  uint8_t registered, dead, by_signal, stop, forced, leaked, has_mark;
  struct meter *meter;
  uint8_t mark[8], carry[2][12], carry_len[2];
};

struct buffer { uint8_t *data; size_t start, end, cap; };
struct pids { pid_t *list; size_t count, cap; };

/* What the child of the clone needs, and where it writes why it failed (shared memory). */
struct launch {
  char **argv, **envp;
  const char *cwd, *channel, *path;
  const uint8_t *rlimits;
  int rlimit_count, out, err;
  pid_t parent;
  volatile int failed_at, failed_errno;
};

static struct task tasks = {.next = &tasks, .prev = &tasks};
static struct task *by_id[BUCKETS], *by_pid[BUCKETS];
static struct buffer in, out;
static struct pids abandoned, tree, own;
static uint8_t *seen; /* one bit a pid, for tree walks */
static size_t pid_max = 4194304;
static int epoll_fd, signal_fd, children_fd = -1;
static int live, draining, orphans, no_children, urgent, waits_out, closing, agent_gone;
static int64_t now, next_due = NEVER, lazy_at = NEVER, sweep_at = NEVER, closing_at = NEVER;
static struct rlimit task_nofile;
static int restore_nofile;
static pid_t self;
static _Alignas(16) char child_stack[65536];

/* ---- small things ---- */

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("launcher: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(70);
}

static void *need(void *p) {
  if (!p) die("out of memory");
  return p;
}

static int64_t clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void due(int64_t at) {
  if (at < next_due) next_due = at;
}

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

static void put_double(uint8_t *p, double d) {
  uint64_t v;
  memcpy(&v, &d, 8);
  put32(p, (uint32_t)v);
  put32(p + 4, (uint32_t)(v >> 32));
}

static void push_pid(struct pids *v, pid_t pid) {
  if (v->count == v->cap) {
    v->cap = v->cap ? v->cap * 2 : 64;
    v->list = need(realloc(v->list, v->cap * sizeof *v->list));
  }
  v->list[v->count++] = pid;
}

static int has_pid(const struct pids *v, pid_t pid) {
  for (size_t i = 0; i < v->count; i++)
    if (v->list[i] == pid) return 1;
  return 0;
}

static void drop_pid(struct pids *v, pid_t pid) {
  for (size_t i = 0; i < v->count; i++)
    if (v->list[i] == pid) v->list[i] = v->list[--v->count];
}

/* ---- buffers and frames ---- */

static uint8_t *reserve(struct buffer *b, size_t n) {
  if (b->cap - b->end < n && b->start > 0) {
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
  }
  if (b->cap - b->end < n) {
    while (b->cap - b->end < n) b->cap = b->cap ? b->cap * 2 : READ_BYTES * 2;
    b->data = need(realloc(b->data, b->cap));
  }
  return b->data + b->end;
}

/* Writes a header in place; the body of `n` bytes stands or will stand behind it. */
static uint8_t *frame(uint8_t type, uint32_t id, size_t n) {
  uint8_t *p = reserve(&out, HEADER_BYTES + n);
  put32(p, (uint32_t)(5 + n));
  p[4] = type;
  put32(p + 5, id);
  out.end += HEADER_BYTES + n;
  if (lazy_at == NEVER) lazy_at = now + LAZY_NS;
  return p + HEADER_BYTES;
}

static void send_out(void) {
  size_t n = out.end - out.start;
  if (agent_gone) out.start = out.end = n = 0;
  if (n == 0) return;
  if (!urgent && n < PUSH_BYTES && now < lazy_at) return;
  ssize_t sent = send(AGENT_FD, out.data + out.start, n, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    agent_gone = closing = 1;
    out.start = out.end = 0;
    return;
  }
  if (sent > 0) out.start += (size_t)sent;
  int waits = out.start < out.end;
  urgent = waits;
  if (!waits) {
    out.start = out.end = 0;
    lazy_at = NEVER;
  }
  if (waits != waits_out && !closing) {
    struct epoll_event e = {.events = EPOLLIN | (waits ? EPOLLOUT : 0u), .data.u64 = 0};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, AGENT_FD, &e);
  }
  waits_out = waits;
}

/* ---- the meter ---- */

static struct meter *open_meter(char **envp) {
  static const char name[] = "EDGEDAG_WORKER_CLAIM=";
  const char *path = NULL;
  for (char **e = envp; *e; e++)
    if (strncmp(*e, name, sizeof name - 1) == 0) path = *e + sizeof name - 1;
  int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
  if (fd < 0) return NULL;
  struct stat s;
  void *page = MAP_FAILED;
  if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size == PAGE_BYTES)
    page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page == MAP_FAILED) return NULL;
  struct meter *m = (struct meter *)(void *)((uint8_t *)page + METER_AT);
  __atomic_store_n(&m->sequence, 2, __ATOMIC_SEQ_CST); /* 0 says that nobody counts */
  return m;
}

static void close_meter(struct task *t) {
  if (t->meter) munmap((uint8_t *)t->meter - METER_AT, PAGE_BYTES);
}

/* ---- the table of tasks ---- */

static struct task *find_id(uint32_t id) {
  struct task *t = by_id[id % BUCKETS];
  while (t && t->id != id) t = t->next_id;
  return t;
}

/* A dead leader's pid may be in use again while its task drains, hence `dead`. */
static struct task *find_pid(pid_t pid, int dead) {
  struct task *t = by_pid[(uint32_t)pid % BUCKETS];
  while (t && (t->pid != pid || t->dead != dead)) t = t->next_pid;
  return t;
}

static void add_task(struct task *t) {
  t->prev = &tasks;
  t->next = tasks.next;
  t->next->prev = tasks.next = t;
  t->next_id = by_id[t->id % BUCKETS];
  by_id[t->id % BUCKETS] = t;
  t->next_pid = by_pid[(uint32_t)t->pid % BUCKETS];
  by_pid[(uint32_t)t->pid % BUCKETS] = t;
  live++;
}

static void remove_task(struct task *t) {
  t->prev->next = t->next;
  t->next->prev = t->prev;
  struct task **p = &by_id[t->id % BUCKETS];
  while (*p != t) p = &(*p)->next_id;
  *p = t->next_id;
  p = &by_pid[(uint32_t)t->pid % BUCKETS];
  while (*p != t) p = &(*p)->next_pid;
  *p = t->next_pid;
  close_meter(t);
  free(t);
}

/* ---- process trees ---- */

static void parse_pids(const char *text, struct pids *v) {
  for (char *end; *text; text = end) {
    long pid = strtol(text, &end, 10);
    if (end == text) break;
    push_pid(v, (pid_t)pid);
  }
}

/* Reads a `children` file of any length: a read is cut short at a page, or at the end. */
static void read_children(int fd, struct pids *v) {
  static char *text;
  static size_t cap;
  size_t n = 0;
  for (;;) {
    if (cap - n < 4096) text = need(realloc(text, cap = cap ? cap * 2 : 8192));
    ssize_t got = pread(fd, text + n, cap - n - 1, (off_t)n);
    if (got <= 0) break;
    n += (size_t)got;
    if (got < 2048) break;
  }
  text[n] = 0;
  parse_pids(text, v);
}

/* For kernels without CONFIG_PROC_CHILDREN: the parent of every process there is. */
static void scan_children(pid_t parent, struct pids *v) {
  DIR *dir = opendir("/proc");
  if (!dir) return;
  for (struct dirent *e; (e = readdir(dir));) {
    if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
    char path[300], text[512];
    snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) continue;
    text[n] = 0;
    char *after = strrchr(text, ')'); /* the name may hold anything */
    int ppid = 0;
    if (after && sscanf(after + 1, " %*c %d", &ppid) == 1 && ppid == parent)
      push_pid(v, (pid_t)atoi(e->d_name));
  }
  closedir(dir);
}

static void children_of(pid_t pid, struct pids *v) {
  if (children_fd < 0) {
    scan_children(pid, v);
    return;
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *dir = opendir(path);
  if (!dir) return;
  for (struct dirent *e; (e = readdir(dir));) {
    if (e->d_name[0] == '.') continue;
    char file[350];
    snprintf(file, sizeof file, "/proc/%d/task/%s/children", (int)pid, e->d_name);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    read_children(fd, v);
    close(fd);
  }
  closedir(dir);
}

static int see(pid_t pid) {
  if (pid <= 1 || (size_t)pid >= pid_max) return 0;
  int was = seen[pid / 8] >> (pid % 8) & 1;
  seen[pid / 8] |= (uint8_t)(1 << (pid % 8));
  return !was;
}

/* Stops, then kills, `root` and all its descendants. A stopped parent neither forks nor reaps. */
static void kill_tree(pid_t root) {
  static struct pids found;
  tree.count = 0;
  see(root);
  push_pid(&tree, root);
  kill(root, SIGSTOP);
  size_t before;
  int pass = 0;
  do {
    before = tree.count;
    for (size_t i = 0; i < tree.count; i++) {
      found.count = 0;
      children_of(tree.list[i], &found);
      for (size_t k = 0; k < found.count; k++) {
        if (!see(found.list[k])) continue;
        kill(found.list[k], SIGSTOP);
        push_pid(&tree, found.list[k]);
      }
    }
  } while (tree.count > before && ++pass < 10);
  for (size_t i = tree.count; i-- > 0;) {
    pid_t pid = tree.list[i];
    kill(pid, SIGKILL);
    if ((size_t)pid < pid_max) seen[pid / 8] &= (uint8_t)~(1 << (pid % 8));
  }
}

/* ---- stopping ---- */

static void force(struct task *t) {
  t->forced = 1;
  kill(-t->pid, SIGKILL);
  kill_tree(t->pid);
  t->kill_at = now + REKILL_NS;
  due(t->kill_at);
}

static void stop_task(struct task *t, uint8_t why, uint32_t grace_ms) {
  int64_t kill_at = now + grace_ms * MS;
  if (t->dead) { /* only orphans within their grace period can be left */
    if (t->stop && kill_at < t->kill_at) {
      t->kill_at = kill_at;
      t->drain_at = kill_at + DRAIN_NS;
      sweep_at = now;
    }
    return;
  }
  int first = !t->stop;
  if (first) t->stop = why;
  t->timeout_at = NEVER;
  if (t->forced) return;
  if (grace_ms == 0) {
    force(t);
    return;
  }
  if (first) {
    kill(-t->pid, SIGTERM);
    kill(-t->pid, SIGCONT);
  }
  if (kill_at < t->kill_at) t->kill_at = kill_at;
  due(t->kill_at);
}

/* ---- output ---- */

/* How much of `n` further bytes may pass; beyond the limit the task is stopped. */
static size_t admit(struct task *t, int s, size_t n) {
  uint64_t total = t->bytes[0] + t->bytes[1];
  t->bytes[s] += n;
  if (total + n <= t->limit) return n;
  size_t pass = total < t->limit ? (size_t)(t->limit - total) : 0;
  t->dropped += n - pass;
  if (!t->stop) stop_task(t, STOP_OUTPUT, t->grace_ms);
  return pass;
}

static void emit(struct task *t, int s, const uint8_t *p, size_t n) {
  n = admit(t, s, n);
  if (n) memcpy(frame((uint8_t)(EV_STDOUT + s), t->id, n), p, n);
}

/* Passes on `n` bytes without the marks in them. An unfinished mark is carried to the next read. */
static void emit_marked(struct task *t, int s, const uint8_t *p, size_t n) {
  const uint8_t *end = p + n, *hit;
  while ((hit = memmem(p, (size_t)(end - p), t->mark, 8)) && end - hit >= 12) {
    if (hit > p) emit(t, s, p, (size_t)(hit - p));
    uint8_t *body = frame(EV_MARK, t->id, 5);
    body[0] = (uint8_t)s;
    put32(body + 1, get32(hit + 8));
    urgent = 1;
    p = hit + 12;
  }
  size_t keep = hit ? (size_t)(end - hit) : 0;
  if (!hit)
    for (size_t k = end - p < 7 ? (size_t)(end - p) : 7; k > 0 && !keep; k--)
      if (memcmp(end - k, t->mark, k) == 0) keep = k;
  if ((size_t)(end - p) > keep) emit(t, s, p, (size_t)(end - p) - keep);
  memcpy(t->carry[s], end - keep, keep);
  t->carry_len[s] = (uint8_t)keep;
}

static void close_pipe(struct task *t, int s) {
  if (t->fd[s] < 0) return;
  if (t->carry_len[s]) emit(t, s, t->carry[s], t->carry_len[s]);
  t->carry_len[s] = 0;
  /* A child that has just been started holds a copy until its exec closes it, which is after the
   * vfork has returned: without this, epoll would tell of a task that is gone. */
  if (t->registered) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, t->fd[s], NULL);
  close(t->fd[s]);
  t->fd[s] = -1;
}

static ssize_t metered_read(struct task *t, int s, uint8_t *p) {
  struct meter *m = t->meter;
  if (!m) return read(t->fd[s], p, READ_BYTES);
  __atomic_add_fetch(&m->sequence, 1, __ATOMIC_SEQ_CST);
  ssize_t n = read(t->fd[s], p, READ_BYTES);
  if (n > 0) m->drained[s] += (double)n;
  if (__atomic_add_fetch(&m->sequence, 1, __ATOMIC_SEQ_CST) == 0)
    __atomic_add_fetch(&m->sequence, 2, __ATOMIC_SEQ_CST);
  return n;
}

/* One read of a pipe that is known to be readable or at its end. */
static void read_pipe(struct task *t, int s, int readable) {
  static uint8_t scratch[READ_BYTES + 12];
  if (t->fd[s] < 0) return;
  ssize_t n = 0;
  if (readable && t->has_mark) {
    size_t carried = t->carry_len[s];
    memcpy(scratch, t->carry[s], carried);
    n = metered_read(t, s, scratch + carried);
    if (n > 0) emit_marked(t, s, scratch, carried + (size_t)n);
  } else if (readable) {
    n = read(t->fd[s], reserve(&out, HEADER_BYTES + READ_BYTES) + HEADER_BYTES, READ_BYTES);
    if (n > 0) {
      size_t pass = admit(t, s, (size_t)n);
      if (pass) frame((uint8_t)(EV_STDOUT + s), t->id, pass); /* the body is already in place */
    }
  }
  if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) close_pipe(t, s);
}

static void register_pipes(struct task *t) {
  t->register_at = NEVER;
  if (t->registered) return;
  t->registered = 1;
  for (int s = 0; s < 2; s++) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)(uintptr_t)t | (uint64_t)s};
    if (t->fd[s] >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, t->fd[s], &e) < 0)
      die("epoll_ctl: %s", strerror(errno));
  }
}

/* ---- starting ---- */

static const int rlimit_names[] = {RLIMIT_AS,     RLIMIT_CPU,   RLIMIT_CORE, RLIMIT_FSIZE,
                                   RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_STACK};

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
  if (getppid() != l->parent) _exit(127); /* it died before the line above */
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  setsid();
  if (dup2(l->out, 1) < 0 || dup2(l->err, 2) < 0) return fail(l, AT_RESOURCES);
  if (*l->channel) {
    int fd = connect_channel(l->channel);
    if (fd < 0 || dup2(fd, AGENT_FD) < 0) return fail(l, AT_CHANNEL);
  }
  if (chdir(l->cwd) < 0) return fail(l, AT_CWD);
  if (restore_nofile) setrlimit(RLIMIT_NOFILE, &task_nofile);
  for (int i = 0; i < l->rlimit_count; i++) {
    const uint8_t *p = l->rlimits + 17 * i;
    struct rlimit r = {.rlim_cur = (rlim_t)get64(p + 1), .rlim_max = (rlim_t)get64(p + 9)};
    if (setrlimit(rlimit_names[p[0]], &r) < 0) return fail(l, AT_RLIMIT);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  return exec_program(l);
}

static void spawn_failed(uint32_t id, int at, int error) {
  uint8_t *body = frame(EV_SPAWN_FAILED, id, 5);
  body[0] = (uint8_t)at;
  put32(body + 1, (uint32_t)error);
  urgent = 1;
}

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

/* Body: u32 timeoutMs, u32 graceMs, u64 limit, u8 hasMark, mark[8], u8 rlimits, u32 argc, u32 envc,
 * rlimits of 17 bytes, then cwd, channel, argv, env as NUL-ended strings. */
static void spawn(uint32_t id, uint8_t *body, size_t size) {
  enum { FIXED = 34 };
  static char **strings;
  static size_t strings_cap;
  struct launch l = {.parent = self, .path = "/usr/local/bin:/usr/bin:/bin"};
  int pipes[2][2] = {{-1, -1}, {-1, -1}};
  if (find_id(id)) return spawn_failed(id, AT_REQUEST, EEXIST);
  if (size < FIXED) return spawn_failed(id, AT_REQUEST, EINVAL);
  uint32_t timeout_ms = get32(body), argc = get32(body + 26), envc = get32(body + 30);
  uint8_t *p = body + FIXED, *end = body + size;
  l.rlimit_count = body[25];
  l.rlimits = p;
  if (argc == 0 || argc > size || envc > size || (size_t)(end - p) < 17u * body[25])
    return spawn_failed(id, AT_REQUEST, EINVAL);
  p += 17 * l.rlimit_count;
  for (int i = 0; i < l.rlimit_count; i++)
    if (l.rlimits[17 * i] >= sizeof rlimit_names / sizeof *rlimit_names)
      return spawn_failed(id, AT_REQUEST, EINVAL);
  if (strings_cap < argc + envc + 5) {
    strings_cap = argc + envc + 64;
    strings = need(realloc(strings, strings_cap * sizeof *strings));
  }
  char **head = strings, **argv = strings + 3, **envp = argv + argc + 1;
  if (!take_strings(&p, end, head, 2) || !take_strings(&p, end, argv, argc) ||
      !take_strings(&p, end, envp, envc))
    return spawn_failed(id, AT_REQUEST, EINVAL);
  l.cwd = head[0];
  l.channel = head[1];
  l.argv = argv;
  l.envp = envp;
  for (char **e = envp; *e; e++)
    if (strncmp(*e, "PATH=", 5) == 0) l.path = *e + 5;

  struct task *t = need(calloc(1, sizeof *t));
  if (body[16]) t->meter = open_meter(envp);
  int error = 0;
  pid_t pid = -1;
  if (pipe2(pipes[0], O_CLOEXEC) < 0 || pipe2(pipes[1], O_CLOEXEC) < 0) {
    error = errno;
  } else {
    l.out = pipes[0][1];
    l.err = pipes[1][1];
    t->started_ms = (double)(clock_ns(CLOCK_REALTIME) / 1000) / 1000;
    t->start_ns = clock_ns(CLOCK_MONOTONIC);
    pid = clone(child, child_stack + sizeof child_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &l);
    if (pid < 0) error = errno;
  }
  for (int s = 0; s < 2; s++)
    if (pipes[s][1] >= 0) close(pipes[s][1]);
  if (pid < 0 || l.failed_at) {
    for (int s = 0; s < 2; s++)
      if (pipes[s][0] >= 0) close(pipes[s][0]);
    close_meter(t);
    free(t);
    if (pid > 0) waitpid(pid, NULL, 0);
    return spawn_failed(id, pid < 0 ? AT_RESOURCES : l.failed_at, pid < 0 ? error : l.failed_errno);
  }
  t->id = id;
  t->pid = pid;
  t->fd[0] = pipes[0][0];
  t->fd[1] = pipes[1][0];
  t->grace_ms = get32(body + 4);
  t->limit = get64(body + 8);
  t->has_mark = body[16];
  memcpy(t->mark, body + 17, 8);
  t->register_at = t->start_ns + LAZY_NS;
  t->timeout_at = timeout_ms ? t->start_ns + timeout_ms * MS : NEVER;
  t->kill_at = t->drain_at = NEVER;
  due(t->register_at);
  due(t->timeout_at);
  add_task(t);
  no_children = 0;
  uint8_t *started = frame(EV_STARTED, id, 12);
  put32(started, (uint32_t)pid);
  put_double(started + 4, t->started_ms);
}

/* ---- dying ---- */

static double ms_of(struct timeval v) { return (double)v.tv_sec * 1e3 + (double)v.tv_usec / 1e3; }

static void leader_died(struct task *t, int status, const struct rusage *used) {
  t->dead = 1;
  live--;
  draining++;
  t->by_signal = WIFSIGNALED(status);
  t->code = t->by_signal ? WTERMSIG(status) : WEXITSTATUS(status);
  t->died_at = now;
  t->wall_ms = (double)(now - t->start_ns) / 1e6;
  t->user_ms = ms_of(used->ru_utime);
  t->system_ms = ms_of(used->ru_stime);
  t->rss_bytes = (double)used->ru_maxrss * 1024;
  t->timeout_at = t->register_at = NEVER;
  if (!t->stop || t->forced) t->kill_at = now;
  t->drain_at = t->kill_at + DRAIN_NS;
  due(t->drain_at);
  struct pollfd p[2] = {{.fd = t->fd[0], .events = POLLIN}, {.fd = t->fd[1], .events = POLLIN}};
  if (t->registered && t->fd[0] < 0 && t->fd[1] < 0) return;
  if (out.end - out.start <= STALL_BYTES && poll(p, 2, 0) > 0)
    for (int s = 0; s < 2; s++)
      if (p[s].revents) read_pipe(t, s, p[s].revents & POLLIN);
  if (t->fd[0] >= 0 || t->fd[1] >= 0) register_pipes(t);
}

static void reap(void) {
  for (;;) {
    int status;
    struct rusage used;
    pid_t pid = wait4(-1, &status, WNOHANG, &used);
    if (pid <= 0) {
      no_children = pid < 0 && errno == ECHILD;
      break;
    }
    struct task *t = find_pid(pid, 0);
    if (t) leader_died(t, status, &used);
    else drop_pid(&abandoned, pid);
  }
  if (draining) sweep_at = now;
}

/* Kills whatever dead leaders left behind. The only children of ours to spare are live leaders. */
static void sweep(void) {
  sweep_at = NEVER;
  orphans = 0;
  own.count = 0;
  if (no_children) return;
  if (children_fd >= 0) read_children(children_fd, &own);
  else scan_children(self, &own);
  for (size_t i = 0; i < own.count; i++) {
    pid_t pid = own.list[i];
    if (find_pid(pid, 0) || has_pid(&abandoned, pid)) continue;
    orphans++;
    struct task *t = find_pid(getsid(pid), 1);
    if (t && t->stop) {
      if (now < t->kill_at) {
        if (t->kill_at < sweep_at) sweep_at = t->kill_at;
        continue;
      }
      t->forced = 1;
    } else if (t) {
      t->leaked = 1;
    } else { /* it left the session: it belongs to one of those that died just now */
      for (struct task *o = tasks.next; o != &tasks; o = o->next)
        if (o->dead && o->died_at == now && !o->stop) o->leaked = 1;
    }
    kill_tree(pid);
    if (now + SWEEP_NS < sweep_at) sweep_at = now + SWEEP_NS;
  }
}

static void ended(struct task *t) {
  uint8_t *b = frame(EV_ENDED, t->id, 72);
  b[0] = t->by_signal;
  b[1] = t->stop;
  b[2] = (uint8_t)(t->leaked | t->forced << 1);
  b[3] = 0;
  put32(b + 4, (uint32_t)t->code);
  put_double(b + 8, t->started_ms);
  put_double(b + 16, t->wall_ms);
  put_double(b + 24, t->user_ms);
  put_double(b + 32, t->system_ms);
  put_double(b + 40, t->rss_bytes);
  put_double(b + 48, (double)t->bytes[0]);
  put_double(b + 56, (double)t->bytes[1]);
  put_double(b + 64, (double)t->dropped);
  urgent = 1;
  draining--;
  remove_task(t);
}

static void finish(int stalled) {
  for (struct task *t = tasks.next, *next; t != &tasks; t = next) {
    next = t->next;
    if (!t->dead) continue;
    int open = t->fd[0] >= 0 || t->fd[1] >= 0;
    if (!open && orphans == 0) {
      ended(t);
    } else if (now >= t->drain_at) {
      if (stalled && open && !closing) { /* the agent is slow, not the task */
        due(t->drain_at = now + DRAIN_NS);
        continue;
      }
      if (open) t->leaked = 1;
      close_pipe(t, 0);
      close_pipe(t, 1);
      for (size_t i = 0; i < own.count; i++)
        if (!find_pid(own.list[i], 0) && !has_pid(&abandoned, own.list[i]))
          push_pid(&abandoned, own.list[i]);
      orphans = 0;
      ended(t);
    }
  }
}

static void timers(void) {
  if (now < next_due) return;
  next_due = NEVER;
  for (struct task *t = tasks.next; t != &tasks; t = t->next) {
    if (now >= t->register_at) register_pipes(t);
    if (now >= t->timeout_at) stop_task(t, STOP_TIMEOUT, t->grace_ms);
    if (!t->dead && now >= t->kill_at) force(t);
    due(t->register_at);
    due(t->timeout_at);
    due(t->dead ? t->drain_at : t->kill_at);
  }
}

/* ---- the agent ---- */

static void hang_up(void) {
  closing = 1;
  closing_at = now + CLOSING_NS;
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, AGENT_FD, NULL);
  for (struct task *t = tasks.next; t != &tasks; t = t->next) stop_task(t, STOP_KILLED, 0);
}

static void read_commands(void) {
  uint8_t *p = reserve(&in, READ_BYTES);
  ssize_t n = recv(AGENT_FD, p, in.cap - in.end, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    closing = 1;
    return;
  }
  in.end += (size_t)n;
  while (in.end - in.start >= HEADER_BYTES) {
    uint8_t *f = in.data + in.start;
    uint32_t length = get32(f), id = get32(f + 5);
    if (length < 5 || length > MAX_FRAME_BYTES) die("a frame of %u bytes from the agent", length);
    if (in.end - in.start < 4 + (size_t)length) {
      reserve(&in, 4 + (size_t)length - (in.end - in.start));
      return;
    }
    uint8_t *body = f + HEADER_BYTES;
    size_t size = length - 5;
    if (f[4] == CMD_SPAWN) {
      spawn(id, body, size);
    } else if (f[4] == CMD_KILL && size == 4) {
      struct task *t = find_id(id);
      if (t) stop_task(t, STOP_KILLED, get32(body));
    } else {
      die("unknown frame type %u of %zu bytes from the agent", f[4], size);
    }
    in.start += 4 + (size_t)length;
  }
  if (in.start == in.end) in.start = in.end = 0;
}

static void read_deaths(void) {
  struct signalfd_siginfo info[8];
  if (read(signal_fd, info, sizeof info) > 0) reap();
}

static int wait_ms(void) {
  int64_t at = next_due;
  if (sweep_at < at) at = sweep_at;
  if (closing_at < at) at = closing_at;
  if (!urgent && lazy_at < at) at = lazy_at;
  if (closing && now + SWEEP_NS < at) at = now + SWEEP_NS;
  if (at == NEVER) return -1;
  if (at <= now) return 0;
  int64_t ms = (at - now + MS - 1) / MS;
  return ms > 60000 ? 60000 : (int)ms;
}

static void turn(void) {
  int stalled = out.end - out.start > STALL_BYTES;
  int commands = 0, deaths = 0, n;
  struct epoll_event events[EVENTS_PER_TURN];
  if (stalled) {
    short want = closing ? POLLOUT : POLLIN | POLLOUT;
    struct pollfd p[2] = {{.fd = AGENT_FD, .events = want}, {.fd = signal_fd, .events = POLLIN}};
    n = poll(p, 2, wait_ms());
    if (n > 0) {
      commands = !closing && p[0].revents & ~POLLOUT;
      deaths = p[1].revents != 0;
    }
    n = 0;
  } else {
    n = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, wait_ms());
  }
  now = clock_ns(CLOCK_MONOTONIC);
  for (int i = 0; i < n; i++) {
    uint64_t data = events[i].data.u64;
    if (data == 0) commands = (events[i].events & ~(uint32_t)EPOLLOUT) != 0;
    else if (data == 1) deaths = 1;
    else
      read_pipe((struct task *)(uintptr_t)(data & ~1ULL), data & 1, events[i].events & EPOLLIN);
  }
  if (deaths) read_deaths();
  if (commands && !closing) read_commands();
  timers();
  if (now >= sweep_at) sweep();
  if (draining) finish(stalled);
  send_out();
  if (closing && closing_at == NEVER) hang_up();
}

static void serve(void) {
  int type;
  socklen_t length = sizeof type;
  if (getsockopt(AGENT_FD, SOL_SOCKET, SO_TYPE, &type, &length) < 0) {
    fputs("launcher: fd 3 must be a socket to the agent; a person has no use for this program, "
          "except --version and --init -- program args...\n", stderr);
    exit(64);
  }
  self = getpid();
  fcntl(AGENT_FD, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (getrlimit(RLIMIT_NOFILE, &task_nofile) == 0 && task_nofile.rlim_cur < task_nofile.rlim_max) {
    struct rlimit most = {task_nofile.rlim_max, task_nofile.rlim_max};
    restore_nofile = setrlimit(RLIMIT_NOFILE, &most) == 0;
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)self);
  children_fd = open(path, O_RDONLY | O_CLOEXEC);
  seen = need(calloc(1, pid_max / 8)); /* sparse: only touched pages count */
  sigset_t chld;
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  signal_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event agent = {.events = EPOLLIN, .data.u64 = 0};
  struct epoll_event deaths = {.events = EPOLLIN, .data.u64 = 1};
  if (signal_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, AGENT_FD, &agent) < 0 ||
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &deaths) < 0)
    die("cannot set up: %s", strerror(errno));
  now = clock_ns(CLOCK_MONOTONIC);
  uint8_t *hello = frame(EV_HELLO, 0, 8);
  put32(hello, PROTOCOL_VERSION);
  put32(hello + 4, (uint32_t)self);
  urgent = 1;
  send_out();
  for (;;) {
    turn();
    int unsent = out.start < out.end && !agent_gone;
    if (closing && closing_at != NEVER && ((!live && !draining && !unsent) || now >= closing_at))
      exit(0);
  }
}

/* ---- init of a container ---- */

static int run_init(char **argv) {
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  pid_t program = fork();
  if (program < 0) die("fork: %s", strerror(errno));
  if (program == 0) {
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "launcher: cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
  }
  for (;;) {
    int sig = sigwaitinfo(&all, NULL), status;
    if (sig > 0 && sig != SIGCHLD) kill(program, sig);
    for (pid_t pid; sig == SIGCHLD && (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      if (pid == program) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("edgedag-launcher protocol %d\n", PROTOCOL_VERSION);
    return 0;
  }
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  struct sigaction reset = {.sa_handler = SIG_DFL};
  for (int sig = 1; sig < NSIG; sig++) {
    reset.sa_flags = sig == SIGCHLD ? SA_NOCLDSTOP : 0;
    sigaction(sig, &reset, NULL);
  }
  if (argc >= 4 && strcmp(argv[1], "--init") == 0 && strcmp(argv[2], "--") == 0)
    return run_init(argv + 3);
  for (int fd; (fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0;) {
    if (fd > 2) {
      dup2(fd, 0); /* dup2 clears close-on-exec: every task inherits it as its stdin */
      break;
    }
  }
  if (syscall(SYS_close_range, 4u, ~0u, 0u) < 0)
    for (int fd = 4; fd < 1024; fd++) close(fd);
  if (argc > 1) {
    fprintf(stderr, "launcher: unknown argument %s\n", argv[1]);
    return 64;
  }
  serve();
}
