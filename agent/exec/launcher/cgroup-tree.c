/*
 * cgroup-tree.c - finds the hierarchies of control groups and kills and removes folders in them.
 *
 * Version 1 has one tree per controller (or set of controllers mounted together), version 2 one
 * tree for all; a machine may have both. Our parent group is made in each tree that we need, below
 * the group that we are in, so that whatever limits us limits our tasks too. Only where we see no
 * such group (a container that shows a part of the tree) it is made below the mount's root.
 *
 * Version 2 allows controllers only for children of a group that holds no processes itself. Then
 * those of our own group move into <name>/agent, all of them if the group was given to us
 * (systemd's Delegate=yes, a group of our own user, the root of a cgroup namespace), else only the
 * agent and we; root goes below the mount's root when that is not enough.
 */
#define _GNU_SOURCE
#include "cgroup.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open /* one number on all architectures */
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

#define DEPTH 32
#define LEFTOVER_ROUNDS 2000 /* of a millisecond */
#define MOVE_ROUNDS 8
#define HOLD_ROUNDS 6000 /* of a millisecond: a launcher without an agent ends within five seconds */

static const char *const CONTROLLERS[] = {"memory", "pids", "cpu", "cpuacct", "blkio", "freezer"};

/* ---- small files ---- */

static int open_file(int base, const char *group, const char *file, int flags) {
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s%s%s", group, *group ? "/" : "", file) >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  return openat(base, path, flags | O_CLOEXEC);
}

ssize_t cg_get(int base, const char *group, const char *file, char *text, size_t size) {
  int fd = open_file(base, group, file, O_RDONLY);
  if (fd < 0) return -errno;
  size_t length = 0;
  ssize_t n;
  while (length < size - 1 && (n = read(fd, text + length, size - 1 - length)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      n = -errno;
      close(fd);
      return n;
    }
    length += (size_t)n;
  }
  close(fd);
  text[length] = 0;
  return (ssize_t)length;
}

int cg_put(int base, const char *group, const char *file, const char *text) {
  int fd = open_file(base, group, file, O_WRONLY);
  if (fd < 0) return -errno;
  int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
  close(fd);
  return r;
}

static bool has_word(const char *text, const char *word) {
  size_t length = strlen(word);
  for (const char *at = text; (at = strstr(at, word)); at += length)
    if ((at == text || strchr(" ,\n", at[-1])) && (!at[length] || strchr(" ,\n", at[length])))
      return true;
  return false;
}

/* A whole file of any size, since lists of processes and mounts have none. Freed by the caller. */
static char *read_all(int fd) {
  size_t size = 16384, length = 0;
  char *text = malloc(size);
  for (ssize_t n; text;) {
    if (size - length < 4096) {
      char *more = realloc(text, size *= 2);
      if (!more) break;
      text = more;
    }
    n = read(fd, text + length, size - length - 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    if (n == 0) {
      text[length] = 0;
      return text;
    }
    length += (size_t)n;
  }
  free(text);
  return NULL;
}

static char *read_path(int base, const char *group, const char *file) {
  int fd = open_file(base, group, file, O_RDONLY);
  if (fd < 0) return NULL;
  char *text = read_all(fd);
  close(fd);
  return text;
}

/* ---- killing and removing ---- */

int base_of(const struct layout *l, const struct place *p, int h) {
  return p->is_below_mount ? l->in[h].mount : l->in[h].own;
}

/* Calls `visit` for each group below a folder, the deepest first, and then for the folder. */
static int walk(int base, const char *path, int depth, int (*visit)(int, const char *, void *), void *with) {
  int fd = openat(base, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), sum = 0;
  if (fd < 0) return errno == ENOENT ? 0 : -errno;
  DIR *dir = fdopendir(fd);
  if (!dir) {
    close(fd);
    return -ENOMEM;
  }
  for (struct dirent *e; (e = readdir(dir));) {
    char child[PATH_MAX];
    if (e->d_type != DT_DIR || e->d_name[0] == '.' || depth >= DEPTH ||
        snprintf(child, sizeof child, "%s/%s", path, e->d_name) >= (int)sizeof child)
      continue;
    int r = walk(base, child, depth + 1, visit, with);
    if (r > 0) sum += r;
  }
  closedir(dir);
  int r = visit(base, path, with);
  return r < 0 ? r : sum + r;
}

/* Is one of the paths in a /proc/<pid>/cgroup this group or below it? Its end counts too: 7 is not 71. */
static bool is_member(const char *text, const char *group) {
  size_t length = strlen(group);
  for (const char *at = text; (at = strstr(at, group)); at++)
    if (at > text && at[-1] == '/' && (!at[length] || strchr("/ \n", at[length]))) return true;
  return false;
}

/* Between reading a list and signalling, a process may die and its number be given away: what the
 * pidfd stands for is looked at once more. */
static void kill_member(pid_t pid, const char *group) {
  if (pid <= 1 || pid == getpid() || pid == getppid()) return;
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) {
    if (errno == ENOSYS) kill(pid, SIGKILL);
    return;
  }
  char path[64], text[8192];
  snprintf(path, sizeof path, "/proc/%d", (int)pid);
  if (cg_get(AT_FDCWD, path, "cgroup", text, sizeof text) > 0 && is_member(text, group))
    syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
  close(fd);
}

