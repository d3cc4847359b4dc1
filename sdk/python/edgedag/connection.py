# One connection to the store of the run that this code belongs to. Made when it is first used, and
# made anew when the run has changed or the process has forked; never repaired behind the caller's
# back: a broken one raises, and the next command connects again.
from __future__ import annotations

import os
import sys
from _thread import allocate_lock

from .errors import OutsideOfRun, StoreError, StoreUnreachable
from .resp import Reader, encode

# False at run time: `typing` takes milliseconds to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


def address() -> str:
    """Where the store is: a socket path, or a redis:// URL."""
    found = os.environ.get("EDGEDAG_STORE_URL") or os.environ.get("EDGEDAG_STORE")
    if not found:
        raise OutsideOfRun("EDGEDAG_STORE")
    return found


def before_waiting() -> None:
    """Lets a warm worker send the answers of earlier calls: this call may now wait for others."""
    worker = sys.modules.get("edgedag_worker")
    flush = getattr(worker, "flush", None)
    if flush is not None and getattr(worker, "call", None) is not None:
        flush()


class Connection:
    """A single connection, without a lock."""

    def __init__(self, where: str):
        self.where = where
        self._socket = _connect(where)
        self._timeout: Optional[float] = None
        self._reader = Reader(self._receive)
        if "://" in where:
            self._introduce(where)

    def send(self, arguments: "tuple[Any, ...]") -> None:
        try:
            self._socket.sendall(encode(arguments))
        except OSError as error:
            raise StoreUnreachable("the store at %s: %s" % (self.where, error)) from error

    def receive(self, timeout: Optional[float] = None) -> Any:
        """The next reply. `timeout` in seconds raises TimeoutError, after which it is of no use."""
        if timeout != self._timeout:
            self._socket.settimeout(timeout)
            self._timeout = timeout
        reply = self._reader.reply()
        if isinstance(reply, StoreError):
            raise reply
        return reply

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> bytes:
        import socket

        try:
            return self._socket.recv(1 << 18)  # type: ignore[no-any-return]
        except socket.timeout:
            raise TimeoutError("no reply in time") from None
        except OSError as error:
            raise StoreUnreachable("the store at %s: %s" % (self.where, error)) from error

    def _introduce(self, url: str) -> None:
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(url)
        if parts.password:
            user = (unquote(parts.username),) if parts.username else ()
            self.send(("AUTH",) + user + (unquote(parts.password),))
            self.receive()
        if parts.path.strip("/"):
            self.send(("SELECT", parts.path.strip("/")))
            self.receive()


def _connect(where: str) -> Any:
    # 3 ms of import that a task without a store does not pay.
    import socket

    try:
        if "://" not in where:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.connect(where)
            return link
        from urllib.parse import urlsplit

        parts = urlsplit(where)
        link = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "rediss":
            import ssl

            link = ssl.create_default_context().wrap_socket(link, server_hostname=parts.hostname)
        return link
    except OSError as error:
        raise StoreUnreachable("the store at %s cannot be reached: %s" % (where, error)) from error


class SharedConnection:
    """The connection for commands, shared by the threads of the process."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._connection: Optional[Connection] = None
        self._owner = ("", 0)

    def execute(self, arguments: "tuple[Any, ...]") -> Any:
        before_waiting()
        with self._lock:
            owner = (address(), os.getpid())
            if self._connection is None or owner != self._owner:
                self._drop()
                self._connection = Connection(owner[0])
                self._owner = owner
            try:
                self._connection.send(arguments)
                return self._connection.receive()
            except StoreError:
                raise
            except BaseException:
                # Half a reply may still come: nobody could tell whose.
                self._drop()
                raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


shared = SharedConnection()
