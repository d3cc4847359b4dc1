/* What the files of a box know of each other: box.c decides and orders, box-root.c makes its root. */
#ifndef EDGEDAG_BOX_H
#define EDGEDAG_BOX_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum entry_kind { ENTRY_BIND, ENTRY_BIND_RO, ENTRY_TRY_BIND_RO, ENTRY_TMPFS, ENTRY_SYMLINK };

/* One thing to be seen inside. `from`: source, or target of the symlink; not for ENTRY_TMPFS. */
struct entry {
  enum entry_kind kind;
  const char *from, *path;
  uint64_t bytes;
  int tree; /* a detached copy of the source; -1: it is not there */
};

struct box {
  uid_t uid;
  gid_t gid;
  int is_network; /* of the host */
  const char *hostname;
  struct entry *entries;
  size_t count;
};

/* "launcher: box: <what>: <errno>" on stderr, and exit 71. */
__attribute__((noreturn, format(printf, 1, 2))) void box_fail(const char *what, ...);

/* In a mount namespace of our own: a new root with what the box lists and nothing else, entered. */
void box_make_root(struct box *b);

#endif
