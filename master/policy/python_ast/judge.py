# Judges what was collected from a program: follows names to what they stand for and looks that up
# in the tables. A name is the code's own only where Python is sure to see it so; where it may be
# the built-in one, it is judged as that.
import ast
import string

from python_ast import tables
from python_ast.collect import ADDED, CLASS, COMPREHENSION, FUNCTION, MODULE, PATH, VALUE
from python_ast.folding import UNKNOWN, Folder, OutOfSteps, unindexed
from python_ast.tables import (
    ATTRIBUTES,
    BUILTINS,
    CARRIED_ANYHOW,
    GUARDED,
    KEYS,
    REFUSED,
    SEEN_CALLS,
)

_WATCHED = frozenset(BUILTINS) | SEEN_CALLS
_BARE = frozenset(["getattr", "setattr", "delattr"])
_DEEPEST = 40
_MOST_STEPS = 500_000


class Judge:
    def __init__(self, collector, report):
        self.report = report
        self.collector = collector
        self.tracked = collector.tracked
        self.folder = Folder(self._values_of)
        self.excused = set()
        self.known_paths = {}
        self.used_modules = set()
        self.sure = None
        self.steps = 0

    def judge(self, tree):
        self.tree = tree
        try:
            for node, path in self.collector.imports:
                self._import(node, path)
            # Calls first: they excuse the names that they show.
            self._calls()
            self._names()
            self._unused()
        except OutOfSteps:
            self.report(tree.body[0], "too-complex", "What the texts of this program stand for")
        finally:
            # A check is freed by counting alone: no cycles.
            self.folder = None

    def _calls(self):
        collected = self.collector
        tracked = self.tracked
        for call, root, scope in collected.calls:
            if root in tracked or root is None:
                self._call(call, scope)
        for call, scope in collected.methods:
            self._method(call, call.func.attr, scope)
        for node, text in collected.formats:
            self._fields(node, text)
        for call, scope in collected.spaces:
            self._space(call, scope)
        for node, scope in collected.keys:
            self._key(node, scope)

    def _names(self):
        collected = self.collector
        tracked = self.tracked
        for node, base, names, scope in collected.chains:
            if base.__class__ is ast.Name and base.id in tracked:
                self._chain(node, base, names, scope)
            elif not CARRIED_ANYHOW.isdisjoint(names):
                self._carried_chain(node, base, names, scope)
        for scope in collected.scopes:
            for node in scope.loads:
                if node.id in tracked:
                    self._load(node, scope)
        for node, module in collected.stars:
            self._star(node, module)

    # ---- names ----

    def _bindings(self, node, scope):
        """(what binds the name, whether it may be the built-in one all the same)"""
        name = node.id
        first = scope
        uncertain = []
        while scope is not None:
            bound = scope.names.get(name)
            if bound is not None and name not in scope.outer and name not in scope.outward:
                if scope.kind is CLASS:
                    if scope is first:
                        uncertain.extend(bound)
                elif scope.kind is MODULE:
                    sure = name not in _WATCHED or self._is_sure(node)
                    return uncertain + bound if uncertain else bound, not sure
                else:
                    return uncertain + bound if uncertain else bound, False
            scope = scope.parent
        return uncertain, True

    def _is_sure(self, node):
        """The module binds the name, whatever happens, before this is reached."""
        if self.sure is None:
            self.sure = {}
            for statement in self.tree.body:
                end = (statement.end_lineno, statement.end_col_offset)
                if statement.__class__ in (ast.FunctionDef, ast.AsyncFunctionDef):
                    end = (statement.body[0].lineno, statement.body[0].col_offset)
                for name in _bound_by(statement):
                    self.sure.setdefault(name, end)
            for name in self.collector.unsteady:
                self.sure.pop(name, None)
        end = self.sure.get(node.id)
        return end is not None and (node.lineno, node.col_offset) >= end

    def _values_of(self, node, scope):
        """For the folder: the expressions in order, or None when one is not known."""
        bound, may_be_builtin = self._bindings(node, scope)
        if not bound:
            return None
        self._count(len(bound))
        if any(binding[0] not in (VALUE, ADDED) for binding in bound):
            bound = [binding for binding in bound if binding[0] in (VALUE, ADDED)]
            if not bound or bound[0][0] is ADDED:
                return None
        return sorted(
            ((binding[1], binding[2]) for binding in bound),
            key=lambda pair: (pair[0].lineno, pair[0].col_offset),
        )

    def _count(self, steps):
        self.steps += steps
        if self.steps > _MOST_STEPS:
            raise OutOfSteps

    def _paths(self, node, scope, depth=0):
        """Dotted names of what an expression may stand for: `os.path`, `builtins.open`."""
        kind = node.__class__
        if depth > _DEEPEST or kind not in _MAY_BE_PATHS:
            return ()
        key = (id(node), id(scope))
        if kind is ast.Name and node.id not in _WATCHED:
            key = (node.id, id(scope))
        known = self.known_paths.get(key)
        if known is not None:
            return known
        self.known_paths[key] = ()
        found = tuple(dict.fromkeys(self._find_paths(node, kind, scope, depth + 1)))[:16]
        self.known_paths[key] = found
        return found

    def _find_paths(self, node, kind, scope, depth):
        if kind is ast.Name:
            bound, may_be_builtin = self._bindings(node, scope)
            self._count(len(bound))
            found = ["builtins." + node.id] if may_be_builtin else []
            for binding in bound:
                if binding[0] is PATH:
                    found.append(_carried(binding[1]))
                elif binding[0] is VALUE:
                    found.extend(self._paths(binding[1], binding[2], depth))
            return found
        if kind is ast.Attribute:
            return [_step(path, node.attr) for path in self._paths(node.value, scope, depth)]
        if kind is ast.IfExp:
            return self._paths(node.body, scope, depth) + self._paths(node.orelse, scope, depth)
        if kind is ast.BoolOp:
            return [path for value in node.values for path in self._paths(value, scope, depth)]
        if kind is ast.NamedExpr:
            return self._paths(node.value, scope, depth)
        if kind is ast.Subscript:
            return self._item_paths(node, scope, depth)
        return self._result_paths(node, scope, depth)

    def _item_paths(self, node, scope, depth):
        if node.value.__class__ in (ast.List, ast.Tuple):
            return [path for item in node.value.elts for path in self._paths(item, scope, depth)]
        if node.value.__class__ is ast.Dict:
            return [path for item in node.value.values for path in self._paths(item, scope, depth)]
        return []

    def _result_paths(self, node, scope, depth):
        if not node.args:
            return []
        found = []
        for path in self._paths(node.func, scope, depth):
            if path in _IMPORTERS:
                names = self.folder.every(node.args[0], scope)
                found.extend(name for name in names if name.__class__ is str)
            elif path == "builtins.getattr" and len(node.args) > 1:
                for name in self.folder.every(node.args[1], scope):
                    if name.__class__ is str:
                        inner = self._paths(node.args[0], scope, depth)
                        found.extend(_step(part, name) for part in inner)
        return found

    # ---- what is judged ----

    def _import(self, node, path):
        parts = path.split(".")
        so_far = parts[0]
        finding = REFUSED.get(so_far)
        for part in parts[1:]:
            if finding is not None:
                break
            guard = GUARDED.get(so_far)
            finding = guard.rule_of(part) if guard is not None else None
            so_far = _step(so_far, part)
            finding = finding or REFUSED.get(so_far)
        if finding is not None:
            self.report(node, finding, so_far if so_far in REFUSED else path)

    def _star(self, node, module):
        guard = GUARDED.get(module)
        if guard is None:
            return
        if guard.hides or isinstance(guard, tables.Only):
            self.report(node, guard.rule, "from %s import *" % module)
            return
        for scope in self.collector.scopes:
            for load in scope.loads:
                rule = guard.rule_of(load.id)
                if rule is not None and not self._bindings(load, scope)[0]:
                    self.report(load, rule, "%s.%s" % (module, load.id))

    def _follow(self, node, path, names, is_bare_allowed=False):
        """Judges `path.names[0].names[1]...`; True when it was refused."""
        if path in REFUSED:
            return False  # its import was refused
        is_module = True
        for at, name in enumerate(names):
            guard = GUARDED.get(path)
            rule = guard.rule_of(name) if guard is not None else None
            if rule is None and name == "__dict__" and is_module and _is_module(path):
                rule = "namespace"
            before = path
            path = _step(path, name)
            rule = rule or REFUSED.get(path)
            if rule is not None:
                self.report(node, rule, path if path in REFUSED else before + "." + name)
                return True
            if guard is not None:
                self.used_modules.add(before)
            is_module = False
        guard = GUARDED.get(path)
        if guard is not None and guard.hides and not is_bare_allowed:
            self.report(node, guard.rule, "%s, handed on as a whole," % path)
            return True
        return False

    def _chain(self, node, base, names, scope):
        paths = self._paths(base, scope)
        if base.id in _WATCHED and self._builtin(base, paths):
            return
        followed = [
            self._follow(node, path, names) for path in paths if not path.startswith("builtins.")
        ]
        if not followed:
            self._carried_chain(node, base, names, scope)

    def _carried_chain(self, node, base, names, scope):
        """A name of a module below something else: `logging.os`, `anything.os.system`."""
        paths = [path for path in self._paths(base, scope) if not path.startswith("builtins.")]
        for path in paths:
            self._follow(node, path, names)
        if paths:
            return
        self._pair(node, names)

    def _pair(self, node, names):
        for name, below in zip(names, names[1:]):
            if below in tables.PAIRS.get(name, ()):
                rule = REFUSED.get(name) or GUARDED[name].rule_of(below) or "os-module"
                self.report(node, rule, "%s.%s" % (name, below))
                return

    def _load(self, node, scope):
        if id(node) in self.excused:
            return
        paths = self._paths(node, scope)
        if node.id in _WATCHED:
            self._builtin(node, paths)
        for path in paths:
            if not path.startswith("builtins."):
                self._follow(node, path, ())

    def _builtin(self, node, paths):
        if "builtins." + node.id not in paths:
            return False
        rule = BUILTINS.get(node.id)
        if rule is None and node.id in tables.NAMESPACES:
            rule = "namespace"
        if rule is None and node.id in _BARE:
            rule = "hidden-attribute"
        if rule is None:
            return False
        self.report(node, rule, node.id)
        return True

    def _key(self, node, scope):
        key = unindexed(node)
        for text in self.folder.every(key, scope):
            if text.__class__ is str and text in KEYS:
                self.report(key, KEYS[text], text)

    def _space(self, call, scope):
        """globals(), locals() and vars(): harmless where it shows which name is asked for."""
        name = call.func.id
        if "builtins." + name not in self._paths(call.func, scope):
            return
        if call.args or call.keywords:
            for arg in call.args:
                for path in self._paths(arg, scope):
                    if _is_module(path):
                        self.report(call, "namespace", "vars(%s)" % path)
            return
        while scope.kind is COMPREHENSION:
            scope = scope.parent
        if name != "globals" and scope.kind is FUNCTION:
            return
        use = self.collector.uses.get(id(call))
        if use is not None:
            key, inner = use
            if key is None or key.__class__ is ast.Dict:
                return
            texts = self.folder.every(key, inner)
            if texts and not any(text in KEYS for text in texts if text.__class__ is str):
                return
        self.report(call, "namespace", "%s()" % name)

    def _unused(self):
        """`import os` is accepted for what is harmless in it, and this one has no such use."""
        if "os" in self.used_modules:
            return
        for node, path in self.collector.imports:
            if path == "os" and node.__class__ is ast.Import:
                self.report(node, "os-module", "os, imported without a harmless use,")

    # ---- calls ----

    def _call(self, call, scope):
        for path in self._paths(call.func, scope):
            if path in _FETCHER_PATHS:
                self._fetch(call, scope, path.partition(".")[2])
            elif path in _IMPORTERS:
                self._dynamic_import(call, scope)
            elif path in ("operator.attrgetter", "operator.methodcaller"):
                self._getter(call, scope, path)
            elif path == "operator.itemgetter":
                self._item_getter(call, scope)
            elif path in _TIMERS:
                self._timed(call, scope, path)
            elif path in tables.PATH_CALLS:
                self._opened(call, scope, path)
            if path == "numpy.load":
                self._numpy_load(call)

    def _method(self, call, name, scope):
        if name in tables.FORMATTERS:
            self._formatted(call, scope)
        elif name in tables.CONNECTORS:
            if any(path.partition(".")[0] == "asyncio" for _, path in self.collector.imports):
                self.report(call, "network", name)
        elif name == "joinpath":
            for arg in call.args:
                self._outside(call, self.folder.prefix(arg, scope))
        elif name in tables.GETTERS and call.args:
            for text in self.folder.every(call.args[0], scope):
                if text.__class__ is str and text in KEYS:
                    self.report(call, KEYS[text], text)
        elif name in ("__getattribute__", "__getattr__"):
            for target, arg in zip((call.func.value, *call.args), call.args[:2]):
                for text in self.folder.every(arg, scope):
                    if text.__class__ is str and text in ATTRIBUTES:
                        self.report(call, ATTRIBUTES[text], text)
                    elif text.__class__ is str:
                        for path in self._paths(target, scope):
                            self._follow(call, path, [text])

    def _fetch(self, call, scope, name):
        if len(call.args) < 2 or any(arg.__class__ is ast.Starred for arg in call.args):
            if name != "hasattr":
                self.report(call, "hidden-attribute", name)
            return
        target, asked = call.args[0], call.args[1]
        paths = [path for path in self._paths(target, scope) if _is_module(path)]
        texts = self.folder.every(asked, scope)
        if target.__class__ is ast.Name and paths:
            self.excused.add(id(target))
        if not texts:
            for path in paths:
                if path in GUARDED and GUARDED[path].hides and name != "hasattr":
                    self.report(call, "hidden-attribute", "%s of %s" % (name, path))
            return
        for text in texts:
            if text.__class__ is not str:
                continue
            if text in ATTRIBUTES:
                self.report(call, ATTRIBUTES[text], text)
            elif name != "hasattr":
                for path in paths:
                    self._follow(call, path, [text])

    def _getter(self, call, scope, path):
        for arg in call.args if path.endswith("attrgetter") else call.args[:1]:
            for text in self.folder.every(arg, scope):
                if text.__class__ is not str:
                    continue
                names = text.split(".")
                for name in names:
                    if name in ATTRIBUTES:
                        self.report(call, ATTRIBUTES[name], name)
                self._pair(call, names)

    def _item_getter(self, call, scope):
        for arg in call.args:
            for text in self.folder.every(arg, scope):
                if text.__class__ is str and text in KEYS:
                    self.report(call, KEYS[text], text)

    def _dynamic_import(self, call, scope):
        arg = _argument(call, 0, "name")
        texts = self.folder.every(arg, scope) if arg is not None else []
        texts = [text for text in texts if text.__class__ is str]
        if not texts:
            self.report(call, "dynamic-import", "An import by a computed name")
        for text in texts:
            guard = GUARDED.get(text)
            if guard is not None and guard.hides:
                self.report(call, guard.rule, "%s, imported by its name as a text," % text)
            else:
                self._import(call, text)

    def _formatted(self, call, scope):
        """`"{0.__class__.__globals__}".format(x)` fetches attributes too."""
        for candidate in (call.func.value, *call.args[:1]):
            if candidate.__class__ not in _TEXT_NODES:
                continue
            for text in self.folder.every(candidate, scope):
                if text.__class__ is str:
                    self._fields(call, text if call.func.attr != "get_field" else "{%s}" % text)

    def _fields(self, node, text):
        if "{" in text:
            for name in _field_names(text):
                if name in ATTRIBUTES:
                    self.report(node, ATTRIBUTES[name], name)

    def _timed(self, call, scope, path):
        for at, name in ((0, "stmt"), (1, "setup")):
            arg = _argument(call, at, name)
            if arg is None or arg.__class__ in (ast.Lambda, ast.Attribute):
                continue
            texts = self.folder.every(arg, scope)
            if any(text.__class__ is str and text not in ("pass", "") for text in texts):
                self.report(call, "run-code", "%s with a text" % path)
                return

    def _opened(self, call, scope, path):
        arg = _argument(call, 0, tables.PATH_CALLS[path])
        every = call.args if path.startswith("pathlib.") else [] if arg is None else [arg]
        for arg in every:
            if arg.__class__ in (ast.List, ast.Tuple):
                texts = [self.folder.prefix(item, scope) for item in arg.elts[:64]]
            elif arg.__class__ is ast.Starred:
                texts = self.folder.fold(arg.value, scope)
                texts = texts if texts.__class__ is list else []
            else:
                texts = self.folder.every(arg, scope) or [self._path_prefix(arg, scope)]
            for text in texts:
                self._outside(call, text)
        for keyword in call.keywords:
            if keyword.arg is None and keyword.value.__class__ is ast.Dict:
                for value in keyword.value.values:
                    self._outside(call, self.folder.fold(value, scope))

    def _outside(self, node, text):
        if text.__class__ is bytes:
            text = text.decode("utf-8", "replace")
        if text.__class__ is str and _is_outside(text):
            self.report(node, "absolute-path", repr(text[:80]))

    def _path_prefix(self, arg, scope):
        """The known beginning, or the part of os.path.join and Path that makes it absolute."""
        if arg.__class__ is ast.Call:
            for path in self._paths(arg.func, scope):
                if path in _PATH_MAKERS:
                    for part in arg.args:
                        text = self.folder.prefix(part, scope)
                        if text.__class__ is str and _is_outside(text):
                            return text
        return self.folder.prefix(arg, scope)

    def _numpy_load(self, call):
        for keyword in call.keywords:
            if keyword.arg == "allow_pickle":
                value = keyword.value
                if not (value.__class__ is ast.Constant and not value.value):
                    self.report(call, "unpickle", "numpy.load with allow_pickle")


