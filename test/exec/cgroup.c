/*
 * cgroup.c - drives agent/exec/launcher/cgroup.c without a launcher, for cgroup.test.ts: one command
 * a run, facts as "name value" lines on stdout. Exit codes: 0 done, 64 wrong usage, 70 it failed.
 *
 * cgroup <parent> <mountinfo> <self> <command> [figure]
 */
#define _GNU_SOURCE
#include "../../agent/exec/launcher/cgroup.h"
#include "../../agent/exec/launcher/launcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024.0 * 1024)

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what) {
  printf("failed %s: %s\n", what, strerror(errno));
  cg_close();
  exit(70);
}

static void fact(const char *name, double value) {
  printf("%s %.3f\n", name, value);
}

/* A child in the group that runs `body`; it has entered when this returns. */
static pid_t start(struct cg *g, void (*body)(double), double figure) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) fail("pipe");
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int r = cg_enter(g);
    if (write(ends[1], &r, sizeof r) != sizeof r || r < 0) _exit(71);
    close(ends[1]);
    body(figure);
    _exit(0);
  }
  int r = -EPIPE;
  close(ends[1]);
  if (pid < 0 || read(ends[0], &r, sizeof r) != sizeof r || r < 0) {
    errno = -r;
    fail("enter");
  }
  close(ends[0]);
  return pid;
}

static int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

static void use_memory(double bytes) {
  char *memory = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) _exit(72);
  for (size_t i = 0; i < (size_t)bytes; i += 4096) memory[i] = 1;
}

static void use_memory_and_stay(double bytes) {
  use_memory(bytes);
  for (;;) pause();
}

static void fork_for_ever(double unused) {
  (void)unused;
  for (;;) fork();
}

static void burn(double ms) {
  for (int64_t end = now_ns() + (int64_t)(ms * 1e6); now_ns() < end;) {}
}

static void daemonize(double unused) {
  (void)unused;
  signal(SIGTERM, SIG_IGN);
  for (int i = 0; i < 3; i++) {
    if (fork() > 0) _exit(0);
    setsid();
  }
  for (;;) pause();
}

static void stop_self(double unused) {
  (void)unused;
  for (;;) raise(SIGSTOP);
}

static void do_nothing(double unused) {
  (void)unused;
}

static struct cg_usage report(struct cg *g) {
  struct cg_usage u;
  int r = cg_read(g, &u);
  if (r < 0) {
    errno = -r;
    fail("read");
  }
  fact("memory", u.memory_bytes);
  fact("peak", u.peak_memory_bytes);
  fact("pids", u.pids);
  fact("peak_pids", u.peak_pids);
  fact("user_ms", u.cpu_user_ms);
  fact("system_ms", u.cpu_system_ms);
  fact("read", u.read_bytes);
  fact("written", u.written_bytes);
  fact("oom_kills", (double)u.oom_kills);
  fact("pids_hits", (double)u.pids_hits);
  return u;
}

/* Waits until `is` holds for what the group uses: for the kernel, at most ten seconds. */
static void until(struct cg *g, bool (*is)(const struct cg_usage *, double), double figure, const char *what) {
  struct cg_usage u;
  for (int64_t end = now_ns() + 10000000000LL; now_ns() < end; poll(NULL, 0, 2)) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {} /* the dead count as pids until they are reaped */
    if (cg_read(g, &u) == 0 && is(&u, figure)) return;
  }
  errno = ETIMEDOUT;
  fail(what);
}

static bool has_hits(const struct cg_usage *u, double n) {
  return (double)u->pids_hits >= n;
}

static bool has_memory(const struct cg_usage *u, double n) {
  return u->memory_bytes >= n;
}

static bool has_pids(const struct cg_usage *u, double n) {
  return u->pids == n;
}

