/* Definitions for what is not there yet. */
#include "launcher.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#define WEAK __attribute__((weak))
WEAK int cg_init(const char *name, char *why, size_t n) { snprintf(why, n, "no cgroup %s", name); return 0; }
WEAK struct cg *cg_take(const struct cg_limits *l) { (void)l; errno = ENOSYS; return NULL; }
WEAK int cg_set(struct cg *g, const struct cg_limits *l) { (void)g; (void)l; return -ENOSYS; }
WEAK int cg_enter(const struct cg *g) { (void)g; return -ENOSYS; }
WEAK void cg_baseline(struct cg *g) { (void)g; }
WEAK int cg_read(struct cg *g, struct cg_usage *u) { (void)g; (void)u; return -ENOSYS; }
WEAK void cg_kill(struct cg *g) { (void)g; }
WEAK void cg_drop(struct cg *g) { (void)g; }
WEAK int64_t cg_idle(int64_t now) { (void)now; return INT64_MAX; }
WEAK void cg_close(void) {}
WEAK int confine_prepare(const struct confine *c, char *why, size_t n) { (void)c; snprintf(why, n, "not there"); return -1; }
WEAK int confine_apply(const struct confine *c) { (void)c; return -ENOSYS; }
WEAK void box_enter(int argc, char **argv) { (void)argc; (void)argv; exit(71); }
