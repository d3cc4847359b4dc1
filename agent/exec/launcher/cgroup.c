/*
 * cgroup.c - one fresh control group for each process that asks: limits, usage, killing, removal.
 *
 * A group serves once: its counters start at zero and nobody else is ever in it. Making one costs
 * more than using it, so cg_idle() keeps a few ready with their cgroup.procs open, and entering is
 * one write for each hierarchy. cgroup-tree.c knows the hierarchies; nothing here blocks except
 * cg_init and cg_close. Called by the launcher's loop only, cg_enter by the vfork child.
 *
 * What memory means: everything that the kernel charges to the group, so also page cache of the
 * files that it has read or written, its tmpfs files and kernel memory, not only what processes
 * have mapped. Cache is given back under pressure: the figure may sit at the limit of a program
 * that only reads files, and the limit has been passed when oom_kills says so, not before.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEVER INT64_MAX
#define MS 1000000LL
#define READY_LEAST 4
#define READY_MOST 16
#define SHRINK_NS (10000 * MS)  /* a pool that was not emptied for so long has one group too many */
#define FIRST_RETRY_NS (1 * MS) /* doubles up to LAST_RETRY_NS */
#define LAST_RETRY_NS (256 * MS)
#define PERIOD_US 100000
#define AT_ONCE 2 /* groups killed or removed in one call of cg_idle */

struct counters {
  double user_ms, system_ms, read_bytes, written_bytes;
  uint64_t oom_kills, pids_hits;
};

struct cg {
  struct cg *next, *prev;
  struct place place;
  struct cg_limits limits;
  int procs[HIERARCHIES]; /* until somebody is in */
  int peak_fd;            /* version 2 resets a peak for one open file only */
  bool is_foreign, is_taken, is_killing, is_dropped, has_hits, has_baseline;
  uint64_t hits; /* before our own kill made forks fail */
  struct counters before;
  double peak_before, peak_seen, peak_pids_before, peak_pids_seen;
  int64_t retry_at, retry_ns;
};

static struct layout layout = {.at = {-1, -1, -1, -1, -1, -1, -1}};
static struct cg groups = {.next = &groups, .prev = &groups}; /* all that exist */
static uint64_t serial;
static int ready_count, ready_wanted = READY_LEAST, busy_count; /* busy: to be killed or removed */
static bool has_untrimmed; /* taken since, their cgroup.procs still open */
static bool has_missed;
static int64_t missed_at;

static void unlist(struct cg *g) {
  g->next->prev = g->prev;
  g->prev->next = g->next;
}

static void list(struct cg *g) {
  g->next = groups.next;
  g->prev = &groups;
  g->next->prev = g->prev->next = g;
}

static bool is_in(const struct cg *g, enum role r) {
  return layout.at[r] >= 0 && (g->place.mask & 1u << layout.at[r]);
}

static bool is_v2(enum role r) {
  return layout.in[layout.at[r]].is_v2;
}

static int base(const struct cg *g, enum role r) {
  return base_of(&layout, &g->place, layout.at[r]);
}

static ssize_t get(const struct cg *g, enum role r, const char *file, char *text, size_t size) {
  return is_in(g, r) ? cg_get(base(g, r), g->place.path, file, text, size) : -ENOENT;
}

static int put(const struct cg *g, enum role r, const char *file, const char *text) {
  return is_in(g, r) ? cg_put(base(g, r), g->place.path, file, text) : -ENOENT;
}

static int put_number(const struct cg *g, enum role r, const char *file, uint64_t n, const char *none) {
  char text[32];
  snprintf(text, sizeof text, "%llu", (unsigned long long)n);
  return put(g, r, file, n ? text : none);
}

/* The number at the start, or the one after `key` at the start of a line; -1 if there is none. */
static double number_in(const char *text, const char *key) {
  size_t length = strlen(key);
  const char *at = text;
  while (length && at && !(strncmp(at, key, length) == 0 && at[length] == ' ')) {
    at = strchr(at, '\n');
    if (at) at++;
  }
  if (!at) return -1;
  char *end;
  double n = strtod(at + length, &end);
  return end == at + length ? -1 : n;
}

static double number_of(const struct cg *g, enum role r, const char *file, const char *key) {
  char text[4096];
  return get(g, r, file, text, sizeof text) <= 0 ? -1 : number_in(text, key);
}

/* ---- making and removing ---- */

