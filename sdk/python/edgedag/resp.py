# The wire of the store: commands as RESP arrays of bulk strings, replies in RESP2 or RESP3.
# Knows no command and opens no connection.

from __future__ import annotations

from .errors import StoreError, StoreUnreachable

# False at run time: `typing` takes milliseconds to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Union

    Argument = Union[str, bytes, bytearray, memoryview, int, float]


def encode(arguments: "tuple[Argument, ...]") -> bytes:
    """One command. Text becomes UTF-8, numbers their shortest decimal form."""
    parts: List[bytes] = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if isinstance(argument, str):
            data = argument.encode()
        elif isinstance(argument, (bytes, bytearray, memoryview)):
            data = bytes(argument)
        elif isinstance(argument, bool) or not isinstance(argument, (int, float)):
            raise TypeError(
                "a store command takes str, bytes, int or float, not %s; use set_json for data"
                % type(argument).__name__
            )
        else:
            data = number(argument).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def number(value: Union[int, float]) -> str:
    """As JavaScript writes it: 1.0 is `1`."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return repr(value)


class Reader:
    """Reads replies from `receive`, which gives some bytes, or none at the end of the stream."""

    def __init__(self, receive: Callable[[], bytes]):
        self._receive = receive
        self._rest = b""
        self._at = 0

    def reply(self) -> Any:
        """The next reply: bytes, int, float, bool, None, list or dict; an error is returned."""
        try:
            return self._reply()
        except (ValueError, TypeError, RecursionError) as error:
            # No number, a list as the name of a member, nested deeper than there is stack.
            raise StoreUnreachable("the store has sent what is no reply: %s" % error) from None

    def _reply(self) -> Any:
        line = self._line()
        kind, text = line[:1], line[1:]
        if kind == b"$" or kind == b"=":
            if text == b"-1":
                return None
            data = self._exactly(_count(text) + 2)[:-2]
            return data[4:] if kind == b"=" else data
        if kind == b"+" or kind == b"(":
            return text if kind == b"+" else int(text)
        if kind == b":":
            return int(text)
        if kind == b"*" or kind == b"~" or kind == b">":
            return None if text == b"-1" else [self._reply() for _ in range(_count(text))]
        if kind == b"-":
            return StoreError(text.decode("utf-8", "replace"))
        if kind == b"!":
            return StoreError(self._exactly(_count(text) + 2)[:-2].decode("utf-8", "replace"))
        if kind == b"%":
            return {_name(self._reply()): self._reply() for _ in range(_count(text))}
        if kind == b"_":
            return None
        if kind == b"#":
            return text == b"t"
        if kind == b",":
            return float(text)
        raise StoreUnreachable("the store has sent what is no reply: %r" % line[:40])

    def _line(self) -> bytes:
        while True:
            end = self._rest.find(b"\r\n", self._at)
            if end >= 0:
                line = self._rest[self._at : end]
                self._at = end + 2
                return line
            self._more(1)

    def _exactly(self, count: int) -> bytes:
        if len(self._rest) - self._at < count:
            self._more(count - (len(self._rest) - self._at))
        data = self._rest[self._at : self._at + count]
        self._at += count
        return data

    def _more(self, count: int) -> None:
        parts = [self._rest[self._at :]]
        self._at = 0
        while count > 0:
            data = self._receive()
            if not data:
                raise StoreUnreachable("the store has closed the connection")
            parts.append(data)
            count -= len(data)
        self._rest = b"".join(parts)


def _count(text: bytes) -> int:
    """How many bytes or elements follow. Less than none would move the reader backwards, for ever."""
    if not text.isdigit():
        raise ValueError("%r is no count" % text[:40])
    return int(text)


def _name(key: Any) -> Any:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else key
