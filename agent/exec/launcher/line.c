/*
 * Lines: processes that wait for their turn behind another one, so that between the end of a short
 * process and the start of the next nobody waits for the agent.
 *
 * A line belongs to the process at its head, which runs. When that has ended the next one starts
 * in the same turn of our loop and is the head. One with a condition starts only when the one right
 * before it ended with code 0, by itself, and left no file at a path (a result, which only the agent
 * can judge). Whatever does not start is given back: `returned`. So is all that has no condition
 * behind a head that is slower than they have patience, for there may be room elsewhere, and
 * everything whose line is unknown: it has ended, with its end on the way to an agent that did not
 * know.
 */
#include "loop.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FOLLOW_FIXED 9
#define LONG_LINE 4 /* so many that wait keep us busy for longer than an end is held back */
#define BUCKETS 256

struct waiting {
  struct waiting *next, *next_id;
  struct line *line;
  uint32_t id;
  uint8_t is_conditional;
  struct held *announced; /* NULL: it would not be held */
  const char *absent;     /* in `body`: where no file may be; "" says nowhere */
  size_t from, size;      /* of the spawn in `body` */
  uint8_t body[];
};

struct line {
  struct waiting *first, **end;
  uint32_t last;        /* id of the process at its end, the head included */
  uint32_t count;       /* of those that wait */
  uint32_t patience_ms; /* the least of those without a condition that have joined it */
  struct task *head;
};

static struct waiting *by_id[BUCKETS];

static struct waiting *find_waiting(uint32_t id) {
  struct waiting *w = by_id[id % BUCKETS];
  while (w && w->id != id) w = w->next_id;
  return w;
}

static void free_waiting(struct waiting *w) {
  struct waiting **p = &by_id[w->id % BUCKETS];
  while (*p != w) p = &(*p)->next_id;
  *p = w->next_id;
  hold_forget(w->announced);
  free(w);
}

static void returned(uint32_t id) {
  frame(EV_RETURNED, id, 0);
  urgent = 1;
}

static struct waiting *shift(struct line *l) {
  struct waiting *w = l->first;
  if (!w) return NULL;
  l->first = w->next;
  if (!l->first) l->end = &l->first;
  l->count--;
  return w;
}

static void watch_pace(struct line *l) {
  int64_t at = l->head->start_ns + l->patience_ms * MS;
  if (l->head->slow_at < at) return;
  l->head->slow_at = at;
  due(at);
}

/* The next process behind one that has not ended. */
void follow(uint32_t id, uint8_t *body, size_t size) {
  uint8_t *nul = size > FOLLOW_FIXED ? memchr(body + FOLLOW_FIXED, 0, size - FOLLOW_FIXED) : NULL;
  if (!nul) die("a process of %zu bytes that is to follow", size);
  uint32_t behind = get32(body), patience_ms = get32(body + 4);
  int is_conditional = body[8] != 0;
  struct held *announced = hold_set_aside();
  struct task *head = find_id(behind);
  struct waiting *before = head ? NULL : find_waiting(behind);
  struct line *l = before ? before->line : head ? head->line : NULL;
  if ((!head && !before) || (is_conditional && l && l->last != behind)) {
    hold_forget(announced);
    returned(id);
    return;
  }
  if (!l) {
    l = head->line = need(calloc(1, sizeof *l));
    l->end = &l->first;
    l->head = head;
    l->patience_ms = UINT32_MAX;
  }
  if (!is_conditional && patience_ms < l->patience_ms) l->patience_ms = patience_ms;
  struct waiting *w = need(malloc(sizeof *w + size));
  memcpy(w->body, body, size);
  w->next = NULL;
  w->line = l;
  w->id = id;
  w->is_conditional = (uint8_t)is_conditional;
  w->announced = announced;
  w->absent = (const char *)w->body + FOLLOW_FIXED;
  w->from = (size_t)(nul + 1 - body);
  w->size = size - w->from;
  w->next_id = by_id[id % BUCKETS];
  by_id[id % BUCKETS] = w;
  *l->end = w;
  l->end = &w->next;
  l->last = id;
  l->count++;
  watch_pace(l);
}

static int is_absent(const char *path) {
  struct stat s;
  return !*path || (lstat(path, &s) < 0 && errno == ENOENT);
}

/* The head has ended: the next that may start does. True when one has. */
int line_advance(struct line *l, int has_succeeded) {
  struct task *t = NULL;
  for (struct waiting *w; !t && (w = shift(l));) {
    if (!w->is_conditional || (has_succeeded && is_absent(w->absent))) {
      hold_announce(w->announced);
      w->announced = NULL;
      int is_taken = find_id(w->id) != NULL; /* by another one: spawn says so, and starts nothing */
      spawn(w->id, w->body + w->from, w->size);
      t = is_taken ? NULL : find_id(w->id);
    } else {
      returned(w->id);
    }
    free_waiting(w);
    has_succeeded = 0; /* what has not started, or could not, is nobody's condition */
  }
  if (!t || !l->first) {
    free(l);
    return t != NULL;
  }
  t->line = l;
  l->head = t;
  watch_pace(l);
  if (l->count >= LONG_LINE) hold_back();
  return 1;
}

/* Its head is slow: gives back what need not wait for it, and what stands behind that. */
void line_slow(struct task *t) {
  t->slow_at = NEVER;
  struct line *l = t->line;
  if (!l) return;
  uint32_t last = t->id;
  struct waiting **p = &l->first;
  for (; *p && (*p)->is_conditional; p = &(*p)->next) last = (*p)->id;
  struct waiting *w = *p;
  *p = NULL;
  l->end = p;
  l->last = last;
  for (struct waiting *next; w; w = next) {
    next = w->next;
    returned(w->id);
    free_waiting(w);
    l->count--;
  }
}

/* Takes one out before its turn, and what counts on it. False when it does not wait. */
int line_drop(uint32_t id) {
  struct waiting *w = find_waiting(id);
  if (!w) return 0;
  struct line *l = w->line;
  uint32_t last = l->head->id;
  struct waiting **p = &l->first;
  for (; *p != w; p = &(*p)->next) last = (*p)->id;
  do {
    *p = w->next;
    returned(w->id);
    free_waiting(w);
    l->count--;
    w = *p;
  } while (w && w->is_conditional);
  for (; *p; p = &(*p)->next) last = (*p)->id;
  l->end = p;
  l->last = last;
  return 1;
}

/* It is not to be held, when its turn comes. */
void line_let_go(uint32_t id) {
  struct waiting *w = find_waiting(id);
  if (!w) return;
  hold_forget(w->announced);
  w->announced = NULL;
}

/* Nobody is there to be told of them: none will start. */
void line_clear(struct task *t) {
  struct line *l = t->line;
  t->line = NULL;
  if (!l) return;
  for (struct waiting *w; (w = shift(l));) free_waiting(w);
  free(l);
}
