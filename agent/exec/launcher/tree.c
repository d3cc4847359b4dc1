/*
 * Process trees: who descends from whom, killing all of them, what they use together.
 */
#include "loop.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PID_MAX 4194304

static struct pids tree;
static struct pids found;
static uint8_t *seen; /* one bit a pid, for tree walks */
static int children_fd = -1;

void push_pid(struct pids *v, pid_t pid) {
  if (v->count == v->cap) {
    v->cap = v->cap ? v->cap * 2 : 64;
    v->list = need(realloc(v->list, v->cap * sizeof *v->list));
  }
  v->list[v->count++] = pid;
}

int has_pid(const struct pids *v, pid_t pid) {
  for (size_t i = 0; i < v->count; i++)
    if (v->list[i] == pid) return 1;
  return 0;
}

void drop_pid(struct pids *v, pid_t pid) {
  for (size_t i = 0; i < v->count; i++)
    if (v->list[i] == pid) v->list[i] = v->list[--v->count];
}

static void parse_pids(const char *text, struct pids *v) {
  for (char *end; *text; text = end) {
    long pid = strtol(text, &end, 10);
    if (end == text) break;
    push_pid(v, (pid_t)pid);
  }
}

void tree_init(void) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)self);
  children_fd = open(path, O_RDONLY | O_CLOEXEC);
  seen = need(calloc(1, PID_MAX / 8)); /* sparse: only touched pages count */
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

void own_children(struct pids *v) {
  if (children_fd >= 0) read_children(children_fd, v);
  else scan_children(self, v);
}

static int see(pid_t pid) {
  if (pid <= 1 || (size_t)pid >= PID_MAX) return 0;
  int was = seen[pid / 8] >> (pid % 8) & 1;
  seen[pid / 8] |= (uint8_t)(1 << (pid % 8));
  return !was;
}

/* Stops, then kills, `root` and all its descendants. A stopped parent neither forks nor reaps. */
void kill_tree(pid_t root) {
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
    if ((size_t)pid < PID_MAX) seen[pid / 8] &= (uint8_t)~(1 << (pid % 8));
  }
}

/* Adds what one process uses, and what the children that it has waited for used. */
static void add_process(pid_t pid, struct cg_usage *u) {
  static double tick_ms, page;
  if (tick_ms == 0) {
    tick_ms = 1000.0 / (double)sysconf(_SC_CLK_TCK);
    page = (double)sysconf(_SC_PAGESIZE);
  }
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return;
  text[n] = 0;
  const char *after = strrchr(text, ')');
  unsigned long user, system;
  long user_waited, system_waited, pages;
  static const char format[] =
      " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %*d %*d %*u %*u %ld";
  if (!after || sscanf(after + 1, format, &user, &system, &user_waited, &system_waited, &pages) != 5)
    return;
  u->cpu_user_ms += (double)(user + (unsigned long)user_waited) * tick_ms;
  u->cpu_system_ms += (double)(system + (unsigned long)system_waited) * tick_ms;
  u->memory_bytes += (double)pages * page;
  u->pids += 1;
}

/* Memory, processes and cpu of a live tree, as a walk through /proc finds them. */
void tree_usage(pid_t root, struct cg_usage *u) {
  u->memory_bytes = u->pids = u->cpu_user_ms = u->cpu_system_ms = 0;
  tree.count = 0;
  see(root);
  push_pid(&tree, root);
  for (size_t i = 0; i < tree.count; i++) {
    found.count = 0;
    children_of(tree.list[i], &found);
    for (size_t k = 0; k < found.count; k++)
      if (see(found.list[k])) push_pid(&tree, found.list[k]);
  }
  for (size_t i = tree.count; i-- > 0;) {
    pid_t pid = tree.list[i];
    add_process(pid, u);
    if ((size_t)pid < PID_MAX) seen[pid / 8] &= (uint8_t)~(1 << (pid % 8));
  }
}

/* What a process and the children that it has waited for have read and written; of zombies too. */
int read_io(pid_t pid, double *read_bytes, double *written_bytes) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return -1;
  text[n] = 0;
  return sscanf(text, "rchar: %lf wchar: %lf", read_bytes, written_bytes) == 2 ? 0 : -1;
}
