# The check of Python code as a process of its own: takes programs over stdin, answers each with what
# is refused in it. It parses and never runs what it is given. Frames both ways are a length (4 bytes,
# little endian) and that many bytes: the code in UTF-8, and JSON. Started by python-checker.ts, never
# by hand. Python 3.8 or later, standard library only.
import gc
import os
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

import ast  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import warnings  # noqa: E402

from python_ast.collect import Collector  # noqa: E402
from python_ast.judge import Judge  # noqa: E402
from python_ast.tables import REASONS  # noqa: E402

MOST_FINDINGS = 50
# A process that has parsed that much gives its memory back by ending.
RETIRE_BYTES = 256 * 1024
# A comment that says how a file is encoded, in the first two lines (PEP 263). Some readers of files
# end lines at a line feed only, so what is beyond a carriage return counts too.
_ENCODING = re.compile(
    r"\ufeff?(?:[ \t\f]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)"
)
# Those in which what is not ASCII can never become ASCII.
_PLAIN_ENCODINGS = frozenset(
    "utf-8 utf8 utf_8 utf-8-sig ascii us-ascii latin-1 latin1 iso-8859-1 iso-8859-15 cp1252".split()
)


class Findings:
    def __init__(self, code, off):
        self.code = code
        self.off = off
        self.found = {}
        self.lines = None

    def report(self, node, rule, what):
        if rule not in self.off:
            # Values in order of position; a second finding of one rule in one place says nothing.
            place = (node.lineno, node.col_offset, rule)
            if place not in self.found:
                self.found[place] = "%s %s." % (what, REASONS[rule])

    def listed(self):
        chosen = sorted(self.found.items())[:MOST_FINDINGS]
        return [
            {"rule": rule, "line": line, "column": self._column(line, offset), "message": message}
            for (line, offset, rule), message in chosen
        ]

    def _column(self, line, offset):
        if self.lines is None:
            self.lines = self.code.split("\n")
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return len(text.encode("utf-8")[:offset].decode("utf-8", "ignore")) + 1


def check(code, off):
    findings = Findings(code, off)
    hidden = _hidden(code)
    if hidden is not None:
        return _whole("hidden-text", hidden, off)
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    if code.startswith("\ufeff"):
        code = code[1:]
    findings.code = code
    try:
        tree = compile(code, "main.py", "exec", ast.PyCF_ONLY_AST, True)
    except (SyntaxError, ValueError) as error:
        return {"kind": "unparsed", "detail": _detail(error)}
    except (RecursionError, MemoryError):
        return _whole("too-complex", "The program", off)
    collector = Collector(findings.report)
    collector.collect(tree)
    Judge(collector, findings.report).judge(tree)
    collector.forget()
    if not findings.found:
        return None
    return {"kind": "unsafe", "findings": findings.listed()}


def _hidden(code):
    """Whether a Python that reads it from a file would read something else."""
    if "\0" in code:
        return "Code with null bytes"
    match = _ENCODING.match(code)
    if match is not None and match.group(1).lower() not in _PLAIN_ENCODINGS:
        return "Code in the encoding %s" % match.group(1)[:40]
    return None


def _whole(rule, what, off):
    """A finding about the program as a whole."""
    if rule in off:
        return None
    message = "%s %s." % (what, REASONS[rule])
    finding = {"rule": rule, "line": 1, "column": 1, "message": message}
    return {"kind": "unsafe", "findings": [finding]}


def _detail(error):
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return "%s (line %d)" % (error.msg, error.lineno)
    return str(error)[:500]


def serve(off, timeout):
    clean = _framed(b'{"kind":"clean"}')
    buffer = b""
    while True:
        while len(buffer) < 4 or len(buffer) < 4 + int.from_bytes(buffer[:4], "little"):
            # Larger reads would map memory anew each time.
            piece = os.read(0, 65536)
            if not piece:
                return
            buffer += piece
        size = int.from_bytes(buffer[:4], "little")
        code = buffer[4 : 4 + size]
        buffer = buffer[4 + size :]
        # Should the one who asked be gone, the check ends all the same: nobody catches this signal.
        signal.setitimer(signal.ITIMER_REAL, timeout)
        is_last = size > RETIRE_BYTES
        try:
            verdict = check(code.decode("utf-8"), off)
        except MemoryError:
            verdict = _whole("too-complex", "The program", off)
            is_last = True
        except Exception as error:
            verdict = {"kind": "unavailable", "detail": "the check failed: %r" % (error,)}
            is_last = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        if is_last:
            verdict = dict(verdict or {"kind": "clean"}, last=True)
        _write(clean if verdict is None else _framed(json.dumps(verdict).encode("ascii")))
        if is_last:
            return


def _framed(content):
    return len(content).to_bytes(4, "little") + content


def _write(content):
    while content:
        content = content[os.write(1, content) :]


def main(arguments):
    memory = int(arguments[0])
    timeout = float(arguments[1])
    off = frozenset(arguments[2].split(",")) if len(arguments) > 2 else frozenset()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    warnings.simplefilter("ignore")
    # What lives now lives for ever; what a check makes is freed by counting.
    gc.collect()
    gc.freeze()
    gc.disable()
    check("import json\n\n\ndef main(a):\n    return [json.dumps(b) for b in a]\n", off)
    _write(_framed(json.dumps({"ready": sys.version.split()[0]}).encode("ascii")))
    serve(off, timeout)


if __name__ == "__main__":
    main(sys.argv[1:])