/* A process that moves only itself by `tasks` of version 1 spares the lock over all processes, which
 * may wait 13 ms for the kernel's RCU; the child has one thread, so the file means the same. */
static const char *entrance(int h) { return layout.in[h].is_v2 ? "cgroup.procs" : "tasks"; }

static void close_procs(struct cg *g) {
  for (int h = 0; h < HIERARCHIES; h++) {
    if (g->procs[h] >= 0) close(g->procs[h]);
    g->procs[h] = -1;
  }
}

static void free_group(struct cg *g) {
  close_procs(g);
  if (g->peak_fd >= 0) close(g->peak_fd);
  free(g);
}

static struct cg *new_group(void) {
  struct cg *g = calloc(1, sizeof *g);
  if (!g) return NULL;
  g->peak_fd = -1;
  memset(g->procs, -1, sizeof g->procs);
  return g;
}

static struct cg *make(void) {
  struct cg *g = new_group();
  if (!g) return NULL;
  int error = 0;
again:
  snprintf(g->place.path, sizeof g->place.path, "%s/%llu", layout.name, (unsigned long long)++serial);
  for (int h = 0; h < layout.count && !error; h++) {
    char file[PATH_MAX + 16];
    if (!layout.in[h].is_ours) continue;
    if (mkdirat(layout.in[h].own, g->place.path, 0755) < 0) {
      error = errno;
      break;
    }
    g->place.mask |= 1u << h;
    snprintf(file, sizeof file, "%s/%s", g->place.path, entrance(h));
    g->procs[h] = openat(layout.in[h].own, file, O_WRONLY | O_CLOEXEC);
    if (g->procs[h] < 0) error = errno;
  }
  if (error) {
    close_procs(g);
    place_remove(&layout, &g->place);
    g->place.mask = 0;
    if (error == EEXIST) { /* what an earlier launcher has left and would not die */
      error = 0;
      goto again;
    }
    free(g);
    errno = error;
    return NULL;
  }
  if (is_in(g, MEMORY) && is_v2(MEMORY)) put(g, MEMORY, "memory.oom.group", "1");
  list(g);
  ready_count++;
  return g;
}

/* True when it is gone. */
static bool try_remove(struct cg *g) {
  if (!g->is_foreign && place_remove(&layout, &g->place) == -EBUSY) return false;
  unlist(g);
  free_group(g);
  return true;
}

static void set_busy(struct cg *g) {
  if (!g->is_killing && !g->is_dropped) busy_count++;
  g->retry_at = 0;
  g->retry_ns = FIRST_RETRY_NS;
}

/* ---- the interface ---- */

int cg_init_from(const char *mountinfo, const char *self, const char *name, char *why, size_t why_size) {
  int version = layout_find(&layout, mountinfo, self, name, why, why_size);
  if (!version) cg_close();
  return version;
}

int cg_init(const char *name, char *why, size_t why_size) {
  return cg_init_from("/proc/self/mountinfo", "/proc/self/cgroup", name, why, why_size);
}

struct cg *cg_take(const struct cg_limits *limits) {
  struct cg *g = NULL;
  if (!layout.count) {
    errno = ENOSYS;
    return NULL;
  }
  if (ready_count == 0) {
    has_missed = true;
    if (!make()) return NULL;
  }
  for (g = groups.next; g->is_taken; g = g->next) {}
  g->is_taken = true;
  ready_count--;
  has_untrimmed = true;
  int r = cg_set(g, limits);
  if (r < 0) {
    cg_drop(g);
    errno = -r;
    return NULL;
  }
  return g;
}

/* Version 1 wants memory <= memory+swap at each step, so the one that gives way goes first. */
static int set_memory_v1(struct cg *g, uint64_t limit) {
  int r = 0;
  for (int round = 0; round < 3; round++) {
    r = put_number(g, MEMORY, "memory.limit_in_bytes", limit, "-1");
    if (r == -EINVAL) {
      int swap = put_number(g, MEMORY, "memory.memsw.limit_in_bytes", limit, "-1");
      if (swap < 0) return swap;
    } else if (r == -EBUSY && round == 0) {
      put(g, MEMORY, "memory.force_empty", "0");
    } else {
      break;
    }
  }
  if (r < 0) return r;
  r = put_number(g, MEMORY, "memory.memsw.limit_in_bytes", limit, "-1");
  return r == -ENOENT ? 0 : r; /* a kernel that does not count swap */
}

