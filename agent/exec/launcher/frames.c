/*
 * Buffers, and the frames to the agent: collected and written with one call a turn.
 */
#include "loop.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PUSH_BYTES (32 * 1024)

int agent_in = 3, agent_out = 3, agent_gone, epoll_fd, urgent;
int64_t lazy_at = NEVER;
static int64_t collected_at; /* the first of what is unsent */
struct buffer out;
static int waits_out;

void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

void put_double(uint8_t *p, double d) {
  uint64_t v;
  memcpy(&v, &d, 8);
  put32(p, (uint32_t)v);
  put32(p + 4, (uint32_t)(v >> 32));
}

uint8_t *reserve(struct buffer *b, size_t n) {
  if (b->cap - b->end < n && b->start > 0) {
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
  }
  if (b->cap - b->end < n) {
    while (b->cap - b->end < n) b->cap = b->cap ? b->cap * 2 : READ_BYTES * 2;
    b->data = need(realloc(b->data, b->cap));
  }
  return b->data + b->end;
}

/* Writes a header in place; the body of `n` bytes stands or will stand behind it. */
uint8_t *frame(uint8_t type, uint32_t id, size_t n) {
  uint8_t *p = reserve(&out, HEADER_BYTES + n);
  put32(p, (uint32_t)(5 + n));
  p[4] = type;
  put32(p + 5, id);
  out.end += HEADER_BYTES + n;
  if (lazy_at == NEVER) lazy_at = (collected_at = now) + LAZY_NS;
  return p + HEADER_BYTES;
}

/* There is enough to do until the agent answers: what is collected may wait for more company. */
void hold_back(void) {
  if (lazy_at < collected_at + BUSY_LAZY_NS) lazy_at = collected_at + BUSY_LAZY_NS;
}

/* The answer to a command that has no other. */
void done(uint32_t id, int error) {
  put32(frame(EV_DONE, id, 4), (uint32_t)error);
  urgent = 1;
}

void send_out(void) {
  size_t n = out.end - out.start;
  if (agent_gone) {
    out.start = out.end = n = 0;
    urgent = 0;
    lazy_at = NEVER;
  }
  if (n == 0) return;
  if (!urgent && n < PUSH_BYTES && now < lazy_at) return;
  ssize_t sent = write(agent_out, out.data + out.start, n);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    agent_gone = 1;
    if (!is_holding) closing = 1; /* else its end of file says so, behind its last commands */
    out.start = out.end = 0;
    return;
  }
  if (sent > 0) out.start += (size_t)sent;
  int waits = out.start < out.end;
  urgent = waits;
  if (!waits) {
    out.start = out.end = 0;
    lazy_at = NEVER;
  }
  if (waits != waits_out && !closing) {
    struct epoll_event e = {.events = waits ? EPOLLOUT : 0u, .data.u64 = 0};
    if (agent_in == agent_out) {
      e.events |= EPOLLIN;
      epoll_ctl(epoll_fd, EPOLL_CTL_MOD, agent_in, &e);
    } else { /* only while it is wanted: a reader that has hung up would wake us without end */
      epoll_ctl(epoll_fd, waits ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, agent_out, &e);
    }
  }
  waits_out = waits;
}

void forget_agent(void) {
  agent_gone = 1;
  out.start = out.end = 0;
  urgent = waits_out = 0;
  lazy_at = NEVER;
}
