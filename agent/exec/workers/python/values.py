# Values on their way in and out of a call: `$ref` objects become data, results become JSON text.
# It owns what is kept of earlier results. It never runs code of the task.
import json
import os
from json import decoder, encoder

# As many as an agent has at a worker at once; what is older goes in one piece.
KEPT_RESULTS = 96
# Large texts are kept as they are, too: they cannot change, so a later call may have the same one.
KEPT_TEXTS = 4
LONG_TEXT = 4096
# Long texts are quoted a piece at a time: it stays in the processor's caches, and no memory is asked for anew.
PIECE_CHARACTERS = 64 << 10
# Changes what a JSON string has to escape, of ASCII, and nothing else.
_WITHOUT_ESCAPED = bytes(1 if code == 0 else 0 if code < 32 or code in b'"\\' else code for code in range(256))
_LEAVES = {int, float, str, bool, type(None)}

decode = json.JSONDecoder().decode


class NotJson(Exception):
    """A result that cannot be JSON, or an argument that cannot be found; the text is for people."""


class Kept:
    """Results of the last calls of this worker as JSON text, so that a later call can refer to them."""

    def __init__(self):
        self._texts = {}
        self._file = (None, None)
        self._values = {}

    def add(self, call_id, text):
        texts = self._texts
        texts[call_id] = text
        if len(texts) >= 2 * KEPT_RESULTS:
            for oldest in list(texts)[:KEPT_RESULTS]:
                del texts[oldest]

    def add_file(self, call_id, path, value=None):
        """`value` is the result itself when it is a text."""
        self.add(call_id, ("file", path))
        if value is not None:
            values = self._values
            values[call_id] = value
            if len(values) > KEPT_TEXTS:
                del values[next(iter(values))]

    def clear(self):
        self._texts.clear()
        self._values.clear()
        self._file = (None, None)

    def resolve(self, value):
        """`value` with every `{"$ref": ...}` replaced; nothing in it is shared with another call."""
        if type(value) is dict:
            if len(value) == 1 and "$ref" in value:
                return self._follow(value["$ref"])
            return {name: self.resolve(member) for name, member in value.items()}
        if type(value) is list:
            return [self.resolve(member) for member in value]
        return value

    def _follow(self, ref):
        if "literal" in ref:
            literal = ref["literal"]
            return {name: self.resolve(member) for name, member in literal.items()}
        if "need" in ref:
            return {"outcome": "succeeded", "result": self._result(ref["need"], ())}
        path = ref.get("path") or ()
        if "file" in ref:
            return self._from_file(ref["file"], path)
        return self._result(ref["call"], path)

    def _result(self, call_id, path):
        text = self._texts.get(call_id)
        if text is None:
            raise NotJson("the result of call %s is no longer kept in this worker" % call_id)
        if type(text) is tuple:
            value = self._values.get(call_id)
            return value if value is not None and not path else self._from_file(text[1], path)
        return _member(decode(text), path, "the result")

    def _from_file(self, name, path):
        if not path:
            return _read_json(name)
        # One file stays parsed: a fan-out takes one member after the other out of it.
        if self._file[0] != name:
            self._file = (None, None)
            self._file = (name, _read_json(name))
        found = _member(self._file[1], path, name)
        return found if type(found) in _LEAVES else decode(_PLAIN(found))


def _read_json(name):
    try:
        with open(name, "rb") as file:
            return json.loads(file.read())
    except OSError as error:
        raise NotJson("the value file %s cannot be read: %s" % (name, error.strerror)) from None


def _member(value, path, what):
    for depth, step in enumerate(path):
        try:
            if type(value) is list and type(step) is str:
                step = int(step)
            if type(value) is str or (type(step) is int and step < 0):
                raise KeyError(step)
            value = value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            found = ".".join(str(name) for name in path[: depth + 1])
            raise NotJson("%s has no member `%s`" % (what, found)) from None
    return value


_quote = encoder.c_encode_basestring or encoder.py_encode_basestring
_PLAIN = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _unencodable(value):
    raise TypeError("not JSON")


