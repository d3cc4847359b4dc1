/*
 * The table of tasks, and how one is stopped.
 */
#include "loop.h"
#include <signal.h>
#include <stdlib.h>

#define BUCKETS 1024
#define REKILL_NS (20 * MS) /* between two kills of a tree whose leader lives on */

struct task tasks = {.next = &tasks, .prev = &tasks};
int live, draining;
static struct task *by_id[BUCKETS], *by_pid[BUCKETS];

struct task *find_id(uint32_t id) {
  struct task *t = by_id[id % BUCKETS];
  while (t && t->id != id) t = t->next_id;
  return t;
}

/* A dead leader's pid may be in use again while its task drains, hence `dead`. */
struct task *find_pid(pid_t pid, int dead) {
  struct task *t = by_pid[(uint32_t)pid % BUCKETS];
  while (t && (t->pid != pid || t->dead != dead)) t = t->next_pid;
  return t;
}

void add_task(struct task *t) {
  t->prev = &tasks;
  t->next = tasks.next;
  t->next->prev = tasks.next = t;
  t->next_id = by_id[t->id % BUCKETS];
  by_id[t->id % BUCKETS] = t;
  t->next_pid = by_pid[(uint32_t)t->pid % BUCKETS];
  by_pid[(uint32_t)t->pid % BUCKETS] = t;
  live++;
}

void remove_task(struct task *t) {
  t->prev->next = t->next;
  t->next->prev = t->prev;
  struct task **p = &by_id[t->id % BUCKETS];
  while (*p != t) p = &(*p)->next_id;
  *p = t->next_id;
  p = &by_pid[(uint32_t)t->pid % BUCKETS];
  while (*p != t) p = &(*p)->next_pid;
  *p = t->next_pid;
  close_meter(t);
  relay_free(t);
  if (t->is_watched) watched--;
  if (t->group) {
    cg_drop(t->group);
    cgroup_at = now;
  }
  free(t);
}

/* ---- stopping ---- */

void force(struct task *t) {
  t->forced = 1;
  kill(-t->pid, SIGKILL);
  kill_tree(t->pid);
  if (t->group) cg_kill(t->group);
  t->kill_at = now + REKILL_NS;
  due(t->kill_at);
}

void stop_task(struct task *t, uint8_t why, uint32_t grace_ms) {
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

