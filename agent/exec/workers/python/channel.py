# The worker's end of the channel to the agent: length-prefixed frames of JSON text (PROTOCOL.md,
# "Worker channel"). It owns the socket. It never parses a frame, and never lets a child of the task
# inherit the socket.
import fcntl
import os
import struct
import termios

MAX_FRAME_BYTES = 64 << 20
READ_BYTES = 1 << 18
# The agent knows it: the channel broke under the worker.
CHANNEL_LOST_CODE = 76


class ProtocolError(Exception):
    """The other end sent what no agent sends; the worker gives up."""


class Channel:
    """Frames on a blocking stream socket that arrives as `fd`; `fd` itself is closed."""

    def __init__(self, fd):
        self._fd = move_high(fd)
        self._rest = b""
        self._unread = bytearray(4)
        os.set_blocking(self._fd, True)
        # A fork without exec (multiprocessing) keeps descriptors that are close-on-exec.
        os.register_at_fork(after_in_child=self._forget)

    def read(self):
        """The text of the next frame, or None when the agent has closed its end."""
        rest = self._rest
        while len(rest) < 4:
            data = os.read(self._fd, READ_BYTES)
            if not data:
                return None
            rest = rest + data if rest else data
        length = int.from_bytes(rest[:4], "little")
        if length > MAX_FRAME_BYTES:
            raise ProtocolError("a frame of %d bytes is over the limit" % length)
        end = 4 + length
        if len(rest) < end:
            pieces = [rest]
            missing = end - len(rest)
            while missing > 0:
                data = os.read(self._fd, max(READ_BYTES, min(missing, 4 << 20)))
                if not data:
                    return None
                pieces.append(data)
                missing -= len(data)
            rest = b"".join(pieces)
        self._rest = rest[end:]
        return rest[4:end].decode()

    def has_more(self):
        """Whether something of a next frame is here."""
        if self._rest:
            return True
        try:
            fcntl.ioctl(self._fd, termios.FIONREAD, self._unread, True)
        except OSError:
            return False
        return any(self._unread)

    def send(self, text):
        """Sends one frame; blocks until the kernel has all of it."""
        # Half of a surrogate pair has no UTF-8; as backslash escape it is JSON for the same.
        data = text.encode("utf-8", "backslashreplace")
        data = struct.pack("<I", len(data)) + data
        try:
            sent = os.write(self._fd, data)
            while sent < len(data):
                sent += os.write(self._fd, data[sent : sent + (1 << 20)])
        except OSError:
            # The task has closed it, or the agent is gone. There is nobody to tell but by this code.
            os._exit(CHANNEL_LOST_CODE)

    def _forget(self):
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def move_high(fd):
    """The descriptor under a high number, close-on-exec; `fd` itself is closed."""
    # High, so that a task that counts descriptors from 3 does not meet it; low limits get what fits.
    for lowest in (200, 20):
        try:
            high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
        except OSError:
            continue
        os.close(fd)
        return high
    os.set_inheritable(fd, False)
    return fd
