/*
 * Processes that outlive their agent (launcher --hold FOLDER NAME MS).
 *
 * Of a held process we keep what it writes until the agent says that its log has it, and how it
 * ended until the agent says that its journal has it. When the agent is gone, what is not held is
 * killed as ever, and what is held goes on: limits and timeouts are ours anyway. With more than
 * HOLD_BYTES kept, the process's pipes are not read (it blocks, as on any full pipe). The next agent finds
 * the socket FOLDER/NAME.sock, shows the token in FOLDER/NAME.token, is told what is held, and takes each
 * process from the byte on that its log has not, or drops it. Nobody comes for MS: all is killed.
 *
 * One agent at a time: as long as one is connected, others are turned away.
 */
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define HOLD_BYTES (1024 * 1024)
#define TOKEN_CHARS 32
#define ATTACH_BYTES (HEADER_BYTES + TOKEN_CHARS)
#define HELD_FIXED 61
#define MAX_TAG_BYTES 512
#define KEEP_FIXED 16
#define NAME_CHARS 64

struct held {
  struct held *next, *prev;
  uint32_t id;
  pid_t pid;
  double started_ms;
  struct task *task;      /* NULL: it has ended, as `end` tells */
  uint8_t is_taken;       /* the agent that is connected hears of it */
  uint8_t is_dropped;     /* nobody wants it: it is being killed */
  struct buffer kept[2];
  uint64_t from[2];       /* which byte of its stream the first kept one is */
  uint64_t note[2];       /* what the agent wants to be told with the kept bytes */
  uint8_t end[ENDED_BYTES];
  size_t tag_bytes;
  char tag[MAX_TAG_BYTES];
};

int is_holding, is_orphaned, listen_fd = -1;
int64_t orphaned_until = NEVER;
static struct held running = {.next = &running, .prev = &running};
static struct held over = {.next = &over, .prev = &over};
static struct held *announced; /* kept for the spawn that follows */
static int64_t hold_ns;
static int folder_fd = -1, candidate_fd = -1;
static uint8_t attach_frame[ATTACH_BYTES];
static size_t attach_got;
static char token[TOKEN_CHARS + 1], socket_name[NAME_CHARS + 8], token_name[NAME_CHARS + 8];

/* ---- the two lists ---- */

static void enlist(struct held *list, struct held *h) {
  h->prev = list->prev;
  h->next = list;
  h->prev->next = list->prev = h;
}

static void unlist(struct held *h) {
  h->prev->next = h->next;
  h->next->prev = h->prev;
}

static struct held *find_held(uint32_t id) {
  struct task *t = find_id(id);
  if (t && t->held) return t->held;
  for (struct held *h = over.next; h != &over; h = h->next)
    if (h->id == id) return h;
  return NULL;
}

static void free_held(struct held *h) {
  free(h->kept[0].data);
  free(h->kept[1].data);
  free(h);
}

static size_t kept_bytes(const struct held *h) {
  return h->kept[0].end - h->kept[0].start + h->kept[1].end - h->kept[1].start;
}

/* ---- a process's life ---- */

/* Before its spawn, so that no byte of it is missed. */
void keep(uint32_t id, const uint8_t *body, size_t size) {
  if (!is_holding) die("the agent asks for process %u to be held, but not with --hold", id);
  if (size <= KEEP_FIXED || size > KEEP_FIXED + MAX_TAG_BYTES) die("a tag of %zu bytes", size);
  if (announced) free_held(announced);
  announced = need(calloc(1, sizeof *announced));
  announced->id = id;
  announced->note[0] = get64(body);
  announced->note[1] = get64(body + 8);
  announced->tag_bytes = size - KEEP_FIXED;
  memcpy(announced->tag, body + KEEP_FIXED, announced->tag_bytes);
}

/* It has started, or (NULL) has not. */
void hold_announced(struct task *t) {
  struct held *h = announced;
  if (!h) return;
  announced = NULL;
  if (!t || t->id != h->id || t->has_mark || t->fd[RELAY] >= 0) {
    free_held(h);
    return;
  }
  h->task = t;
  h->pid = t->pid;
  h->started_ms = t->started_ms;
  h->is_taken = 1;
  t->held = h;
  enlist(&running, h);
}

struct held *hold_set_aside(void) {
  struct held *h = announced;
  announced = NULL;
  return h;
}

void hold_announce(struct held *h) { announced = h; }

void hold_forget(struct held *h) {
  if (h) free_held(h);
}

int hold_is_full(struct task *t) {
  if (!t->held || closing || t->held->is_dropped || kept_bytes(t->held) < HOLD_BYTES) return 0;
  if (!t->is_paused) {
    t->is_paused = 1;
    for (int s = 0; t->registered && s < 2; s++)
      if (t->fd[s] >= 0) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, t->fd[s], NULL);
  }
  return 1;
}

/* There may be room again. */
void read_on(struct task *t) {
  if (!t || !t->is_paused || (t->held && !closing && kept_bytes(t->held) >= HOLD_BYTES)) return;
  t->is_paused = 0;
  if (!t->registered) return; /* register_pipes will see to it */
  t->registered = 0;
  register_pipes(t);
}

