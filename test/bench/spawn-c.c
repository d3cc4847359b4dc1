/*
 * The floor for starting processes on this machine: posix_spawn, two pipes and wait4 for each of N
 * tasks, K in flight, output captured. Prints one line of JSON: milliseconds a task.
 * usage: spawn-c N K program [args...]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct slot { pid_t pid; int fd[2]; };

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void start(struct slot *s, char **argv) {
  int out[2], err[2];
  posix_spawn_file_actions_t a;
  if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) abort();
  posix_spawn_file_actions_init(&a);
  posix_spawn_file_actions_adddup2(&a, out[1], 1);
  posix_spawn_file_actions_adddup2(&a, err[1], 2);
  if (posix_spawnp(&s->pid, argv[0], &a, NULL, argv, environ) != 0) abort();
  posix_spawn_file_actions_destroy(&a);
  close(out[1]);
  close(err[1]);
  s->fd[0] = out[0];
  s->fd[1] = err[0];
}

/* Reads once; at the end of both pipes the process is waited for. True when the slot is free. */
static int serve(struct slot *s, struct pollfd *p) {
  static char text[65536];
  for (int i = 0; i < 2; i++) {
    if (s->fd[i] < 0 || !p[i].revents || read(s->fd[i], text, sizeof text) > 0) continue;
    close(s->fd[i]);
    s->fd[i] = -1;
  }
  if (s->fd[0] >= 0 || s->fd[1] >= 0) return 0;
  struct rusage used;
  int status;
  if (wait4(s->pid, &status, 0, &used) != s->pid || status != 0) abort();
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 4) return 64;
  int tasks = atoi(argv[1]), width = atoi(argv[2]), started = 0, ended = 0;
  struct slot slots[64];
  struct pollfd p[128];
  if (tasks < 1 || width < 1 || width > 64) return 64;
  memset(slots, 0, sizeof slots);
  double from = now_ms();
  while (ended < tasks) {
    for (int i = 0; i < width && started < tasks; i++) {
      if (slots[i].pid) continue;
      start(&slots[i], argv + 3);
      started++;
    }
    for (int i = 0; i < width; i++)
      for (int k = 0; k < 2; k++)
        p[2 * i + k] = (struct pollfd){.fd = slots[i].pid ? slots[i].fd[k] : -1, .events = POLLIN};
    if (poll(p, (nfds_t)(2 * width), -1) < 0) abort();
    for (int i = 0; i < width; i++) {
      if (!slots[i].pid || !serve(&slots[i], p + 2 * i)) continue;
      slots[i].pid = 0;
      ended++;
    }
  }
  double ms = (now_ms() - from) / tasks;
  printf("{\"tasks\":%d,\"inFlight\":%d,\"msPerTask\":%.4f}\n", tasks, width, ms);
}
