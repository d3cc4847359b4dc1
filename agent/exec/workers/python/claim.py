# The worker's end of the page that it shares with the agent (PROTOCOL.md, "Claim page"): says which
# call is begun, learns which must not be, and shows the answers that are held back. It never
# decides what is done with a call.
import mmap
import os
import termios
from fcntl import ioctl

PAGE_BYTES = 65536
HELD_AT = 4096
MASK = 0xFFFFFFFF


class ClaimPage:
    def __init__(self, path):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            data = mmap.mmap(fd, PAGE_BYTES)
        finally:
            os.close(fd)
        self._bytes = memoryview(data)
        # Items of a cast view are stored and loaded whole: no other end sees half of one.
        self._words = memoryview(data).cast("I")
        self._revoked = memoryview(data).cast("Q")
        self._seen = 0
        self._first = 0
        self._span = 0
        self._end = HELD_AT
        self._drained = memoryview(data).cast("d")
        self._unread = (bytearray(4), bytearray(4))
        self._unread_ints = (memoryview(self._unread[0]).cast("i"), memoryview(self._unread[1]).cast("i"))
        self._written = [None, None]

    def begin(self, claim):
        """False when the agent has taken the call back."""
        # Store, then load: the agent stores, waits and then loads, so that one of us sees the other.
        self._words[0] = claim
        revoked = self._revoked[1]
        if revoked != self._seen:
            self._seen = revoked
            self._first = self._words[2]
            self._span = (self._words[3] - self._first) & MASK
        return (claim - self._first) & MASK > self._span

    def has_written(self):
        """Whether descriptor 1 or 2 got a byte since the last look; also when nobody can tell."""
        words = self._words
        sequence = words[16]
        # 0: the launcher does not count. Odd: it reads just now.
        if sequence == 0 or sequence & 1:
            return self._unknown()
        out = self._drained[9]
        err = self._drained[10]
        try:
            ioctl(1, termios.FIONREAD, self._unread[0], True)
            ioctl(2, termios.FIONREAD, self._unread[1], True)
        except OSError:
            return self._unknown()
        if words[16] != sequence:
            return self._unknown()
        out += self._unread_ints[0][0]
        err += self._unread_ints[1][0]
        written = self._written
        if out == written[0] and err == written[1]:
            return False
        written[0] = out
        written[1] = err
        return True

    def _unknown(self):
        self._written[0] = None
        return True

    def marked(self, size):
        """Marks of `size` bytes were written since the last look."""
        if self._written[0] is not None:
            self._written[0] += size
            self._written[1] += size

    def hold(self, answer):
        """Shows an answer that is sent later. False when there is no room: it must be sent now."""
        data = answer.encode("utf-8", "backslashreplace")
        at = self._end
        end = at + len(data) + 1
        if end > PAGE_BYTES:
            return False
        self._bytes[at:end] = data + b","
        self._end = end
        self._words[5] = end - HELD_AT
        return True

    def sent(self):
        """All that was held has been sent."""
        if self._end > HELD_AT:
            self._end = HELD_AT
            self._words[4] = (self._words[4] + 1) & MASK
            self._words[5] = 0