/* True when the agent is to hear of these bytes now. */
int hold_output(struct task *t, int s, const uint8_t *p, size_t n) {
  struct held *h = t->held;
  memcpy(reserve(&h->kept[s], n), p, n);
  h->kept[s].end += n;
  return h->is_taken;
}

/* True when the agent is to hear of it now. */
int hold_end(struct task *t, const uint8_t *end) {
  struct held *h = t->held;
  t->held = NULL;
  unlist(h);
  int is_told = h->is_taken;
  if (h->is_dropped) {
    done(h->id, 0);
    free_held(h);
    return 0;
  }
  memcpy(h->end, end, ENDED_BYTES);
  h->task = NULL;
  enlist(&over, h);
  return is_told;
}

/* ---- what the agent says of it ---- */

static void forget_until(struct held *h, int s, uint64_t to) {
  struct buffer *b = &h->kept[s];
  if (to < h->from[s] || to - h->from[s] > b->end - b->start)
    die("the agent has byte %llu of process %u, of which there are %llu to %llu",
        (unsigned long long)to, h->id, (unsigned long long)h->from[s],
        (unsigned long long)(h->from[s] + (b->end - b->start)));
  b->start += (size_t)(to - h->from[s]);
  h->from[s] = to;
  if (b->start == b->end) b->start = b->end = 0;
}

static void logged(struct held *h, const uint8_t *body) {
  for (int s = 0; s < 2; s++) {
    forget_until(h, s, get64(body + 8 * s));
    h->note[s] = get64(body + 16 + 8 * s);
  }
  read_on(h->task);
}

static void take(struct held *h, const uint8_t *body) {
  for (int s = 0; s < 2; s++) {
    forget_until(h, s, get64(body + 8 * s));
    h->note[s] = get64(body + 16 + 8 * s);
  }
  h->is_taken = 1;
  for (int s = 0; s < 2; s++)
    for (size_t at = h->kept[s].start; at < h->kept[s].end;) {
      size_t n = h->kept[s].end - at < READ_BYTES ? h->kept[s].end - at : READ_BYTES;
      memcpy(frame((uint8_t)(EV_STDOUT + s), h->id, n), h->kept[s].data + at, n);
      at += n;
    }
  if (!h->task) memcpy(frame(EV_ENDED, h->id, ENDED_BYTES), h->end, ENDED_BYTES);
  urgent = 1;
  read_on(h->task);
}

static void drop(uint32_t id, struct held *h) {
  if (!h || !h->task) {
    if (h) {
      unlist(h);
      free_held(h);
    }
    done(id, 0);
    return;
  }
  h->is_dropped = 1;
  h->is_taken = 0;
  stop_task(h->task, STOP_KILLED, 0);
  for (int s = 0; s < 2; s++) h->kept[s].start = h->kept[s].end = 0;
  read_on(h->task);
}

/* True when it was one of ours. Of a process that is not held (any more) the agent may not know yet. */
int hold_command(uint8_t type, uint32_t id, const uint8_t *body, size_t size) {
  struct held *h = find_held(id);
  if (type == CMD_LOGGED && size == 32) {
    if (h && h->is_taken) logged(h, body);
  } else if (type == CMD_TAKE && size == 32) {
    if (h && !h->is_taken && !h->is_dropped) take(h, body);
  } else if (type == CMD_FORGET && size == 0) {
    if (h && !h->task) {
      unlist(h);
      free_held(h);
    }
  } else if (type == CMD_DROP && size == 0) {
    drop(id, h);
  } else if (type == CMD_LET_GO && size == 0) {
    line_let_go(id);
    if (h && h->task && h->is_taken) {
      struct task *t = h->task;
      t->held = NULL;
      unlist(h);
      free_held(h);
      read_on(t);
    }
  } else {
    return 0;
  }
  return 1;
}

/* ---- without an agent ---- */

/* True when something is held: then we live on. What is not held is killed. */
int hold_orphans(void) {
  if (!is_holding) return 0;
  if (announced) free_held(announced);
  announced = NULL;
  for (struct task *t = tasks.next; t != &tasks; t = t->next) {
    line_clear(t);
    if (!t->held) stop_task(t, STOP_KILLED, 0);
  }
  if (running.next == &running && over.next == &over) return 0;
  for (struct held *h = running.next; h != &running; h = h->next) h->is_taken = 0;
  for (struct held *h = over.next; h != &over; h = h->next) h->is_taken = 0;
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, agent_in, NULL);
  if (dup3(0, agent_in, O_CLOEXEC) < 0) die("dup3: %s", strerror(errno)); /* keeps the number ours */
  is_orphaned = 1;
  orphaned_until = now + hold_ns;
  forget_agent();
  return 1;
}

static void put64(uint8_t *p, uint64_t v) {
  put32(p, (uint32_t)v);
  put32(p + 4, (uint32_t)(v >> 32));
}