/* As the launcher does: kills, reaps what became ours, and lets cg_idle go on until none is left. */
static void kill_all(struct cg *g) {
  struct cg_usage u = {.pids = 1};
  int64_t begin = now_ns();
  cg_kill(g);
  fact("kill_ms", (double)(now_ns() - begin) / 1e6);
  for (int64_t end = begin + 10000000000LL; u.pids > 0 && now_ns() < end; poll(NULL, 0, 1)) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
    cg_idle(now_ns());
    if (cg_read(g, &u) < 0) fail("read");
  }
  fact("left", u.pids);
  fact("gone_ms", (double)(now_ns() - begin) / 1e6);
}

static struct cg *take(struct cg_limits limits) {
  struct cg *g = cg_take(&limits);
  if (!g) fail("take");
  return g;
}

static int open_files(void) {
  int n = 0;
  DIR *dir = opendir("/proc/self/fd");
  while (dir && readdir(dir)) n++;
  if (dir) closedir(dir);
  return n;
}

/* Folders of our parent in the hierarchies that the test suite looks at too. */
static int count_groups(const char *parent) {
  char path[256];
  int n = 0;
  snprintf(path, sizeof path, "/sys/fs/cgroup/pids/%s", parent);
  DIR *dir = opendir(path);
  for (struct dirent *e; dir && (e = readdir(dir));) n += e->d_type == DT_DIR && e->d_name[0] != '.';
  if (dir) closedir(dir);
  return n;
}

static void settle(void) {
  for (int i = 0; i < 2000 && cg_idle(now_ns()) <= now_ns() + 300000000LL; i++) poll(NULL, 0, 1);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, compare);
  return values[n / 2];
}

static double entered_us; /* the child shares our memory */

static int child_enter(void *g) {
  int64_t begin = now_ns();
  int r = cg_enter(g);
  entered_us = (double)(now_ns() - begin) / 1e3;
  _exit(r < 0);
}

/* Microseconds of each step, with groups made ahead and without. */
static void measure(int rounds) {
  static char stack[65536];
  double *take_us = calloc((size_t)rounds * 4, sizeof *take_us);
  double *enter_us = take_us + rounds, *read_us = enter_us + rounds, *drop_us = read_us + rounds;
  if (!take_us) fail("calloc");
  for (int ahead = 1; ahead >= -1; ahead--) {
    for (int i = 0; i < rounds; i++) {
      if (ahead) settle();
      struct cg_limits limits = {.memory_bytes = (uint64_t)(64 * MIB), .pids = 20, .cpu_milli = 1000};
      if (ahead < 0) memset(&limits, 0, sizeof limits);
      int64_t a = now_ns();
      struct cg *g = take(limits);
      int64_t b = now_ns();
      pid_t pid = clone(child_enter, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, g);
      wait_for(pid);
      struct cg_usage u;
      int64_t d = now_ns();
      cg_read(g, &u);
      int64_t e = now_ns();
      cg_drop(g);
      take_us[i] = (double)(b - a) / 1e3;
      enter_us[i] = entered_us;
      read_us[i] = (double)(e - d) / 1e3;
      drop_us[i] = (double)(now_ns() - e) / 1e3;
    }
    printf("%s: take %.1f enter %.1f read %.1f drop %.1f us\n", ahead < 0 ? "ahead, no limits" : ahead ? "ahead" : "fresh", median(take_us, rounds),
           median(enter_us, rounds), median(read_us, rounds), median(drop_us, rounds));
  }
  free(take_us);
}

