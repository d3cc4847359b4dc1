# What a task tells the agent while it runs: log lines, progress, and files that it leaves behind.
# They are publications on channels that the agent listens to; any Redis client could send them.
from __future__ import annotations

import os

from .connection import shared
from .context import task
from .store import to_json

# False at run time: `typing` takes milliseconds to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


def _report(channel: str, message: "dict[str, Any]") -> None:
    body = {"task": task.key, "attempt": task.attempt}
    body.update(message)
    shared.execute(("PUBLISH", channel, to_json(body)))


class Log:
    """`log("text")`, `log.warn("text", file="a.csv")`: a line of the run's combined log."""

    def __call__(self, text: str, level: str = "info", **fields: Any) -> None:
        if level not in ("trace", "debug", "info", "warn", "error", "fatal"):
            raise ValueError("%r is no level: trace, debug, info, warn, error or fatal" % level)
        _report("edgedag.log", {"level": level, "text": text, "fields": fields})

    def trace(self, text: str, **fields: Any) -> None:
        _report("edgedag.log", {"level": "trace", "text": text, "fields": fields})

    def debug(self, text: str, **fields: Any) -> None:
        _report("edgedag.log", {"level": "debug", "text": text, "fields": fields})

    def info(self, text: str, **fields: Any) -> None:
        _report("edgedag.log", {"level": "info", "text": text, "fields": fields})

    def warn(self, text: str, **fields: Any) -> None:
        _report("edgedag.log", {"level": "warn", "text": text, "fields": fields})

    def error(self, text: str, **fields: Any) -> None:
        _report("edgedag.log", {"level": "error", "text": text, "fields": fields})


def progress(fraction: float, text: Optional[str] = None) -> None:
    """How much is done, 0 to 1."""
    if not 0 <= fraction <= 1:
        raise ValueError("progress is a fraction from 0 to 1, not %r" % fraction)
    body = {"fraction": int(fraction) if fraction in (0, 1) else fraction}
    _report("edgedag.progress", body if text is None else {**body, "text": text})


def artifact(path: str, name: Optional[str] = None) -> None:
    """Hands a file over to the master; it must lie in the run's working folder and stay as it is."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError("there is no file %s to hand over" % path)
    _report("edgedag.artifact", {"name": name or os.path.basename(path), "path": path})