/* Version 2 would kill at once to reach a limit below what is used; the caller may not want that. */
static int set_memory_v2(struct cg *g, uint64_t limit) {
  if (limit) {
    double used = number_of(g, MEMORY, "memory.current", "");
    if (used > (double)limit) {
      put_number(g, MEMORY, "memory.reclaim", (uint64_t)used - limit, "0");
      used = number_of(g, MEMORY, "memory.current", "");
    }
    if (used > (double)limit) return -EBUSY;
  }
  int r = put_number(g, MEMORY, "memory.max", limit, "max");
  if (r == 0) put(g, MEMORY, "memory.swap.max", limit ? "0" : "max"); /* no such file: no swap */
  return r;
}

static int set_cpu(struct cg *g, uint32_t milli) {
  uint64_t quota = (uint64_t)milli * (PERIOD_US / 1000);
  if (quota && quota < 1000) quota = 1000; /* the least that the kernel takes */
  if (is_v2(CPU)) {
    char text[48];
    snprintf(text, sizeof text, "%llu %d", (unsigned long long)quota, PERIOD_US);
    if (!milli) snprintf(text, sizeof text, "max %d", PERIOD_US);
    return put(g, CPU, "cpu.max", text);
  }
  int r = put_number(g, CPU, "cpu.cfs_quota_us", quota, "-1"); /* of the default period */
  /* More than a group above us has: that one binds, and -1 means "as above". */
  return r == -EINVAL && quota ? put(g, CPU, "cpu.cfs_quota_us", "-1") : r;
}

int cg_set(struct cg *g, const struct cg_limits *limits) {
  static const struct cg_limits none;
  if (!limits) limits = &none;
  if (g->is_foreign) return -EPERM;
  int r = 0;
  if (limits->memory_bytes != g->limits.memory_bytes) {
    r = !is_in(g, MEMORY) ? -EOPNOTSUPP
        : is_v2(MEMORY)   ? set_memory_v2(g, limits->memory_bytes)
                          : set_memory_v1(g, limits->memory_bytes);
    if (r < 0) return r;
    g->limits.memory_bytes = limits->memory_bytes;
  }
  if (limits->pids != g->limits.pids) {
    r = is_in(g, PIDS) ? put_number(g, PIDS, "pids.max", limits->pids, "max") : -EOPNOTSUPP;
    if (r < 0) return r;
    g->limits.pids = limits->pids;
  }
  if (limits->cpu_milli != g->limits.cpu_milli) {
    r = is_in(g, CPU) ? set_cpu(g, limits->cpu_milli) : -EOPNOTSUPP;
    if (r < 0) return r;
    g->limits.cpu_milli = limits->cpu_milli;
  }
  return 0;
}

int cg_enter(const struct cg *g) {
  for (int h = 0; h < layout.count; h++) {
    if (!(g->place.mask & 1u << h)) continue;
    int fd = g->procs[h];
    if (fd < 0) { /* a second one into a group that cg_idle has trimmed */
      char file[PATH_MAX + 16];
      size_t length = strlen(g->place.path);
      memcpy(file, g->place.path, length);
      file[length] = '/';
      memcpy(file + length + 1, entrance(h), strlen(entrance(h)) + 1);
      fd = openat(base_of(&layout, &g->place, h), file, O_WRONLY | O_CLOEXEC);
      if (fd < 0) return -errno;
    }
    ssize_t n = write(fd, "0", 1);
    int error = errno;
    if (fd != g->procs[h]) close(fd);
    if (n < 0) return -error;
  }
  return 0;
}

/* cpu.stat of version 2 is there without a controller; cpuacct.stat would be in ticks of 10 ms. */
static void read_cpu(const struct cg *g, struct counters *c) {
  if (is_in(g, CPUACCT)) {
    c->user_ms = number_of(g, CPUACCT, "cpuacct.usage_user", "") / 1e6;
    c->system_ms = number_of(g, CPUACCT, "cpuacct.usage_sys", "") / 1e6;
  } else {
    char text[4096] = "";
    get(g, UNIFIED, "cpu.stat", text, sizeof text);
    c->user_ms = number_in(text, "user_usec") / 1e3;
    c->system_ms = number_in(text, "system_usec") / 1e3;
  }
}

