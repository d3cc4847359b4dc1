/*
 * What the files of the launcher know of each other; its sections are named after the files.
 * The theory of operation is in launcher.c, the frames are in PROTOCOL.md.
 */
#ifndef EDGEDAG_LAUNCHER_H
#define EDGEDAG_LAUNCHER_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- cgroup.c: control groups of version 1 and 2, one fresh one for each process that asks ---- */

struct cg; /* one group, in every controller that we use */

/* 0 stands for "no limit" in each. */
struct cg_limits {
  uint64_t memory_bytes;
  uint32_t pids;
  uint32_t cpu_milli; /* thousandths of a core */
};

/* Since the group was made, or since cg_baseline(). What is not known is negative. */
struct cg_usage {
  double memory_bytes, peak_memory_bytes, pids, peak_pids;
  double cpu_user_ms, cpu_system_ms, read_bytes, written_bytes;
  uint64_t oom_kills, pids_hits;
};

/* Finds the hierarchies, makes the parent group `name` below our own, kills and removes what an
 * earlier launcher left in it. Gives the version (1 or 2), or 0 with a sentence in `why`. */
int cg_init(const char *name, char *why, size_t why_size);
struct cg *cg_take(const struct cg_limits *limits);      /* NULL with errno */
int cg_set(struct cg *g, const struct cg_limits *limits); /* 0 or -errno; on a live group too */
int cg_enter(const struct cg *g);                         /* by the vfork child: 0 or -errno; no malloc */
void cg_baseline(struct cg *g);                           /* what was used so far counts no more */
int cg_read(struct cg *g, struct cg_usage *usage);        /* 0 or -errno */
void cg_kill(struct cg *g);                               /* every process in it, until none is left */
void cg_drop(struct cg *g);                               /* gone as soon as it is empty; never blocks */
struct cg *cg_watch(const char *path);                    /* somebody else's group: read and kill only */
int64_t cg_idle(int64_t now_ns);                          /* makes and removes ahead; when to call again */
void cg_close(void);                                      /* at the end: nothing is left */

/* ---- confine.c: what a process may no longer do after this (uid, capabilities, Landlock, seccomp) */

enum { CONFINE_PRIVS = 1, CONFINE_SECCOMP = 2, CONFINE_LANDLOCK = 4 };
struct confine {
  uint32_t flags;
  uid_t uid; /* -1: stay who we are */
  gid_t gid;
  const char *allow;           /* names of further system calls, separated by commas; may be "" */
  const char *const *writable; /* paths below which Landlock lets write; NULL-ended */
};
/* In the parent: builds and caches the filter. 0, or -1 with a sentence in `why`. */
int confine_prepare(const struct confine *c, char *why, size_t why_size);
/* By the vfork child just before exec: 0 or -errno. No malloc. */
int confine_apply(const struct confine *c);

/* ---- box.c: launcher --box ...: puts itself into namespaces, then serves on fd 3 ---- */

/* Gives only when everything holds; else says why on stderr and exits with 71. */
void box_enter(int argc, char **argv); /* what follows --box; argv ends with NULL */
/* By the vfork child of a clone with NEWUSER, just before it execs `launcher --box`: makes the user
 * (who we are outside) known in the namespace, and lets the capabilities in it survive the exec.
 * 0 or -errno. No malloc. */
int box_own_namespace(uid_t uid, gid_t gid);

/* ---- try.c: launcher --try ...: does what a level must deny ---- */

int try_main(int argc, char **argv); /* its exit code */

#endif
