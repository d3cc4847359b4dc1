/*
 * fake-cgroup2.c - lets a temp folder act like a mount of cgroup version 2, for cgroup-v2.test.ts:
 * linked into the driver with --wrap for the calls that reach it. It knows the rules that decide
 * where a launcher may put its groups (Linux, kernel/cgroup/cgroup.c), not what controllers do.
 *
 * FAKE_ROOT the folder; FAKE_OWN the group that we start in; FAKE_REFUSE=<controller> EINVAL for
 * it; FAKE_DENY=mkdir or the name of a file: EACCES; FAKE_LACK=<file> not there; FAKE_DELEGATED the
 * mark of systemd; FAKE_MOVED processes are in a group whose name is longer by a digit.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int __real_openat(int base, const char *path, int flags, ...);
int __real_mkdirat(int base, const char *path, mode_t mode);
int __real_unlinkat(int base, const char *path, int flags);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __real_getxattr(const char *path, const char *name, void *value, size_t size);

static const struct { const char *controller, *file, *text; } FILES[] = {
    {"", "cgroup.procs", ""}, {"", "cgroup.controllers", ""}, {"", "cgroup.subtree_control", ""},
    {"", "cgroup.type", "domain\n"}, {"", "cgroup.kill", ""}, {"", "cgroup.freeze", "0\n"},
    {"", "cgroup.events", "populated 0\n"}, {"", "cpu.stat", "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\n"},
    {"memory", "memory.max", "max\n"}, {"memory", "memory.current", "8192\n"}, {"memory", "memory.peak", "65536\n"},
    {"memory", "memory.events", "oom 0\noom_kill 0\n"}, {"memory", "memory.swap.max", "max\n"}, {"memory", "memory.oom.group", "0\n"},
    {"pids", "pids.max", "max\n"}, {"pids", "pids.current", "0\n"}, {"pids", "pids.events", "max 0\n"}, {"pids", "pids.peak", "0\n"},
    {"cpu", "cpu.max", "max 100000\n"}, {"io", "io.stat", "8:0 rbytes=4096 wbytes=8192 rios=1 wios=1\n"}};
#define FILE_COUNT (sizeof FILES / sizeof *FILES)

static const char *env(const char *name) { return getenv(name) ? getenv(name) : ""; }

/* The path below the fake mount of base + path, or NULL for somewhere else. */
static const char *inside(int base, const char *path, char *buffer) {
  char link[64], from[PATH_MAX] = "";
  if (*path != '/' && base != AT_FDCWD) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", base);
    ssize_t n = readlink(link, from, sizeof from - 1);
    if (n < 0) return NULL;
    from[n] = 0;
  }
  if (snprintf(buffer, PATH_MAX, "%s%s%s", from, *from ? "/" : "", path) >= PATH_MAX) abort();
  size_t length = strlen(env("FAKE_ROOT"));
  return length && strncmp(buffer, env("FAKE_ROOT"), length) == 0 ? buffer : NULL;
}

