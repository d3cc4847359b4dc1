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
`OutsideOfRun`; there, `from edgedag import Executor` is the client of a code-execution service.
"""
from .context import index, inputs, item, needs, params, task
from .errors import EdgedagError, OutsideOfRun, StoreError, StoreUnreachable, WaitTimeout
from .events import Event, Events
from .reports import Log, artifact, progress
from .store import Store

# False at run time: `typing` takes milliseconds to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import ConfigurationError as ConfigurationError
    from .client import ExecutionError as ExecutionError
    from .client import Executor as Executor
    from .client import MonitoringError as MonitoringError
    from .client import NodeFailedError as NodeFailedError
    from .client import ResourceError as ResourceError
    from .client import SandboxError as SandboxError
    from .client import SecurityError as SecurityError
    from .client import ServiceError as ServiceError
    from .client import ServiceUnreachable as ServiceUnreachable
    from .client import TaskCancelledError as TaskCancelledError
    from .client import TaskError as TaskError
    from .client import TaskEvent as TaskEvent
    from .client import TaskFailure as TaskFailure
    from .client import TaskHandle as TaskHandle
    from .client import TaskResult as TaskResult
    from .client import TaskTimeoutError as TaskTimeoutError
    from .client import ValidationError as ValidationError
    from .client import Waited as Waited
else:

    def __getattr__(name):
        # The client is for programs outside of a run: no task pays for its import.
        if name[:1].isupper():
            from . import client

            if name in client.__all__:
                return getattr(client, name)
        raise AttributeError("module 'edgedag' has no attribute %r" % name)


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
