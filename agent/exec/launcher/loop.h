/*
 * What the files around the launcher's loop share: the table of tasks, buffers, clocks. Its
 * sections are named after the files. What is apart from the loop is in launcher.h.
 */
#ifndef EDGEDAG_LOOP_H
#define EDGEDAG_LOOP_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "launcher.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define PROTOCOL_VERSION 4
#define HEADER_BYTES 9
#define ENDED_BYTES 104
#define READ_BYTES 65536
#define STALL_BYTES (256 * 1024)
#define CHANNEL_FD 3
#define MS 1000000LL
#define NEVER INT64_MAX
#define LAZY_NS (1 * MS)     /* how long output and `started` may wait for company */
#define BUSY_LAZY_NS (3 * MS) /* the same while lines keep us busy */
#define DRAIN_NS (1000 * MS) /* from the last kill to giving up on pipes and orphans */

enum {
  CMD_SPAWN = 1, CMD_KILL, CMD_CHANNEL, CMD_ARM, CMD_USAGE, CMD_TMPFS,
  CMD_BYE, CMD_ATTACH, CMD_KEEP, CMD_TAKE, CMD_LOGGED, CMD_FORGET, CMD_DROP, CMD_LET_GO,
  CMD_FOLLOW
};
enum {
  EV_HELLO = 128, EV_STARTED, EV_STDOUT, EV_STDERR, EV_MARK, EV_ENDED, EV_SPAWN_FAILED,
  EV_CHANNEL, EV_SAMPLE, EV_USAGE, EV_DONE, EV_ROOM, EV_HELD, EV_RETURNED
};
enum { STOP_NONE, STOP_TIMEOUT, STOP_OUTPUT, STOP_KILLED, STOP_MEMORY, STOP_PIDS, STOP_CPU_TIME };
enum { /* where a start failed; the client makes a sentence of it */
  AT_RESOURCES = 1, AT_CWD, AT_LOOKUP, AT_EXEC, AT_INTERPRETER, AT_CHANNEL, AT_RLIMIT, AT_REQUEST,
  AT_CONFINEMENT, AT_CGROUP, AT_STDIN
};
enum { /* flags of spawn */
  WITH_RELAY = 1, WITH_CGROUP = 2, WITH_NEWPID = 4, WITH_PRIVS = 8, WITH_SECCOMP = 16,
  WITH_LANDLOCK = 32, WITH_SAMPLES = 64, WITH_CHANNEL_STDIO = 128
};
/* What epoll tells of, beside the descriptors of tasks (a pointer with 0, 1 or 2 in its last bits). */
enum { FROM_AGENT, FROM_SIGNALS, FROM_LISTENER, FROM_CANDIDATE };
enum { RELAY = 2 }; /* of the descriptors of a task; 0 and 1 are its stdout and stderr */

struct buffer { uint8_t *data; size_t start, end, cap; };
struct pids { pid_t *list; size_t count, cap; };

/* Our part of the page that agent and worker share (PROTOCOL.md, "Claim page"). */
struct meter {
  uint32_t sequence, unused;
  double drained[2];
};

struct task {
  struct task *next, *prev, *next_id, *next_pid;
  uint32_t id, grace_ms;
  pid_t pid;
  int fd[3];
  uint64_t bytes[2], dropped, limit;
  int64_t start_ns, register_at, timeout_at, kill_at, drain_at, died_at, slow_at;
  double started_ms, wall_ms, user_ms, system_ms, rss_bytes;
  int code;
  uint8_t registered, dead, by_signal, stop, forced, leaked, has_mark;
  struct meter *meter;
  uint8_t mark[8], carry[2][12], carry_len[2];
  /* of a relay: what the process has not taken yet, and what the agent was not yet told of */
  struct buffer pending;
  uint32_t room;
  uint8_t is_relay_closing, waits_relay;
  struct held *held; /* NULL: it ends with the agent */
  struct line *line; /* NULL: nobody waits for its end */
  uint8_t is_paused; /* so much of it is kept that its pipes are not read */
  /* of a watched task */
  uint8_t is_watched, is_sampled;
  struct cg *group; /* NULL: figures are collected from its process tree */
  struct cg_limits limits;
  uint64_t cpu_limit_ms;
  int64_t watch_at;
  struct cg_usage used;
  double base_user_ms, base_system_ms, base_read, base_written;
};

