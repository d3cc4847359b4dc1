# What the client raises. A refusal of the service has the class that the service names; a task that
# failed is a TaskError and, beside that, of the class of its reason, so both can be caught.
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Sequence, Tuple, Type

from ..errors import EdgedagError

if TYPE_CHECKING:
    from .tasks import TaskResult

_shown_chars = 1000


class ServiceError(EdgedagError):
    """A request was refused, or could not be made.

    `code` is stable (`E_QUEUE_FULL`), `remedy` says what to do, `diagnostics` has everything that is
    wrong with the request, `status` is that of HTTP, 0 when nothing was answered.
    """

    # Of a TaskError, which no answer refused.
    message = code = remedy = ""
    status = 0
    diagnostics: Sequence[Dict[str, Any]] = ()

    def __init__(
        self,
        message: str,
        code: str = "",
        remedy: str = "",
        status: int = 0,
        diagnostics: Sequence[Dict[str, Any]] = (),
    ):
        super().__init__(message, code, remedy, status, diagnostics)
        self.message = message
        self.code = code
        self.remedy = remedy
        self.status = status
        self.diagnostics = tuple(diagnostics)

    def __str__(self) -> str:
        lines = [": ".join(part for part in (self.code, self.message, self.remedy) if part)]
        for found in self.diagnostics[1:]:
            lines.append("  %s %s: %s" % (found.get("path"), found.get("message"), found.get("remedy")))
        return "\n".join(lines)


class ValidationError(ServiceError):
    """The request is not valid."""


class SecurityError(ServiceError):
    """The key is missing, wrong or not enough, or the code was refused by policy."""


class ResourceError(ServiceError):
    """There is not enough: the queue is full, no node has as much, too many requests; no such task."""


class ExecutionError(ServiceError):
    """A program failed, or the service itself did."""


class TaskTimeoutError(ServiceError):
    """A task ran longer than it may."""


class SandboxError(ServiceError):
    """No sandbox could be had."""


class MonitoringError(ServiceError):
    """Figures could not be had."""


class ConfigurationError(ServiceError):
    """The client or the service is not set up for this."""


class ServiceUnreachable(ServiceError):
    """The service did not answer for as long as the client tries."""


class TaskError(EdgedagError):
    """The task failed. `result` has all that is known; the most wanted of it is here too."""

    def __init__(self, result: "TaskResult"):
        Exception.__init__(self, result)
        self.result = result
        self.task_id = result.id
        self.reason = "" if result.failure is None else result.failure.reason
        self.fault = "" if result.failure is None else result.failure.fault
        self.exit_code = result.exit_code
        self.stdout = result.stdout
        self.stderr = result.stderr
        self.usage = result.usage

    def __str__(self) -> str:
        failure = self.result.failure
        text = "task %s failed: %s" % (self.task_id, "" if failure is None else failure.message)
        trace = "" if failure is None or failure.trace is None else failure.trace
        end = (self.stderr or trace).strip()[-_shown_chars:]
        return "%s\n%s" % (text, end) if end else text


class TaskExecutionError(TaskError, ExecutionError):
    """Its program failed."""


class TaskRanTooLongError(TaskError, TaskTimeoutError):
    """It went over its time."""


class TaskLimitError(TaskError, ResourceError):
    """It went over another limit."""


class NodeFailedError(TaskError):
    """Not the task's fault: the node, its sandbox or the agent failed, also when tried again."""


class NodeSandboxError(NodeFailedError, SandboxError):
    """The node could not make a sandbox or start the program."""


class TaskCancelledError(EdgedagError):
    """The task was cancelled. `result` has what it had written until then."""

    def __init__(self, result: "TaskResult"):
        super().__init__(result)
        self.result = result
        self.task_id = result.id

    def __str__(self) -> str:
        return "task %s was cancelled" % self.task_id


_classes: Dict[str, Type[ServiceError]] = {
    "Validation": ValidationError,
    "Security": SecurityError,
    "Resource": ResourceError,
    "Execution": ExecutionError,
    "Timeout": TaskTimeoutError,
    "Sandbox": SandboxError,
    "Monitoring": MonitoringError,
    "Configuration": ConfigurationError,
}
_task_classes: Dict[str, Type[TaskError]] = {
    "Execution": TaskExecutionError,
    "Timeout": TaskRanTooLongError,
    "Resource": TaskLimitError,
}


def refusal(status: int, body: Any) -> ServiceError:
    """Of an answer that is an error; a proxy's too, which has no body of ours."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        what = "the service answered with status %d" % status
        if status in (401, 403):
            return SecurityError(what, "", "Check the key.", status)
        if status < 500:
            return ValidationError(what, "", "Check the URL: this may be another service.", status)
        return ServiceUnreachable(what, "", "Look at the service and at what is before it.", status)
    known = _classes.get(str(error.get("class")), ServiceError)
    texts: Tuple[str, ...] = tuple(str(error.get(name, "")) for name in ("message", "code", "remedy"))
    return known(texts[0], texts[1], texts[2], status, error.get("diagnostics") or ())


def task_error(result: "TaskResult") -> TaskError:
    failure = result.failure
    if failure is None:
        return TaskError(result)
    if failure.fault in ("platform", "agent"):
        is_sandbox = failure.error_class == "Sandbox"
        return NodeSandboxError(result) if is_sandbox else NodeFailedError(result)
    return _task_classes.get(failure.error_class, TaskError)(result)
