/*
 * The root of a box: a small tmpfs, read-only at the end, with copies of those folders of the host
 * that the box lists, its own /dev, /proc, /etc and /tmp, and no way back to the old root. Called by box.c
 * in a mount namespace that is ours alone; everything fails loudly.
 *
 * All of it is done with the mount API of Linux 5.12 (Landlock, which the level needs, came later): a
 * copy of a tree gets its flags while nobody can reach it, submounts included. Paths inside are
 * resolved with the new root as root, so no symlink of a bound folder leads to the host.
 */
#define _GNU_SOURCE
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One number on all architectures; spelled out because headers may be older, or define them twice. */
enum {
  NR_OPEN_TREE = 428, NR_MOVE_MOUNT = 429, NR_FSOPEN = 430, NR_FSCONFIG = 431, NR_FSMOUNT = 432,
  NR_OPENAT2 = 437, NR_MOUNT_SETATTR = 442
};
#define TREE_CLONE 1u
#define AT_TREE 0x8000u /* AT_RECURSIVE */
#define MOVE_BOTH_EMPTY 0x44u
#define SET_FLAG 0u
#define SET_STRING 1u
#define CREATE 6u
#define IN_ROOT 0x10u
#define RO 1u
#define NOSUID 2u
#define NODEV 4u
#define NOEXEC 8u
#define MAX_COPY_BYTES (1024 * 1024)

struct attributes { uint64_t set, clear, propagation, userns_fd; };
struct how { uint64_t flags, mode, resolve; };

static int root_fd; /* the new root */

/* ---- mounts ---- */

static int copy_tree(int at, const char *path) {
  return (int)syscall(NR_OPEN_TREE, at, path, TREE_CLONE | (unsigned)O_CLOEXEC | AT_TREE);
}

static void set_flags(int mount_fd, unsigned tree, uint64_t flags, const char *what) {
  struct attributes a = {.set = flags};
  if (syscall(NR_MOUNT_SETATTR, mount_fd, "", (unsigned)AT_EMPTY_PATH | tree, &a, sizeof a) < 0)
    box_fail("protecting %s", what);
}

static int new_mount(const char *type, const char *const *options, unsigned flags) {
  int context = (int)syscall(NR_FSOPEN, type, 1u /* close-on-exec */);
  int error = context < 0;
  for (; !error && options[0]; options += 2)
    error = syscall(NR_FSCONFIG, context, *options[1] ? SET_STRING : SET_FLAG, options[0],
                    *options[1] ? options[1] : NULL, 0) < 0;
  error = error || syscall(NR_FSCONFIG, context, CREATE, NULL, NULL, 0) < 0;
  int mount_fd = error ? -1 : (int)syscall(NR_FSMOUNT, context, 1u, flags);
  if (mount_fd < 0) box_fail("mounting %s", type);
  close(context);
  return mount_fd;
}

static int new_tmpfs(uint64_t bytes, const char *mode, unsigned flags) {
  char size[32], inodes[32];
  snprintf(size, sizeof size, "%llu", (unsigned long long)bytes);
  snprintf(inodes, sizeof inodes, "%llu", (unsigned long long)(bytes / 4096 + 1024));
  const char *options[] = {"size", size, "nr_inodes", inodes, "mode", mode, NULL};
  return new_mount("tmpfs", options, flags);
}

/* ---- paths inside ---- */

static int open_inside(const char *path) {
  struct how how = {.flags = O_PATH | O_CLOEXEC, .resolve = IN_ROOT};
  return (int)syscall(NR_OPENAT2, root_fd, path, &how, sizeof how);
}

/* Opens `path`; what is missing of it is made: folders, and at the end a file if asked for. */
static int make_inside(const char *path, int is_file) {
  int fd = open_inside(path);
  if (fd >= 0 || errno != ENOENT) return fd;
  char above[4096];
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  if (length >= sizeof above) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(above, path, length);
  above[length] = 0;
  int parent = length > 0 ? make_inside(above, 0) : open_inside("/");
  if (parent < 0) return -1;
  const char *name = slash ? slash + 1 : path;
  int error = is_file ? mknodat(parent, name, S_IFREG | 0644, 0) : mkdirat(parent, name, 0755);
  if (error < 0) error = errno;
  close(parent);
  errno = error;
  return error == 0 ? open_inside(path) : -1;
}

