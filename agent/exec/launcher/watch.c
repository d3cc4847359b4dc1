/*
 * The limits and the figures of whole trees: from the cgroup of a task, or else collected from its
 * processes. A task that went over a limit is stopped for that, whatever its exit code says.
 */
#include "loop.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open /* one number on all architectures */
#define SYS_pidfd_open 434
#endif
#define WATCH_NS (100 * MS)

static void raise_to(double *peak, double value) {
  if (value > *peak) *peak = value;
}

/* Processes that came and went between two looks are in the figures of those who waited for them. */
static void look_at_tree(struct task *t) {
  struct cg_usage *u = &t->used, is = {0};
  tree_usage(t->pid, &is);
  u->memory_bytes = is.memory_bytes;
  u->pids = is.pids;
  raise_to(&u->cpu_user_ms, is.cpu_user_ms - t->base_user_ms);
  raise_to(&u->cpu_system_ms, is.cpu_system_ms - t->base_system_ms);
}

void watch_io(struct task *t) {
  double in, written;
  if (read_io(t->pid, &in, &written) < 0) return;
  raise_to(&t->used.read_bytes, in - t->base_read);
  raise_to(&t->used.written_bytes, written - t->base_written);
}

static void look(struct task *t) {
  struct cg_usage is;
  if (t->group && cg_read(t->group, &is) == 0) {
    /* What the controllers do not know stays as we have found it ourselves. */
    if (is.read_bytes < 0) is.read_bytes = t->used.read_bytes;
    if (is.written_bytes < 0) is.written_bytes = t->used.written_bytes;
    if (is.peak_pids < 0) is.peak_pids = t->used.peak_pids;
    if (is.peak_memory_bytes < 0) is.peak_memory_bytes = t->used.peak_memory_bytes;
    t->used = is;
  } else if (!t->group && !t->dead) {
    look_at_tree(t);
  }
  raise_to(&t->used.peak_pids, t->used.pids);
  raise_to(&t->used.peak_memory_bytes, t->used.memory_bytes);
}

static uint8_t exceeded(const struct task *t) {
  const struct cg_usage *u = &t->used;
  const struct cg_limits *l = &t->limits;
  if (l->memory_bytes &&
      (t->group ? u->oom_kills > 0 : u->peak_memory_bytes > (double)l->memory_bytes))
    return STOP_MEMORY;
  if (l->pids && (t->group ? u->pids_hits > 0 : u->peak_pids > l->pids)) return STOP_PIDS;
  if (t->cpu_limit_ms && u->cpu_user_ms + u->cpu_system_ms > (double)t->cpu_limit_ms)
    return STOP_CPU_TIME;
  return STOP_NONE;
}

static void figures(struct task *t, uint8_t type) {
  uint8_t *b = frame(type, t->id, 73);
  const struct cg_usage *u = &t->used;
  const double all[] = {(double)(clock_ns(CLOCK_REALTIME) / 1000) / 1000,
                        u->cpu_user_ms, u->cpu_system_ms, u->memory_bytes, u->peak_memory_bytes,
                        u->pids, u->peak_pids, u->read_bytes, u->written_bytes};
  for (size_t i = 0; i < 9; i++) put_double(b + 8 * i, all[i]);
  b[72] = exceeded(t);
}

static void forget_figures(struct task *t) {
  t->used = (struct cg_usage){-1, -1, -1, -1, -1, -1, -1, -1, 0, 0};
}

int watched;

void watch_begin(struct task *t) {
  watched++;
  forget_figures(t);
  t->watch_at = now + WATCH_NS;
  due(t->watch_at);
}

void watch(struct task *t) {
  look(t);
  uint8_t over = exceeded(t);
  if (t->is_sampled) {
    if (!t->dead) watch_io(t);
    figures(t, EV_SAMPLE);
  }
  if (over && !t->stop) stop_task(t, over, 0);
  t->watch_at = t->dead ? NEVER : now + WATCH_NS;
  due(t->watch_at);
}

void watch_last(struct task *t) {
  if (!t->group) {
    raise_to(&t->used.cpu_user_ms, t->user_ms - t->base_user_ms);
    raise_to(&t->used.cpu_system_ms, t->system_ms - t->base_system_ms);
    raise_to(&t->used.peak_memory_bytes, t->rss_bytes);
  }
  look(t);
  uint8_t over = exceeded(t);
  if (over && !t->stop) t->stop = over;
}

void tell_usage(struct task *t) {
  if (t->is_watched && !t->dead) {
    look(t);
    watch_io(t);
  } else if (!t->is_watched) {
    forget_figures(t);
  }
  figures(t, EV_USAGE);
  urgent = 1;
}

