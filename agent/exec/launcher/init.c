/*
 * launcher --init -- program args...: a small init for containers. It forwards signals, reaps
 * orphans and exits with the program's code.
 */
#include "loop.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int run_init(char **argv) {
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  pid_t program = fork();
  if (program < 0) die("fork: %s", strerror(errno));
  if (program == 0) {
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "launcher: cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
  }
  for (;;) {
    int sig = sigwaitinfo(&all, NULL), status;
    if (sig > 0 && sig != SIGCHLD) kill(program, sig);
    for (pid_t pid; sig == SIGCHLD && (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      if (pid == program) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