/* Moves a detached mount to where it is to be seen; takes both descriptors. */
static void attach_at(int mount_fd, int at, const char *path) {
  if (syscall(NR_MOVE_MOUNT, mount_fd, "", at, "", MOVE_BOTH_EMPTY) < 0) box_fail("mounting %s", path);
  close(at);
  close(mount_fd);
}

static void attach(int mount_fd, const char *path) {
  struct stat s;
  if (fstat(mount_fd, &s) < 0) box_fail("looking at what belongs to %s", path);
  int at = make_inside(path, !S_ISDIR(s.st_mode));
  if (at < 0) box_fail("making %s", path);
  attach_at(mount_fd, at, path);
}

static void write_file(const char *path, const char *text, size_t length) {
  int fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, text, length) != (ssize_t)length) box_fail("writing %s", path);
  close(fd);
}

static void link_inside(const char *target, const char *path) {
  if (symlinkat(target, root_fd, path) < 0) box_fail("linking %s", path);
}

/* ---- the parts ---- */

/* Devices are made where that is allowed (half the price of a mount), else shown from the host. */
static void make_node(const char *name) {
  char path[32];
  struct stat s;
  snprintf(path, sizeof path, "/dev/%s", name);
  if (stat(path, &s) < 0 || !S_ISCHR(s.st_mode)) box_fail("finding %s", path);
  if (mknodat(root_fd, path + 1, S_IFCHR | 0666, s.st_rdev) == 0) {
    if (fchmodat(root_fd, path + 1, 0666, 0) < 0) box_fail("making %s", path);
    return;
  }
  int tree = copy_tree(AT_FDCWD, path);
  if (tree < 0) box_fail("copying %s", path);
  set_flags(tree, AT_TREE, NOSUID | NOEXEC, path);
  attach(tree, path);
}

static void make_dev(void) {
  static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty", NULL};
  if (mkdirat(root_fd, "dev", 0755) < 0) box_fail("making /dev");
  for (const char *const *n = nodes; *n; n++) make_node(*n);
  const char *const options[] = {"newinstance", "", "ptmxmode", "0666", "mode", "0620", NULL};
  attach(new_mount("devpts", options, NOSUID | NOEXEC), "/dev/pts");
  link_inside("pts/ptmx", "dev/ptmx");
  link_inside("/proc/self/fd", "dev/fd");
  link_inside("/proc/self/fd/0", "dev/stdin");
  link_inside("/proc/self/fd/1", "dev/stdout");
  link_inside("/proc/self/fd/2", "dev/stderr");
}

/* Puts a read-only copy of `source` (inside, relative to the root) over `path`. */
static void cover(const char *source, const char *path) {
  int at = open_inside(path);
  if (at < 0) return; /* this kernel has none */
  int tree = copy_tree(root_fd, source);
  if (tree < 0) box_fail("hiding %s", path);
  set_flags(tree, AT_TREE, RO | NOSUID | NOEXEC, path);
  attach_at(tree, at, path);
}

/* All of it is read-only (Landlock would let no task write there anyway), and what tells of the
 * machine more than a program needs is hidden, as container engines do. */
static void make_proc(void) {
  static const char *const folders[] = {"/proc/acpi", "/proc/asound", "/proc/scsi", NULL};
  static const char *const files[] = {"/proc/interrupts",  "/proc/kcore",      "/proc/keys",
                                      "/proc/latency_stats", "/proc/sched_debug", "/proc/sysrq-trigger",
                                      "/proc/timer_list",  "/proc/timer_stats", NULL};
  const char *const options[] = {NULL};
  attach(new_mount("proc", options, RO | NOSUID | NODEV | NOEXEC), "/proc");
  if (mkdirat(root_fd, "sys", 0755) < 0) box_fail("making /sys"); /* and nothing is in it */
  for (const char *const *p = folders; *p; p++) cover("sys", *p);
  for (const char *const *p = files; *p; p++) cover("dev/null", *p);
}