static void read_bytes(const struct cg *g, struct counters *c) {
  c->read_bytes = c->written_bytes = -1;
  if (!is_in(g, BLKIO)) return;
  char text[16384];
  bool v2 = is_v2(BLKIO);
  if (get(g, BLKIO, v2 ? "io.stat" : "blkio.throttle.io_service_bytes_recursive", text, sizeof text) < 0) return;
  /* Somebody else's empty file may be a kernel that does not count; ours was tried before. */
  if (g->is_foreign && !v2 && !strstr(text, " Read ")) return;
  const char *const key[2] = {v2 ? " rbytes=" : " Read ", v2 ? " wbytes=" : " Write "};
  double *sum[2] = {&c->read_bytes, &c->written_bytes};
  for (int i = 0; i < 2; i++) {
    *sum[i] = 0;
    for (const char *at = text; (at = strstr(at, key[i]));) {
      at += strlen(key[i]);
      *sum[i] += strtod(at, NULL);
    }
  }
}

static uint64_t read_hits(const struct cg *g) {
  if (g->has_hits) return g->hits;
  double n = number_of(g, PIDS, "pids.events", "max");
  return n > 0 ? (uint64_t)n : 0;
}

static void read_counters(const struct cg *g, struct counters *c) {
  read_cpu(g, c);
  read_bytes(g, c);
  /* failcnt counts every reclaim and stays 0 on some kernels; only oom_kill means a death. */
  double kills = is_in(g, MEMORY) ? number_of(g, MEMORY, is_v2(MEMORY) ? "memory.events" : "memory.oom_control", "oom_kill") : 0;
  c->oom_kills = kills > 0 ? (uint64_t)kills : 0;
  c->pids_hits = read_hits(g);
}

static double peak_of(const struct cg *g) {
  if (!is_in(g, MEMORY)) return -1;
  if (!is_v2(MEMORY)) return number_of(g, MEMORY, "memory.max_usage_in_bytes", "");
  char text[32];
  if (g->peak_fd < 0) return number_of(g, MEMORY, "memory.peak", "");
  ssize_t n = pread(g->peak_fd, text, sizeof text - 1, 0);
  if (n <= 0) return -1;
  text[n] = 0;
  return strtod(text, NULL);
}

static double memory_of(const struct cg *g) {
  if (!is_in(g, MEMORY)) return -1;
  return number_of(g, MEMORY, is_v2(MEMORY) ? "memory.current" : "memory.usage_in_bytes", "");
}

/* A peak that grew since the baseline is of today; else the most that we saw has to do. */
static double since(double peak, double before, double *seen, double now) {
  if (now > *seen) *seen = now;
  return peak > before ? peak : *seen;
}

void cg_baseline(struct cg *g) {
  read_counters(g, &g->before);
  g->has_baseline = true;
  g->peak_before = -1; /* as if reset */
  g->peak_seen = g->peak_pids_seen = -1;
  if (is_in(g, MEMORY) && !is_v2(MEMORY)) {
    if (g->is_foreign || put(g, MEMORY, "memory.max_usage_in_bytes", "0") < 0) g->peak_before = peak_of(g);
  } else if (is_in(g, MEMORY)) {
    char file[PATH_MAX + 16];
    snprintf(file, sizeof file, "%s/memory.peak", g->place.path);
    if (g->peak_fd < 0) g->peak_fd = openat(base(g, MEMORY), file, O_RDWR | O_CLOEXEC);
    if (g->peak_fd < 0 || write(g->peak_fd, "reset", 5) < 0) { /* before Linux 6.12 */
      if (g->peak_fd >= 0) close(g->peak_fd);
      g->peak_fd = -1;
      g->peak_before = peak_of(g);
    }
  }
  g->peak_pids_before = number_of(g, PIDS, "pids.peak", "");
}

static double less(double now, double before) {
  return now < 0 ? -1 : before > 0 ? now - before : now;
}

int cg_read(struct cg *g, struct cg_usage *usage) {
  struct counters now;
  read_counters(g, &now);
  double pids = number_of(g, PIDS, "pids.current", ""), memory = memory_of(g);
  if (pids < 0 && memory < 0) return -ENOENT;
  if (!g->has_baseline) g->peak_before = g->peak_pids_before = -1;
  usage->memory_bytes = memory;
  usage->peak_memory_bytes = since(peak_of(g), g->peak_before, &g->peak_seen, memory);
  usage->pids = pids;
  usage->peak_pids = since(number_of(g, PIDS, "pids.peak", ""), g->peak_pids_before, &g->peak_pids_seen, pids);
  usage->cpu_user_ms = less(now.user_ms, g->before.user_ms);
  usage->cpu_system_ms = less(now.system_ms, g->before.system_ms);
  usage->read_bytes = less(now.read_bytes, g->before.read_bytes);
  usage->written_bytes = less(now.written_bytes, g->before.written_bytes);
  usage->oom_kills = now.oom_kills - g->before.oom_kills;
  usage->pids_hits = now.pids_hits - g->before.pids_hits;
  return 0;
}

