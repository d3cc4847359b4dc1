/*
 * launcher - parent of every task process and of every warm worker of an edgedag agent.
 *
 * Theory of operation
 * ===================
 * Who is whose parent.  The agent (Node.js) starts one launcher. The launcher starts the leader of
 * each task with clone(CLONE_VM|CLONE_VFORK): no page table is copied and exec errors come back
 * through shared memory. A leader gets its own session, PDEATHSIG=KILL, and is a child subreaper:
 * its double-forked descendants stay below it for as long as it lives. The launcher is a subreaper
 * too, so when a leader dies everything that it left behind becomes a child of the launcher. Hence
 * the one rule on which cleaning up rests: a child of the launcher that is not a live leader is an
 * orphan of a dead task, and is killed with its descendants.
 *
 * Held.  A second launcher of the agent may be started as `launcher --hold FOLDER NAME MS`: of its
 * processes those that the agent asks for outlive the agent (hold.c).
 *
 * Outside and inside.  The agent starts one launcher, as `launcher --cgroup NAME`. In a box the same
 * program serves for what runs there (`launcher --box ...` or `launcher --serve`): then the outer
 * one is the parent of the box, and the limits of the whole box are the outer one's to watch.
 *
 * File descriptors.  0 is /dev/null and is inherited by every task. 3 is the socket to the agent
 * (PROTOCOL.md); with --serve 3 and 4 are what was 0 and 1. All others are close-on-exec, so a task
 * finds 0, 1, 2 and nothing else, or also 3 if it asked for a channel: a Unix socket that is
 * connected for it before exec, or one that we relay (relay.c). Signals
 * are blocked for good and dispositions are at their defaults from the start, so a child has only
 * to clear its mask.
 *
 * One loop.  epoll waits for the agent's socket, a signalfd with SIGCHLD, and the read ends of the
 * tasks' pipes. Pipes are blocking (O_NONBLOCK would hit the task's end as well) and are read once
 * per readiness, at most 64 KiB; epoll hands out few at a time in rotation, so a flood starves
 * nobody. A pipe joins epoll only a millisecond after the start: a short task is drained when
 * its death is seen, which saves four system calls and a wake-up. Frames to the agent are
 * collected and sent with one send() a turn; frames that nobody waits for (started, output) are
 * held for up to a millisecond so that they travel with what follows. With more than 256 KiB
 * unsent the pipes are not read at all, while deaths, timeouts and commands are.
 *
 * Lines.  A process may be told to wait for the end of another one and to start in its place (line.c).
 * Then the end that it has waited for is held back like output, for the agent need not hurry.
 *
 * Meter.  A process with a mark and EDGEDAG_WORKER_CLAIM in its environment shares that file with us:
 * there we count what we have read of its pipes, under a sequence number that is odd while we read.
 * With FIONREAD the worker then knows whether a call has written anything, and spares the marks of
 * one that has not. The pipe's lock orders our read against its FIONREAD.
 *
 * Limits.  Memory, processes and cpu of a whole tree are held by a cgroup (cgroup.c); without one
 * they are sampled from /proc. Every 100 ms, and once more when all is dead, watch.c looks whether
 * a limit was hit: then that is why the task was stopped, whatever its exit code.
 *
 * Who kills whom.  A stop (timeout, output limit, kill command) sends TERM and CONT to the leader's
 * group, waits the grace period, and then kills the tree: SIGSTOP from the top down, reading
 * /proc/<pid>/task/<tid>/children, until a pass finds nobody new, then SIGKILL from the bottom up. Pids
 * cannot be confused: a leader or an orphan is our own unreaped child, and the descendants of a
 * stopped process are not reaped by it. Orphans in the session of a task that is being stopped
 * keep the rest of its grace period (a shell dies of TERM before the program that it waits for).
 * A task has ended when its leader is reaped, its pipes are at their end and no orphan is left, or
 * one second after its last kill (`leaked`; the orphans that would not die are then abandoned).
 * A task in a cgroup dies with all that is in it. End of file from the agent kills every tree without grace; the launcher then exits. If the launcher is
 * itself killed, PDEATHSIG takes the leaders.
 *
 * As pid 1 of a box a signal from inside cannot end us: the kernel drops what pid 1 does not ask for.
 *
 * launcher --init -- program args...  is in init.c, and needs nothing of the above.
 *
 * Exit codes: 0 the agent hung up and everything is gone, 64 wrong usage, 70 a failure of ours.
 */
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_close_range /* one number on all architectures; C libraries before 2021 lack it */
#define SYS_close_range 436
#endif

