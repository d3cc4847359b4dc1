/*
 * Dying: leaders are reaped, what they left behind is killed, ends are told.
 */
#include "loop.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SWEEP_NS (5 * MS) /* between two looks at orphans that do not die at once */

int64_t sweep_at = NEVER;
int no_children;
static int orphans;
static struct pids abandoned, own;

static double ms_of(struct timeval v) { return (double)v.tv_sec * 1e3 + (double)v.tv_usec / 1e3; }

static int is_open(const struct task *t) {
  return t->fd[0] >= 0 || t->fd[1] >= 0 || t->fd[RELAY] >= 0;
}

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
  t->timeout_at = t->register_at = t->slow_at = NEVER;
  if (!t->stop || t->forced) t->kill_at = now;
  t->drain_at = t->kill_at + DRAIN_NS;
  due(t->drain_at);
  struct pollfd p[3] = {{.fd = t->fd[0], .events = POLLIN},
                        {.fd = t->fd[1], .events = POLLIN},
                        {.fd = t->fd[RELAY], .events = POLLIN}};
  if (t->registered && !is_open(t)) return;
  if (out.end - out.start <= STALL_BYTES && poll(p, 3, 0) > 0)
    for (int s = 0; s < 3; s++)
      if (p[s].revents) read_pipe(t, s, p[s].revents & POLLIN);
  if (is_open(t)) register_pipes(t);
}

/* The next one to reap. Of a zombie that is watched we read first what only it can still tell. */
static pid_t next_zombie(void) {
  siginfo_t info = {0};
  if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) return -1;
  struct task *t = find_pid(info.si_pid, 0);
  if (t && t->is_watched) watch_io(t);
  return info.si_pid;
}

void reap(void) {
  for (;;) {
    int status;
    struct rusage used;
    pid_t pid = wait4(watched ? next_zombie() : -1, &status, WNOHANG, &used);
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
void sweep(void) {
  sweep_at = NEVER;
  orphans = 0;
  own.count = 0;
  if (no_children) return;
  own_children(&own);
  if (self == 1 && live == 0) { /* nothing here is to be spared, and /proc may be missing */
    kill(-1, SIGKILL);
    if (own.count == 0) {
      orphans = 1;
      sweep_at = now + SWEEP_NS;
    }
  }
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
  if (t->is_watched) watch_last(t);
  uint8_t b[ENDED_BYTES];
  b[0] = t->by_signal;
  b[1] = t->stop;
  b[2] = (uint8_t)(t->leaked | t->forced << 1);
  b[3] = 0;
  put32(b + 4, (uint32_t)t->code);
  put_double(b + 8, t->started_ms);
  put_double(b + 16, t->wall_ms);
  int is_whole = t->is_watched && t->used.cpu_user_ms >= 0 && t->used.cpu_system_ms >= 0;
  put_double(b + 24, is_whole ? t->used.cpu_user_ms : t->user_ms);
  put_double(b + 32, is_whole ? t->used.cpu_system_ms : t->system_ms);
  put_double(b + 40, t->rss_bytes);
  put_double(b + 48, (double)t->bytes[0]);
  put_double(b + 56, (double)t->bytes[1]);
  put_double(b + 64, (double)t->dropped);
  put_double(b + 72, t->is_watched ? t->used.peak_memory_bytes : -1);
  put_double(b + 80, t->is_watched ? t->used.peak_pids : -1);
  put_double(b + 88, t->is_watched ? t->used.read_bytes : -1);
  put_double(b + 96, t->is_watched ? t->used.written_bytes : -1);
  int is_told = !t->held || hold_end(t, b);
  if (is_told) memcpy(frame(EV_ENDED, t->id, ENDED_BYTES), b, ENDED_BYTES);
  struct line *line = t->line;
  int has_succeeded = !t->by_signal && t->code == 0 && !t->stop;
  draining--;
  remove_task(t);
  int has_follower = line && line_advance(line, has_succeeded);
  if (is_told && !has_follower) urgent = 1;
}

void finish(int stalled) {
  for (struct task *t = tasks.next, *next; t != &tasks; t = next) {
    next = t->next;
    if (!t->dead) continue;
    int open = is_open(t);
    if (t->group && now >= t->kill_at) cg_kill(t->group); /* whoever is nobody's child of ours */
    if (!open && orphans == 0) {
      ended(t);
    } else if (now >= t->drain_at) {
      if ((stalled || t->is_paused) && open && !closing) { /* the agent is slow, not the task */
        due(t->drain_at = now + DRAIN_NS);
        continue;
      }
      if (open) t->leaked = 1;
      for (int s = 0; s < 3; s++) close_pipe(t, s);
      for (size_t i = 0; i < own.count; i++)
        if (!find_pid(own.list[i], 0) && !has_pid(&abandoned, own.list[i]))
          push_pid(&abandoned, own.list[i]);
      orphans = 0;
      ended(t);
    }
  }
}