_MAY_BE_PATHS = frozenset(
    [ast.Name, ast.Attribute, ast.IfExp, ast.BoolOp, ast.NamedExpr, ast.Subscript, ast.Call]
)
_TEXT_NODES = frozenset(
    [ast.Constant, ast.Name, ast.BinOp, ast.JoinedStr, ast.Call, ast.Subscript, ast.IfExp]
)
_IMPORTERS = frozenset(
    ["importlib.import_module", "builtins.__import__", "importlib.__import__", "pydoc.locate"]
)
_PATH_MAKERS = frozenset(
    ["os.path.join", "posixpath.join", "os.path.abspath", "os.path.expanduser", "builtins.str"]
)
_TIMERS = frozenset(["timeit.timeit", "timeit.repeat", "timeit.Timer"])
_FETCHER_PATHS = frozenset("builtins." + name for name in tables.FETCHERS) | frozenset(
    ["inspect.getattr_static"]
)


def _is_module(path):
    return path in GUARDED or path in tables.STDLIB or path in REFUSED


def _carried(path):
    """`logging.os` is `os`, where a name was imported from a module."""
    parts = path.split(".")
    so_far = parts[0]
    for part in parts[1:]:
        so_far = _step(so_far, part)
    return so_far


def _step(path, name):
    if path.startswith("builtins."):
        return path + "." + name
    name = tables.CARRIED_AS.get(name, name)
    root = path.partition(".")[0]
    carried = tables.CARRIED_IN_STDLIB if root in tables.STDLIB else tables.CARRIED
    whole = path + "." + name
    if name in carried and whole not in REFUSED and whole not in GUARDED:
        return name
    return whole


def _bound_by(statement):
    kind = statement.__class__
    if kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
        return [statement.name]
    if kind in (ast.Import, ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if kind is ast.Assign:
        return [target.id for target in statement.targets if target.__class__ is ast.Name]
    return []


def _argument(call, at, name):
    if at < len(call.args):
        return call.args[at]
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return None


def _field_names(text):
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(text) if field]
    except ValueError:
        return []
    names = []
    for field in fields:
        names.extend(field.replace("[", ".").replace("]", "").split("."))
    return names


def _is_outside(text):
    path = text.replace("\\", "/")
    if ".." in path.split("/"):
        return True
    if path.startswith("file:"):
        path = path[5:].lstrip("/")
        path = "/" + path
    if path[1:3] == ":/":
        return True
    if not path.startswith(("/", "~")):
        return False
    while path.startswith("//") or path.startswith("/./"):
        path = "/" + path.lstrip("/.")
    return not any(path == own or path.startswith(own + "/") for own in tables.OWN_PATHS)
