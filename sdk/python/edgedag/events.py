# Events of the run: pub/sub channels of the store. The agent publishes `task.<key>.<state>` and
# `run.finished`; tasks publish their own.
from __future__ import annotations

import json
import time

from .connection import Connection, address, before_waiting, shared
from .errors import WaitTimeout
from .store import to_json

# False at run time: `typing` takes milliseconds to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Optional


class Event:
    """`data` is the publication as JSON, or its text when it is none."""

    __slots__ = ("channel", "data")

    def __init__(self, channel: str, data: Any):
        self.channel = channel
        self.data = data

    def __repr__(self) -> str:
        return "Event(%r, %r)" % (self.channel, self.data)


class Subscription:
    """Events from the moment it was made. An iterator that never ends by itself; close it."""

    def __init__(self, channels: "tuple[str, ...]"):
        if not channels:
            raise ValueError("subscribe needs at least one channel")
        self._connection = Connection(address())
        self._connection.send(("SUBSCRIBE",) + channels)
        for _ in channels:
            self._connection.receive()

    def next(self, timeout: Optional[float] = None) -> Event:
        """The next event; WaitTimeout after `timeout` seconds, and the subscription is closed."""
        before_waiting()
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                left = None if end is None else max(0.001, end - time.monotonic())
                reply = self._connection.receive(left)
                if isinstance(reply, list) and reply[0] == b"message":
                    return Event(reply[1].decode("utf-8", "replace"), _data(reply[2]))
        except TimeoutError:
            self.close()
            raise WaitTimeout("no event came within %g s" % (timeout or 0)) from None

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        return self.next()

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()


class Events:
    def publish(self, channel: str, data: Any = None) -> int:
        """Sends `data` as JSON; returns how many subscribers of the store got it."""
        return shared.execute(("PUBLISH", channel, to_json(data)))  # type: ignore[no-any-return]

    def subscribe(self, *channels: str) -> Subscription:
        """`with events.subscribe("a", "b") as channel: for event in channel: ...`"""
        return Subscription(channels)

    def wait(self, channel: str, timeout: Optional[float] = None) -> Event:
        """The next event on `channel` from now on; WaitTimeout after `timeout` seconds."""
        with Subscription((channel,)) as subscription:
            return subscription.next(timeout)


def _data(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode("utf-8", "replace")