static int visit_kill(int base, const char *group, void *with) {
  char *list = read_path(base, group, "cgroup.procs");
  int seen = 0;
  for (char *at = list, *end; at && *at; at = end) {
    long pid = strtol(at, &end, 10);
    if (end == at) break;
    kill_member((pid_t)pid, group);
    seen++;
  }
  free(list);
  (void)with;
  return seen;
}

static int visit_put(int base, const char *group, void *with) {
  const char *const *words = with;
  cg_put(base, group, words[0], words[1]);
  return 0;
}

static int visit_remove(int base, const char *group, void *with) {
  (void)with;
  return unlinkat(base, group, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

static bool holds(const struct place *p, int h) {
  return h >= 0 && (p->mask & 1u << h);
}

/*
 * cgroup.kill takes a whole tree at once, forks under way included, frozen or not. Without it: no
 * more forks (pids.max), nobody moves (freezer), SIGKILL to each in the lists, twice for those who
 * were just being made, and thaw, since version 1 lets nobody die who is frozen.
 */
int place_kill(const struct layout *l, const struct place *p) {
  static const char *const thaw[] = {"freezer.state", "THAWED"};
  int unified = l->at[UNIFIED], freezer = l->at[FREEZER], pids = l->at[PIDS];
  if (holds(p, unified) && cg_put(base_of(l, p, unified), p->path, "cgroup.kill", "1") == 0) {
    if (holds(p, freezer)) walk(base_of(l, p, freezer), p->path, 0, visit_put, (void *)thaw);
    char events[256];
    if (cg_get(base_of(l, p, unified), p->path, "cgroup.events", events, sizeof events) > 0 &&
        strstr(events, "populated 1"))
      return 1;
  }
  int most = 0;
  for (int round = 0; round < 2; round++) {
    int seen = 0;
    for (int h = 0; h < l->count; h++)
      if (holds(p, h)) {
        int r = walk(base_of(l, p, h), p->path, 0, visit_kill, NULL);
        if (r > seen) seen = r;
      }
    if (seen == 0) break;
    most = seen;
    if (round == 0) {
      if (holds(p, pids)) cg_put(base_of(l, p, pids), p->path, "pids.max", "0");
      if (holds(p, freezer)) cg_put(base_of(l, p, freezer), p->path, "freezer.state", "FROZEN");
      else if (holds(p, unified)) cg_put(base_of(l, p, unified), p->path, "cgroup.freeze", "1");
    }
  }
  if (most && holds(p, freezer)) walk(base_of(l, p, freezer), p->path, 0, visit_put, (void *)thaw);
  return most;
}

int place_remove(const struct layout *l, const struct place *p) {
  int result = 0;
  for (int h = 0; h < l->count; h++)
    if (holds(p, h)) {
      int r = visit_remove(base_of(l, p, h), p->path, NULL);
      if (r == -EBUSY) /* processes, or groups that somebody made inside */
        r = walk(base_of(l, p, h), p->path, 0, visit_remove, NULL);
      if (r < 0) result = r;
    }
  return result;
}

static uint32_t all_of(const struct layout *l, bool only_ours) {
  uint32_t mask = 0;
  for (int h = 0; h < l->count; h++)
    if (!only_ours || l->in[h].is_ours) mask |= 1u << h;
  return mask;
}

/* Kills and removes what is below the parent, whoever made it, but not the leaf with the agent. */
static bool remove_children(const struct layout *l) {
  for (int round = 0; round < LEFTOVER_ROUNDS; round++) {
    int left = 0;
    for (int h = 0; h < l->count; h++) {
      if (!l->in[h].is_ours) continue;
      int fd = openat(l->in[h].own, l->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      DIR *dir = fd < 0 ? NULL : fdopendir(fd);
      if (!dir) {
        if (fd >= 0) close(fd);
        continue;
      }
      for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.' || strcmp(e->d_name, LEAF) == 0) continue;
        struct place p = {.mask = all_of(l, true)};
        if (snprintf(p.path, sizeof p.path, "%s/%s", l->name, e->d_name) >= (int)sizeof p.path) continue;
        if (place_remove(l, &p) < 0) {
          place_kill(l, &p);
          left++;
        }
      }
      closedir(dir);
    }
    if (left == 0) return true;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return false;
}

/* The Docker engine makes a container's parent of our name below the mount, which need not be where
 * ours is, and leaves it. Folders without processes only: who they are of cannot be known. */
static void remove_namesakes(const struct layout *l) {
  if (!all_of(l, true)) return; /* we have refused to work here: nothing is ours to remove */
  for (int h = 0; h < l->count; h++)
    if (!l->in[h].is_ours || l->in[h].own_path[0]) walk(l->in[h].mount, l->name, 0, visit_remove, NULL);
}

/* ---- version 2: controllers for the children, and nobody beside them ---- */

/* Those that cannot be had inside of a thread root first: with them fails all, before one of the
 * others has made our group, processes in it, a thread root, below which nobody may enter. */
static const char *const WANTED[] = {"memory", "io", "pids", "cpu"};
#define WANTED_COUNT (sizeof WANTED / sizeof *WANTED)

/* What could be had for the children of a group and is not: a mask of WANTED. */
static uint32_t lacking(const struct hierarchy *h, const char *group) {
  char have[512], on[512];
  uint32_t mask = 0;
  if (cg_get(h->own, group, "cgroup.controllers", have, sizeof have) < 0) have[0] = 0;
  if (cg_get(h->own, group, "cgroup.subtree_control", on, sizeof on) < 0) on[0] = 0;
  for (size_t i = 0; i < WANTED_COUNT; i++)
    if (has_word(have, WANTED[i]) && !has_word(on, WANTED[i])) mask |= 1u << i;
  return mask;
}

/* One by one, since one that fails would take the others with it. 0 or the first -errno. */
static int enable(const struct hierarchy *h, const char *group, char *enabled, size_t size) {
  uint32_t mask = lacking(h, group);
  int result = 0;
  for (size_t i = 0; i < WANTED_COUNT && result != -EBUSY; i++) {
    char text[32];
    if (!(mask & 1u << i)) continue;
    snprintf(text, sizeof text, "+%s", WANTED[i]);
    int r = cg_put(h->own, group, "cgroup.subtree_control", text);
    if (r == 0 && enabled) snprintf(enabled + strlen(enabled), size - strlen(enabled), "-%s ", WANTED[i]);
    if (r == -EBUSY || (r < 0 && !result)) result = r;
  }
  return result;
}

/* Also one by one: a name that this kernel does not know would fail the whole line. */
static void disable(const struct hierarchy *h, const char *group, const char *list) {
  for (size_t i = 0; i < WANTED_COUNT; i++) {
    char text[32];
    snprintf(text, sizeof text, "-%s", WANTED[i]);
    if (has_word(list, text)) cg_put(h->own, group, "cgroup.subtree_control", text);
  }
}

/* Each process of one group into another; those that end meanwhile need no move, those that were
 * just forked are in the next round. True when nobody is left. */
static bool move_all(int base, const char *from, const char *to, bool is_everybody) {
  for (int round = 0; round < MOVE_ROUNDS; round++) {
    char *list = read_path(base, from, "cgroup.procs");
    bool is_empty = list && !*list;
    for (char *at = list, *end; at && *at; at = end) {
      long pid = strtol(at, &end, 10);
      if (end == at) break;
      char text[32];
      snprintf(text, sizeof text, "%ld", pid);
      if (is_everybody || pid == getpid() || pid == getppid()) cg_put(base, to, "cgroup.procs", text);
    }
    free(list);
    if (is_empty) return true;
  }
  return false;
}

static bool holds_processes(int base, const char *group) {
  char text[32];
  return cg_get(base, group, "cgroup.procs", text, sizeof text) > 0;
}

static bool is_given_to_us(const struct hierarchy *h) {
  char mark[8], path[32];
  struct stat st;
  if (h->own_path[0] == 0) return true; /* a namespace's root: the real one never needs a move */
  snprintf(path, sizeof path, "/proc/self/fd/%d", h->own); /* fgetxattr takes no O_PATH */
  if (getxattr(path, "user.delegate", mark, sizeof mark) > 0) return true;
  if (getxattr(path, "trusted.delegate", mark, sizeof mark) > 0) return true;
  return geteuid() != 0 && fstat(h->own, &st) == 0 && st.st_uid == geteuid();
}

/* The parent in our own group with all controllers that can be had: 0 or -errno. A v2 one may be
 * settled in spite of an error, with less controllers. */
static int settle(struct layout *l, struct hierarchy *h) {
  if (mkdirat(h->own, l->name, 0755) < 0 && errno != EEXIST) return -errno;
  if (!h->is_v2) {
    cg_put(h->own, l->name, "memory.use_hierarchy", "1"); /* before 5.11 it is a choice */
    return 0;
  }
  bool is_root = faccessat(h->own, "cgroup.type", F_OK, 0) < 0;
  char leaf[PATH_MAX];
  snprintf(leaf, sizeof leaf, "%s/%s", l->name, LEAF);
  int r = 0;
  if (!is_root && lacking(h, "") && holds_processes(h->own, "")) {
    if (mkdirat(h->own, leaf, 0755) < 0 && errno != EEXIST) {
      r = -errno;
      unlinkat(h->own, l->name, AT_REMOVEDIR);
      return r;
    }
    l->has_moved = true;
    if (!move_all(h->own, "", leaf, is_given_to_us(h))) r = -EBUSY;
  }
  if (r == 0) r = enable(h, "", l->enabled, sizeof l->enabled);
  if (r == -EBUSY) {
    disable(h, "", l->enabled);
    l->enabled[0] = 0;
    if (l->has_moved) move_all(h->own, leaf, "", true);
    unlinkat(h->own, leaf, AT_REMOVEDIR);
    unlinkat(h->own, l->name, AT_REMOVEDIR);
    l->has_moved = false;
    return r;
  }
  int inner = enable(h, l->name, NULL, 0);
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/cgroup.kill", l->name);
  h->has_kill = faccessat(h->own, path, F_OK, 0) == 0;
  h->is_settled = true;
  return r ? r : inner;
}

/* Only what the parent has switched on for its children has files in our groups. */
static void forget_missing(struct layout *l, int index) {
  static const struct { enum role role; const char *name; } KINDS[] = {
      {MEMORY, "memory"}, {PIDS, "pids"}, {CPU, "cpu"}, {BLKIO, "io"}};
  const struct hierarchy *h = &l->in[index];
  char on[512];
  if (cg_get(h->own, l->name, "cgroup.subtree_control", on, sizeof on) < 0) on[0] = 0;
  for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
    if (l->at[KINDS[i].role] == index && !has_word(on, KINDS[i].name)) l->at[KINDS[i].role] = -1;
}

/* ---- finding ---- */

/* mountinfo writes blanks as \040. */
static void decode(char *text) {
  char *to = text;
  for (const char *at = text; *at; to++) {
    if (at[0] == '\\' && isdigit((unsigned char)at[1]) && at[1] < '4' && isdigit((unsigned char)at[2]) && isdigit((unsigned char)at[3])) {
      *to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
      at += 4;
    } else {
      *to = *at++;
    }
  }
  *to = 0;
}

/* The path of our group in the hierarchy that has `controller` ("" is version 2). */
static bool find_own(const char *self, const char *controller, char *path, size_t size) {
  for (const char *line = self; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    const char *names = strchr(line, ':');
    const char *colon = names ? strchr(names + 1, ':') : NULL;
    if (!colon) continue;
    char list[256];
    snprintf(list, sizeof list, "%.*s", (int)(colon - names - 1), names + 1);
    if (*controller ? !has_word(list, controller) : *list != 0) continue;
    snprintf(path, size, "%.*s", (int)strcspn(colon + 1, "\n"), colon + 1);
    return true;
  }
  return false;
}

/* From "where we are" and "what is mounted" to a folder; "" is the mount itself. */
static void place_own(struct hierarchy *h, const char *root, const char *own) {
  size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
  const char *below = strncmp(own, root, length) == 0 && (own[length] == '/' || !own[length]) ? own + length : "";
  if (strcmp(below, "/") == 0 || strstr(below, "/..")) below = "";
  snprintf(h->own_path, sizeof h->own_path, "%s", below);
}

static bool open_own(struct layout *l, struct hierarchy *h) {
  char leaf[PATH_MAX];
  if (h->is_v2) { /* started again by an agent that an earlier launcher has moved */
    int tail = snprintf(leaf, sizeof leaf, "/%s/%s", l->name, LEAF);
    size_t length = strlen(h->own_path);
    if (length >= (size_t)tail && strcmp(h->own_path + length - (size_t)tail, leaf) == 0) {
      h->own_path[length - (size_t)tail] = 0;
      l->has_moved = true;
      snprintf(l->enabled, sizeof l->enabled, "-memory -pids -cpu -io ");
    }
  }
  h->own = openat(h->mount, h->own_path[0] ? h->own_path + 1 : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (h->own < 0 && h->own_path[0]) {
    h->own_path[0] = 0;
    h->own = openat(h->mount, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
  return h->own >= 0;
}

static void add_mount(struct layout *l, char *line, const char *self) {
  char *field[6], *save = NULL, *tail = strstr(line, " - ");
  if (!tail || l->count == HIERARCHIES) return;
  *tail = 0;
  tail += 3;
  for (int i = 0; i < 6; i++)
    if (!(field[i] = strtok_r(i ? NULL : line, " ", &save))) return;
  char *type = strtok_r(tail, " ", &save), *source = strtok_r(NULL, " ", &save), *options = strtok_r(NULL, " ", &save);
  (void)source;
  if (!type || !options || strncmp(type, "cgroup", 6) != 0) return;
  bool is_v2 = strcmp(type, "cgroup2") == 0;
  uint32_t roles = 0;
  for (int r = 0; r < UNIFIED; r++)
    if (!is_v2 && has_word(options, CONTROLLERS[r]) && l->at[r] < 0) roles |= 1u << r;
  if (is_v2 && l->at[UNIFIED] < 0) roles |= 1u << UNIFIED;
  if (!roles) return;

  struct hierarchy *h = &l->in[l->count];
  memset(h, 0, sizeof *h);
  h->is_v2 = is_v2;
  decode(field[3]);
  decode(field[4]);
  snprintf(h->mount_path, sizeof h->mount_path, "%s", field[4]);
  char own[PATH_MAX] = "/";
  const char *controller = "";
  for (int r = 0; r < UNIFIED && !is_v2; r++)
    if (roles & 1u << r) controller = CONTROLLERS[r];
  find_own(self, controller, own, sizeof own);
  place_own(h, field[3], own);
  h->mount = open(h->mount_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (h->mount < 0) return;
  if (!open_own(l, h)) {
    close(h->mount);
    return;
  }
  for (int r = 0; r < ROLES; r++)
    if (roles & 1u << r) l->at[r] = l->count;
  if (is_v2) { /* its controllers are those that no version 1 hierarchy has taken */
    char have[512];
    if (cg_get(h->own, "", "cgroup.controllers", have, sizeof have) < 0) have[0] = 0;
    if (has_word(have, "memory") && l->at[MEMORY] < 0) l->at[MEMORY] = l->count;
    if (has_word(have, "pids") && l->at[PIDS] < 0) l->at[PIDS] = l->count;
    if (has_word(have, "cpu") && l->at[CPU] < 0) l->at[CPU] = l->count;
    if (has_word(have, "io") && l->at[BLKIO] < 0) l->at[BLKIO] = l->count;
  }
  l->count++;
}

/* Root may leave its own group where nothing can be made in it: better a limit than none. */
static int settle_somewhere(struct layout *l, struct hierarchy *h) {
  int r = settle(l, h);
  if (r == 0 || h->is_settled || !h->own_path[0] || (h->is_v2 ? r != -EBUSY : r != -ENOENT)) return r;
  int fd = openat(h->mount, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return r;
  close(h->own);
  h->own = fd;
  h->own_path[0] = 0;
  return settle(l, h);
}

/* A launcher that is about to end, because its agent was killed, would take the parent away from the
 * one that comes after it: who holds the lock has the parent, until the kernel takes the lock back. */
static bool hold(struct layout *l) {
  struct hierarchy *first = NULL;
  for (int i = l->count - 1; i >= 0; i--)
    if (l->in[i].is_ours) first = &l->in[i];
  for (int round = 0; first && round < HOLD_ROUNDS; round++) {
    struct stat held, there;
    int fd = openat(first->own, l->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &held) == 0 &&
        fstatat(first->own, l->name, &there, 0) == 0 && held.st_ino == there.st_ino) {
      l->held = fd;
      for (int i = 0; i < l->count; i++)
        if (l->in[i].is_ours) settle(l, &l->in[i]); /* what it has removed until now */
      return true;
    }
    if (fd >= 0) close(fd);
    else settle(l, first);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return first == NULL;
}

/* True where the kernel counts bytes of block devices; without a throttle rule most do not. */
static bool counts_bytes(const struct hierarchy *h) {
  char text[8192];
  return cg_get(h->mount, "", "blkio.throttle.io_service_bytes_recursive", text, sizeof text) > 0 && strstr(text, " Read ");
}

static bool is_v1(const struct layout *l, enum role r) { return l->at[r] >= 0 && !l->in[l->at[r]].is_v2; }

int layout_find(struct layout *l, const char *mountinfo, const char *self_path, const char *name, char *why, size_t why_size) {
  memset(l, 0, sizeof *l);
  for (int r = 0; r < ROLES; r++) l->at[r] = -1;
  snprintf(l->name, sizeof l->name, "%s", name);
  snprintf(why, why_size, "%s", "");
  char *mounts = read_path(AT_FDCWD, "", mountinfo), *self = read_path(AT_FDCWD, "", self_path);
  char *save = NULL;
  /* Version 1 first: a controller is either there or in version 2, never in both. */
  for (int pass = 0; pass < 2 && mounts && self; pass++) {
    char *copy = strdup(mounts);
    for (char *line = copy ? strtok_r(copy, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
      if ((strstr(line, " - cgroup2 ") != NULL) == (pass == 1)) add_mount(l, line, self);
    free(copy);
  }
  bool could_read = mounts && self;
  free(mounts);
  free(self);
  if (l->at[MEMORY] < 0 && l->at[PIDS] < 0) {
    snprintf(why, why_size, "%s", !could_read ? "/proc/self/mountinfo or /proc/self/cgroup cannot be read"
                                  : l->count ? "no memory or pids controller is given to the group that this process is in (systemd: Delegate=yes)"
                                             : "no cgroup file system is mounted");
    return 0;
  }
  char inside[PATH_MAX];
  snprintf(inside, sizeof inside, "/%s/", name);
  for (int h = 0; h < l->count; h++) {
    char own[PATH_MAX + 1];
    snprintf(own, sizeof own, "%s/", l->in[h].own_path);
    if (strstr(own, inside)) { /* clearing the parent would be suicide */
      snprintf(why, why_size, "this process is itself inside of the group %s", l->in[h].own_path);
      return 0;
    }
  }
  int found[ROLES];
  memcpy(found, l->at, sizeof found);
  static const enum role ORDER[] = {UNIFIED, MEMORY, PIDS, CPU, CPUACCT, BLKIO, FREEZER};
  for (size_t i = 0; i < ROLES; i++) {
    enum role r = ORDER[i];
    int unified = l->at[UNIFIED];
    if (l->at[r] < 0) continue;
    struct hierarchy *h = &l->in[l->at[r]];
    if (h->is_ours) continue;
    bool has_unified = unified >= 0 && l->in[unified].is_ours;
    /* Moving into it takes a lock over all processes, which waits for RCU: 13 ms were seen. */
    if (r == UNIFIED && is_v1(l, MEMORY) && is_v1(l, PIDS) && is_v1(l, FREEZER) && is_v1(l, CPUACCT)) continue;
    if (r == CPUACCT && has_unified) continue; /* its cpu.stat says the same: one move less */
    if (r == FREEZER && has_unified && l->in[unified].has_kill) continue;
    if (r == BLKIO && !h->is_v2 && !counts_bytes(h)) continue;
    h->error = settle_somewhere(l, h);
    h->is_ours = h->error == 0 || h->is_settled;
    if (h->is_ours && h->is_v2) forget_missing(l, found[r]);
  }
  int version = 0;
  for (int r = PIDS; r >= MEMORY; r--)
    if (l->at[r] >= 0 && l->in[l->at[r]].is_ours) version = l->in[l->at[r]].is_v2 ? 2 : 1;
  if (version == 0) {
    const struct hierarchy *h = &l->in[found[MEMORY] >= 0 ? found[MEMORY] : found[PIDS]];
    const char *reason = h->error == -EBUSY ? "other processes are in its parent (systemd: Delegate=yes)" : strerror(-h->error);
    bool may_help = h->error == -EACCES || h->error == -EPERM;
    snprintf(why, why_size, "the group %.200s%.200s/%s cannot %s: %s%s", h->mount_path, h->own_path, name,
             h->is_ours ? "have the memory or pids controller" : "be made", h->error ? reason : "no reason is known",
             may_help ? " (systemd: Delegate=yes)" : "");
    return 0;
  }
  for (int r = MEMORY; r <= CPU; r++) {
    if (l->at[r] >= 0 && l->in[l->at[r]].is_ours) continue;
    int error = found[r] >= 0 ? l->in[found[r]].error : 0;
    snprintf(why + strlen(why), why_size - strlen(why), "%sno %s controller%s%s", *why ? ", " : "", CONTROLLERS[r],
             error ? ": " : "", error ? strerror(-error) : "");
  }
  if (!hold(l)) snprintf(why + strlen(why), why_size - strlen(why), "%sanother launcher uses its group", *why ? ", " : "");
  remove_namesakes(l);
  if (!remove_children(l))
    snprintf(why + strlen(why), why_size - strlen(why), "%sprocesses of an earlier launcher do not die", *why ? ", " : "");
  return version;
}

void layout_leave(struct layout *l) {
  remove_children(l);
  remove_namesakes(l);
  for (int i = 0; i < l->count; i++) {
    struct hierarchy *h = &l->in[i];
    char leaf[PATH_MAX];
    snprintf(leaf, sizeof leaf, "%s/%s", l->name, LEAF);
    if (h->is_v2 && h->is_ours && l->has_moved) {
      disable(h, l->name, "-memory -pids -cpu -io");
      disable(h, "", l->enabled);
      move_all(h->own, leaf, "", true);
      unlinkat(h->own, leaf, AT_REMOVEDIR);
    }
    if (h->is_ours && unlinkat(h->own, l->name, AT_REMOVEDIR) < 0 && h->is_v2) { /* an empty leaf of a killed one */
      unlinkat(h->own, leaf, AT_REMOVEDIR);
      unlinkat(h->own, l->name, AT_REMOVEDIR);
    }
    close(h->own);
    close(h->mount);
  }
  if (l->held > 0) close(l->held);
  l->held = 0;
  l->count = 0;
}
