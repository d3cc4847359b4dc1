# The store that all tasks of a run share: the commands of Redis by their own names.
from __future__ import annotations

import json

from .connection import shared

# False at run time: `typing` takes milliseconds to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple, Union

    from .resp import Argument


def _text(value: Any) -> Any:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _ttl(ttl: Optional[float]) -> Tuple[Argument, ...]:
    return () if ttl is None else ("PX", round(ttl * 1000))


class Store:
    """Values are text (UTF-8); `get_json` and `set_json` carry any JSON; `execute` is everything."""

    def execute(self, *command: Argument) -> Any:
        """Any command; replies as they are: bytes, int, float, None, list."""
        return shared.execute(command)

    def get(self, key: str) -> Optional[str]:
        return _text(self.execute("GET", key))  # type: ignore[no-any-return]

    def set(self, key: str, value: Argument, ttl: Optional[float] = None) -> None:
        """`ttl` in seconds."""
        self.execute("SET", key, value, *_ttl(ttl))

    def get_json(self, key: str) -> Any:
        """None also when there is no such key."""
        text = self.execute("GET", key)
        return None if text is None else json.loads(text)

    def set_json(self, key: str, value: Any, ttl: Optional[float] = None) -> None:
        self.execute("SET", key, to_json(value), *_ttl(ttl))

    def delete(self, *keys: str) -> int:
        return self.execute("DEL", *keys)  # type: ignore[no-any-return]

    def incr(self, key: str, by: int = 1) -> int:
        return self.execute("INCRBY", key, by)  # type: ignore[no-any-return]

    def expire(self, key: str, ttl: float) -> bool:
        return bool(self.execute("PEXPIRE", key, round(ttl * 1000)))

    def hset(self, key: str, field: str, value: Argument) -> int:
        return self.execute("HSET", key, field, value)  # type: ignore[no-any-return]

    def hget(self, key: str, field: str) -> Optional[str]:
        return _text(self.execute("HGET", key, field))  # type: ignore[no-any-return]

    def hgetall(self, key: str) -> Dict[str, str]:
        reply = self.execute("HGETALL", key)
        if isinstance(reply, dict):
            return {name: _text(value) for name, value in reply.items()}
        return {_text(reply[at]): _text(reply[at + 1]) for at in range(0, len(reply), 2)}

    def lpush(self, key: str, *values: Argument) -> int:
        return self.execute("LPUSH", key, *values)  # type: ignore[no-any-return]

    def rpush(self, key: str, *values: Argument) -> int:
        return self.execute("RPUSH", key, *values)  # type: ignore[no-any-return]

    def blpop(self, keys: Union[str, List[str]], timeout: float = 0) -> Optional[Tuple[str, str]]:
        """(key, value), or None after `timeout` seconds; 0 waits for ever."""
        names = [keys] if isinstance(keys, str) else keys
        reply = self.execute("BLPOP", *names, timeout)
        return None if reply is None else (_text(reply[0]), _text(reply[1]))

    def sadd(self, key: str, *members: Argument) -> int:
        return self.execute("SADD", key, *members)  # type: ignore[no-any-return]

    def smembers(self, key: str) -> Set[str]:
        return {_text(member) for member in self.execute("SMEMBERS", key)}


def to_json(value: Any) -> str:
    """JSON as JavaScript writes it, so that both SDKs send the same bytes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