static void get(const char *group, const char *file, char *text) {
  char path[2 * PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", group, file);
  FILE *f = fopen(path, "r");
  text[f ? fread(text, 1, 4095, f) : 0] = 0;
  if (f) fclose(f);
}

static void set(const char *group, const char *file, const char *text) {
  char path[2 * PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", group, file);
  FILE *f = fopen(path, "w");
  if (!f || fputs(text, f) < 0 || fclose(f)) abort();
}

static bool has(const char *list, const char *word) {
  char copy[4096], *save = NULL;
  snprintf(copy, sizeof copy, "%s", list);
  for (char *at = strtok_r(copy, " \n", &save); at; at = strtok_r(NULL, " \n", &save))
    if (strcmp(at, word) == 0) return true;
  return false;
}

/* The list without a word, in place. */
static void without(char *list, const char *word, const char *separator) {
  char copy[4096], *save = NULL;
  snprintf(copy, sizeof copy, "%s", list);
  *list = 0;
  for (char *at = strtok_r(copy, " \n", &save); at; at = strtok_r(NULL, " \n", &save))
    if (strcmp(at, word) != 0) strcat(strcat(list, at), separator);
}

static void each_child(const char *group, void (*visit)(const char *, void *), void *with) {
  DIR *dir = opendir(group);
  for (struct dirent *e; dir && (e = readdir(dir));) {
    char child[PATH_MAX + 300];
    snprintf(child, sizeof child, "%s/%s", group, e->d_name);
    if (e->d_type == DT_DIR && e->d_name[0] != '.') visit(child, with);
  }
  if (dir) closedir(dir);
}

static void add_files(const char *group, const char *controller) {
  for (size_t i = 0; i < FILE_COUNT; i++)
    if (strcmp(FILES[i].controller, controller) == 0 && strcmp(FILES[i].file, env("FAKE_LACK")) != 0)
      set(group, FILES[i].file, FILES[i].text);
}

static void remove_files(const char *group, const char *controller) {
  char path[PATH_MAX];
  for (size_t i = 0; i < FILE_COUNT; i++)
    if (!controller || strcmp(FILES[i].controller, controller) == 0) {
      if (snprintf(path, sizeof path, "%s/%s", group, FILES[i].file) >= PATH_MAX) abort();
      unlink(path);
    }
}

static bool is_alive(const char *pid) {
  char path[64], text[512] = "", *state;
  snprintf(path, sizeof path, "/proc/%s/stat", pid);
  FILE *f = fopen(path, "r");
  if (!f) return false;
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  return (state = strrchr(text, ')')) && state[2] != 'Z' && state[2] != 'X';
}

/* Members that have died are gone; how many are left below (the group counts). */
static void refresh(const char *group, void *sum) {
  char text[4096], copy[4096], line[64], *save = NULL;
  int count = 0;
  get(group, "cgroup.procs", text);
  snprintf(copy, sizeof copy, "%s", text);
  for (char *at = strtok_r(copy, "\n", &save); at; at = strtok_r(NULL, "\n", &save))
    if (is_alive(at)) count++;
    else without(text, at, "\n");
  set(group, "cgroup.procs", text);
  each_child(group, refresh, &count);
  snprintf(line, sizeof line, "%d\n", count);
  get(group, "pids.current", copy);
  if (*copy) set(group, "pids.current", line);
  get(group, "cgroup.events", copy);
  if (*copy) set(group, "cgroup.events", count ? "populated 1\n" : "populated 0\n");
  if (sum) *(int *)sum += count;
}

static void leave(const char *group, void *pid) {
  char text[4096];
  get(group, "cgroup.procs", text);
  without(text, pid, "\n");
  set(group, "cgroup.procs", text);
  each_child(group, leave, pid);
}

struct search { const char *pid; char found[PATH_MAX]; };
static void find(const char *group, void *with) {
  struct search *s = with;
  char text[4096];
  get(group, "cgroup.procs", text);
  if (has(text, s->pid)) snprintf(s->found, sizeof s->found, "%s", group);
  each_child(group, find, with);
}

static void kill_members(const char *group, void *with) {
  char text[4096], *save = NULL;
  get(group, "cgroup.procs", text);
  for (char *at = strtok_r(text, "\n", &save); at; at = strtok_r(NULL, "\n", &save)) kill(atoi(at), SIGKILL);
  each_child(group, kill_members, with);
}

static bool is_root(const char *group) { return strcmp(group, env("FAKE_ROOT")) == 0; }

static bool is_thread_root(const char *group) {
  char procs[4096], on[4096];
  get(group, "cgroup.procs", procs);
  get(group, "cgroup.subtree_control", on);
  return !is_root(group) && *procs && (has(on, "pids") || has(on, "cpu"));
}

static int enter(const char *group, const char *text) {
  char pid[32], on[4096], above[PATH_MAX], *slash;
  snprintf(pid, sizeof pid, "%d", atoi(text) ? atoi(text) : (int)getpid());
  get(group, "cgroup.subtree_control", on);
  if (!is_root(group) && (has(on, "memory") || has(on, "io"))) return EBUSY;
  snprintf(above, sizeof above, "%s", group);
  while (!is_root(above) && (slash = strrchr(above, '/'))) {
    *slash = 0;
    if (is_thread_root(above)) return EOPNOTSUPP;
  }
  if (!is_alive(pid)) return ESRCH;
  leave(env("FAKE_ROOT"), pid);
  get(group, "cgroup.procs", on);
  set(group, "cgroup.procs", strcat(strcat(on, pid), "\n"));
  return 0;
}

struct change { const char *name; bool is_on; bool is_used; };
static void change_child(const char *group, void *with) {
  struct change *c = with;
  char text[4096];
  get(group, "cgroup.controllers", text);
  without(text, c->name, " ");
  if (c->is_on) strcat(text, c->name);
  set(group, "cgroup.controllers", text);
  if (c->is_on) add_files(group, c->name);
  else remove_files(group, c->name);
}

static void look_used(const char *group, void *with) {
  struct change *c = with;
  char text[4096];
  get(group, "cgroup.subtree_control", text);
  if (has(text, c->name)) c->is_used = true;
}

static int control(const char *group, const char *text) {
  char have[4096], on[4096], procs[4096], name[32];
  struct change c = {.name = name, .is_on = *text == '+'};
  snprintf(name, sizeof name, "%.*s", (int)strcspn(text + 1, " \n"), text + 1);
  get(group, "cgroup.controllers", have);
  get(group, "cgroup.subtree_control", on);
  get(group, "cgroup.procs", procs);
  if (strcmp(name, env("FAKE_REFUSE")) == 0 || strchr(text, ' ')) return EINVAL;
  if (has(on, name) == c.is_on) return 0;
  if (c.is_on && !has(have, name)) return ENOENT;
  if (c.is_on && *procs && !is_root(group)) {
    bool is_domain = strcmp(name, "memory") == 0 || strcmp(name, "io") == 0;
    if (is_domain) return is_thread_root(group) ? EOPNOTSUPP : EBUSY;
    if (has(on, "memory") || has(on, "io")) return EBUSY;
  }
  if (!c.is_on) each_child(group, look_used, &c);
  if (c.is_used) return EBUSY;
  without(on, name, " ");
  if (c.is_on) strcat(strcat(on, name), " ");
  set(group, "cgroup.subtree_control", on);
  each_child(group, change_child, &c);
  return 0;
}

/* ---- the wrapped calls ---- */

int __wrap_openat(int base, const char *path, int flags, ...) {
  char buffer[PATH_MAX];
  int pid, length = 0;
  if (*env("FAKE_ROOT") && sscanf(path, "/proc/%d/cgroup%n", &pid, &length) == 1 && length) {
    char number[32];
    struct search s = {.pid = number};
    snprintf(number, sizeof number, "%d", pid);
    find(env("FAKE_ROOT"), &s);
    int fd = memfd_create("cgroup", MFD_CLOEXEC);
    if (fd < 0) abort();
    dprintf(fd, "0::%s%s\n", s.found + strlen(env("FAKE_ROOT")), env("FAKE_MOVED"));
    lseek(fd, 0, SEEK_SET);
    return fd;
  }
  if (inside(base, path, buffer)) {
    const char *file = strrchr(buffer, '/') + 1;
    if ((flags & O_ACCMODE) != O_RDONLY && strcmp(file, env("FAKE_DENY")) == 0) return errno = EACCES, -1;
    if (!(flags & (O_DIRECTORY | O_PATH))) refresh(env("FAKE_ROOT"), NULL);
  }
  return __real_openat(base, path, flags);
}

int __wrap_mkdirat(int base, const char *path, mode_t mode) {
  char buffer[PATH_MAX], on[4096], *save = NULL;
  if (!inside(base, path, buffer)) return __real_mkdirat(base, path, mode);
  if (strcmp(env("FAKE_DENY"), "mkdir") == 0) return errno = EACCES, -1;
  if (__real_mkdirat(base, path, mode) < 0) return -1;
  add_files(buffer, "");
  char parent[PATH_MAX];
  snprintf(parent, sizeof parent, "%s", buffer);
  *strrchr(parent, '/') = 0;
  get(parent, "cgroup.subtree_control", on);
  set(buffer, "cgroup.controllers", on);
  for (char *at = strtok_r(on, " \n", &save); at; at = strtok_r(NULL, " \n", &save)) add_files(buffer, at);
  return 0;
}

static void count_one(const char *group, void *count) {
  (void)group;
  ++*(int *)count;
}

int __wrap_unlinkat(int base, const char *path, int flags) {
  char buffer[PATH_MAX];
  int left = 0;
  if (!inside(base, path, buffer)) return __real_unlinkat(base, path, flags);
  if (faccessat(base, path, F_OK, 0) < 0) return -1;
  each_child(buffer, count_one, &left);
  refresh(buffer, &left);
  if (left) return errno = EBUSY, -1;
  remove_files(buffer, NULL);
  return __real_unlinkat(base, path, flags);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size) {
  char buffer[PATH_MAX], text[256];
  if (!inside(fd, "", buffer)) return __real_write(fd, bytes, size);
  buffer[strlen(buffer) - 1] = 0; /* inside has put a slash */
  char *file = strrchr(buffer, '/');
  *file++ = 0;
  snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
  int error = 0;
  refresh(env("FAKE_ROOT"), NULL);
  if (strcmp(file, "cgroup.subtree_control") == 0) error = control(buffer, text);
  else if (strcmp(file, "cgroup.procs") == 0) error = enter(buffer, text);
  else if (strcmp(file, "cgroup.kill") == 0) kill_members(buffer, NULL);
  else if (strcmp(file, "memory.peak") == 0) set(buffer, file, "8192\n");
  else set(buffer, file, text);
  return error ? (errno = error, -1) : (ssize_t)size;
}

ssize_t __wrap_getxattr(const char *path, const char *name, void *value, size_t size) {
  if (!*env("FAKE_DELEGATED") || strcmp(name, "trusted.delegate") != 0) return __real_getxattr(path, name, value, size);
  memcpy(value, "1", 1);
  return 1;
}

__attribute__((constructor)) static void begin(void) {
  char own[PATH_MAX], pid[32];
  if (!*env("FAKE_ROOT")) return;
  snprintf(own, sizeof own, "%s%s", env("FAKE_ROOT"), env("FAKE_OWN"));
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  int error = enter(own, pid);
  if (error) {
    fprintf(stderr, "fake-cgroup2: %s: %s\n", own, strerror(error));
    exit(64);
  }
}
