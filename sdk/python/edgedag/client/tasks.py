# What a caller holds of a task: its handle, its end, and what it writes while it runs. Data; all
# that is asked goes through the executor.
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterator, NamedTuple, Optional

if TYPE_CHECKING:
    from .executor import Executor


class TaskFailure(NamedTuple):
    """Why a task failed: `reason` (`exit-code`, `timeout`, `out-of-memory`, ...) and whose `fault`."""

    reason: str
    fault: str
    message: str
    error_class: str
    #: Of a function that threw.
    trace: Optional[str]


class TaskResult(NamedTuple):
    """What became of a task."""

    id: str
    #: `succeeded`, `failed` or `cancelled`; `queued` and `running` before the end.
    state: str
    stdout: str
    stderr: str
    exit_code: Optional[int]
    #: What a function returned, or a command wrote to $EDGEDAG_RESULT.
    value: Any
    failure: Optional[TaskFailure]
    #: Measured: wall_ms, cpu_user_ms, peak_memory_bytes and others, as far as they are known.
    usage: Dict[str, float]
    #: Name to size, of files that `outputs` asked for; `Executor.read_file` gets them.
    files: Dict[str, int]
    #: The level that held.
    isolation: Optional[str]
    node: Optional[str]
    #: The answer of the service as it is: times, attempt, priority, language.
    view: Dict[str, Any]

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")

    @classmethod
    def of(cls, view: Dict[str, Any]) -> "TaskResult":
        error = view.get("error")
        failure = None
        if isinstance(error, dict):
            failure = TaskFailure(
                reason=str(error.get("reason", "")),
                fault=str(error.get("fault", "")),
                message=str(error.get("message", "")),
                error_class=str(error.get("class", "")),
                trace=error.get("trace"),
            )
        return cls(
            id=view["id"],
            state=view["state"],
            stdout=view.get("stdout", ""),
            stderr=view.get("stderr", ""),
            exit_code=view.get("exit_code"),
            value=view.get("result"),
            failure=failure,
            usage=view.get("usage") or {},
            files={file["name"]: file["size"] for file in view.get("files") or ()},
            isolation=view.get("isolation"),
            node=view.get("node"),
            view=view,
        )


class TaskEvent(NamedTuple):
    """One event of a live stream: `state`, `stdout`, `stderr` or, at last, `end`."""

    type: str
    data: Dict[str, Any]

    @property
    def text(self) -> str:
        """What was written, of `stdout` and `stderr`."""
        return str(self.data.get("text", ""))


class TaskHandle:
    """A task that the service has accepted. Two handles of one id are equal."""

    __slots__ = ("_executor", "_result", "id")

    def __init__(self, task_id: str, executor: "Executor"):
        self.id = task_id
        self._executor = executor
        self._result: Optional[TaskResult] = None

    def result(self, timeout: Optional[float] = None) -> TaskResult:
        """See `Executor.get_result`."""
        return self._executor.get_result(self, timeout)

    def done(self) -> bool:
        return bool(self._executor.wait([self], timeout=0).done)

    def cancel(self) -> str:
        """See `Executor.cancel`."""
        return self._executor.cancel(self)

    def stream(self) -> Iterator[TaskEvent]:
        """See `Executor.stream`."""
        return self._executor.stream(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return "<TaskHandle %s>" % self.id
