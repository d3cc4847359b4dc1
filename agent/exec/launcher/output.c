/*
 * What tasks write: read from their pipes, counted, split at marks, passed on.
 */
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES 65536
#define METER_AT 64

/* ---- the meter ---- */

void open_meter(struct task *t, char **envp) {
  static const char name[] = "EDGEDAG_WORKER_CLAIM=";
  const char *path = NULL;
  for (char **e = envp; *e; e++)
    if (strncmp(*e, name, sizeof name - 1) == 0) path = *e + sizeof name - 1;
  int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
  if (fd < 0) return;
  struct stat s;
  void *page = MAP_FAILED;
  if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size == PAGE_BYTES)
    page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page == MAP_FAILED) return;
  struct meter *m = (struct meter *)(void *)((uint8_t *)page + METER_AT);
  __atomic_store_n(&m->sequence, 2, __ATOMIC_SEQ_CST); /* 0 says that nobody counts */
  t->meter = m;
}

void close_meter(struct task *t) {
  if (t->meter) munmap((uint8_t *)t->meter - METER_AT, PAGE_BYTES);
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

void close_pipe(struct task *t, int s) {
  if (t->fd[s] < 0) return;
  if (s != RELAY) {
    if (t->carry_len[s]) emit(t, s, t->carry[s], t->carry_len[s]);
    t->carry_len[s] = 0;
  }
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

/* Not inlined: the compiler would then fear a mark as long as the address space. */
__attribute__((noinline)) static ssize_t read_marked(struct task *t, int s) {
  static uint8_t scratch[READ_BYTES + 12];
  size_t carried = t->carry_len[s];
  memcpy(scratch, t->carry[s], carried);
  ssize_t n = metered_read(t, s, scratch + carried);
  if (n > 0) emit_marked(t, s, scratch, carried + (size_t)n);
  return n;
}

static ssize_t read_plain(struct task *t, int s) {
  uint8_t *p = reserve(&out, HEADER_BYTES + READ_BYTES) + HEADER_BYTES;
  ssize_t n = read(t->fd[s], p, READ_BYTES);
  if (n <= 0) return n;
  size_t pass = admit(t, s, (size_t)n);
  int is_told = !t->held || (pass && hold_output(t, s, p, pass));
  if (pass && is_told) frame((uint8_t)(EV_STDOUT + s), t->id, pass); /* the body is in place */
  return n;
}

/* One read of a pipe that is known to be readable or at its end. */
void read_pipe(struct task *t, int s, int readable) {
  if (t->fd[s] < 0) return;
  if (s == RELAY) return relay_read(t, readable);
  if (readable && hold_is_full(t)) return;
  ssize_t n = !readable ? 0 : t->has_mark ? read_marked(t, s) : read_plain(t, s);
  if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) close_pipe(t, s);
}

void register_pipes(struct task *t) {
  t->register_at = NEVER;
  if (t->registered) return;
  t->registered = 1;
  for (int s = 0; s < 3; s++) {
    uint32_t events = EPOLLIN | (s == RELAY && t->waits_relay ? EPOLLOUT : 0u);
    struct epoll_event e = {.events = events, .data.u64 = (uint64_t)(uintptr_t)t | (uint64_t)s};
    if (s != RELAY && t->is_paused) continue;
    if (t->fd[s] >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, t->fd[s], &e) < 0)
      die("epoll_ctl: %s", strerror(errno));
  }
}

