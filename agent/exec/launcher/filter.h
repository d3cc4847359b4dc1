/* filter.c as confine.c sees it: the seccomp filter of a task, built once for each list of names. */
#ifndef EDGEDAG_FILTER_H
#define EDGEDAG_FILTER_H
#include <linux/filter.h>
#include <stddef.h>

/* `allow`: names that pass whatever their arguments, separated by commas. Kept for good, or until
 * many other lists have come. NULL with a sentence in `why`. */
const struct sock_fprog *filter_of(const char *allow, char *why, size_t why_size);
/* The same from what filter_of has built; NULL when it has not. No malloc: for the vfork child. */
const struct sock_fprog *filter_built(const char *allow);

#endif
