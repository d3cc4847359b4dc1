/*
 * The file systems of limited size that boxes have as folders. The agent names the paths; nothing
 * that runs in a box can change what is above them.
 */
#include "loop.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

enum { MOUNT = 1, RESIZE, UNMOUNT };

/* Somebody's copy of the mount in another namespace can keep it busy for a moment. */
static int unmount(const char *path) {
  if (umount2(path, UMOUNT_NOFOLLOW) == 0) return 0;
  return errno == EBUSY ? umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) : -1;
}

/* Body: u8 what, u64 bytes, u64 inodes, u32 uid, u32 gid, path. */
void tmpfs(uint32_t id, const uint8_t *body, size_t size) {
  enum { FIXED = 25 };
  if (size < FIXED + 2 || body[size - 1] != 0 || body[0] < MOUNT || body[0] > UNMOUNT)
    die("tmpfs of %zu bytes from the agent", size);
  const char *path = (const char *)body + FIXED;
  unsigned long flags = MS_NOSUID | MS_NODEV;
  char options[160];
  int n = snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu",
                   (unsigned long long)get64(body + 1), (unsigned long long)get64(body + 9));
  int failed;
  if (body[0] == MOUNT) {
    snprintf(options + n, sizeof options - (size_t)n, ",mode=0700,uid=%u,gid=%u", get32(body + 17),
             get32(body + 21));
    failed = mount("edgedag", path, "tmpfs", flags, options);
  } else if (body[0] == RESIZE) {
    failed = mount("edgedag", path, "tmpfs", flags | MS_REMOUNT, options);
  } else {
    failed = unmount(path);
  }
  done(id, failed ? errno : 0);
}
