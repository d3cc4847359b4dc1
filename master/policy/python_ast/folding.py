# Computes what text an expression stands for, as far as that can be told without running anything:
# constants, concatenation, formatting, a few methods of str and bytes, names that are bound to such.
# Bounded in steps and in length: it never computes what the author of the code could make large.
import ast
import base64
import binascii
import codecs


class _Unknown:
    def __repr__(self):
        return "UNKNOWN"


UNKNOWN = _Unknown()
LONGEST = 4096
DEEPEST = 60
MOST_STEPS = 200_000

_PLAIN_METHODS = {
    "lower": 0, "upper": 0, "strip": 1, "lstrip": 1, "rstrip": 1, "swapcase": 0, "title": 0,
    "capitalize": 0, "casefold": 0, "removeprefix": 1, "removesuffix": 1,
}  # fmt: skip
_CODECS = frozenset(
    "utf-8 utf8 ascii latin-1 latin1 hex rot13 rot-13 rot_13 base64 unicode_escape".split()
)


class OutOfSteps(Exception):
    pass


class Folder:
    """`value_of(name, scope)` gives the expressions that a name may stand for, or None."""

    def __init__(self, values_of):
        self._values_of = values_of
        self._known = {}
        self._steps = 0

    def every(self, node, scope):
        """All values that are known; a name may have several."""
        if node.__class__ is ast.Name:
            values = self._values_of(node, scope)
            if values is not None:
                found = [self.fold(value, inner) for value, inner in values]
                found.append(self._grown(values))
                return [value for value in found if value is not UNKNOWN]
        if node.__class__ is ast.IfExp:
            return self.every(node.body, scope) + self.every(node.orelse, scope)
        value = self.fold(node, scope)
        return [] if value is UNKNOWN else [value]

    def fold(self, node, scope, depth=0):
        key = (id(node), id(scope))
        if key in self._known:
            return self._known[key]
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise OutOfSteps
        if depth > DEEPEST:
            return UNKNOWN
        method = _METHODS.get(node.__class__)
        if method is None:
            return UNKNOWN
        self._known[key] = UNKNOWN  # while it is being computed: a name that stands for itself
        value = _bounded(method(self, node, scope, depth + 1))
        self._known[key] = value
        return value

    def prefix(self, node, scope, depth=0):
        """The text with which it begins; UNKNOWN when not even that can be told."""
        value = self.fold(node, scope)
        if value is not UNKNOWN or depth > DEEPEST:
            return value
        if node.__class__ is ast.BinOp and node.op.__class__ in (ast.Add, ast.Mod):
            while node.__class__ is ast.BinOp:
                node = node.left
            return self.prefix(node, scope, depth + 1)
        if node.__class__ is ast.JoinedStr and node.values:
            return self.prefix(node.values[0], scope, depth + 1)
        if node.__class__ is ast.FormattedValue:
            return self.prefix(node.value, scope, depth + 1)
        if node.__class__ is ast.Call and node.func.__class__ is ast.Attribute:
            if node.func.attr == "format":
                return self.prefix(node.func.value, scope, depth + 1)
            if node.func.attr == "join" and node.args:
                return self.prefix(node.args[0], scope, depth + 1)
        return UNKNOWN

    def _grown(self, values):
        """`s = "a"` and then `s += "b"`, in this order."""
        if len(values) < 2:
            return UNKNOWN
        parts = [self.fold(value, scope) for value, scope in values]
        if all(part.__class__ is str for part in parts):
            return _bounded("".join(parts[:64]))
        return UNKNOWN

    def _constant(self, node, scope, depth):
        return node.value

    def _name(self, node, scope, depth):
        values = self._values_of(node, scope)
        if values is None:
            return UNKNOWN
        if len(values) == 1:
            return self.fold(values[0][0], values[0][1], depth)
        return self._grown(values)

    def _binary(self, node, scope, depth):
        if node.op.__class__ is ast.Add:
            parts = []
            while node.__class__ is ast.BinOp and node.op.__class__ is ast.Add:
                parts.append(node.right)
                node = node.left
            parts.append(node)
            total = self.fold(parts.pop(), scope, depth)
            while parts and total is not UNKNOWN:
                total = _bounded(_add(total, self.fold(parts.pop(), scope, depth)))
            return total
        left = self.fold(node.left, scope, depth)
        right = self.fold(node.right, scope, depth)
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        if node.op.__class__ is ast.Mult:
            return _times(left, right)
        if node.op.__class__ is ast.Mod and left.__class__ is str:
            return _percent(left, right)
        if left.__class__ is int and right.__class__ is int:
            return _arithmetic(node.op.__class__, left, right)
        return UNKNOWN

    def _joined(self, node, scope, depth):
        parts = [self.fold(value, scope, depth) for value in node.values[:256]]
        if any(part is UNKNOWN for part in parts):
            return UNKNOWN
        return "".join(str(part) for part in parts)

    def _formatted(self, node, scope, depth):
        if node.format_spec is not None or node.conversion not in (-1, 115):
            return UNKNOWN
        value = self.fold(node.value, scope, depth)
        return str(value) if value.__class__ in (str, int) else UNKNOWN

    def _sequence(self, node, scope, depth):
        values = [self.fold(value, scope, depth) for value in node.elts[:256]]
        return UNKNOWN if any(value is UNKNOWN for value in values) else values

    def _if(self, node, scope, depth):
        test = self.fold(node.test, scope, depth)
        if test is UNKNOWN:
            return UNKNOWN
        return self.fold(node.body if test else node.orelse, scope, depth)

    def _walrus(self, node, scope, depth):
        return self.fold(node.value, scope, depth)

    def _item(self, node, scope, depth):
        value = self.fold(node.value, scope, depth)
        if value.__class__ not in (str, bytes, list):
            return UNKNOWN
        key = unindexed(node)
        if key.__class__ is ast.Slice:
            ends = [
                None if end is None else self.fold(end, scope, depth)
                for end in (key.lower, key.upper, key.step)
            ]
            if any(end is not None and end.__class__ is not int for end in ends) or ends[2] == 0:
                return UNKNOWN
            return value[slice(*ends)]
        at = self.fold(key, scope, depth)
        if at.__class__ is int and -len(value) <= at < len(value):
            return value[at]
        return UNKNOWN

    def _negative(self, node, scope, depth):
        value = self.fold(node.operand, scope, depth)
        return -value if node.op.__class__ is ast.USub and value.__class__ is int else UNKNOWN

    def _comprehension(self, node, scope, depth):
        """`chr(c) for c in [111, 115]`: one loop without conditions over known values."""
        loop = node.generators[0]
        if len(node.generators) > 1 or loop.ifs or loop.target.__class__ is not ast.Name:
            return UNKNOWN
        items = self.fold(loop.iter, scope, depth)
        if items.__class__ not in (list, str, bytes) or len(items) > 64:
            return UNKNOWN
        values = []
        for item in items:
            value = _substituted(
                self, node.elt, scope, _Item(loop.target.id, item), depth
            )
            if value is UNKNOWN:
                return UNKNOWN
            values.append(value)
        return values

    def _call(self, node, scope, depth):
        func = node.func
        if len(node.args) > 3 or any(arg.__class__ is ast.Starred for arg in node.args):
            return UNKNOWN
        args = [self.fold(arg, scope, depth) for arg in node.args]
        if func.__class__ is ast.Name:
            return _function(func.id, args)
        if func.__class__ is not ast.Attribute:
            return UNKNOWN
        if func.value.__class__ is ast.Name and func.value.id in ("str", "bytes") and args:
            if func.attr == "fromhex":
                return _method(b"", "fromhex", args)
            return _method(args[0], func.attr, args[1:])
        if func.value.__class__ is ast.Name and func.value.id in ("base64", "codecs", "binascii"):
            return _decoded(func.attr, args)
        target = self.fold(func.value, scope, depth)
        return UNKNOWN if target is UNKNOWN else _method(target, func.attr, args)