def _make_encoder():
    # JSONEncoder.encode builds a new C encoder for each value; one that lives on is three times faster.
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:
        plain = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return lambda value, _level: (plain.encode(value),)
    return make({}, _unencodable, _quote, None, ":", ",", False, False, False)


class Results:
    """Turns what a function returned into JSON text."""

    def __init__(self):
        self._encode = _make_encoder()

    def text(self, value):
        """JSON text of `value`; raises NotJson with a sentence that says where and what to do."""
        kind = type(value)
        if value is None:
            return "null"
        if kind is int:
            return int.__repr__(value)
        if kind is str and len(value) > LONG_TEXT and _plain_bytes(value) is not None:
            return '"%s"' % value
        try:
            text = "".join(self._encode(value, 0))
        except (TypeError, ValueError, RecursionError, OverflowError):
            self._encode = _make_encoder()
            raise NotJson(_why(value)) from None
        if kind is not str:
            bad = _bad_key(value)
            if bad is not None:
                raise NotJson(bad)
        return text


def quoted_pieces(text):
    """The JSON of a long text as bytes, one piece after the other."""
    yield b'"'
    for at in range(0, len(text), PIECE_CHARACTERS):
        piece = text[at : at + PIECE_CHARACTERS]
        raw = _plain_bytes(piece)
        # Half of a surrogate pair has no UTF-8; as backslash escape it is JSON for the same.
        yield _quote(piece)[1:-1].encode("utf-8", "backslashreplace") if raw is None else raw
    yield b'"'


def _plain_bytes(text):
    """The text as JSON has it between its quotes, or None: something must be escaped."""
    if not text.isascii():
        return None
    raw = text.encode()
    # Bytes that a translation leaves alone come back as the same object: the fastest look there is.
    return raw if raw.translate(_WITHOUT_ESCAPED) is raw else None


def _bad_key(value):
    """The encoder turns keys like 1 and None into strings; the reader would get other data."""
    root = value
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    return _why(root)
            members = value.values()
        elif isinstance(value, (list, tuple)):
            members = value
        else:
            continue
        if not _LEAVES.issuperset(map(type, members)):
            todo.extend(members)
    return None


def _why(value):
    problem = _find(value, "the result", [])
    return problem or "the result cannot be written as JSON: it is nested too deeply"


def _find(value, where, parents):
    if value is None or isinstance(value, (str, bool, int)):
        return None
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return "%s is %r, which JSON cannot hold: return None or a string instead" % (where, value)
        return None
    if len(parents) > 400:
        return None
    if any(value is parent for parent in parents):
        return "%s contains itself: return a tree without cycles" % where
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                return "%s has the key %r of type %s: JSON keys are strings, use str(key)" % (
                    where, key, type(key).__name__)
            problem = _find(member, "%s[%r]" % (where, key), parents + [value])
            if problem:
                return problem
        return None
    if isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            problem = _find(member, "%s[%d]" % (where, index), parents + [value])
            if problem:
                return problem
        return None
    return "%s is of type %s, which is not JSON: %s" % (where, type(value).__name__, _remedy(value))


def _remedy(value):
    if isinstance(value, (set, frozenset)):
        return "return sorted(...) or list(...) of it"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "decode it, or write it to a file and return the path"
    if hasattr(value, "isoformat"):
        return "return its .isoformat()"
    if hasattr(value, "tolist"):
        return "return its .tolist()"
    if hasattr(value, "to_dict"):
        return "return its .to_dict()"
    return "return numbers, strings, lists and dicts"


def write_file(folder, name, pieces):
    """Writes them to `folder/name` so that a reader sees all or nothing; returns path and size."""
    path = os.path.join(folder, name)
    temporary = path + ".part"
    size = 0
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        for piece in pieces:
            written = os.write(fd, piece)
            while written < len(piece):
                written += os.write(fd, memoryview(piece)[written:])
            size += len(piece)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    return path, size


__all__ = ["Kept", "NotJson", "Results", "decode", "decoder", "quoted_pieces", "write_file"]