/* ---- launcher.c ---- */
extern int64_t now, cgroup_at; /* cgroup_at: when cg_idle is to be called */
extern int closing, is_inner, cgroup_version;
extern struct rlimit task_nofile;
extern int restore_nofile;
extern pid_t self;
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
void *need(void *p);
int64_t clock_ns(int id);
void due(int64_t at); /* the timers are to be looked at then */

/* ---- frames.c ---- */
extern int agent_in, agent_out, agent_gone, epoll_fd;
extern int urgent; /* what was collected is to leave at the end of this turn */
extern int64_t lazy_at;
extern struct buffer out;
void put32(uint8_t *p, uint32_t v);
void put_double(uint8_t *p, double d);
uint32_t get32(const uint8_t *p);
uint64_t get64(const uint8_t *p);
uint8_t *reserve(struct buffer *b, size_t n);
uint8_t *frame(uint8_t type, uint32_t id, size_t n);
void hold_back(void); /* nobody needs what is collected soon */
void done(uint32_t id, int error);
void send_out(void);
void forget_agent(void); /* what was on its way to the one that is gone */

/* ---- tasks.c ---- */
extern struct task tasks;
extern int live, draining;
struct task *find_id(uint32_t id);
struct task *find_pid(pid_t pid, int dead);
void add_task(struct task *t);
void remove_task(struct task *t);
void force(struct task *t);
void stop_task(struct task *t, uint8_t why, uint32_t grace_ms);

/* ---- tree.c ---- */
void tree_init(void);
void push_pid(struct pids *v, pid_t pid);
int has_pid(const struct pids *v, pid_t pid);
void drop_pid(struct pids *v, pid_t pid);
void own_children(struct pids *v);
void kill_tree(pid_t root);
void tree_usage(pid_t root, struct cg_usage *usage);
int read_io(pid_t pid, double *read_bytes, double *written_bytes);

/* ---- output.c ---- */
void open_meter(struct task *t, char **envp);
void close_meter(struct task *t);
void read_pipe(struct task *t, int s, int readable);
void close_pipe(struct task *t, int s);
void register_pipes(struct task *t);

/* ---- relay.c ---- */
int relay_open(struct task *t, int *theirs); /* 0 or -1 with errno */
void relay_read(struct task *t, int readable);
void relay_send(struct task *t, const uint8_t *p, size_t n);
void relay_flush(struct task *t);
void relay_free(struct task *t);

/* ---- spawn.c ---- */
void spawn(uint32_t id, uint8_t *body, size_t size);
int get_rlimit(const uint8_t *p, struct rlimit *r); /* of 17 bytes: its RLIMIT_ constant, or -1 */

/* ---- watch.c: the limits and figures of whole trees ---- */
extern int watched; /* how many tasks are */
void watch_begin(struct task *t);
void watch_io(struct task *t); /* of a zombie too */
void watch(struct task *t);      /* every 100 ms */
void watch_last(struct task *t); /* everything of it is dead */
void arm(struct task *t, const uint8_t *body, size_t size);
void tell_usage(struct task *t);

/* ---- hold.c: processes that outlive their agent ---- */
extern int is_holding, is_orphaned, listen_fd;
extern int64_t orphaned_until;
void hold_listen(const char *folder, const char *name, const char *ms);
void hold_close(void);
void keep(uint32_t id, const uint8_t *body, size_t size);
void hold_announced(struct task *t);
int hold_is_full(struct task *t);
void read_on(struct task *t);
int hold_output(struct task *t, int s, const uint8_t *p, size_t n);
int hold_end(struct task *t, const uint8_t *end);
int hold_command(uint8_t type, uint32_t id, const uint8_t *body, size_t size);
int hold_orphans(void);
void hold_accept(void);
void hold_attach(void);

struct held *hold_set_aside(void);      /* what was announced, for a spawn that comes later */
void hold_announce(struct held *h);     /* here it comes */
void hold_forget(struct held *h);       /* it does not come */

/* ---- line.c: processes that wait for their turn behind another one ---- */
void follow(uint32_t id, uint8_t *body, size_t size);
int line_advance(struct line *l, int has_succeeded);
void line_slow(struct task *t);
int line_drop(uint32_t id);
void line_let_go(uint32_t id);
void line_clear(struct task *t);

/* ---- mounts.c ---- */
void tmpfs(uint32_t id, const uint8_t *body, size_t size);

/* ---- end.c ---- */
extern int64_t sweep_at;
extern int no_children;
void reap(void);
void sweep(void);
void finish(int stalled);

/* ---- init.c ---- */
int run_init(char **argv);

#endif
