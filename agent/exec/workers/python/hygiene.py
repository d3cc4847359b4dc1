# What a call may leave behind in a worker that lives on: environment, folder, streams, children,
# threads, signal handlers. It puts back what can be put back, and names what cannot: the worker is
# then retired. It never decides whether the call itself went well.
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


class _Variables(dict):
    """What os.environ keeps, which says whether anything has changed it: a comparison costs 1 us."""

    is_changed = False

    def __setitem__(self, name, value):
        self.is_changed = True
        dict.__setitem__(self, name, value)

    def __delitem__(self, name):
        self.is_changed = True
        dict.__delitem__(self, name)

    def clear(self):
        self.is_changed = True
        dict.clear(self)

    def pop(self, *args):
        self.is_changed = True
        return dict.pop(self, *args)

    def popitem(self):
        self.is_changed = True
        return dict.popitem(self)

    def setdefault(self, *args):
        self.is_changed = True
        return dict.setdefault(self, *args)

    def update(self, *args, **more):
        self.is_changed = True
        dict.update(self, *args, **more)

    def __ior__(self, other):
        self.update(other)
        return self


class Environment:
    """os.environ for one call after the other; changed only where two calls differ."""

    def __init__(self):
        self._object = os.environ
        self._data = _Variables(os.environ._data)
        os.environ._data = self._data
        os.environb._data = self._data
        self._base = dict(self._data)
        self._own = None
        self._task = None
        self._attempt = None
        self._expected = dict(self._data)

    def enter(self, call):
        base = call.get("env")
        own = call.get("own")
        task = call["task"]
        attempt = call["attempt"]
        if base is not None or own is not None or self._own is not None:
            if base is not None:
                self._base = {os.fsencode(name): os.fsencode(base[name]) for name in base}
            self._own = own
            wanted = dict(self._base)
            for name in own or ():
                wanted[os.fsencode(name)] = os.fsencode(own[name])
            wanted[b"EDGEDAG_TASK"] = task.encode()
            wanted[b"EDGEDAG_ATTEMPT"] = b"%d" % attempt
            self._expected = wanted
            self._task = task
            self._attempt = attempt
            self.restore()
            return
        if task != self._task:
            self._task = task
            self._set(b"EDGEDAG_TASK", task.encode())
        if attempt != self._attempt:
            self._attempt = attempt
            self._set(b"EDGEDAG_ATTEMPT", b"%d" % attempt)

    def get(self, name):
        value = self._expected.get(os.fsencode(name))
        return None if value is None else os.fsdecode(value)

    def changed(self):
        return self._data.is_changed or os.environ is not self._object

    def restore(self):
        os.environ = self._object
        data = self._data
        expected = self._expected
        for name in [name for name in data if name not in expected]:
            os.unsetenv(name)
            del data[name]
        for name, value in expected.items():
            if data.get(name) != value:
                os.putenv(name, value)
                data[name] = value
        if b"TZ" in data or b"TZ" in expected:
            time.tzset()
        data.is_changed = False

    def _set(self, name, value):
        os.putenv(name, value)
        dict.__setitem__(self._data, name, value)
        self._expected[name] = value


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
