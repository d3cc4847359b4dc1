/*
 * The seccomp filter of a task: an allow-list over syscalls.h, for the architecture that we are
 * built for. Called by confine.c only.
 *
 * The numbers become ranges of equal verdict, and the ranges a balanced tree of comparisons, so that
 * no number costs more than some twenty instructions. BPF jumps only forwards and conditionally only by 255, so
 * the program is written from its end to its beginning: a target is then always known, and one that
 * is too far gets an unconditional jump of its own. Arguments are compared by their lower half
 * where the kernel too looks at no more, else a set upper half would walk past the check.
 */
#define _GNU_SOURCE
#include "filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "syscalls.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define NUMBER(x86_64, aarch64) (x86_64)
#define X32_BIT 0x40000000u
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define NUMBER(x86_64, aarch64) (aarch64)
#else
#error "the filter has tables for x86-64 and aarch64"
#endif

#define MAX_NUMBER 512
#define MAX_PROGRAM 2048
#define CACHED 64

enum verdict {
  NOSYS, ALLOW, DENY,
  CHECK_CLONE, CHECK_SOCKET, CHECK_SOCKETPAIR, CHECK_IOCTL, CHECK_PERSONALITY, CHECK_PRCTL,
  CHECK_PID, CHECK_PRIORITY, CHECK_IOPRIO
};

struct call { const char *name; int number; enum verdict verdict; };
static const struct call calls[] = {
#define ROW(name, x86_64, aarch64, verdict) {#name, NUMBER(x86_64, aarch64), verdict},
    SYSTEM_CALLS(ROW)
#undef ROW
};

struct range { uint32_t first; enum verdict verdict; };

/* Written backwards: code[0] is the last instruction. */
struct program { struct sock_filter code[MAX_PROGRAM]; uint32_t count; };

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
/* Both architectures are little-endian: the lower half stands first. */
#define LOAD_ARG(i) \
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (i)))
#define GIVE(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define PASS GIVE(SECCOMP_RET_ALLOW)
#define FAIL(error) GIVE(SECCOMP_RET_ERRNO | (error))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define IF_BITS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (value), (yes), (no))
#define IF_AT_LEAST(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (value), (yes), (no))

#define NEW_NAMESPACES                                                                        \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
   CLONE_NEWNET)

/* CLONE_NEWTIME cannot be told to clone: its bit belongs to the signal number there. */
static const struct sock_filter check_clone[] = {
    LOAD_ARG(0), IF_BITS((uint32_t)NEW_NAMESPACES, 0, 1), FAIL(EPERM), PASS};

/* Only protocols that any host uses: for the others the kernel would load a module. */
static const struct sock_filter check_socket[] = {
    LOAD_ARG(0),
    IF_EQUAL(AF_UNIX, 17, 0),
    IF_EQUAL(AF_INET, 5, 0),
    IF_EQUAL(AF_INET6, 4, 0),
    IF_EQUAL(AF_NETLINK, 0, 2),
    LOAD_ARG(2),
    IF_EQUAL(NETLINK_ROUTE, 12, 0),
    FAIL(EAFNOSUPPORT),
    LOAD_ARG(1), /* AF_INET and AF_INET6: the type without its flags is stream, datagram or raw */
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf),
    IF_AT_LEAST(4, 7, 0),
    LOAD_ARG(2),
    IF_EQUAL(0, 6, 0),
    IF_EQUAL(1 /* ICMP */, 5, 0),
    IF_EQUAL(6 /* TCP */, 4, 0),
    IF_EQUAL(17 /* UDP */, 3, 0),
    IF_EQUAL(58 /* ICMPv6 */, 2, 0),
    IF_EQUAL(262 /* MPTCP */, 1, 0),
    FAIL(EPROTONOSUPPORT),
    PASS};

static const struct sock_filter check_socketpair[] = {
    LOAD_ARG(0), IF_EQUAL(AF_UNIX, 1, 0), FAIL(EAFNOSUPPORT), PASS};

