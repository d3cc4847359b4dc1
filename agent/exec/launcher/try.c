/*
 * launcher --try WHAT ...: does the forbidden thing, to see whether a level denies it. Run inside a
 * sandbox by `edgedag doctor` and by the agent at its start; a program of our own, because a device
 * may have no other. For each thing one line on stdout, `refused NAME ERRNO` or `done NAME`.
 *
 *   denials PORT PID START FILE   network of the host, its processes, its files, the kernel's rare calls
 *   memory BYTES            takes and touches so much
 *   pids COUNT              has so many children at once
 *   disk BYTES              writes so much into the current folder
 *   spin                    computes for ever
 *   daemon                  leaves a process in a session of its own, then ends well
 *
 * Exit codes: 0 nothing of it was possible (denials) or the thing is done (others), 1 some of it
 * was possible or the thing failed, 64 wrong usage.
 */
#define _GNU_SOURCE
#include "launcher.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int possible;

static void tell(const char *name, long result) {
  if (result >= 0) {
    possible++;
    printf("done %s\n", name);
  } else {
    printf("refused %s %s\n", name, strerror(errno));
  }
  fflush(stdout);
}

static int is_refusal(int error) { return error == EPERM || error == EACCES || error == ENOSYS; }

static long connect_to(int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof to);
}

static int denials(int port, int pid, const char *start, const char *file) {
  struct stat s;
  char page[4096] = {0};
  tell("network", connect_to(port));
  /* The same number may be another process inside: field 22 says when it was started. */
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, page, sizeof page - 1);
  if (n >= 0) {
    char *at = strrchr(page, ')'), *save = NULL, *field = at ? strtok_r(at + 1, " ", &save) : NULL;
    for (int i = 3; field && i < 22; i++) field = strtok_r(NULL, " ", &save);
    n = field && strcmp(field, start) == 0 ? 0 : -1;
    errno = ESRCH;
  }
  tell("processes", n);
  tell("files", open(file, O_RDONLY | O_CLOEXEC));
  fd = open("/usr/edgedag-try", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) unlink("/usr/edgedag-try");
  tell("system-folders", fd);
  /* Of a file system that there is not: who may mount is told so (ENODEV), and nothing is mounted. */
  tell("mount", mount("none", "/tmp", "edgedag-none", 0, NULL) < 0 && is_refusal(errno) ? -1 : 0);
  tell("ptrace", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
  tell("root", setuid(0));
  tell("chroot", chroot("/tmp"));
  tell("setns", (fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC)) < 0 ? -1 : setns(fd, 0));
  tell("open-by-handle", syscall(SYS_open_by_handle_at, -1, NULL, 0) < 0 && errno != EFAULT ? -1 : 0);
  tell("kernel-log", syscall(SYS_syslog, 3, page, sizeof page) > 0 && strstr(page, "Linux version") ? 0 : -1);
#ifdef SYS_bpf
  tell("bpf", syscall(SYS_bpf, 0, page, 72));
#endif
#ifdef SYS_kexec_load
  tell("kexec", syscall(SYS_kexec_load, 0, 0, NULL, 0));
#endif
  if (stat("/var/run/docker.sock", &s) < 0) tell("engine-socket", -1);
  else {
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct {
      sa_family_t family;
      char path[108];
    } to = {AF_UNIX, "/var/run/docker.sock"};
    tell("engine-socket", connect(sock, (struct sockaddr *)(void *)&to, sizeof to));
  }
  return possible > 0;
}

static int memory(size_t bytes) {
  const size_t step = 1 << 20;
  for (size_t had = 0; had < bytes; had += step) {
    char *p = malloc(step);
    if (!p) return 1;
    for (size_t at = 0; at < step; at += 4096) ((volatile char *)p)[at] = 1;
  }
  return 0;
}

static int children(int count) {
  for (int i = 0; i < count; i++) {
    pid_t pid = fork();
    if (pid < 0) {
      tell("fork", -1);
      pause(); /* the limit is to be seen, not only its end */
    }
    if (pid == 0)
      for (;;) pause();
  }
  return 0;
}

static int disk(size_t bytes) {
  static char block[65536];
  int fd = open("try", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return tell("disk", -1), 1;
  for (size_t had = 0; had < bytes; had += sizeof block)
    if (write(fd, block, sizeof block) < 0) return tell("disk", -1), 1;
  return 0;
}

static int leave_daemon(void) {
  pid_t pid = fork();
  if (pid < 0) return 1;
  if (pid == 0) {
    setsid();
    if (fork() == 0) {
      for (int fd = 0; fd < 3; fd++) close(fd);
      for (;;) pause();
    }
    _exit(0);
  }
  return waitpid(pid, NULL, 0) < 0;
}

int try_main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[2] : "";
  if (strcmp(what, "denials") == 0 && argc == 7)
    return denials(atoi(argv[3]), atoi(argv[4]), argv[5], argv[6]);
  if (strcmp(what, "memory") == 0 && argc == 4) return memory(strtoull(argv[3], NULL, 10));
  if (strcmp(what, "pids") == 0 && argc == 4) return children(atoi(argv[3]));
  if (strcmp(what, "disk") == 0 && argc == 4) return disk(strtoull(argv[3], NULL, 10));
  if (strcmp(what, "daemon") == 0 && argc == 3) return leave_daemon();
  if (strcmp(what, "spin") == 0 && argc == 3)
    for (volatile unsigned long n = 0;; n++) continue;
  fputs("launcher: --try denials PORT PID START FILE | memory BYTES | pids COUNT | disk BYTES | spin | "
        "daemon\n", stderr);
  return 64;
}
