/*
 * The relayed channel: fd 3 of a process is a socket whose other end is ours; its bytes come and go
 * in frames. What the process does not take is kept, up to one window; the agent never sends more
 * than a window without having been told of room (PROTOCOL.md), so no process holds up another.
 */
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define WINDOW_BYTES (256u * 1024)
#define TELL_BYTES (WINDOW_BYTES / 4) /* of room, before it is worth a frame */

int relay_open(struct task *t, int *theirs) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return -1;
  *theirs = pair[1];
  t->fd[RELAY] = pair[0];
  return fcntl(pair[0], F_SETFL, O_NONBLOCK); /* ours only: a process may expect to block */
}

static void wait_for_room(struct task *t, int waits) {
  if (t->waits_relay == waits) return;
  t->waits_relay = (uint8_t)waits;
  if (!t->registered) return; /* register_pipes will see to it */
  struct epoll_event e = {.events = EPOLLIN | (waits ? EPOLLOUT : 0u),
                          .data.u64 = (uint64_t)(uintptr_t)t | RELAY};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, t->fd[RELAY], &e);
}

/* Nobody will read there any more; what we keep is of no use. */
static void give_up(struct task *t) {
  t->pending.start = t->pending.end = 0;
  wait_for_room(t, 0);
}

void relay_flush(struct task *t) {
  struct buffer *b = &t->pending;
  while (t->fd[RELAY] >= 0 && b->end > b->start) {
    ssize_t n = send(t->fd[RELAY], b->data + b->start, b->end - b->start, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return wait_for_room(t, 1);
    if (n < 0) return give_up(t);
    b->start += (size_t)n;
    t->room += (uint32_t)n;
  }
  b->start = b->end = 0;
  wait_for_room(t, 0);
  if (t->is_relay_closing && t->fd[RELAY] >= 0) shutdown(t->fd[RELAY], SHUT_WR);
}

static void tell_room(struct task *t) {
  if (t->room < TELL_BYTES) return;
  put32(frame(EV_ROOM, t->id, 4), t->room);
  urgent = 1;
  t->room = 0;
}

/* Nothing to send stands for the end. */
void relay_send(struct task *t, const uint8_t *p, size_t n) {
  if (t->fd[RELAY] < 0) return; /* the process was faster in closing it; the agent has been told */
  if (n == 0) t->is_relay_closing = 1;
  if (t->pending.end - t->pending.start + t->room + n > WINDOW_BYTES)
    die("the agent sent more than a window into the channel of process %u", t->id);
  if (n > 0) memcpy(reserve(&t->pending, n), p, n); /* the buffer of a fresh task is no memory yet */
  t->pending.end += n;
  if (!t->waits_relay) relay_flush(t);
  tell_room(t);
}

void relay_read(struct task *t, int readable) {
  if (t->waits_relay) {
    relay_flush(t);
    tell_room(t);
  }
  if (!readable) return;
  uint8_t *p = reserve(&out, HEADER_BYTES + READ_BYTES) + HEADER_BYTES;
  ssize_t n = read(t->fd[RELAY], p, READ_BYTES);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) close_pipe(t, RELAY);
  frame(EV_CHANNEL, t->id, n > 0 ? (size_t)n : 0); /* the body is already in place */
  urgent = 1;
}

void relay_free(struct task *t) { free(t->pending.data); }
