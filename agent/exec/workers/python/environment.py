# os.environ for one call after the other, in Python and in the process itself, where C code and
# child processes look. It owns both while the worker lives, and puts back what a call has changed.
import os
import time

# The C library keeps every value that setenv was ever given: 80 MB of a million tasks. So from some
# calls on the name of the task is written in place, which also takes a quarter of the time.
CALLS_BEFORE_IN_PLACE = 256
_TASK = b"EDGEDAG_TASK"
_ATTEMPT = b"EDGEDAG_ATTEMPT"


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
        self._calls = 0
        self._in_place = None

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
            wanted[_TASK] = task.encode()
            wanted[_ATTEMPT] = b"%d" % attempt
            self._expected = wanted
            self._task = task
            self._attempt = attempt
            self.restore()
            return
        if task != self._task:
            self._task = task
            self._set(_TASK, task.encode())
        if attempt != self._attempt:
            self._attempt = attempt
            self._set(_ATTEMPT, b"%d" % attempt)

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
                self._put(name, value)
                data[name] = value
        if self._in_place is not None:
            self._in_place.install()
        if b"TZ" in data or b"TZ" in expected:
            time.tzset()
        data.is_changed = False

    def _set(self, name, value):
        self._put(name, value)
        dict.__setitem__(self._data, name, value)
        self._expected[name] = value

    def _put(self, name, value):
        if name != _TASK:
            os.putenv(name, value)
        elif self._in_place is not None:
            self._in_place.set(value)
        else:
            os.putenv(name, value)
            self._calls += 1
            if self._calls == CALLS_BEFORE_IN_PLACE:
                self._in_place = _in_place(name, value)


class _InPlace:
    """A variable of the process whose value is overwritten where it stands."""

    def __init__(self, name):
        # Not the package ctypes, which a task may have a file of its own for, and which takes 4 ms.
        import _ctypes

        self._array = _ctypes.Array
        self._char = type("c_char", (_ctypes._SimpleCData,), {"_type_": "c"})
        self._call = _ctypes.call_function
        self._putenv = _ctypes.dlsym(_ctypes.dlopen(None, 0), "putenv")
        self._prefix = name + b"="
        # The C library has their addresses: none of them may ever go.
        self._entries = []
        self._grow(1 << 10)

    def _grow(self, size):
        data = bytearray(size)
        data[: len(self._prefix)] = self._prefix
        self._view = memoryview(data)
        kind = type("entry", (self._array,), {"_type_": self._char, "_length_": size})
        self._entries.append(kind.from_buffer(data))
        self.install()

    def install(self):
        """Makes it the process's own again, should something else be in its place."""
        self._call(self._putenv, (self._entries[-1],))

    def set(self, value):
        start = len(self._prefix)
        end = start + len(value) + 1
        if end > len(self._view):
            self._grow(2 * end)
        self._view[start:end] = value + b"\0"


def _in_place(name, value):
    """None where this Python cannot: it goes on as before."""
    try:
        entry = _InPlace(name)
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    entry.set(value)
    return entry
