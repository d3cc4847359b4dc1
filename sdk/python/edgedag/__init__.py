# What a Python task imports: the store that its run shares, events, its inputs, and a log.
# Nothing here reads the environment or opens a connection before it is used: in a warm worker one
# import serves many tasks, and importing is part of a task's cold start.
"""SDK of edgedag for Python tasks.

    from edgedag import store, events, log, needs, params, progress

    def month(number):
        log.info("counting", month=number)
        store.incr("months")
        return needs["clean"]["result"][number]

Everything is synchronous and may be used from several threads. Outside of a run every use raises
`OutsideOfRun`.
"""
from .context import index, inputs, item, needs, params, task
from .errors import EdgedagError, OutsideOfRun, StoreError, StoreUnreachable, WaitTimeout
from .events import Event, Events
from .reports import Log, artifact, progress
from .store import Store

store = Store()
events = Events()
log = Log()

__version__ = "0.1.0"
__all__ = [
    "EdgedagError",
    "Event",
    "OutsideOfRun",
    "StoreError",
    "StoreUnreachable",
    "WaitTimeout",
    "artifact",
    "events",
    "index",
    "inputs",
    "item",
    "log",
    "needs",
    "params",
    "progress",
    "store",
    "task",
]