static void tell_held(const struct held *h) {
  uint8_t *b = frame(EV_HELD, h->id, HELD_FIXED + h->tag_bytes);
  put32(b, (uint32_t)h->pid);
  put_double(b + 4, h->started_ms);
  for (int s = 0; s < 2; s++) {
    put64(b + 12 + 8 * s, h->from[s]);
    put64(b + 28 + 8 * s, h->from[s] + (h->kept[s].end - h->kept[s].start));
    put64(b + 44 + 8 * s, h->note[s]);
  }
  b[60] = h->task == NULL;
  memcpy(b + HELD_FIXED, h->tag, h->tag_bytes);
}

static void close_candidate(void) {
  if (candidate_fd >= 0) close(candidate_fd);
  candidate_fd = -1;
}

/* Somebody connects. Only ourselves can, by the rights of the folder; the kernel says so once more. */
void hold_accept(void) {
  int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  struct ucred peer = {0};
  socklen_t size = sizeof peer;
  if (!is_orphaned || closing || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
      (peer.uid != geteuid() && peer.uid != 0)) {
    close(fd);
    return;
  }
  close_candidate(); /* one that says nothing holds up nobody */
  candidate_fd = fd;
  attach_got = 0;
  uint8_t hello[HEADER_BYTES + 13] = {0};
  put32(hello, 5 + 13);
  hello[4] = EV_HELLO;
  put32(hello + HEADER_BYTES, PROTOCOL_VERSION);
  put32(hello + HEADER_BYTES + 4, (uint32_t)self);
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = FROM_CANDIDATE};
  if (write(fd, hello, sizeof hello) != sizeof hello ||
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
    close_candidate();
}

static int shows_token(void) {
  uint8_t wrong = 0;
  for (int i = 0; i < TOKEN_CHARS; i++)
    wrong |= (uint8_t)(attach_frame[HEADER_BYTES + i] ^ (uint8_t)token[i]);
  return !wrong && get32(attach_frame) == 5 + TOKEN_CHARS && attach_frame[4] == CMD_ATTACH;
}

/* The first frame of whoever has connected: with the token it is our agent. */
void hold_attach(void) {
  if (candidate_fd < 0) return;
  ssize_t n = read(candidate_fd, attach_frame + attach_got, ATTACH_BYTES - attach_got);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) attach_got += (size_t)n;
  if (n > 0 && attach_got < ATTACH_BYTES) return;
  if (n <= 0 || !is_orphaned || closing || !shows_token()) {
    close_candidate();
    return;
  }
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, candidate_fd, NULL);
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = FROM_AGENT};
  if (dup3(candidate_fd, agent_in, O_CLOEXEC) < 0 ||
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, agent_in, &e) < 0)
    die("cannot take the agent: %s", strerror(errno));
  close_candidate();
  is_orphaned = agent_gone = 0;
  orphaned_until = NEVER;
  for (struct held *h = over.next; h != &over; h = h->next) tell_held(h);
  for (struct held *h = running.next; h != &running; h = h->next)
    if (!h->is_dropped) tell_held(h);
  frame(EV_HELD, 0, HELD_FIXED); /* that was all */
  memset(out.data + out.end - HELD_FIXED, 0, HELD_FIXED);
  urgent = 1;
}

/* ---- the socket ---- */

void hold_listen(const char *folder, const char *name, const char *ms) {
  uint8_t noise[TOKEN_CHARS / 2];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(name) > NAME_CHARS || strchr(name, '/')) die("%s is no name for a socket", name);
  hold_ns = strtoll(ms, NULL, 10) * MS;
  snprintf(socket_name, sizeof socket_name, "%s.sock", name);
  snprintf(token_name, sizeof token_name, "%s.token", name);
  memcpy(address.sun_path, socket_name, strlen(socket_name));
  if (getrandom(noise, sizeof noise, 0) != sizeof noise) die("getrandom: %s", strerror(errno));
  for (size_t i = 0; i < sizeof noise; i++) snprintf(token + 2 * i, 3, "%02x", noise[i]);
  folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int fd = folder_fd < 0
               ? -1
               : openat(folder_fd, token_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, token, TOKEN_CHARS) != TOKEN_CHARS || close(fd) < 0) {
    int error = errno;
    if (fd >= 0) unlinkat(folder_fd, token_name, 0);
    die("no token can be written to %s: %s", folder, strerror(error));
  }
  is_holding = 1; /* from here on what we have made is removed at the end */
  /* By a relative path, which is short enough for a socket wherever the folder is. */
  mode_t mask = umask(0177);
  listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int is_bound = listen_fd >= 0 && fchdir(folder_fd) == 0 &&
                 bind(listen_fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                 listen(listen_fd, 8) == 0;
  int error = errno;
  umask(mask);
  if (!is_bound || chdir("/") < 0) {
    hold_close();
    die("cannot listen in %s: %s", folder, strerror(error));
  }
}

void hold_close(void) {
  if (!is_holding) return;
  unlinkat(folder_fd, socket_name, 0);
  unlinkat(folder_fd, token_name, 0);
}
