// A bad disk under one process: an LD_PRELOAD library that counts the operations on files below one
// folder, lets the N-th of them fail (or the silent ones do harm), and can write down every change
// and every sync, so that a loss of power at any point can be replayed. Tests only; see faults.ts.
//
// Environment, read once:
//   FAULTS_UNDER    folder whose files are watched (absolute)
//   FAULTS_ONLY     watch only paths that contain this
//   FAULTS_KIND     eio | enospc | short | torn | flip | count
//   FAULTS_AT       number of the first operation that is hit, from 1
//   FAULTS_TIMES    how many are hit from there on; 0: all
//   FAULTS_WHILE    file: operations are counted and hit only while it exists
//   FAULTS_DELAY_US fsync and fdatasync take so much longer
//   FAULTS_REPORT   file that every hit is appended to, and at the end the count
//   FAULTS_RECORD   file that every change and sync is appended to
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { NONE, EIO_, ENOSPC_, SHORT, TORN, FLIP, COUNT };
enum sort { READ_, WRITE_, SYNC, META };

#define MAX_FD 65536
static char *paths[MAX_FD]; // of watched descriptors; replaced, never freed: other threads may read
static ino_t inodes[MAX_FD];
static dev_t devices[MAX_FD];
static const char *under, *only, *while_path;
static size_t under_length;
static enum kind kind;
static unsigned long first, times;
static unsigned long delay_us;
static int report_fd = -1, record_fd = -1;
static atomic_ulong counter;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (found == NULL) {
    static const char text[] = "faults: no such function in libc\n";
    syscall(SYS_write, 2, text, sizeof text - 1);
    _exit(70);
  }
  return found;
}

static int open_append(const char *path) {
  if (path == NULL) return -1;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return -1;
  // Out of the way of what the process itself opens and closes.
  int high = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
  if (high < 0) return fd;
  syscall(SYS_close, fd);
  return high;
}

