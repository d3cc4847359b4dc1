# The Python worker: takes calls from the agent over descriptor 3, runs them one after another, and
# answers each (PROTOCOL.md, "Worker channel"). Started by the agent's launcher, never by hand.
# Everything on the way of a call is measured in microseconds: no imports and no spare system calls
# in `_serve`. Python 3.8 or later, standard library only.
import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    # Our modules live in a package of their own, so that they never hide a task's `values.py`.
    _package = type(sys)("edgedag_worker")
    _package.__path__ = [_FOLDER]
    _package.call = None
    sys.modules["edgedag_worker"] = _package
    if sys.path and sys.path[0] == _FOLDER:
        del sys.path[0]
else:
    # multiprocessing's spawn imports the main module again in its children.
    import edgedag_worker as _package

from time import perf_counter, time  # noqa: E402

QUICK_SECONDS = 0.0002
FLUSH_SECONDS = 0.001
FLUSH_ANSWERS = 32
# A result whose JSON is longer goes into a file.
INLINE_BYTES = 64 << 10
MEASURED_SECONDS = 0.0005
TRACE_CHARACTERS = 16384
DETAIL_CHARACTERS = 8192
REHEARSED_CODE = "def main(given):\n    return {'given': given}\n"


class Worker:
    def __init__(self, channel, mark, page):
        from edgedag_worker import calls, environment, hygiene, values

        self.channel = channel
        self.mark = mark
        self.page = page
        self.values = values
        self.hygiene = hygiene
        self.results = values.Results()
        self.kept = values.Kept()
        self.loader = calls.Loader()
        self.environment = environment.Environment()
        self.children = hygiene.Children()
        self.answers = []
        # How many of them are sent together.
        self.enough = FLUSH_ANSWERS
        self.forked = False
        self.retired = None
        # Of the call before; None: it was returned.
        self.last_ok = True
        self.last_flush = 0.0
        # The result of the call that ends, when it is a text that goes into a file.
        self.long_text = None
        self.run = None
        self.cwd = None
        # The call that said last what is called, and what was found for it; None: not looked up.
        self.callee = None
        self.entry = None
        self.entered_cwd = None
        self.real_cwd = os.getcwd()
        self.argv = [""]
        self.usage = None
        self.short_seconds = 0.0
        self.not_found = calls.NotFound
        os.register_at_fork(after_in_child=self._in_child)
        self._open_streams()
        hygiene.seal_streams()
        sys.argv = self.argv
        # The SDK finds the call that runs, and a way to follow references, here.
        _package.call = None
        _package.resolve = self.kept.resolve
        _package.flush = self._flush_if_any

    def rehearse(self):
        """Runs a call of our own, of which nothing is told: so that a first call finds everything
        imported and in the processor's caches. For a worker that gets one call only."""
        text = self.results.text
        call = '{"run":[{"id":0,"task":"","attempt":0,"run":"rehearsal","function":"main","code":%s,"args":{"given":[0.5,"",null]},"cwd":%s,"env":%s}]}' % (
            text(REHEARSED_CODE), text(os.getcwd()), text(dict(os.environ)))
        # Nothing is sent because it has been held for long.
        self.last_flush = float("inf")
        self.usage = self._usage()
        self._one(self.values.decode(call)["run"][0], False)
        del self.answers[:]
        self.kept.clear()
        self.loader.forget()
        self.last_flush = 0.0
        self.run = None
        self.cwd = None
        self.callee = None
        self.entry = None
        self.entered_cwd = None

    def serve(self):
        channel = self.channel
        decode = self.values.decode
        while True:
            text = channel.read()
            if text is None:
                return
            has_refs = '"$ref"' in text
            self.usage = self._usage()
            self.short_seconds = 0.0
            if not self.answers:
                # None has waited yet.
                self.last_flush = perf_counter()
            calls = decode(text)["run"]
            # The first frame for a worker that had nothing to do: the next one depends on its answers.
            is_first = "claim" not in calls[0]
            self.enough = len(calls) // 2 + 1 if is_first else FLUSH_ANSWERS
            for call in calls:
                self._one(call, has_refs)
            # What is sent together costs both ends less; a quick call more is no long wait.
            if self.answers and (is_first or not self.channel.has_more()):
                self._flush()

    def _one(self, call, has_refs):
        call_id = call["id"]
        if self.retired is not None:
            self.answers.append('{"id":%d,"returned":true}' % call_id)
            return
        claim = call.get("claim")
        if claim is not None and self.page is not None and not self.page.begin(claim):
            self._return(call, call_id)
            return
        if not self.last_ok and call.get("after"):
            if self.last_ok is None:
                self._return(call, call_id)
            else:
                self._skip(call, call_id)
            return
        answers = self.answers
        failure = None
        code = None
        entry = None
        result = None
        text = "null"
        started_at = time()
        started = perf_counter()
        try:
            self._take(call)
            if self.cwd != self.entered_cwd:
                os.chdir(self.cwd)
                self.entered_cwd = self.cwd
                self.real_cwd = os.getcwd()
            entry = self.entry
            if entry is None:
                entry = self.loader.entry(self.callee, call["task"], self.run, self.cwd)
                self.entry = entry
            # An answer must not wait behind a call that may be long.
            if answers and not entry.quick:
                self._flush()
            args = call.get("args")
            _package.call = call
            if args is None:
                result = entry.function()
            elif has_refs:
                result = entry.function(**self.kept.resolve(args))
            else:
                result = entry.function(**args)
            kind = type(result)
            if kind is not dict and result is not None and hasattr(result, "__await__"):
                result = _await(result)
            if not self.forked:
                if kind is str and len(result) > INLINE_BYTES:
                    self.long_text = result
                else:
                    text = self.results.text(result)
            # What the result holds may write when it goes: that must come before the mark.
            result = None
        except SystemExit as exit:
            code = self._exit_code(exit.code)
        except BaseException as error:
            failure = error
        seconds = perf_counter() - started
        if self.forked:
            self._leave_child(code, failure)
        _package.call = None
        self._finish(call_id, entry, text, code, failure, started_at, seconds)
        self.long_text = None

    def _skip(self, call, call_id):
        self._take(call)
        unmarked = self._clean(call_id)
        self._answer('{"id":%d,"skipped":true%s}' % (call_id, unmarked))

    def _return(self, call, call_id):
        self._take(call)
        self.last_ok = None
        self._answer('{"id":%d,"returned":true}' % call_id)

    def _take(self, call):
        """What a call says of function, run, folder and environment holds for those behind it, too."""
        if "function" in call:
            self.callee = call
            self.entry = None
        if "cwd" in call:
            self.cwd = call["cwd"]
            self.entry = None
        if "run" in call:
            self.entry = None
            if call["run"] != self.run:
                self.run = call["run"]
                self.kept.clear()
        self.environment.enter(call)

    def _answer(self, text):
        self.answers.append(text)
        # The call behind it may take long, against expectation: the agent can then look it up.
        if self.page is not None and not self.page.hold(text):
            self._flush()

    def _finish(self, call_id, entry, text, code, failure, started_at, seconds):
        facts = '"startedAt":%.3f,"wallMs":%.4f' % (started_at * 1000, seconds * 1000)
        if seconds > MEASURED_SECONDS:
            facts += self._cpu(seconds)
        else:
            self.short_seconds += seconds
        if entry is not None:
            entry.quick = seconds < QUICK_SECONDS
        if failure is not None:
            answer = self._failed(failure)
        elif code is not None and code != 0:
            answer = '"ok":false,"reason":"exit-code","code":%d' % code
        elif self.long_text is not None:
            answer = self._large(call_id, self.values.quoted_pieces(self.long_text))
        elif len(text) > INLINE_BYTES // 4 and len(_bytes(text)) > INLINE_BYTES:
            answer = self._large(call_id, (_bytes(text),))
        else:
            answer = '"ok":true,"result":%s' % text
            self.kept.add(call_id, text)
        self.last_ok = answer[5] == "t"
        unmarked = self._clean(call_id)
        self._answer('{"id":%d,%s,%s%s}' % (call_id, answer, facts, unmarked))
        # A part of what the agent hands out ahead: it sends the next calls while these go on.
        if (self.retired is not None or len(self.answers) >= self.enough
                or perf_counter() - self.last_flush > FLUSH_SECONDS):
            self._flush()

    def _clean(self, call_id):
        """Puts the worker back in order, then marks the end of this call's output.

        Returns what the answer says of the marks."""
        hygiene = self.hygiene
        dirty = None
        if _package.thread_count() > 0:
            left = hygiene.threads_left()
            if left > 0:
                dirty = "the task left %d running thread(s) behind" % left
        if self.children.may_be_left() and hygiene.reap() > 0:
            dirty = "the task left child processes behind; they were killed"
        if self.environment.changed():
            self.environment.restore()
        try:
            if os.getcwd() != self.real_cwd:
                self.entered_cwd = None
        except OSError:
            dirty = "the task's working folder is gone"
        if sys.argv is not self.argv or len(self.argv) != 1:
            self.argv = [""]
            sys.argv = self.argv
        if "signal" in sys.modules:
            hygiene.reset_signals()
        if sys.stdout is not self.out or sys.stderr is not self.err:
            hygiene.restore_streams(self.out, self.err)
        if dirty is not None and self.retired is None:
            self.retired = dirty
        mark = self.mark + call_id.to_bytes(4, "little")
        page = self.page
        try:
            self.out.flush()
            self.err.flush()
            if page is not None:
                if not page.has_written():
                    return ',"unmarked":true'
                page.marked(len(mark))
            os.write(1, mark)
            os.write(2, mark)
        except ValueError:
            # The task has closed or detached sys.stdout; the descriptor is still ours.
            self._open_streams()
            self._write_mark(mark)
        except OSError:
            self._write_mark(mark)
        return ""

    def _write_mark(self, mark):
        for fd in (1, 2):
            while True:
                try:
                    os.write(fd, mark)
                    break
                except BlockingIOError:
                    # A child such as Node.js makes the pipe non-blocking for all who share it.
                    os.set_blocking(fd, True)
                except OSError as error:
                    self.retired = "descriptor %d of the worker cannot be written: %s" % (
                        fd, error.strerror)
                    break

    def _flush_if_any(self):
        if self.answers:
            self._flush()

    def _flush(self):
        replaced = self.hygiene.streams_replaced()
        if replaced is not None and self.retired is None:
            self.retired = replaced
        if self.answers:
            text = '{"done":[%s]' % ",".join(self.answers)
            del self.answers[:]
            if self.retired is not None:
                # In one frame: else the agent could send a call on seeing the answers alone.
                text += ',"retire":%s' % self.results.text(self.retired)
            self.channel.send(text + "}")
            if self.page is not None:
                self.page.sent()
        self.last_flush = perf_counter()

    def _large(self, call_id, pieces):
        folder = self.environment.get("EDGEDAG_SHM")
        if folder is None:
            return self._failed(self.values.NotJson(
                "the result has %d bytes, and EDGEDAG_SHM names no folder for it"
                % sum(map(len, pieces))))
        try:
            name = "%d-%d.json" % (os.getpid(), call_id)
            path, size = self.values.write_file(folder, name, pieces)
        except OSError as error:
            return self._failed(self.values.NotJson(
                "the result, too long for the answer, cannot be written to %s: %s; return less, or"
                " write a file and return its path" % (folder, error.strerror)))
        self.kept.add_file(call_id, path, self.long_text)
        return '"ok":true,"resultFile":%s,"sizeBytes":%d' % (self.results.text(path), size)

    def _failed(self, error):
        from edgedag_worker import failures

        detail, trace = failures.describe(error, self.loader.sources(), _FOLDER)
        place = failures.place(error, self.loader)
        error.__traceback__ = None
        text = self.results.text
        answer = '"ok":false,"reason":"bad-result","detail":%s' % text(_plain(detail, DETAIL_CHARACTERS))
        if trace:
            answer += ',"trace":%s' % text(_plain(trace, TRACE_CHARACTERS))
        if place is not None:
            answer += ',"line":%d,"column":%d' % place
        return answer

    def _exit_code(self, code):
        if code is None:
            return 0
        if isinstance(code, int):
            return code & 0xFF
        # As Python itself does: another value is a message.
        print(code, file=sys.stderr)
        return 1

    def _usage(self):
        from resource import RUSAGE_SELF, getrusage

        return getrusage(RUSAGE_SELF)

    def _cpu(self, seconds):
        # Measured only for calls that are long enough to be worth 0.8 us; the short ones before it
        # in the same frame are taken off by their wall time.
        before = self.usage
        now = self._usage()
        self.usage = now
        user = max(0.0, now.ru_utime - before.ru_utime - self.short_seconds)
        self.short_seconds = 0.0
        facts = ',"cpuUserMs":%.3f,"cpuSystemMs":%.3f' % (
            user * 1000, (now.ru_stime - before.ru_stime) * 1000)
        if now.ru_maxrss > before.ru_maxrss:
            # The peak is the worker's; only a call that raised it has surely reached it.
            facts += ',"maxRssBytes":%d' % (now.ru_maxrss * 1024)
        return facts

    def _open_streams(self):
        self.out = self.hygiene.open_stream(1, "surrogateescape")
        self.err = self.hygiene.open_stream(2, "backslashreplace")
        sys.stdout = sys.__stdout__ = self.out
        sys.stderr = sys.__stderr__ = self.err

    def _in_child(self):
        self.forked = True
        _package.call = None

    def _leave_child(self, code, failure):
        # A task that forks and returns in the child: the child is not a second worker.
        if failure is not None:
            from edgedag_worker import failures

            detail, trace = failures.describe(failure, self.loader.sources(), _FOLDER)
            print(trace or detail, file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # the child is about to end; there is nobody to tell
                pass
        os._exit(1 if failure is not None else code or 0)


def _bytes(text):
    # Half of a surrogate pair has no UTF-8; as backslash escape it is JSON for the same.
    return text.encode("utf-8", "backslashreplace")


def _plain(text, limit):
    """`text` as something that UTF-8 can hold, cut in the middle when it is too long."""
    text = _bytes(text).decode()
    if len(text) <= limit:
        return text
    return "%s\n... %d characters left out ...\n%s" % (
        text[: limit // 4], len(text) - limit, text[-(limit - limit // 4) :])


def _await(awaitable):
    import asyncio

    if asyncio.iscoroutine(awaitable):
        return asyncio.run(awaitable)

    async def wait():
        return await awaitable

    return asyncio.run(wait())


def main():
    from edgedag_worker.channel import Channel

    import _thread

    _package.thread_count = _thread._count
    worker_id = int(os.environ.pop("EDGEDAG_WORKER_ID"))
    token = os.environ.pop("EDGEDAG_WORKER_TOKEN")
    mark = bytes.fromhex(os.environ.pop("EDGEDAG_WORKER_MARK"))
    page = None
    path = os.environ.pop("EDGEDAG_WORKER_CLAIM", "")
    sys.dont_write_bytecode = True
    if path:
        from edgedag_worker.claim import ClaimPage

        # Before descriptor 3 is free: the map keeps a descriptor, which must not get that number.
        page = ClaimPage(path)
    channel = Channel(3)
    worker = Worker(channel, mark, page)
    # Without a claim page it waits in a sandbox for one call, which is all that it will ever do.
    if page is None:
        worker.rehearse()
    # Imports what the first call would wait for.
    worker.usage = worker._usage()
    channel.send('{"hello":{"worker":%d,"token":"%s","runtime":"python","version":"%d.%d.%d","pid":%d}}' % (
        (worker_id, token) + sys.version_info[:3] + (os.getpid(),)))
    worker.serve()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # The agent is gone or wants no more: exit handlers of tasks belong to nobody now.
    os._exit(0)


if __name__ == "__main__":
    main()