/* Keys into the terminal's input, the console, and line disciplines (they load modules). */
static const struct sock_filter check_ioctl[] = {
    LOAD_ARG(1),
    IF_EQUAL(0x5412 /* TIOCSTI */, 4, 0),
    IF_EQUAL(0x541c /* TIOCLINUX */, 3, 0),
    IF_EQUAL(0x541d /* TIOCCONS */, 2, 0),
    IF_EQUAL(0x5423 /* TIOCSETD */, 1, 0),
    PASS,
    FAIL(EPERM)};

/* Asking, the default, and what linux32 and UNAME26 set: as in Docker's profile. */
static const struct sock_filter check_personality[] = {
    LOAD_ARG(0), IF_EQUAL(0xffffffffu, 2, 0), IF_BITS(~0x20008u, 0, 1), FAIL(EPERM), PASS};

static const struct sock_filter check_prctl[] = {
    LOAD_ARG(0), IF_EQUAL(PR_SET_MM, 0, 1), FAIL(EPERM), PASS};

/*
 * The first process of a box is the launcher that judges the task. It has the task's user, so the
 * kernel alone would let the task limit it, slow it down and bind it to a processor.
 */
static const struct sock_filter check_pid[] = {LOAD_ARG(0), IF_EQUAL(1, 0, 1), FAIL(EPERM), PASS};

/* By group only 1 could mean it, by user any. */
#define CHECK_WHOM(by_user) \
  {LOAD_ARG(0), IF_EQUAL((by_user), 2, 0), LOAD_ARG(1), IF_EQUAL(1, 0, 1), FAIL(EPERM), PASS}
static const struct sock_filter check_priority[] = CHECK_WHOM(2 /* PRIO_USER */);
static const struct sock_filter check_ioprio[] = CHECK_WHOM(3 /* IOPRIO_WHO_USER */);

/* ---- the program ---- */

static void put(struct program *p, struct sock_filter instruction) {
  if (p->count < MAX_PROGRAM) p->code[p->count] = instruction;
  p->count++;
}

static void put_all(struct program *p, const struct sock_filter *block, size_t n) {
  while (n-- > 0) put(p, block[n]);
}
#define PUT_ALL(p, block) put_all(p, block, sizeof block / sizeof *block)

static void put_verdict(struct program *p, enum verdict verdict) {
  switch (verdict) {
    case NOSYS: put(p, (struct sock_filter)FAIL(ENOSYS)); return;
    case ALLOW: put(p, (struct sock_filter)PASS); return;
    case DENY: put(p, (struct sock_filter)FAIL(EPERM)); return;
    case CHECK_CLONE: PUT_ALL(p, check_clone); return;
    case CHECK_SOCKET: PUT_ALL(p, check_socket); return;
    case CHECK_SOCKETPAIR: PUT_ALL(p, check_socketpair); return;
    case CHECK_IOCTL: PUT_ALL(p, check_ioctl); return;
    case CHECK_PERSONALITY: PUT_ALL(p, check_personality); return;
    case CHECK_PRCTL: PUT_ALL(p, check_prctl); return;
    case CHECK_PID: PUT_ALL(p, check_pid); return;
    case CHECK_PRIORITY: PUT_ALL(p, check_priority); return;
    case CHECK_IOPRIO: PUT_ALL(p, check_ioprio); return;
  }
}

/* Afterwards the last instruction that was put is the entry of the tree over these ranges. */
static void put_tree(struct program *p, const struct range *ranges, size_t n) {
  if (n == 1) {
    put_verdict(p, ranges[0].verdict);
    return;
  }
  size_t half = n / 2;
  put_tree(p, ranges + half, n - half);
  uint32_t upper = p->count - 1;
  put_tree(p, ranges, half);
  uint32_t skip = p->count - upper - 1;
  if (skip <= 255) {
    put(p, (struct sock_filter)IF_AT_LEAST(ranges[half].first, (uint8_t)skip, 0));
  } else {
    put(p, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, skip));
    put(p, (struct sock_filter)IF_AT_LEAST(ranges[half].first, 0, 1));
  }
}