_METHODS = {
    ast.Constant: Folder._constant,
    ast.Name: Folder._name,
    ast.BinOp: Folder._binary,
    ast.JoinedStr: Folder._joined,
    ast.FormattedValue: Folder._formatted,
    ast.List: Folder._sequence,
    ast.Tuple: Folder._sequence,
    ast.IfExp: Folder._if,
    ast.NamedExpr: Folder._walrus,
    ast.Subscript: Folder._item,
    ast.UnaryOp: Folder._negative,
    ast.ListComp: Folder._comprehension,
    ast.GeneratorExp: Folder._comprehension,
    ast.Call: Folder._call,
}


def unindexed(subscript):
    """Python 3.8 wraps the key."""
    key = subscript.slice
    return key.value if key.__class__.__name__ == "Index" else key


class _Item:
    """Stands for the scope of a loop in which one name is known."""

    def __init__(self, name, value):
        self.name = name
        self.values = [(ast.Constant(value=value), self)]


def _substituted(folder, node, scope, item, depth):
    def values_of(asked, at):
        if at is item and asked.id == item.name:
            return item.values
        return folder._values_of(asked, scope if at is item else at)

    inner = Folder(values_of)
    inner._steps = folder._steps
    try:
        return inner.fold(node, item, depth)
    finally:
        folder._steps = inner._steps


def _bounded(value):
    kind = value.__class__
    if kind in (str, bytes, list):
        return value if len(value) <= LONGEST else UNKNOWN
    if kind is int:
        return value if -(2**64) < value < 2**64 else UNKNOWN
    return value if kind in (bool, float) else UNKNOWN