/* From now on counts what this process uses. */
static int baseline(struct task *t) {
  struct cg_usage is = {0};
  tree_usage(t->pid, &is);
  t->base_user_ms = is.cpu_user_ms;
  t->base_system_ms = is.cpu_system_ms;
  t->base_read = t->base_written = 0;
  read_io(t->pid, &t->base_read, &t->base_written);
  forget_figures(t);
  if (!t->group) return 0;
  cg_baseline(t->group);
  return -cg_set(t->group, &t->limits);
}

struct wanted {
  int name;
  struct rlimit r;
};

static int set_rlimits(pid_t pid, const struct wanted *all, int count) {
  for (int i = 0; i < count; i++)
    if (prlimit(pid, (__rlimit_resource_t)all[i].name, &all[i].r, NULL) < 0) return errno;
  return 0;
}

/* The exit code of the child below: 0 or an errno. */
static int set_as(uid_t uid, gid_t gid, pid_t pid, struct wanted *all, int count) {
  if (syscall(SYS_setresgid, gid, -1, -1) < 0 || syscall(SYS_setresuid, uid, -1, -1) < 0) return errno;
  for (int i = 0; i < count; i++) {
    struct rlimit old, *r = &all[i].r;
    if (prlimit(pid, (__rlimit_resource_t)all[i].name, NULL, &old) < 0) return errno;
    if (r->rlim_max > old.rlim_max) r->rlim_max = old.rlim_max;
    if (r->rlim_cur > r->rlim_max) r->rlim_cur = r->rlim_max;
  }
  return set_rlimits(pid, all, count);
}

/*
 * Root without CAP_SYS_RESOURCE (as in containers) may limit its own user's processes only, and raise
 * no hard limit. A child takes the process's real user for that, not we: who has that user may signal
 * it. So it shares no memory with us, and one that was stopped is not waited for.
 */
static int limit(pid_t pid, struct wanted *all, int count) {
  enum { PATIENCE_MS = 2000 };
  int error = set_rlimits(pid, all, count);
  struct stat owner;
  char path[32];
  snprintf(path, sizeof path, "/proc/%d", pid);
  if (error != EPERM || geteuid() != 0 || stat(path, &owner) < 0) return error;
  pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) _exit(set_as(owner.st_uid, owner.st_gid, pid, all, count));
  struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
  int is_late = 0, status = 0;
  if (end.fd >= 0) {
    int64_t until = clock_ns(CLOCK_MONOTONIC) + PATIENCE_MS * MS, left = PATIENCE_MS * MS;
    for (; poll(&end, 1, (int)(left / MS)) < 0 && errno == EINTR && left > 0;)
      left = until - clock_ns(CLOCK_MONOTONIC);
    is_late = !(end.revents & POLLIN);
    close(end.fd);
  }
  if (is_late) kill(child, SIGKILL);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* Body: u32 timeoutMs, u32 graceMs, u64 outputLimit, u64 memory, u64 cpuTimeMs, u32 cpuMilli,
 * u32 pids, u8 rlimits, rlimits of 17 bytes. A process whose limits do not hold is killed. */
void arm(struct task *t, const uint8_t *body, size_t size) {
  enum { FIXED = 41 };
  if (size < FIXED || size != FIXED + 17u * body[40]) die("arm of %zu bytes from the agent", size);
  if (t->dead || t->stop) return done(t->id, ESRCH);
  uint32_t timeout_ms = get32(body);
  t->timeout_at = timeout_ms ? now + timeout_ms * MS : NEVER;
  t->grace_ms = get32(body + 4);
  t->limit = get64(body + 8);
  t->bytes[0] = t->bytes[1] = t->dropped = 0;
  t->limits = (struct cg_limits){
      .memory_bytes = get64(body + 16), .cpu_milli = get32(body + 32), .pids = get32(body + 36)};
  t->cpu_limit_ms = get64(body + 24);
  if (!t->is_watched && (t->limits.memory_bytes || t->limits.pids || t->cpu_limit_ms)) {
    t->is_watched = 1;
    watched++;
  }
  int error = t->is_watched ? baseline(t) : 0;
  struct wanted all[UINT8_MAX];
  for (int i = 0; i < body[40] && !error; i++) {
    struct rlimit r;
    int name = get_rlimit(body + FIXED + 17 * i, &r);
    if (name == RLIMIT_CPU && t->is_watched) { /* the kernel counts from the start of the process */
      rlim_t used = (rlim_t)((t->base_user_ms + t->base_system_ms) / 1e3);
      if (r.rlim_cur != RLIM_INFINITY) r.rlim_cur += used;
      if (r.rlim_max != RLIM_INFINITY) r.rlim_max += used;
    }
    if (name < 0) error = EINVAL;
    all[i] = (struct wanted){name, r};
  }
  if (!error) error = limit(t->pid, all, body[40]);
  done(t->id, error);
  if (error) return stop_task(t, STOP_KILLED, 0);
  if (t->is_watched) t->watch_at = now + WATCH_NS;
  due(t->watch_at);
  due(t->timeout_at);
}