/* A file of the host as it is now: a link as a link, a small regular file as a copy. */
static void copy_etc(const char *name) {
  static char bytes[MAX_COPY_BYTES];
  char path[64];
  snprintf(path, sizeof path, "/etc/%s", name);
  ssize_t n = readlink(path, bytes, sizeof bytes - 1);
  if (n > 0) {
    bytes[n] = 0;
    link_inside(bytes, path + 1);
    return;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  n = read(fd, bytes, sizeof bytes);
  close(fd);
  if (n < 0) box_fail("reading %s", path);
  if (n < (ssize_t)sizeof bytes) write_file(path + 1, bytes, (size_t)n);
}

static void make_etc(const struct box *b) {
  static const char *const folders[] = {"ld.so.conf.d", "alternatives", "ssl/certs", "pki", NULL};
  char text[512];
  int n;
  if (mkdirat(root_fd, "etc", 0755) < 0) box_fail("making /etc");
#define WRITE(path, ...) (n = snprintf(text, sizeof text, __VA_ARGS__), write_file(path, text, (size_t)n))
  WRITE("etc/passwd", "sandbox:x:%u:%u::/work:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", b->uid,
        b->gid);
  WRITE("etc/group", "sandbox:x:%u:\nnogroup:x:65534:\n", b->gid);
  WRITE("etc/hosts", "127.0.0.1 localhost %.64s\n::1 localhost\n", b->hostname);
  WRITE("etc/hostname", "%.64s\n", b->hostname);
  WRITE("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files%s\n",
        b->is_network ? " dns" : "");
#undef WRITE
  copy_etc("ld.so.cache");
  copy_etc("ld.so.conf");
  copy_etc("localtime");
  copy_etc("timezone");
  if (b->is_network) {
    int fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC); /* often a link to what is not inside */
    char servers[4096];
    ssize_t got = fd < 0 ? -1 : read(fd, servers, sizeof servers);
    if (got >= 0) write_file("etc/resolv.conf", servers, (size_t)got);
    if (fd >= 0) close(fd);
  }
  char path[64];
  for (const char *const *p = folders; *p; p++) {
    snprintf(path, sizeof path, "/etc/%s", *p);
    int tree = copy_tree(AT_FDCWD, path);
    if (tree < 0) continue;
    set_flags(tree, AT_TREE, RO | NOSUID | NODEV, path);
    attach(tree, path);
  }
}

static void make_entry(struct entry *e) {
  if (e->kind == ENTRY_TMPFS) {
    attach(new_tmpfs(e->bytes, "1777", NOSUID | NODEV), e->path);
  } else if (e->kind == ENTRY_SYMLINK) {
    struct stat s;
    char above[4096];
    size_t length = (size_t)(strrchr(e->path, '/') - e->path);
    if (length >= sizeof above) box_fail("linking %s", e->path);
    memcpy(above, e->path, length);
    above[length] = 0;
    int parent = length > 0 ? make_inside(above, 0) : root_fd;
    if (parent < 0 || (symlinkat(e->from, parent, e->path + length + 1) < 0 &&
                       (errno != EEXIST || fstatat(parent, e->path + length + 1, &s, 0) < 0)))
      box_fail("linking %s", e->path);
    if (length > 0) close(parent);
  } else if (e->tree >= 0) {
    set_flags(e->tree, AT_TREE, NOSUID | NODEV | (e->kind == ENTRY_BIND ? 0 : RO), e->path);
    attach(e->tree, e->path);
  }
}

void box_make_root(struct box *b) {
  umask(022);
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) box_fail("cutting off the host's mounts");
  /* Before the new root covers anything: sources may lie below what it covers. */
  for (size_t i = 0; i < b->count; i++) {
    struct entry *e = &b->entries[i];
    if (e->kind > ENTRY_TRY_BIND_RO) continue;
    e->tree = copy_tree(AT_FDCWD, e->from);
    if (e->tree < 0 && !(e->kind == ENTRY_TRY_BIND_RO && errno == ENOENT))
      box_fail("copying the view of %s", e->from);
  }
  root_fd = new_tmpfs(4 * 1024 * 1024, "0755", NOSUID); /* devices are in it */
  if (syscall(NR_MOVE_MOUNT, root_fd, "", AT_FDCWD, "/tmp", 4u) < 0) box_fail("mounting on /tmp");
  make_dev();
  make_proc();
  make_etc(b);
  for (size_t i = 0; i < b->count; i++) make_entry(&b->entries[i]);
  set_flags(root_fd, 0, RO | NOSUID, "the root");
  if (fchdir(root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0) box_fail("entering the root");
  if (umount2(".", MNT_DETACH) < 0) box_fail("leaving the host's root");
  if (chdir("/") < 0) box_fail("entering the root");
}