#define MAX_FRAME_BYTES (16u * 1024 * 1024)
#define EVENTS_PER_TURN 8
#define CLOSING_NS (5000 * MS)
#define CLOSING_LOOK_NS (5 * MS)

int64_t now, cgroup_at = NEVER;
int closing, is_inner, cgroup_version;
struct rlimit task_nofile;
int restore_nofile;
pid_t self;
static struct buffer in;
static int signal_fd;
static int64_t next_due = NEVER, closing_at = NEVER;


__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("launcher: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(70);
}

void *need(void *p) {
  if (!p) die("out of memory");
  return p;
}

int64_t clock_ns(int id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

void due(int64_t at) {
  if (at < next_due) next_due = at;
}

static void timers(void) {
  if (now < next_due) return;
  next_due = NEVER;
  for (struct task *t = tasks.next; t != &tasks; t = t->next) {
    if (now >= t->register_at) register_pipes(t);
    if (now >= t->watch_at) watch(t);
    if (now >= t->slow_at) line_slow(t);
    if (now >= t->timeout_at) stop_task(t, STOP_TIMEOUT, t->grace_ms);
    if (!t->dead && now >= t->kill_at) force(t);
    due(t->register_at);
    due(t->timeout_at);
    due(t->watch_at);
    due(t->slow_at);
    due(t->dead ? t->drain_at : t->kill_at);
  }
}

/* ---- the agent ---- */

static void hang_up(void) {
  closing = 1;
  closing_at = now + CLOSING_NS;
  orphaned_until = NEVER;
  if (!is_orphaned) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, agent_in, NULL);
  for (struct task *t = tasks.next; t != &tasks; t = t->next) {
    line_clear(t);
    stop_task(t, STOP_KILLED, 0);
    read_on(t);
  }
}

static void command(uint8_t type, uint32_t id, uint8_t *body, size_t size) {
  if (type == CMD_SPAWN) return spawn(id, body, size);
  if (type == CMD_FOLLOW) return follow(id, body, size);
  if (type == CMD_TMPFS) return tmpfs(id, body, size);
  if (type == CMD_KEEP) return keep(id, body, size);
  if (type == CMD_BYE && size == 0) {
    closing = 1;
    return;
  }
  if (is_holding && hold_command(type, id, body, size)) return;
  struct task *t = find_id(id); /* one that has ended may be asked for by an agent that does not know */
  if (type == CMD_KILL && size == 4) {
    if (t) stop_task(t, STOP_KILLED, get32(body));
    else line_drop(id);
  } else if (type == CMD_CHANNEL) {
    if (t) relay_send(t, body, size);
  } else if (type == CMD_ARM) {
    if (t) arm(t, body, size);
  } else if (type == CMD_USAGE && size == 0) {
    if (t) tell_usage(t);
  } else {
    die("unknown frame type %u of %zu bytes from the agent", type, size);
  }
}

static void read_commands(void) {
  uint8_t *p = reserve(&in, READ_BYTES);
  ssize_t n = read(agent_in, p, in.cap - in.end);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    if (!hold_orphans()) closing = 1;
    in.start = in.end = 0; /* a command that it did not finish */
    return;
  }
  in.end += (size_t)n;
  while (!closing && in.end - in.start >= HEADER_BYTES) {
    uint8_t *f = in.data + in.start;
    uint32_t length = get32(f), id = get32(f + 5);
    if (length < 5 || length > MAX_FRAME_BYTES) die("a frame of %u bytes from the agent", length);
    if (in.end - in.start < 4 + (size_t)length) {
      reserve(&in, 4 + (size_t)length - (in.end - in.start));
      return;
    }
    uint8_t *body = f + HEADER_BYTES;
    size_t size = length - 5;
    command(f[4], id, body, size);
    in.start += 4 + (size_t)length;
  }
  if (in.start == in.end) in.start = in.end = 0;
}