void cg_kill(struct cg *g) {
  if (!g->has_hits) {
    g->hits = read_hits(g);
    g->has_hits = true;
  }
  int seen = place_kill(&layout, &g->place);
  if (!seen) return;
  set_busy(g);
  g->is_killing = true;
}

/* Removing takes longer than all else here, so even of an empty group it is left to cg_idle. */
void cg_drop(struct cg *g) {
  set_busy(g);
  g->is_dropped = true;
}

struct cg *cg_watch(const char *path) {
  struct cg *g = layout.count ? new_group() : NULL;
  if (!g) {
    errno = layout.count ? ENOMEM : ENOSYS;
    return NULL;
  }
  while (*path == '/') path++;
  g->is_foreign = g->is_taken = g->place.is_below_mount = true;
  int n = snprintf(g->place.path, sizeof g->place.path, "%s", path);
  if (n > 0 && n < (int)sizeof g->place.path && !strstr(path, ".."))
    for (int h = 0; h < layout.count; h++)
      if (faccessat(layout.in[h].mount, g->place.path, F_OK, 0) == 0) g->place.mask |= 1u << h;
  if (!is_in(g, MEMORY) && !is_in(g, PIDS)) {
    free(g);
    errno = ENOENT;
    return NULL;
  }
  list(g);
  return g;
}

/* Kills or removes one group; when to look again. What is left in a dropped one is killed too:
 * nobody else knows it any more. */
static int64_t work_on(struct cg *g, int64_t now) {
  if (g->is_dropped && try_remove(g)) {
    busy_count--;
    return NEVER;
  }
  if (place_kill(&layout, &g->place) == 0 && !g->is_dropped) {
    g->is_killing = false;
    busy_count--;
    return NEVER;
  }
  g->retry_at = now + g->retry_ns;
  if (g->retry_ns < LAST_RETRY_NS) g->retry_ns *= 2;
  return g->retry_at;
}

int64_t cg_idle(int64_t now) {
  int64_t next = NEVER;
  if (!layout.count) return NEVER;
  int worked = 0;
  if (busy_count || has_untrimmed)
    for (struct cg *g = groups.next, *after; g != &groups; g = after) {
      after = g->next;
      if (g->is_taken) close_procs(g);
      if (!g->is_killing && !g->is_dropped) continue;
      bool is_due = g->retry_at <= now && worked < AT_ONCE;
      worked += is_due;
      int64_t at = is_due ? work_on(g, now) : g->retry_at > now ? g->retry_at : now;
      if (at < next) next = at;
    }
  has_untrimmed = false;
  if (has_missed) {
    has_missed = false;
    missed_at = now;
    ready_wanted = ready_wanted * 2 < READY_MOST ? ready_wanted * 2 : READY_MOST;
  } else if (ready_wanted > READY_LEAST && now - missed_at >= SHRINK_NS) {
    missed_at = now;
    ready_wanted--;
  }
  /* One at a time: the loop has tasks to serve between. */
  if (worked) {
    if (ready_count != ready_wanted && now < next) next = now;
  } else if (ready_count < ready_wanted) {
    int64_t at = make() ? now : now + LAST_RETRY_NS;
    if (ready_count < ready_wanted && at < next) next = at;
  } else if (ready_count > ready_wanted) {
    struct cg *g = groups.next;
    while (g->is_taken) g = g->next;
    ready_count--;
    g->is_taken = true;
    cg_drop(g);
  }
  if (ready_wanted > READY_LEAST && missed_at + SHRINK_NS < next) next = missed_at + SHRINK_NS;
  return next;
}

void cg_close(void) {
  for (struct cg *g; (g = groups.next) != &groups;) {
    unlist(g);
    free_group(g); /* the folder goes with the parent */
  }
  layout_leave(&layout);
  ready_count = busy_count = 0;
  ready_wanted = READY_LEAST;
  has_missed = has_untrimmed = false;
}
