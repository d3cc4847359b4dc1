# Who is running: the task, its attempt and its inputs. In a warm worker they come from the call that
# runs now, in a process of its own from the environment; both are looked up at each use.
from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from .errors import OutsideOfRun

# False at run time: `typing` takes milliseconds to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional


def _call() -> Optional[Dict[str, Any]]:
    return getattr(sys.modules.get("edgedag_worker"), "call", None)


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise OutsideOfRun(name)
    return value


def _inputs() -> Dict[str, Any]:
    call = _call()
    if call is not None:
        found = call.get("_inputs")
        if found is None:
            found = sys.modules["edgedag_worker"].resolve(call.get("inputs") or {})
            call["_inputs"] = found
        return found  # type: ignore[no-any-return]
    path = os.environ.get("EDGEDAG_INPUTS_FILE")
    if path is not None:
        with open(path, encoding="utf-8") as file:
            return json.load(file)  # type: ignore[no-any-return]
    return json.loads(_variable("EDGEDAG_INPUTS"))  # type: ignore[no-any-return]


class _Section(Mapping):  # type: ignore[type-arg]
    """A mapping that is looked up at each use, so that importing it by name is safe."""

    def __init__(self, name: Optional[str]):
        self._name = name

    def _data(self) -> Dict[str, Any]:
        found = _inputs()
        return found if self._name is None else found.get(self._name) or {}

    def __getitem__(self, key: str) -> Any:
        data = self._data()
        if key not in data:
            what = self._name or "inputs"
            known = ", ".join(data) or "nothing"
            raise KeyError("%s has no `%s`; it has %s" % (what, key, known))
        return data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data())

    def __len__(self) -> int:
        return len(self._data())

    def __repr__(self) -> str:
        return repr(self._data())


inputs = _Section(None)
#: Outcome and result of each task that this one needs: `needs["clean"]["result"]`.
needs = _Section("needs")
#: The parameters of the run.
params = _Section("params")


def item() -> Any:
    """The item of a fan-out that this task is for; None elsewhere."""
    return _inputs().get("item")


def index() -> Optional[int]:
    """The place of `item()` in the fan-out, from 0; None elsewhere."""
    return _inputs().get("index")


class Task:
    """Who runs."""

    def __init__(self) -> None:
        self._flag: Optional[Dict[str, bool]] = None

    @property
    def key(self) -> str:
        """The task's id, with the index of a fan-out: `months[3]`."""
        call = _call()
        return call["task"] if call is not None else _variable("EDGEDAG_TASK")

    @property
    def attempt(self) -> int:
        """From 1."""
        call = _call()
        return call["attempt"] if call is not None else int(_variable("EDGEDAG_ATTEMPT"))

    @property
    def run(self) -> str:
        return _variable("EDGEDAG_RUN")

    @property
    def cancelled(self) -> bool:
        """True once edgedag has asked this task to end.

        From its first use on, TERM does not end the process by itself: the task has its grace
        period to return, then the whole tree is killed. First used in the main thread.
        """
        import signal

        handler = signal.getsignal(signal.SIGTERM)
        if self._flag is None or getattr(handler, "__self__", None) is not self:
            self._flag = {"cancelled": False}
            signal.signal(signal.SIGTERM, self._on_term)
        return self._flag["cancelled"]

    def _on_term(self, _number: int, _frame: Any) -> None:
        if self._flag is not None:
            self._flag["cancelled"] = True


task = Task()
