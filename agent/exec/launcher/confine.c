/*
 * What a process may no longer do: its user, its capabilities, what it can write (Landlock) and which
 * system calls it has (seccomp, filter.c). The launcher prepares before the clone and applies in the
 * child just before exec.
 *
 * That child shares our memory (CLONE_VM), so everything here that changes credentials is a raw
 * system call: the C library's wrappers would signal its threads and keep state of their own.
 * The order is forced: bounding set and securebits need capabilities, the change of user comes
 * before the capabilities go, Landlock and seccomp need no_new_privs, and seccomp comes last because
 * it would forbid the rest. Landlock governs writing only: what can be read is decided by the mounts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter.h"
#include "launcher.h"

#ifndef SYS_landlock_create_ruleset /* one number on all architectures */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

/* linux/landlock.h as of ABI 6, spelled out: the headers that we are built with may be older. */
struct ruleset_attr { uint64_t handled_fs, handled_net, scoped; };
struct __attribute__((packed)) path_beneath_attr { uint64_t allowed; int32_t parent_fd; };
#define LANDLOCK_CREATE_VERSION 1u
#define LANDLOCK_PATH_BENEATH 1
#define FS_WRITE_FILE (1ull << 1)
#define FS_REMOVE_TO_MAKE_SYM (0x1ffull << 4) /* remove dir and file; make char .. sym: bits 4 to 12 */
#define FS_REFER (1ull << 13)
#define FS_TRUNCATE (1ull << 14)
#define FS_IOCTL_DEV (1ull << 15)
#define FS_OF_FILES (FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define SCOPE_ABSTRACT_SOCKETS (1ull << 0)
#define SCOPE_SIGNALS (1ull << 1)

/* Root is nobody special, a change of user gives nothing, no capability outlives exec. */
#define FOR_GOOD                                                                          \
  (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED | \
   SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

static const char *const always_writable[] = {
    "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/shm", NULL};

static long landlock_abi; /* 0: not asked yet */

static uint64_t handled_fs(void) {
  uint64_t rights = FS_WRITE_FILE | FS_REMOVE_TO_MAKE_SYM;
  if (landlock_abi >= 2) rights |= FS_REFER;
  if (landlock_abi >= 3) rights |= FS_TRUNCATE;
  if (landlock_abi >= 5) rights |= FS_IOCTL_DEV;
  return rights;
}

int confine_prepare(const struct confine *c, char *why, size_t why_size) {
  if ((c->flags & CONFINE_SECCOMP) && !filter_of(c->allow, why, why_size)) return -1;
  if ((c->flags & CONFINE_LANDLOCK) && landlock_abi <= 0) {
    landlock_abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_VERSION);
    if (landlock_abi < 0) {
      snprintf(why, why_size, "this kernel has no Landlock (%s): it came with Linux 5.13, and must "
               "be among the modules of the boot parameter lsm=", strerror(errno));
      landlock_abi = 0;
      return -1;
    }
  }
  return 0;
}

/* ---- user and capabilities ---- */

static int change_user(uid_t uid, gid_t gid) {
  uid_t uids[3];
  gid_t gids[3];
  if (syscall(SYS_getresuid, &uids[0], &uids[1], &uids[2]) < 0 ||
      syscall(SYS_getresgid, &gids[0], &gids[1], &gids[2]) < 0)
    return -errno;
  int is_uid = uid == (uid_t)-1 || (uids[0] == uid && uids[1] == uid && uids[2] == uid);
  int is_gid = gid == (gid_t)-1 || (gids[0] == gid && gids[1] == gid && gids[2] == gid);
  if (is_uid && is_gid && uids[1] != 0) return 0; /* an ordinary user keeps the groups that it has */
  if (uid == (uid_t)-1 && gid == (gid_t)-1) return 0;
  if (syscall(SYS_setgroups, 0, NULL) < 0) return -errno;
  if (!is_gid && syscall(SYS_setresgid, gid, gid, gid) < 0) return -errno;
  if (!is_uid && syscall(SYS_setresuid, uid, uid, uid) < 0) return -errno;
  return 0;
}

/* For good: also for what it will exec. Where there is no capability to do that with, none can be
 * regained either: no_new_privs sees to that. */
static int forgo_capabilities(void) {
  for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
    if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
      if (errno != EPERM) return -errno;
      break;
    }
  /* EINVAL: the kernel of gVisor has no such bits; root has no capabilities there that we let it. */
  if (prctl(PR_SET_SECUREBITS, FOR_GOOD, 0, 0, 0) < 0 && errno != EPERM && errno != EINVAL)
    return -errno;
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* EINVAL: before 4.3 there were none */
  return 0;
}

static int drop_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
  return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int drop_privileges(const struct confine *c) {
  int death_signal = 0, error;
  prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0);
  pid_t parent = (pid_t)syscall(SYS_getppid);
  if ((error = forgo_capabilities()) < 0) return error;
  if ((error = change_user(c->uid, c->gid)) < 0) return error;
  if ((error = drop_capabilities()) < 0) return error;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  /* A change of user has cleared it; the parent may have died meanwhile. */
  if (death_signal != 0 && prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) < 0) return -errno;
  return (pid_t)syscall(SYS_getppid) == parent ? 0 : -ESRCH;
}

/* ---- Landlock ---- */

static int let_write(int ruleset, const char *path, int is_needed) {
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return is_needed ? -errno : 0;
  struct stat s;
  struct path_beneath_attr rule = {.allowed = handled_fs(), .parent_fd = fd};
  int error = fstat(fd, &s) < 0 ? -errno : 0;
  if (!S_ISDIR(s.st_mode)) rule.allowed &= FS_OF_FILES;
  if (error == 0 && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_PATH_BENEATH, &rule, 0) < 0)
    error = -errno;
  close(fd);
  return error;
}

static int restrict_writing(const struct confine *c) {
  struct ruleset_attr attr = {.handled_fs = handled_fs()};
  if (landlock_abi >= 6) attr.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
  size_t size = landlock_abi >= 6 ? 24 : landlock_abi >= 4 ? 16 : 8;
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
  if (ruleset < 0) return -errno;
  int error = 0;
  for (const char *const *p = always_writable; *p && error == 0; p++) error = let_write(ruleset, *p, 0);
  for (const char *const *p = c->writable; p && *p && error == 0; p++)
    error = let_write(ruleset, *p, 1);
  if (error == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) error = -errno;
  if (error == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) error = -errno;
  close(ruleset);
  return error;
}

/* ---- all together ---- */

int confine_apply(const struct confine *c) {
  int error = 0;
  if (c->flags & CONFINE_PRIVS) error = drop_privileges(c);
  if (error == 0 && (c->flags & CONFINE_LANDLOCK)) error = restrict_writing(c);
  if (error == 0 && (c->flags & CONFINE_SECCOMP)) {
    const struct sock_fprog *filter = filter_built(c->allow);
    if (!filter) return -EINVAL;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter) < 0) return -errno;
  }
  return error;
}