static void read_deaths(void) {
  struct signalfd_siginfo info[8];
  if (read(signal_fd, info, sizeof info) > 0) reap();
}

static int wait_ms(void) {
  int64_t at = next_due;
  if (sweep_at < at) at = sweep_at;
  if (closing_at < at) at = closing_at;
  if (orphaned_until < at) at = orphaned_until;
  if (!urgent && lazy_at < at) at = lazy_at;
  if (closing && now + CLOSING_LOOK_NS < at) at = now + CLOSING_LOOK_NS;
  if (cgroup_at < at) at = cgroup_at;
  if (at == NEVER) return -1;
  if (at <= now) return 0;
  int64_t ms = (at - now + MS - 1) / MS;
  return ms > 60000 ? 60000 : (int)ms;
}

/* A pipe at its end has nothing to read; a relay finds that out by reading. */
static int is_readable(uint64_t data, const struct epoll_event *e) {
  return (e->events & ((data & 3) == RELAY ? ~(uint32_t)EPOLLOUT : EPOLLIN)) != 0;
}

/* Whoever comes for what is held. The agent's end may be known to the kernel and not yet to us. */
static void greet(void) {
  struct pollfd p = {.fd = agent_in, .events = POLLIN};
  if (!is_orphaned && poll(&p, 1, 0) > 0 && p.revents & POLLHUP)
    while (!is_orphaned && !closing) read_commands();
  hold_accept();
}

static void turn(void) {
  int stalled = out.end - out.start > STALL_BYTES;
  int commands = 0, deaths = 0, connects = 0, attaches = 0, n;
  struct epoll_event events[EVENTS_PER_TURN];
  if (stalled) {
    struct pollfd p[3] = {{.fd = closing ? -1 : agent_in, .events = POLLIN},
                          {.fd = agent_out, .events = POLLOUT},
                          {.fd = signal_fd, .events = POLLIN}};
    n = poll(p, 3, wait_ms());
    if (n > 0) {
      commands = p[0].revents != 0;
      deaths = p[2].revents != 0;
    }
    n = 0;
  } else {
    n = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, wait_ms());
  }
  now = clock_ns(CLOCK_MONOTONIC);
  for (int i = 0; i < n; i++) {
    uint64_t data = events[i].data.u64;
    if (data == FROM_AGENT) commands = (events[i].events & ~(uint32_t)EPOLLOUT) != 0;
    else if (data == FROM_SIGNALS) deaths = 1;
    else if (data == FROM_LISTENER) connects = 1;
    else if (data == FROM_CANDIDATE) attaches = 1;
    else
      read_pipe((struct task *)(uintptr_t)(data & ~3ULL), data & 3, is_readable(data, &events[i]));
  }
  if (deaths) read_deaths();
  if (commands && !closing && !is_orphaned) read_commands();
  if (attaches) hold_attach();
  if (connects) greet();
  if (now >= orphaned_until) closing = 1; /* nobody has come */
  timers();
  if (now >= sweep_at) sweep();
  if (draining) finish(stalled);
  if (cgroup_version && now >= cgroup_at) cgroup_at = cg_idle(now);
  send_out();
  if (closing && closing_at == NEVER) hang_up();
}

/* Where the agent is: fd 3, or fds 0 and 1, which are moved to where no task inherits them. */
static void take_agent(int is_stdio) {
  if (is_stdio) {
    agent_in = dup2(0, 3);
    agent_out = dup2(1, 4);
  }
  struct stat s;
  for (int fd = agent_in; fd <= agent_out; fd++) {
    if (fstat(fd, &s) < 0 || !(S_ISSOCK(s.st_mode) || (is_stdio && S_ISFIFO(s.st_mode)))) {
      fputs("launcher: fd 3 must be a socket to the agent (with --serve: fds 0 and 1 sockets or "
            "pipes); a person has no use for this program, except --version and "
            "--init -- program args...\n", stderr);
      exit(64);
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, (fcntl(fd, F_GETFL) & O_ACCMODE) | O_NONBLOCK);
  }
  if (syscall(SYS_close_range, (unsigned)agent_out + 1, ~0u, 0u) < 0)
    for (int fd = agent_out + 1; fd < 1024; fd++) close(fd);
}

