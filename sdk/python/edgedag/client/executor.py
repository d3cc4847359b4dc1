# The executor: programs go to a code-execution service, their ends come back. It keeps nothing of a
# task but its handle, may be used from several threads, and starts none.
from __future__ import annotations

import base64
import os
import time
import uuid
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Union
from urllib.parse import quote

from ..errors import WaitTimeout
from .errors import ConfigurationError, TaskCancelledError, task_error
from .live import live_events
from .tasks import TaskEvent, TaskHandle, TaskResult
from .transport import Address, Request, Transport

#: Text, bytes, or the path of a file here.
FileContent = Union[str, bytes, "os.PathLike[str]"]
#: Seconds, bytes or a count; or text with a unit: `500ms`, `256Mi`.
Limit = Union[int, float, str]

#: Of one request: proxies cut what is silent for longer.
_most_wait_s = 30.0
_most_ids = 1000
_short_wait_s = 0.5


class Waited(NamedTuple):
    """Both in the order in which they were given."""

    done: List[TaskHandle]
    pending: List[TaskHandle]


class Executor:
    """A code-execution service (`edgedag serve`).

    url        of the service; else EDGEDAG_MASTER
    key        an API key, or the master's token; else EDGEDAG_API_KEY, or the file that
               EDGEDAG_API_KEY_FILE names
    ca_file    PEM of the authority that signed its certificate; else EDGEDAG_MASTER_CA, else the
               system's
    retry_for  seconds for which a service that is away, or says "full" or "too many", is asked again;
               0: it is asked once
    """

    def __init__(
        self,
        url: Optional[str] = None,
        key: Optional[str] = None,
        ca_file: Optional[str] = None,
        retry_for: float = 30.0,
    ):
        found = url or os.environ.get("EDGEDAG_MASTER")
        if not found:
            raise ConfigurationError(
                "no service is named", "", "Give Executor a url, or set EDGEDAG_MASTER."
            )
        self._retry_for = retry_for
        address = Address(found, ca_file or os.environ.get("EDGEDAG_MASTER_CA") or None)
        self._transport = Transport(address, key or _key_of_environment(), retry_for)

    def submit(
        self,
        command: str,
        args: Sequence[str] = (),
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[str] = None,
        files: Optional[Mapping[str, FileContent]] = None,
        outputs: Sequence[str] = (),
        limits: Optional[Mapping[str, Limit]] = None,
        isolation: Optional[str] = None,
        priority: Optional[int] = None,
        callback: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> TaskHandle:
        """Has a program run in a sandbox, with `files` in its working folder. `outputs` are patterns
        of files to keep, `limits` like `{"timeout": 5, "memory": "128Mi"}`, `priority` 0 to 9."""
        task: Dict[str, Any] = dict(
            command=command, args=args, env=env, stdin=stdin, files=files, outputs=outputs, limits=limits,
            isolation=isolation, priority=priority, callback=callback, idempotency_key=idempotency_key,
        )  # fmt: skip
        return self.submit_many([task])[0]

    def submit_many(self, tasks: Iterable[Mapping[str, Any]]) -> List[TaskHandle]:
        """All or none of at most 1,000 tasks: mappings with what `submit` takes, by name."""
        body = [_task_of(task) for task in tasks]
        if not body:
            return []
        answer = self._call(Request("POST", "/tasks", body, _new_key()))
        return [TaskHandle(task["id"], self) for task in answer["tasks"]]

    def run_code(
        self,
        language: str,
        code: str,
        args: Sequence[str] = (),
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[str] = None,
        files: Optional[Mapping[str, FileContent]] = None,
        outputs: Sequence[str] = (),
        limits: Optional[Mapping[str, Limit]] = None,
        isolation: Optional[str] = None,
        priority: Optional[int] = None,
        callback: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> TaskHandle:
        """Has a program's text run: `python`, `nodejs`, `typescript`, `bash`, `c`, `cpp`, `java`, `go`,
        `rust`, or what the service knows beside them. Otherwise as `submit`."""
        task: Dict[str, Any] = dict(
            language=language, code=code, args=args, env=env, stdin=stdin, files=files, outputs=outputs,
            limits=limits, isolation=isolation, priority=priority, callback=callback,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        answer = self._call(Request("POST", "/submit", _task_of(task), _new_key()))
        return TaskHandle(answer["task_id"], self)

    def get_result(
        self, handle: Union[TaskHandle, str], timeout: Optional[float] = None
    ) -> TaskResult:
        """Waits for the end. Raises TaskError when the task failed (NodeFailedError when that was not
        its own fault), TaskCancelledError, and TimeoutError when it has not ended in `timeout` s."""
        task = handle if isinstance(handle, TaskHandle) else self.handle(handle)
        deadline = None if timeout is None else time.monotonic() + timeout
        while task._result is None:
            wait = _wait_of(deadline)
            query = "?wait=%dms" % (wait * 1000) if wait >= 0.001 else ""
            path = _path("/tasks", task.id) + query
            request = Request("GET", path, wait=wait, deadline=deadline)
            result = TaskResult.of(self._call(request))
            if result.ended:
                task._result = result
            elif deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout("task %s has not ended within %g s" % (task.id, timeout or 0))
        result = task._result
        if result.state == "failed":
            raise task_error(result)
        if result.state == "cancelled":
            raise TaskCancelledError(result)
        return result

    def wait(
        self,
        handles: Sequence[TaskHandle],
        timeout: Optional[float] = None,
        count: Optional[int] = None,
    ) -> Waited:
        """Which have ended, however they did, once `count` (all) of them have or `timeout` s are over;
        0 says it at once. Raises nothing for tasks that failed."""
        enough = len(handles) if count is None else min(count, len(handles))
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            open_handles = [handle for handle in handles if handle._result is None]
            missing = enough - (len(handles) - len(open_handles))
            if open_handles and (missing > 0 or timeout == 0):
                self._look(open_handles, missing, deadline)
                missing = enough - sum(handle._result is not None for handle in handles)
            if missing <= 0 or (deadline is not None and time.monotonic() >= deadline):
                return Waited(
                    [handle for handle in handles if handle._result is not None],
                    [handle for handle in handles if handle._result is None],
                )

    def cancel(self, handle: TaskHandle) -> str:
        """Cancels a task, whether it waits or runs; gives the state that it is in now."""
        request = Request("POST", _path("/tasks", handle.id) + "/cancel", {})
        result = TaskResult.of(self._call(request))
        if result.ended:
            handle._result = result
        return result.state

    def stream(self, handle: TaskHandle) -> Iterator[TaskEvent]:
        """What a task writes, while it does: `for event in executor.stream(handle)`. It begins with the
        present attempt; should a node be lost, a `state` event begins the next one. The last event is
        `end`, with the answer of the service as its data."""
        self._check_open()
        path = _path("/result", handle.id) + "/stream"
        for event in live_events(self._transport, path, self._retry_for):
            if event.type == "end":
                handle._result = TaskResult.of(event.data)
            yield event

    def read_file(self, handle: TaskHandle, name: str) -> bytes:
        """A file that the task left, as `TaskResult.files` names it."""
        self._check_open()
        path = "%s/files/%s" % (_path("/result", handle.id), quote(name))
        return self._transport.fetch(Request("GET", path))

    def handle(self, task_id: str) -> TaskHandle:
        """Of a task that was submitted before, or by somebody else with the same key."""
        return TaskHandle(task_id, self)

    def available_resources(self) -> Dict[str, Any]:
        """Slots, processors and memory of all nodes, and how much is free."""
        return self._get("/resources")

    def statistics(self) -> Dict[str, Any]:
        """Counts by state and reason, latencies, and what was used, since the service started."""
        return self._get("/statistics")

    def usage_history(self) -> List[Dict[str, Any]]:
        """What was used in each of the last 60 minutes, oldest first."""
        minutes: List[Dict[str, Any]] = self._get("/usage")["minutes"]
        return minutes

    def shutdown(self) -> None:
        """Closes the connections. Tasks go on: `handle(id)` of another executor finds them."""
        self._transport.close()

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_error: Any) -> None:
        self.shutdown()

    def _look(self, handles: List[TaskHandle], missing: int, deadline: Optional[float]) -> None:
        """Asks once, for at most so many at a time: of several parts none may wait for long."""
        parts = [handles[at : at + _most_ids] for at in range(0, len(handles), _most_ids)]
        for part in parts:
            wait = _wait_of(deadline)
            if len(parts) > 1:
                wait = 0.0 if part is not parts[-1] else min(wait, _short_wait_s)
            body = {
                "ids": list({handle.id for handle in part}),
                "timeout": "%dms" % (wait * 1000) if wait >= 0.001 else 0,
                "count": max(1, min(missing, len({handle.id for handle in part}))),
            }
            request = Request("POST", "/tasks/wait", body, wait=wait, deadline=deadline)
            answer = self._call(request)
            done = {view["id"]: TaskResult.of(view) for view in answer["done"]}
            for handle in part:
                handle._result = done.get(handle.id)

    def _get(self, path: str) -> Dict[str, Any]:
        answer: Dict[str, Any] = self._call(Request("GET", path))
        return answer

    def _call(self, request: Request) -> Any:
        self._check_open()
        return self._transport.call(request)

    def _check_open(self) -> None:
        if self._transport.closed.is_set():
            raise RuntimeError("the executor was shut down; make another one")


def _new_key() -> Dict[str, str]:
    """A submission that is sent twice is taken in once."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def _key_of_environment() -> Optional[str]:
    path = os.environ.get("EDGEDAG_API_KEY_FILE")
    if not path:
        return os.environ.get("EDGEDAG_API_KEY")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError as error:
        raise ConfigurationError("EDGEDAG_API_KEY_FILE: %s" % error) from error


def _path(folder: str, task_id: str) -> str:
    return "%s/%s" % (folder, quote(task_id, safe=""))


def _wait_of(deadline: Optional[float]) -> float:
    if deadline is None:
        return _most_wait_s
    return min(_most_wait_s, max(0.0, deadline - time.monotonic()))


def _task_of(fields: Mapping[str, Any]) -> Dict[str, Any]:
    """Without what was not said; whatever else is wrong the service tells."""
    task = {name: value for name, value in fields.items() if value is not None}
    for name in ("args", "outputs"):
        if name in task and not isinstance(task[name], str):
            task[name] = list(task[name])
            if not task[name]:
                del task[name]
    for name in ("env", "limits"):
        if name in task:
            task[name] = dict(task[name])
    if "files" in task:
        task["files"] = {path: _file_of(content) for path, content in task["files"].items()}
    return task


def _file_of(content: Any) -> Any:
    if isinstance(content, os.PathLike):
        with open(content, "rb") as file:
            content = file.read()
    if isinstance(content, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(content).decode("ascii")}
    return content