def _add(left, right):
    if left.__class__ is right.__class__ and left.__class__ in (str, bytes, int, list):
        return left + right
    return UNKNOWN


def _times(left, right):
    if left.__class__ is int and right.__class__ is not int:
        left, right = right, left
    if right.__class__ is not int:
        return UNKNOWN
    if left.__class__ is int:
        return left * right
    if left.__class__ in (str, bytes, list):
        return left * right if len(left) * max(right, 0) <= LONGEST else UNKNOWN
    return UNKNOWN


def _percent(left, right):
    values = tuple(right) if right.__class__ is list else (right,)
    pieces = left.split("%s")
    if "%" in "".join(pieces) or len(pieces) != len(values) + 1:
        return UNKNOWN
    return _filled(pieces, values)


def _arithmetic(op, left, right):
    if op is ast.Sub:
        return left - right
    if op is ast.BitXor:
        return left ^ right
    if op is ast.BitOr:
        return left | right
    if op is ast.BitAnd:
        return left & right
    if op is ast.FloorDiv and right != 0:
        return left // right
    if op is ast.Mod and right != 0:
        return left % right
    return UNKNOWN


def _function(name, args):
    if len(args) == 0 or args[0] is UNKNOWN:
        return UNKNOWN
    first = args[0]
    if name == "chr" and first.__class__ is int and 0 <= first < 0x110000:
        return chr(first)
    if name == "ord" and first.__class__ is str and len(first) == 1:
        return ord(first)
    if name == "str" and len(args) == 1 and first.__class__ in (str, int):
        return str(first)
    if name in ("bytes", "bytearray") and first.__class__ is list:
        good = all(item.__class__ is int and 0 <= item < 256 for item in first)
        return bytes(first) if good else UNKNOWN
    if name in ("list", "tuple", "iter") and first.__class__ in (str, bytes, list):
        return list(first)
    if name == "reversed" and first.__class__ in (str, bytes, list):
        return list(reversed(first))
    return UNKNOWN


def _method(target, name, args):
    kind = target.__class__
    if any(arg is UNKNOWN for arg in args):
        return UNKNOWN
    try:
        if name == "join" and kind in (str, bytes) and len(args) == 1:
            items = list(args[0]) if args[0].__class__ in (str, list) else None
            if items is None or any(item.__class__ is not kind for item in items):
                return UNKNOWN
            if sum(len(item) + len(target) for item in items) > LONGEST:
                return UNKNOWN
            return target.join(items)
        if name == "fromhex" and len(args) == 1 and args[0].__class__ is str:
            return bytes.fromhex(args[0])
        if name == "encode" and kind is str:
            return target.encode()
        if name == "decode" and kind is bytes:
            how = args[0] if args else "utf-8"
            return codecs.decode(target, how) if how in _CODECS else UNKNOWN
        if kind not in (str, bytes):
            return UNKNOWN
        if name in _PLAIN_METHODS and len(args) <= _PLAIN_METHODS[name]:
            return getattr(target, name)(*args)
        if name == "replace" and len(args) == 2 and all(arg.__class__ is kind for arg in args):
            old, new = args
            if (target.count(old) + 1) * len(new) + len(target) > LONGEST:
                return UNKNOWN
            return target.replace(old, new)
        if name == "split" and len(args) <= 1:
            return target.split(*args)
        if name == "format" and kind is str:
            return _format(target, args)
    except (ValueError, TypeError, AttributeError, LookupError, binascii.Error):
        return UNKNOWN
    return UNKNOWN


def _format(text, args):
    pieces = text.split("{}")
    rest = "".join(pieces)
    if "{" in rest or "}" in rest or len(pieces) != len(args) + 1:
        return UNKNOWN
    return _filled(pieces, args)


def _filled(pieces, values):
    if any(value.__class__ not in (str, int) for value in values):
        return UNKNOWN
    text = pieces[0]
    for value, piece in zip(values, pieces[1:]):
        text = _bounded(text + str(value) + piece)
        if text is UNKNOWN:
            return UNKNOWN
    return text


def _decoded(name, args):
    if not args or any(arg is UNKNOWN for arg in args):
        return UNKNOWN
    first = args[0]
    if first.__class__ not in (str, bytes):
        return UNKNOWN
    try:
        if name in ("b64decode", "standard_b64decode", "urlsafe_b64decode", "a2b_base64"):
            return base64.b64decode(first)
        if name in ("b32decode", "b16decode"):
            return getattr(base64, name)(first)
        if name in ("unhexlify", "a2b_hex"):
            return binascii.unhexlify(first)
        if name == "decode" and len(args) == 2 and args[1] in _CODECS:
            return codecs.decode(first, args[1])
    except (ValueError, TypeError, LookupError, binascii.Error):
        return UNKNOWN
    return UNKNOWN