static int add_names(const char *allow, enum verdict *table, char *why, size_t why_size) {
  for (const char *at = allow; *at;) {
    size_t length = strcspn(at, ","), i = 0, n = sizeof calls / sizeof *calls;
    while (i < n && (strncmp(calls[i].name, at, length) != 0 || calls[i].name[length])) i++;
    if (length > 0 && i == n) {
      snprintf(why, why_size, "there is no system call \"%.*s\"", (int)length, at);
      return -1;
    }
    /* A name of the other architecture only is nothing that could be called here. */
    if (length > 0 && calls[i].number >= 0) table[calls[i].number] = ALLOW;
    at += length + (at[length] == ',');
  }
  return 0;
}

static struct sock_fprog *build(const char *allow, char *why, size_t why_size) {
  static enum verdict table[MAX_NUMBER];
  static struct range ranges[MAX_NUMBER + 1];
  static struct program p;
  for (size_t i = 0; i < MAX_NUMBER; i++) table[i] = NOSYS;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    if (calls[i].number >= 0) table[calls[i].number] = calls[i].verdict;
  if (add_names(allow, table, why, why_size) < 0) return NULL;
  size_t n = 0;
  for (uint32_t i = 0; i < MAX_NUMBER; i++)
    if (n == 0 || ranges[n - 1].verdict != table[i]) ranges[n++] = (struct range){i, table[i]};
  if (ranges[n - 1].verdict != NOSYS) ranges[n++] = (struct range){MAX_NUMBER, NOSYS};

  p.count = 0;
  put_tree(&p, ranges, n);
  const struct sock_filter begin[] = {
      LOAD(arch),
      IF_EQUAL(ARCH, 1, 0),
      GIVE(SECCOMP_RET_KILL_PROCESS), /* int 0x80 and the like: other numbers, another table */
      LOAD(nr),
#ifdef X32_BIT
      IF_BITS(X32_BIT, 0, 1),
      FAIL(EPERM),
#endif
  };
  PUT_ALL(&p, begin);
  struct sock_fprog *made = malloc(sizeof *made);
  struct sock_filter *code = malloc(p.count * sizeof *code);
  if (p.count > MAX_PROGRAM || !made || !code) {
    snprintf(why, why_size, "the filter of system calls is too long, or memory is out");
    free(made);
    free(code);
    return NULL;
  }
  for (uint32_t i = 0; i < p.count; i++) code[i] = p.code[p.count - 1 - i];
  *made = (struct sock_fprog){.len = (unsigned short)p.count, .filter = code};
  return made;
}

/* ---- the cache ---- */

static struct { char *allow; struct sock_fprog *made; } cache[CACHED];
static size_t next_slot;

const struct sock_fprog *filter_built(const char *allow) {
  for (size_t i = 0; i < CACHED; i++)
    if (cache[i].made && strcmp(cache[i].allow, allow) == 0) return cache[i].made;
  return NULL;
}

const struct sock_fprog *filter_of(const char *allow, char *why, size_t why_size) {
  const struct sock_fprog *built = filter_built(allow);
  if (built) return built;
  char *copy = strdup(allow);
  struct sock_fprog *made = copy ? build(allow, why, why_size) : NULL;
  if (!made) {
    if (!copy) snprintf(why, why_size, "out of memory");
    free(copy);
    return NULL;
  }
  size_t slot = next_slot++ % CACHED;
  if (cache[slot].made) {
    free(cache[slot].allow);
    free(cache[slot].made->filter);
    free(cache[slot].made);
  }
  cache[slot].allow = copy;
  cache[slot].made = made;
  return made;
}
