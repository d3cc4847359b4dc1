# Requests to the service: connections that are used again, and requests that are tried again. Every
# request here may be sent twice: those that only ask, and submissions, which carry an idempotency key.
from __future__ import annotations

import json
import os
import random
import threading
import time
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit

from .errors import ConfigurationError, ServiceError, ServiceUnreachable, refusal

_connect_s = 10.0
#: Beyond the time that a request asks the service to wait.
_answer_s = 30.0
#: Between two pieces of a stream: the service says that it lives every 15 s.
_silence_s = 45.0
_idle_s = 30.0
_most_idle = 32
_first_pause_s = 0.1
_most_pause_s = 5.0
#: What may be otherwise a moment later.
passing = frozenset((429, 502, 503, 504))


class Address:
    """Where the service is: from http(s):// or, as agents have it, ws(s)://."""

    def __init__(self, url: str, ca_file: Optional[str]):
        parts = urlsplit(url if "://" in url else "http://" + url)
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        if scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                "%r is no URL of a service" % url, "", "Give one like http://127.0.0.1:9385."
            )
        self.url = "%s://%s" % (scheme, parts.netloc.rpartition("@")[2])
        self.path = parts.path.rstrip("/")
        self._host = parts.hostname
        try:
            self._port = parts.port or (443 if scheme == "https" else 80)
        except ValueError as error:
            raise ConfigurationError("%r: %s" % (url, error)) from error
        self._tls: Any = None
        if scheme == "https":
            import ssl

            try:
                self._tls = ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                raise ConfigurationError("%s: %s" % (ca_file, error), "", "Name a PEM file.") from error

    def connect(self, timeout: float) -> HTTPConnection:
        if self._tls is None:
            connection = HTTPConnection(self._host, self._port, timeout=_connect_s)
        else:
            connection = HTTPSConnection(
                self._host, self._port, timeout=_connect_s, context=self._tls
            )
        connection.connect()
        # The connection is there; from here on the time is for the answer.
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection


class Request(NamedTuple):
    method: str
    #: With its query.
    path: str
    body: Any = None
    headers: Optional[Mapping[str, str]] = None
    #: Seconds that the service may take before it answers.
    wait: float = 0.0
    #: Of `time.monotonic()`: nothing is tried again after it.
    deadline: Optional[float] = None


class Transport:
    """`retry_for`: seconds for which a service that is away or busy is asked again."""

    def __init__(self, address: Address, key: Optional[str], retry_for: float):
        self._address = address
        self._headers = {"User-Agent": "edgedag-python", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = "Bearer " + key
        self._retry_for = retry_for
        self._lock = threading.Lock()
        self._idle: List[Tuple[HTTPConnection, float]] = []
        self._owner = os.getpid()
        self.closed = threading.Event()

    def call(self, request: Request) -> Any:
        """The answer's JSON."""
        data = self.fetch(request)
        try:
            return json.loads(data)
        except ValueError:
            raise ServiceUnreachable(
                "%s answered without JSON" % self._address.url,
                "",
                "Check the URL: this may be another service.",
            ) from None

    def fetch(self, request: Request) -> bytes:
        """The answer's bytes."""
        headers = {**self._headers, **(request.headers or {})}
        body: Optional[bytes] = None
        if request.body is not None:
            body = json.dumps(request.body, allow_nan=False).encode("ascii")
            headers["Content-Type"] = "application/json"
        wire = _Wire(request.method, request.path, body, headers, request.wait + _answer_s)
        gives_up_at: Optional[float] = None
        tries = 0
        while True:
            pause = random.uniform(0.5, 1.0) * min(_most_pause_s, _first_pause_s * 2**tries)
            failure: ServiceError
            try:
                response, data = self._once(wire)
            except (OSError, HTTPException) as error:
                failure = self._unreachable(error)
                failure.__cause__ = error
                # Who cannot prove who it is will not be able to in a moment.
                if type(error).__name__ == "SSLCertVerificationError":
                    raise failure from error
            else:
                if response.status < 400:
                    return data
                failure = refusal(response.status, _json_or_none(data))
                if response.status not in passing:
                    raise failure
                pause = max(pause, _seconds(response.getheader("Retry-After")))
            now = time.monotonic()
            if gives_up_at is None:
                gives_up_at = now + self._retry_for
                if request.deadline is not None:
                    gives_up_at = min(gives_up_at, request.deadline)
            if now + pause > gives_up_at or self.closed.wait(pause):
                raise failure
            tries += 1

    @contextmanager
    def open(self, path: str, headers: Mapping[str, str]) -> Iterator[HTTPResponse]:
        """An answer that is read as it comes, on a connection of its own; nothing is tried again."""
        connection = self._address.connect(_silence_s)
        try:
            connection.request("GET", self._address.path + path, None, {**self._headers, **headers})
            response = connection.getresponse()
            if response.status >= 400:
                raise refusal(response.status, _json_or_none(response.read()))
            with response:
                yield response
        finally:
            connection.close()

    def close(self) -> None:
        self.closed.set()
        with self._lock:
            for connection, _ in self._idle:
                connection.close()
            self._idle.clear()

    def _once(self, wire: "_Wire") -> "Tuple[HTTPResponse, bytes]":
        used = self._take(wire.timeout)
        if used is not None:
            try:
                return self._ask(used, wire)
            except (ConnectionError, HTTPException):
                pass  # The service had ended a connection that was idle: one that is new will do.
        return self._ask(self._address.connect(wire.timeout), wire)

    def _ask(self, connection: HTTPConnection, wire: "_Wire") -> "Tuple[HTTPResponse, bytes]":
        try:
            connection.request(wire.method, self._address.path + wire.path, wire.body, wire.headers)
            response = connection.getresponse()
            data = response.read()
        except BaseException:
            # Half an answer may still come: nobody could tell whose.
            connection.close()
            raise
        self._give_back(connection, response)
        return response, data

    def _take(self, timeout: float) -> Optional[HTTPConnection]:
        with self._lock:
            if self._owner != os.getpid():
                # After a fork the connections are the parent's: closing ends only this end of them.
                for connection, _ in self._idle:
                    connection.close()
                self._idle.clear()
                self._owner = os.getpid()
            while self._idle:
                connection, since = self._idle.pop()
                if time.monotonic() - since < _idle_s and connection.sock is not None:
                    connection.sock.settimeout(timeout)
                    return connection
                connection.close()
        return None

    def _give_back(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        with self._lock:
            is_kept = not response.will_close and not self.closed.is_set()
            if is_kept and connection.sock is not None and len(self._idle) < _most_idle:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _unreachable(self, error: BaseException) -> ServiceUnreachable:
        return ServiceUnreachable(
            "the service at %s cannot be reached: %s" % (self._address.url, error or type(error).__name__),
            "",
            "Check the URL (EDGEDAG_MASTER) and whether the service runs: GET /healthz.",
        )


class _Wire(NamedTuple):
    method: str
    path: str
    body: Optional[bytes]
    headers: Dict[str, str]
    timeout: float


def _json_or_none(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _seconds(text: Optional[str]) -> float:
    """Of Retry-After; a date is not sent by the service."""
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0
