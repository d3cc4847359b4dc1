# What a call may leave behind in a worker that lives on: streams, children, threads, signal handlers.
# It puts back what can be put back, and names what cannot: the worker is then retired. It never
# decides whether the call itself went well.
import _signal
import _thread
import fcntl
import io
import os
import sys
import time

from edgedag_worker.channel import move_high

# The owner signal of an open pipe is kept by the kernel per open file and used by nobody here; it
# tells our stdout and stderr from anything that a task has put in their place, for 0.2 us.
_F_SETSIG = getattr(fcntl, "F_SETSIG", 10)
_F_GETSIG = getattr(fcntl, "F_GETSIG", 11)
_SEALS = ((1, 41), (2, 42))


def open_stream(fd, errors):
    # Without `closefd=False`, sys.stdout.close() in a task would close the descriptor.
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw, 1 << 16), "utf-8", errors, newline="\n", line_buffering=True)


def seal_streams():
    for fd, seal in _SEALS:
        fcntl.fcntl(fd, _F_SETSIG, seal)


def streams_replaced():
    """Why the worker's stdout or stderr is no longer its own, or None."""
    for fd, seal in _SEALS:
        try:
            if fcntl.fcntl(fd, _F_GETSIG) != seal:
                return "the task put another file in the place of descriptor %d" % fd
        except OSError:
            return "the task closed descriptor %d" % fd
    return None


class Children:
    """The kernel's list of the main thread's children, where it has one: half the cost of a wait."""

    def __init__(self):
        pid = os.getpid()
        try:
            self._fd = move_high(os.open("/proc/%d/task/%d/children" % (pid, pid), os.O_RDONLY))
        except OSError:
            self._fd = -1

    def may_be_left(self):
        try:
            return os.pread(self._fd, 1, 0) != b""
        except OSError:
            return True


def reap():
    """Kills what the call left behind of child processes. Returns how many were alive."""
    killed = 0
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return killed
        if pid == 0:
            # The worker is a subreaper: what a killed child leaves behind comes up here, next round.
            for child in _descendants(os.getpid()):
                try:
                    os.kill(child, 9)
                    killed += 1
                except ProcessLookupError:
                    pass
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return killed


def _descendants(pid):
    found = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        try:
            threads = os.listdir("/proc/%d/task" % parent)
        except OSError:
            continue
        for thread in threads:
            try:
                with open("/proc/%d/task/%s/children" % (parent, thread), "rb") as file:
                    children = [int(word) for word in file.read().split()]
            except OSError:
                continue
            found += children
            todo += children
    return found


def threads_left():
    """How many threads of the task still run. Those that are just ending get a moment."""
    count = _thread._count()
    give_up = time.monotonic() + 0.02
    while count > 0 and time.monotonic() < give_up:
        time.sleep(0.001)
        count = _thread._count()
    return count


def reset_signals():
    """Undoes handlers and timers; an alarm of one task would go off in the next."""
    for number in (_signal.SIGTERM, _signal.SIGALRM, _signal.SIGCHLD, _signal.SIGHUP):
        if _signal.getsignal(number) != _signal.SIG_DFL:
            _signal.signal(number, _signal.SIG_DFL)
    if _signal.getsignal(_signal.SIGINT) is not _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    _signal.setitimer(_signal.ITIMER_REAL, 0)


def restore_streams(out, err):
    """Puts sys.stdout and sys.stderr back; what a replacement still holds is written first."""
    for name, ours in (("stdout", out), ("stderr", err)):
        now = getattr(sys, name, None)
        if now is not ours:
            try:
                now.flush()
            except Exception:  # a task's own object may do anything; it goes away now
                pass
            setattr(sys, name, ours)