__attribute__((constructor)) static void begin(void) {
  under = getenv("FAULTS_UNDER");
  if (under == NULL) return;
  char exe[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
  exe[length > 0 ? length : 0] = 0;
  const char *base = strrchr(exe, '/');
  // The shell that starts Node.js, and programs that it starts, have good disks.
  if (base == NULL || strcmp(base + 1, "node") != 0) {
    under = NULL;
    return;
  }
  under_length = strlen(under);
  only = getenv("FAULTS_ONLY");
  while_path = getenv("FAULTS_WHILE");
  const char *name = getenv("FAULTS_KIND");
  static const char *names[] = {"none", "eio", "enospc", "short", "torn", "flip", "count"};
  for (int i = 0; name != NULL && i < 7; i++)
    if (strcmp(name, names[i]) == 0) kind = (enum kind)i;
  const char *text = getenv("FAULTS_AT");
  first = text == NULL ? 1 : strtoul(text, NULL, 10);
  text = getenv("FAULTS_TIMES");
  times = text == NULL ? 1 : strtoul(text, NULL, 10);
  text = getenv("FAULTS_DELAY_US");
  delay_us = text == NULL ? 0 : strtoul(text, NULL, 10);
  report_fd = open_append(getenv("FAULTS_REPORT"));
  record_fd = open_append(getenv("FAULTS_RECORD"));
}

__attribute__((destructor)) static void end(void) {
  if (under == NULL || report_fd < 0) return;
  char line[64];
  int length = snprintf(line, sizeof line, "total %lu\n", atomic_load(&counter));
  syscall(SYS_write, report_fd, line, length);
}

static int is_watched(const char *path) {
  return under != NULL && path != NULL && strncmp(path, under, under_length) == 0 &&
         (path[under_length] == '/' || path[under_length] == 0);
}

// libuv closes some descriptors past libc: what is behind the number is looked at again.
static const char *path_of(int fd) {
  struct stat stat;
  if (fd < 0 || fd >= MAX_FD || paths[fd] == NULL) return NULL;
  if (fstat(fd, &stat) != 0 || stat.st_ino != inodes[fd] || stat.st_dev != devices[fd]) {
    paths[fd] = NULL;
    return NULL;
  }
  return paths[fd];
}

static void opened(int fd, const char *path) {
  struct stat stat;
  if (fd < 0 || fd >= MAX_FD) return;
  paths[fd] = NULL;
  if (!is_watched(path) || fstat(fd, &stat) != 0) return;
  inodes[fd] = stat.st_ino;
  devices[fd] = stat.st_dev;
  paths[fd] = strdup(path);
}

// Whether this operation is hit.
static int hit(enum sort sort, const char *what, const char *path, long offset, size_t length) {
  if (under == NULL || kind == NONE || (only != NULL && strstr(path, only) == NULL)) return 0;
  if (sort == READ_ && kind != EIO_) return 0;
  if (sort != WRITE_ && (kind == SHORT || kind == TORN || kind == FLIP)) return 0;
  if (sort == WRITE_ && length < 2 && (kind == SHORT || kind == TORN)) return 0;
  if (while_path != NULL && syscall(SYS_faccessat, AT_FDCWD, while_path, F_OK) != 0) return 0;
  unsigned long n = atomic_fetch_add(&counter, 1) + 1;
  if (kind == COUNT || n < first || (times != 0 && n >= first + times)) return 0;
  if (report_fd >= 0) {
    char line[PATH_MAX + 200];
    int size = snprintf(line, sizeof line, "hit %lu %s %s offset=%ld length=%zu\n", n, what, path,
                        offset, length);
    syscall(SYS_write, report_fd, line, size);
  }
  return 1;
}

static int error_of(void) { return kind == ENOSPC_ ? ENOSPC : EIO; }

// ---- the record: one append for each event, a line of JSON and then `bytes` raw bytes ----

static void record(const char *what, const char *path, const char *to, long offset,
                   const void *data, size_t length) {
  if (record_fd < 0) return;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  char head[2 * PATH_MAX + 200];
  int size = snprintf(head, sizeof head,
                      "{\"op\":\"%s\",\"path\":\"%s\",\"to\":\"%s\",\"at\":%ld,\"bytes\":%zu,\"ms\":%.3f}\n",
                      what, path, to == NULL ? "" : to, offset, data == NULL ? (size_t)0 : length,
                      (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6);
  struct iovec parts[2] = {{head, (size_t)size}, {(void *)data, data == NULL ? 0 : length}};
  syscall(SYS_writev, record_fd, parts, data == NULL ? 1 : 2);
}

// ---- writes ----

// Gives what the caller is told. `offset` is -1 for a write at the descriptor's own place.
static ssize_t put(int fd, const void *data, size_t length, off_t offset, const char *what) {
  const char *path = path_of(fd);
  long at = offset;
  if (path != NULL && at < 0) {
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    at = (long)syscall(SYS_lseek, fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
  }
  const void *given = data;
  size_t wanted = length, told = length;
  char *copy = NULL;
  struct stat now;
  // Blocks that a full disk holds already can be written over.
  int isOver = kind == ENOSPC_ && path != NULL && fstat(fd, &now) == 0 &&
               at + (long)length <= (now.st_size + 4095) / 4096 * 4096;
  if (path != NULL && !isOver && hit(WRITE_, what, path, at, length)) {
    if (kind == EIO_ || kind == ENOSPC_) {
      errno = error_of();
      return -1;
    }
    if (kind == SHORT) wanted = told = length / 2;
    if (kind == TORN) {
      // The old second half stays: what follows in the file keeps its place.
      wanted = length / 2;
      if (offset < 0) {
        ssize_t done = syscall(SYS_write, fd, data, wanted);
        struct stat stat;
        if (done >= 0 && fstat(fd, &stat) == 0 && stat.st_size < at + (long)length)
          syscall(SYS_ftruncate, fd, at + (long)length);
        int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
        if (!(flags & O_APPEND)) syscall(SYS_lseek, fd, at + (long)length, SEEK_SET);
        return done < 0 ? done : (ssize_t)length;
      }
    }
    if (kind == FLIP) {
      copy = malloc(length);
      memcpy(copy, data, length);
      copy[length / 2] ^= 0x10;
      given = copy;
    }
  }
  ssize_t done = offset < 0 ? syscall(SYS_write, fd, given, wanted)
                            : syscall(SYS_pwrite64, fd, given, wanted, offset);
  int kept = errno;
  if (done >= 0 && path != NULL) record("write", path, NULL, at, given, (size_t)done);
  free(copy);
  errno = kept;
  if (done == (ssize_t)wanted) return (ssize_t)told;
  return done;
}

ssize_t write(int fd, const void *data, size_t length) {
  if (path_of(fd) == NULL) return REAL(write)(fd, data, length);
  return put(fd, data, length, -1, "write");
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  if (path_of(fd) == NULL) return REAL(pwrite)(fd, data, length, offset);
  return put(fd, data, length, offset, "pwrite");
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
  if (path_of(fd) == NULL) return REAL(pwrite64)(fd, data, length, offset);
  return put(fd, data, length, offset, "pwrite");
}

static ssize_t putv(int fd, const struct iovec *parts, int count, off_t offset) {
  ssize_t sum = 0;
  for (int i = 0; i < count; i++) {
    ssize_t done = put(fd, parts[i].iov_base, parts[i].iov_len, offset < 0 ? -1 : offset + sum, "writev");
    if (done < 0) return sum > 0 ? sum : done;
    sum += done;
    if (done < (ssize_t)parts[i].iov_len) break;
  }
  return sum;
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (path_of(fd) == NULL) return REAL(writev)(fd, parts, count);
  return putv(fd, parts, count, -1);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  if (path_of(fd) == NULL) return REAL(pwritev)(fd, parts, count, offset);
  return putv(fd, parts, count, offset);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  if (path_of(fd) == NULL) return REAL(pwritev64)(fd, parts, count, offset);
  return putv(fd, parts, count, offset);
}

// ---- reads ----

#define READER(name, arguments, call, length)                       \
  ssize_t name arguments {                                          \
    const char *path = path_of(fd);                                 \
    if (path != NULL && hit(READ_, #name, path, -1, length)) {      \
      errno = EIO;                                                  \
      return -1;                                                    \
    }                                                               \
    return REAL(name) call;                                         \
  }
READER(read, (int fd, void *data, size_t length), (fd, data, length), length)
READER(pread, (int fd, void *data, size_t length, off_t at), (fd, data, length, at), length)
READER(pread64, (int fd, void *data, size_t length, off64_t at), (fd, data, length, at), length)
READER(readv, (int fd, const struct iovec *parts, int count), (fd, parts, count), 0)
READER(preadv, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), 0)
READER(preadv64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at), 0)

// ---- syncs ----

static int synced(int fd, const char *what, int (*call)(int)) {
  const char *path = path_of(fd);
  if (path == NULL) return call(fd);
  if (hit(SYNC, what, path, -1, 0)) {
    errno = error_of();
    return -1;
  }
  // Written down as it was when it began: what came meanwhile may not be covered.
  char *kept = strdup(path);
  record("sync-begins", kept, NULL, 0, NULL, 0);
  if (delay_us > 0) usleep((useconds_t)delay_us);
  // A replay needs the order only; the disk of the tests is not asked to spin.
  int code = record_fd >= 0 || delay_us > 0 ? 0 : call(fd);
  if (code == 0) record("sync", kept, NULL, 0, NULL, 0);
  free(kept);
  return code;
}
int fsync(int fd) { return synced(fd, "fsync", REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, "fdatasync", REAL(fdatasync)); }

// ---- names and sizes ----

#define FAIL_META(what, path)                        \
  if (is_watched(path) && hit(META, what, path, -1, 0)) { \
    errno = error_of();                              \
    return -1;                                       \
  }

static int truncated(int fd, off_t length, int (*call)(int, off_t)) {
  const char *path = path_of(fd);
  struct stat now;
  int shrinks = kind == ENOSPC_ && path != NULL && fstat(fd, &now) == 0 && length <= now.st_size;
  if (path != NULL && !shrinks && hit(META, "ftruncate", path, length, 0)) {
    errno = error_of();
    return -1;
  }
  int code = call(fd, length);
  if (code == 0 && path != NULL) record("truncate", path, NULL, length, NULL, 0);
  return code;
}
int ftruncate(int fd, off_t length) { return truncated(fd, length, REAL(ftruncate)); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length, REAL(ftruncate64)); }

int rename(const char *from, const char *to) {
  FAIL_META("rename", from);
  int code = REAL(rename)(from, to);
  if (code == 0 && is_watched(from)) record("rename", from, to, 0, NULL, 0);
  return code;
}
int unlink(const char *path) {
  // Removing needs no room.
  if (kind == EIO_) FAIL_META("unlink", path);
  int code = REAL(unlink)(path);
  if (code == 0 && is_watched(path)) record("unlink", path, NULL, 0, NULL, 0);
  return code;
}
int mkdir(const char *path, mode_t mode) {
  FAIL_META("mkdir", path);
  int code = REAL(mkdir)(path, mode);
  if (code == 0 && is_watched(path)) record("mkdir", path, NULL, 0, NULL, 0);
  return code;
}

static int open_at(int folder, const char *path, int flags, mode_t mode) {
  if (is_watched(path)) {
    int isThere = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
    int creates = (flags & O_CREAT) != 0 && !isThere;
    if ((creates || kind == EIO_) && hit(META, creates ? "create" : "open", path, -1, 0)) {
      errno = error_of();
      return -1;
    }
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0) {
      opened(fd, path);
      if (creates) record("create", path, NULL, 0, NULL, 0);
      else if (flags & O_TRUNC) record("truncate", path, NULL, 0, NULL, 0);
    }
    return fd;
  }
  int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
  if (fd >= 0 && fd < MAX_FD) paths[fd] = NULL;
  return fd;
}

#define MODE_OF(flags)                                     \
  mode_t mode = 0;                                         \
  if ((flags) & (O_CREAT | O_TMPFILE)) {                   \
    va_list list;                                          \
    va_start(list, flags);                                 \
    mode = va_arg(list, mode_t);                           \
    va_end(list);                                          \
  }
int open(const char *path, int flags, ...) {
  MODE_OF(flags);
  return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE_OF(flags);
  return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int folder, const char *path, int flags, ...) {
  MODE_OF(flags);
  return open_at(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
  MODE_OF(flags);
  return open_at(folder, path, flags | O_LARGEFILE, mode);
}
int close(int fd) {
  if (fd >= 0 && fd < MAX_FD) paths[fd] = NULL;
  return REAL(close)(fd);
}