/* Every task inherits it as its stdin; its stdout and stderr are its own. */
static void open_null(int fd) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) die("/dev/null: %s", strerror(errno));
  if (dup2(null, fd) < 0) die("dup2: %s", strerror(errno));
  if (null != fd) close(null);
}

static void serve(const char *why) {
  self = getpid();
  prctl(PR_SET_DUMPABLE, 0); /* tasks of our uid cannot trace us, nor open what we hold; no core dump */
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (getrlimit(RLIMIT_NOFILE, &task_nofile) == 0 && task_nofile.rlim_cur < task_nofile.rlim_max) {
    struct rlimit most = {task_nofile.rlim_max, task_nofile.rlim_max};
    restore_nofile = setrlimit(RLIMIT_NOFILE, &most) == 0;
  }
  tree_init();
  sigset_t chld;
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  signal_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event agent = {.events = EPOLLIN, .data.u64 = FROM_AGENT};
  struct epoll_event deaths = {.events = EPOLLIN, .data.u64 = FROM_SIGNALS};
  struct epoll_event listener = {.events = EPOLLIN, .data.u64 = FROM_LISTENER};
  if (signal_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, agent_in, &agent) < 0 ||
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &deaths) < 0 ||
      (is_holding && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &listener) < 0))
    die("cannot set up: %s", strerror(errno));
  now = clock_ns(CLOCK_MONOTONIC);
  if (cgroup_version) cgroup_at = now;
  uint8_t *hello = frame(EV_HELLO, 0, 12 + strlen(why) + 1);
  put32(hello, PROTOCOL_VERSION);
  put32(hello + 4, (uint32_t)self);
  put32(hello + 8, (uint32_t)cgroup_version);
  memcpy(hello + 12, why, strlen(why) + 1);
  urgent = 1;
  send_out();
  for (;;) {
    turn();
    int unsent = out.start < out.end && !agent_gone;
    if (closing && closing_at != NEVER && ((!live && !draining && !unsent) || now >= closing_at)) {
      if (cgroup_version) cg_close();
      hold_close();
      exit(0);
    }
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("edgedag-launcher protocol %d\n", PROTOCOL_VERSION);
    return 0;
  }
  if (argc >= 2 && strcmp(argv[1], "--try") == 0) return try_main(argc, argv);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  struct sigaction reset = {.sa_handler = SIG_DFL};
  for (int sig = 1; sig < NSIG; sig++) {
    reset.sa_flags = sig == SIGCHLD ? SA_NOCLDSTOP : 0;
    sigaction(sig, &reset, NULL);
  }
  if (argc >= 4 && strcmp(argv[1], "--init") == 0 && strcmp(argv[2], "--") == 0)
    return run_init(argv + 3);
  for (int fd; (fd = open("/dev/null", O_RDWR)) >= 0;)
    if (fd > 2) { /* none of 0, 1 and 2 is closed now */
      close(fd);
      break;
    }
  int is_stdio = argc == 2 && strcmp(argv[1], "--serve") == 0;
  const char *cgroup = argc == 3 && strcmp(argv[1], "--cgroup") == 0 ? argv[2] : NULL;
  int is_box = argc >= 2 && strcmp(argv[1], "--box") == 0;
  int is_holder = argc == 5 && strcmp(argv[1], "--hold") == 0;
  if (argc > 1 && !is_stdio && !cgroup && !is_box && !is_holder) {
    fprintf(stderr, "launcher: unknown argument %s\n", argv[1]);
    return 64;
  }
  is_inner = is_stdio || is_box;
  char why[200] = "";
  if (is_box) box_enter(argc - 2, argv + 2);
  take_agent(is_stdio);
  open_null(0);
  if (is_stdio) open_null(1);
  if (is_holder) hold_listen(argv[2], argv[3], argv[4]);
  if (cgroup) cgroup_version = cg_init(cgroup, why, sizeof why);
  serve(why);
}
