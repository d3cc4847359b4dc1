# Turns an exception of a task into the two texts that people read: one line, and the traceback
# without our own frames. Imported only when a call has failed, because `traceback` takes a while.
import traceback

from edgedag_worker.calls import NotFound, fill_linecache
from edgedag_worker.values import NotJson


def describe(error, sources, runner_folder):
    """(detail, trace or None) of the exception of a call."""
    if isinstance(error, (NotJson, NotFound)):
        return str(error), None
    fill_linecache(sources)
    try:
        detail = "".join(traceback.format_exception_only(type(error), error)).strip()
    except Exception:  # a task's exception class may fail to print itself
        detail = type(error).__name__
    if isinstance(error, SyntaxError):
        return "%s: %s" % (type(error).__name__, error), detail
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename, runner_folder):
        frames = frames.tb_next
    if frames is None:
        return detail, None
    try:
        trace = "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # as above
        trace = "".join(traceback.format_tb(frames))
    return detail, trace


def place(error, loader):
    """Line and column, both from 1, of a syntax error in the task's code, or None."""
    if not isinstance(error, SyntaxError) or not error.lineno:
        return None
    if not loader.is_of_task(error.filename):
        return None
    return error.lineno, max(1, error.offset or 1)


def _is_ours(name, runner_folder):
    return (
        name.startswith(runner_folder)
        or name.startswith("<frozen importlib")
        or "/asyncio/" in name
    )
