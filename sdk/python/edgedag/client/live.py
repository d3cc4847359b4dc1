# The live stream of a task: server-sent events (WHATWG HTML, 9.2) as the service writes them. A
# connection that breaks is made anew where it broke; after the end nothing comes.
from __future__ import annotations

import json
import random
import time
from http.client import HTTPException, HTTPResponse
from typing import Iterator, List, Optional, Tuple

from .errors import ServiceError, ServiceUnreachable
from .tasks import TaskEvent
from .transport import Transport, passing

_first_pause_s = 0.1
_most_pause_s = 5.0


def live_events(transport: Transport, path: str, retry_for: float) -> Iterator[TaskEvent]:
    last_id: Optional[str] = None
    failing_since: Optional[float] = None
    tries = 0
    while True:
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        try:
            with transport.open(path, headers) as response:
                for event_id, event in _events(response):
                    last_id, failing_since, tries = event_id or last_id, None, 0
                    yield event
                    if event.type == "end":
                        return
            problem: BaseException = ServiceUnreachable("the stream ended before the task did")
        except (OSError, HTTPException) as error:
            problem = error
        except ServiceError as error:
            if error.status not in passing and not isinstance(error, ServiceUnreachable):
                raise
            problem = error
        now = time.monotonic()
        failing_since = now if failing_since is None else failing_since
        pause = random.uniform(0.5, 1.0) * min(_most_pause_s, _first_pause_s * 2**tries)
        tries += 1
        if now + pause > failing_since + retry_for or transport.closed.wait(pause):
            raise ServiceUnreachable("the stream broke: %s" % problem) from problem


def _events(response: HTTPResponse) -> Iterator[Tuple[Optional[str], TaskEvent]]:
    """Fields that the service does not write are passed over, and so is what is cut off."""
    event_id: Optional[str] = None
    kind = "message"
    data: List[str] = []
    while True:
        line = response.readline()
        if not line.endswith(b"\n"):
            return
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text == "":
            if data:
                yield event_id, TaskEvent(kind, json.loads("\n".join(data)))
            kind, data = "message", []
            continue
        field, _, value = text.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "id":
            event_id = value
        elif field == "event":
            kind = value
        elif field == "data":
            data.append(value)
