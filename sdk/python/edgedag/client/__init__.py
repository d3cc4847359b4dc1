# The client of a code-execution service: what programs outside of a run import. Loaded when
# `edgedag.Executor` is first asked for: tasks do not need it, and http.client takes 20 ms.
"""Client of `edgedag serve`.

    from edgedag import Executor, TaskError

    with Executor("http://127.0.0.1:9385") as executor:
        handle = executor.submit("python3", ["-c", "print(6 * 7)"], limits={"timeout": 5})
        print(executor.get_result(handle, timeout=30).stdout)
"""
from .errors import (
    ConfigurationError,
    ExecutionError,
    MonitoringError,
    NodeFailedError,
    ResourceError,
    SandboxError,
    SecurityError,
    ServiceError,
    ServiceUnreachable,
    TaskCancelledError,
    TaskError,
    TaskTimeoutError,
    ValidationError,
)
from .executor import Executor, Waited
from .tasks import TaskEvent, TaskFailure, TaskHandle, TaskResult

__all__ = [
    "ConfigurationError",
    "ExecutionError",
    "Executor",
    "MonitoringError",
    "NodeFailedError",
    "ResourceError",
    "SandboxError",
    "SecurityError",
    "ServiceError",
    "ServiceUnreachable",
    "TaskCancelledError",
    "TaskError",
    "TaskEvent",
    "TaskFailure",
    "TaskHandle",
    "TaskResult",
    "TaskTimeoutError",
    "ValidationError",
    "Waited",
]