int main(int argc, char **argv) {
  if (argc < 5) return 64;
  char why[512];
  const char *what = argv[4];
  double figure = argc > 5 ? strtod(argv[5], NULL) : 0;
  int version = cg_init_from(argv[2], argv[3], argv[1], why, sizeof why);
  printf("version %d\nwhy %s\n", version, why);
  if (!version) return 0;
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  cg_idle(now_ns());

  if (strcmp(what, "none") == 0) {
  } else if (strcmp(what, "memory") == 0) {
    struct cg *g = take((struct cg_limits){.memory_bytes = (uint64_t)(32 * MIB)});
    int status = wait_for(start(g, use_memory, 256 * MIB));
    fact("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    report(g);
    cg_drop(g);
  } else if (strcmp(what, "peak") == 0) {
    struct cg *g = take((struct cg_limits){0});
    wait_for(start(g, use_memory, figure));
    report(g);
    cg_baseline(g);
    printf("baseline 1\n");
    report(g);
    cg_drop(g);
  } else if (strcmp(what, "lower") == 0) {
    struct cg *g = take((struct cg_limits){.memory_bytes = (uint64_t)(256 * MIB)});
    start(g, use_memory_and_stay, 100 * MIB);
    until(g, has_memory, 100 * MIB, "memory");
    uint64_t steps[] = {512, 128, 50, 0, 300};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
      printf("set_%llu %d\n", (unsigned long long)steps[i], -cg_set(g, &(struct cg_limits){.memory_bytes = steps[i] << 20}));
    report(g);
    kill_all(g);
    cg_drop(g);
  } else if (strcmp(what, "serve") == 0) { /* figure: 1 memory, 2 pids, 4 cpu */
    int limits = (int)figure;
    struct cg *g = take((struct cg_limits){.memory_bytes = limits & 1 ? (uint64_t)(64 * MIB) : 0,
                                           .pids = limits & 2 ? 20 : 0, .cpu_milli = limits & 4 ? 500 : 0});
    start(g, stop_self, 0);
    report(g);
    cg_baseline(g);
    report(g);
    kill_all(g);
    cg_drop(g);
  } else if (strcmp(what, "moved") == 0) { /* a number in the list that is somebody else's by now */
    struct cg *g = take((struct cg_limits){0});
    pid_t pid = start(g, stop_self, 0);
    cg_kill(g);
    kill(pid, SIGTERM); /* comes after a SIGKILL that is under way */
    kill(pid, SIGCONT);
    fact("signal", WTERMSIG(wait_for(pid)));
    cg_drop(g);
  } else if (strcmp(what, "forks") == 0) {
    struct cg *g = take((struct cg_limits){.pids = 20, .memory_bytes = (uint64_t)(64 * MIB), .cpu_milli = 500});
    start(g, fork_for_ever, 0);
    until(g, has_hits, 100, "hits");
    report(g);
    kill_all(g);
    report(g);
    cg_drop(g);
  } else if (strcmp(what, "daemon") == 0) {
    struct cg *g = take((struct cg_limits){.pids = 20});
    wait_for(start(g, daemonize, 0));
    start(g, stop_self, 0);
    until(g, has_pids, 2, "pids");
    kill_all(g);
    cg_drop(g);
  } else if (strcmp(what, "cpu") == 0) {
    struct cg *g = take((struct cg_limits){.cpu_milli = (uint32_t)figure});
    int64_t begin = now_ns();
    wait_for(start(g, burn, 1000));
    fact("wall_ms", (double)(now_ns() - begin) / 1e6);
    report(g);
    cg_drop(g);
  } else if (strcmp(what, "abandon") == 0) { /* ends like a launcher that was killed */
    struct cg *g = take((struct cg_limits){.pids = 20});
    wait_for(start(g, daemonize, 0));
    until(g, has_pids, 1, "pids");
    return 0;
  } else if (strcmp(what, "rounds") == 0) {
    int before = 0;
    for (int i = -50; i < (int)figure; i++) { /* the first make the pool as large as it gets */
      if (i == 0) {
        settle();
        before = open_files();
      }
      struct cg *g = take((struct cg_limits){.pids = 20, .memory_bytes = (uint64_t)(16 * MIB)});
      wait_for(start(g, do_nothing, 0));
      cg_drop(g);
      if (i % 3 == 0) cg_idle(now_ns());
    }
    settle();
    fact("groups", count_groups(argv[1]));
    fact("fds", open_files() - before);
  } else if (strcmp(what, "watch") == 0) { /* a group of ours, seen as somebody else's */
    char path[256];
    snprintf(path, sizeof path, "/%s", argv[5]);
    struct cg *g = cg_watch(path);
    if (!g) fail("watch");
    report(g);
    kill_all(g);
    cg_drop(g);
  } else if (strcmp(what, "measure") == 0) {
    measure((int)figure);
  } else {
    return 64;
  }
  cg_close();
  printf("closed 1\n");
  return 0;
}
