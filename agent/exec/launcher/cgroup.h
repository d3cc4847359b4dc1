/*
 * What cgroup.c (groups) and cgroup-tree.c (hierarchies and folders) share; nobody else reads it.
 */
#ifndef EDGEDAG_CGROUP_H
#define EDGEDAG_CGROUP_H
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CPUACCT is version 1 only; UNIFIED is a version 2 mount, with or without controllers in it. */
enum role { MEMORY, PIDS, CPU, CPUACCT, BLKIO, FREEZER, UNIFIED, ROLES };
#define HIERARCHIES 8
#define LEAF "agent" /* where version 2 wants the processes that were in our own group */

struct hierarchy {
  bool is_v2, is_ours, has_kill; /* ours: our groups are made in it */
  bool is_settled; /* version 2: the parent is there, with the controllers that could be had */
  int error;       /* 0 or the -errno of what could not be had */
  int mount, own;                /* folders: the root that we see, and our own group */
  char mount_path[PATH_MAX], own_path[PATH_MAX]; /* own_path: below the mount, "" or "/a/b" */
};

struct layout {
  struct hierarchy in[HIERARCHIES];
  int count;
  int at[ROLES]; /* index, or -1 */
  char name[128];
  bool has_moved;     /* processes of our own group sit in the leaf */
  char enabled[64];   /* controllers that we have switched on for the children of our own group */
  int held;           /* the parent with our lock on it; 0: none */
};

/* Where a group is: in each hierarchy of the mask the same path, from our own group or the mount. */
struct place {
  uint32_t mask;
  bool is_below_mount;
  char path[PATH_MAX];
};

/* The files are parameters so that tests can show other machines. */
int layout_find(struct layout *l, const char *mountinfo, const char *self, const char *name, char *why, size_t why_size);
void layout_leave(struct layout *l); /* removes the parent, closes everything */
int base_of(const struct layout *l, const struct place *p, int h);

ssize_t cg_get(int base, const char *group, const char *file, char *text, size_t size);
int cg_put(int base, const char *group, const char *file, const char *text);

/* One bounded round of killing; how many processes it has still seen. */
int place_kill(const struct layout *l, const struct place *p);
int place_remove(const struct layout *l, const struct place *p); /* 0 or -errno */

int cg_init_from(const char *mountinfo, const char *self, const char *name, char *why, size_t why_size);
#endif
