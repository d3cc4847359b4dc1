# Walks the tree of a program once and writes down what is to be judged: names that are bound, used,
# called or indexed, scope by scope. It judges nothing but what is wrong whatever the names mean.
# No recursion: a tree as deep as Python's own parser allows is walked in constant stack.
import ast

from python_ast.folding import unindexed
from python_ast.tables import (
    ATTRIBUTES,
    BUILTINS,
    CARRIED_ANYHOW,
    FORMATTERS,
    GETTERS,
    KEYS,
    NAMESPACES,
    SEEN_CALLS,
    SEEN_METHODS,
    SIGNIFICANT,
)

MODULE, FUNCTION, CLASS, COMPREHENSION = "module", "function", "class", "comprehension"

# Kinds of bindings: PATH (a dotted name that an import gave), VALUE (an expression), ADDED (an
# expression that is added to what is there), OTHER (whatever it is, it is the code's own).
PATH, VALUE, ADDED, OTHER = "path", "value", "added", "other"


_NONE = frozenset()


class Scope:
    __slots__ = ("kind", "parent", "names", "outer", "outward", "loads")

    def __init__(self, kind, parent):
        self.kind = kind
        self.parent = parent
        self.names = {}
        # Names declared global, and nonlocal.
        self.outer = _NONE
        self.outward = _NONE
        self.loads = []


class Collector:
    def __init__(self, report):
        self.report = report
        self.scopes = []
        # Names that stand, somewhere, for something that the tables speak of.
        self.tracked = set(SEEN_NAMES)
        # (name, expression) of bindings that may make another such name.
        self.aliases = []
        # (statement, dotted name)
        self.imports = []
        # (outermost attribute, innermost value, names from the inside out, scope)
        self.chains = []
        # (call, name at the root of what is called, scope); no root: None
        self.calls = []
        # (call, scope)
        self.methods = []
        # (attribute, text): `"{0.x}".format`, called or handed on.
        self.formats = []
        # Calls of globals, locals and vars.
        self.spaces = []
        # (subscript, scope)
        self.keys = []
        # (statement, module) of imports of all names
        self.stars = []
        # Names that are deleted somewhere, or declared global in a function that may do that.
        self.unsteady = set()
        # What is done with the result of globals(), by id of the call: the key, or None for "in".
        self.uses = {}
        self.todo = []

    def collect(self, tree):
        module = Scope(MODULE, None)
        self.todo.append((module, list(tree.body)))
        handlers = _HANDLERS
        fields = _FIELDS
        while self.todo:
            scope, stack = self.todo.pop()
            self.scopes.append(scope)
            pop = stack.pop
            loads = scope.loads
            while stack:
                node = pop()
                kind = node.__class__
                if kind is _NAME:
                    if node.ctx.__class__ is _LOAD:
                        loads.append(node)
                    else:
                        self._stored(node, scope)
                elif kind is not _CONSTANT:
                    handler = handlers.get(kind)
                    if handler is not None:
                        handler(self, node, scope, stack)
                    else:
                        # None, texts and numbers are among the fields of few kinds.
                        for name in fields.get(kind, ()):
                            value = getattr(node, name)
                            if value.__class__ is list:
                                stack += value
                            elif value is not None:
                                stack.append(value)
        self._move_declared(module)
        self._track_aliases()

    def forget(self):
        """Scopes and what they bind know each other; a check is freed by counting alone."""
        for scope in self.scopes:
            scope.names = None

    def _move_declared(self, module):
        """What a scope binds for an outer one belongs there."""
        for scope in self.scopes:
            for name in scope.outer:
                module.names.setdefault(name, []).extend(scope.names.pop(name, [(OTHER,)]))
                self.unsteady.add(name)
            for name in scope.outward:
                bound = scope.names.pop(name, [])
                outer = scope.parent
                while outer is not None and outer.kind != MODULE:
                    if name in outer.names and outer.kind == FUNCTION:
                        outer.names[name].extend(bound)
                        break
                    outer = outer.parent

    def _track_aliases(self):
        """What stands for a tracked name is tracked too."""
        tracked = self.tracked
        by_root = {}
        reached = []
        for name, value in self.aliases:
            for root in _roots(value):
                if root is None or root in tracked:
                    reached.append(name)
                else:
                    by_root.setdefault(root, []).append(name)
        while reached:
            name = reached.pop()
            tracked.add(name)
            reached.extend(by_root.pop(name, ()))

    # ---- binding ----

    def _bind(self, scope, name, binding):
        known = scope.names.get(name)
        if known is None:
            scope.names[name] = [binding]
        else:
            known.append(binding)
        if binding[0] is VALUE and binding[1].__class__ in _ALIASES:
            self.aliases.append((name, binding[1]))

    def _bind_path(self, scope, name, path):
        self._bind(scope, name, (PATH, path))
        root, _, rest = path.partition(".")
        if root in SIGNIFICANT or (rest and not CARRIED_ANYHOW.isdisjoint(rest.split("."))):
            self.tracked.add(name)

    def _assign(self, scope, stack, target, value):
        kind = target.__class__
        if kind is ast.Name:
            self._bind(scope, target.id, (VALUE, value, scope))
        elif (
            kind in (ast.Tuple, ast.List)
            and value.__class__ in (ast.Tuple, ast.List)
            and len(target.elts) == len(value.elts)
            and not any(
                part.__class__ is ast.Starred for part in (*target.elts, *value.elts)
            )
        ):
            for inner, part in zip(target.elts, value.elts):
                if inner.__class__ is ast.Name:
                    self._bind(scope, inner.id, (VALUE, part, scope))
                else:
                    stack.append(inner)
        else:
            stack.append(target)

    # ---- names and attributes ----

    def _stored(self, node, scope):
        self._bind(scope, node.id, (OTHER,))
        if node.ctx.__class__ is ast.Del:
            self.unsteady.add(node.id)

    def _attribute(self, node, scope, stack):
        base = node.value
        name = node.attr
        if name in ATTRIBUTES:
            self.report(node, ATTRIBUTES[name], name)
        if base.__class__ is ast.Name:
            self.chains.append((node, base, (name,), scope))
            return
        if name in FORMATTERS and base.__class__ is _CONSTANT and base.value.__class__ is str:
            self.formats.append((node, base.value))
        names = [name]
        while base.__class__ is ast.Attribute:
            name = base.attr
            if name in ATTRIBUTES:
                self.report(base, ATTRIBUTES[name], name)
            names.append(name)
            base = base.value
        if base.__class__ is not ast.Name:
            stack.append(base)
            if CARRIED_ANYHOW.isdisjoint(names):
                return
        names.reverse()
        self.chains.append((node, base, names, scope))

    def _subscript(self, node, scope, stack):
        key = unindexed(node)
        value = node.value
        if value.__class__ is ast.Call and value.func.__class__ is ast.Name:
            if value.func.id in NAMESPACES:
                self.uses[id(value)] = (key, scope)
        kind = key.__class__
        if kind is ast.Constant:
            if key.value.__class__ is str and key.value in KEYS:
                self.report(key, KEYS[key.value], key.value)
        elif kind in _TEXTS:
            self.keys.append((node, scope))
        stack.append(value)
        stack.append(node.slice)

    def _compare(self, node, scope, stack):
        stack.append(node.left)
        stack.extend(node.comparators)
        for op, value in zip(node.ops, node.comparators):
            if op.__class__ in (ast.In, ast.NotIn) and value.__class__ is ast.Call:
                self.uses[id(value)] = (None, scope)

    def _call(self, node, scope, stack):
        func = node.func
        kind = func.__class__
        if kind is ast.Name:
            self.calls.append((node, func.id, scope))
            if func.id not in SEEN_CALLS:
                scope.loads.append(func)
            elif func.id in NAMESPACES:
                self.spaces.append((node, scope))
            if func.id == "ForwardRef":
                self._forward(node, stack)
        else:
            stack.append(func)
            if kind is ast.Attribute:
                self._method_call(node, func, scope, stack)
            elif kind in _ALIASES:
                self.calls.append((node, None, scope))
        if node.args:
            stack.extend(node.args)
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg is None and value.__class__ is ast.Call and _is_locals(value):
                self.uses[id(value)] = (None, scope)
            stack.append(value)

    def _method_call(self, node, func, scope, stack):
        name = func.attr
        base = func.value
        if name == "ForwardRef":
            self._forward(node, stack)
        if name in SEEN_METHODS:
            plain = name in GETTERS and (not node.args or node.args[0].__class__ is ast.Constant)
            if not plain or (node.args and node.args[0].value in KEYS):
                self.methods.append((node, scope))
            if base.__class__ is ast.Call:
                self.uses[id(base)] = (node.args[0] if node.args else None, scope)
        while base.__class__ is ast.Attribute:
            base = base.value
        self.calls.append((node, base.id if base.__class__ is _NAME else None, scope))

    # ---- statements that bind ----

    def _assignment(self, node, scope, stack):
        for target in node.targets:
            self._assign(scope, stack, target, node.value)
        stack.append(node.value)

    def _annotated(self, node, scope, stack):
        self._annotation(node.annotation, stack)
        if node.value is None:
            stack.append(node.target)
        else:
            self._assign(scope, stack, node.target, node.value)
            stack.append(node.value)

    def _augmented(self, node, scope, stack):
        if node.target.__class__ is ast.Name:
            adds = node.op.__class__ is ast.Add
            self._bind(scope, node.target.id, (ADDED, node.value, scope) if adds else (OTHER,))
        else:
            stack.append(node.target)
        stack.append(node.value)

    def _walrus(self, node, scope, stack):
        target = scope
        while target.kind == COMPREHENSION:
            target = target.parent
        self._bind(target, node.target.id, (VALUE, node.value, scope))
        stack.append(node.value)

    def _import(self, node, scope, stack):
        for alias in node.names:
            name = alias.name
            self.imports.append((node, name))
            if alias.asname is None:
                root = name.partition(".")[0]
                self._bind_path(scope, root, root)
            else:
                self._bind_path(scope, alias.asname, name)

    def _import_from(self, node, scope, stack):
        for alias in node.names:
            bound = alias.asname or alias.name
            if node.level or node.module is None or node.module == "__future__":
                self._bind(scope, bound, (OTHER,))
                continue
            if alias.name == "*":
                self.imports.append((node, node.module))
                self.stars.append((node, node.module))
                continue
            path = node.module + "." + alias.name
            self.imports.append((node, path))
            self._bind_path(scope, bound, path)

    def _function(self, node, scope, stack):
        self._bind(scope, node.name, (OTHER,))
        stack.extend(node.decorator_list)
        if node.returns is not None:
            self._annotation(node.returns, stack)
        inner = Scope(FUNCTION, scope)
        self._arguments(node.args, scope, inner, stack)
        self.todo.append((inner, node.body + list(getattr(node, "type_params", ()))))

    def _lambda(self, node, scope, stack):
        inner = Scope(FUNCTION, scope)
        self._arguments(node.args, scope, inner, stack)
        self.todo.append((inner, [node.body]))

    def _arguments(self, args, scope, inner, stack):
        named = args.args
        if args.posonlyargs:
            named = args.posonlyargs + named
        if args.defaults:
            defaults = [None] * (len(named) - len(args.defaults)) + args.defaults
        else:
            defaults = ()
        names = inner.names
        for arg in named:
            names[arg.arg] = [(OTHER,)]
            if arg.annotation is not None:
                self._annotation(arg.annotation, stack)
        for arg, default in zip(named, defaults):
            if default is not None:
                self._bind(inner, arg.arg, (VALUE, default, scope))
                stack.append(default)
        for arg, default in zip(args.kwonlyargs, args.kw_defaults):
            self._bind(inner, arg.arg, (OTHER,))
            if arg.annotation is not None:
                self._annotation(arg.annotation, stack)
            if default is not None:
                self._bind(inner, arg.arg, (VALUE, default, scope))
                stack.append(default)
        for arg in (args.vararg, args.kwarg):
            if arg is not None:
                names[arg.arg] = [(OTHER,)]
                if arg.annotation is not None:
                    self._annotation(arg.annotation, stack)

    def _annotation(self, node, stack):
        """Its texts are code too: typing.get_type_hints and others run them."""
        stack.append(node)
        texts = [node]
        while texts:
            inner = texts.pop()
            if inner.__class__ is ast.Constant:
                if inner.value.__class__ is str:
                    self._text_annotation(inner, stack)
            elif inner.__class__ is not ast.Name:
                texts.extend(ast.iter_child_nodes(inner))

    def _forward(self, node, stack):
        """`ForwardRef("x")` is an annotation."""
        for arg in node.args[:1]:
            if arg.__class__ is _CONSTANT and arg.value.__class__ is str:
                self._text_annotation(arg, stack)

    def _text_annotation(self, node, stack):
        try:
            tree = compile(node.value.strip(), "", "eval", ast.PyCF_ONLY_AST, True)
        except (SyntaxError, ValueError):
            return
        for part in ast.walk(tree.body):
            if hasattr(part, "lineno"):
                part.lineno = node.lineno
                part.col_offset = node.col_offset
        stack.append(tree.body)

    def _class(self, node, scope, stack):
        self._bind(scope, node.name, (OTHER,))
        stack.extend(node.decorator_list)
        stack.extend(node.bases)
        for keyword in node.keywords:
            stack.append(keyword.value)
        inner = Scope(CLASS, scope)
        self.todo.append((inner, node.body + list(getattr(node, "type_params", ()))))

    def _comprehension(self, node, scope, stack):
        inner = Scope(COMPREHENSION, scope)
        loops = node.generators
        stack.append(loops[0].iter)
        body = [node.key, node.value] if node.__class__ is ast.DictComp else [node.elt]
        for loop in loops:
            body.append(loop.target)
            body.extend(loop.ifs)
        body.extend(loop.iter for loop in loops[1:])
        self.todo.append((inner, body))

    def _global(self, node, scope, stack):
        scope.outer = scope.outer.union(node.names)

    def _nonlocal(self, node, scope, stack):
        scope.outward = scope.outward.union(node.names)

    def _caught(self, node, scope, stack):
        if node.name is not None:
            self._bind(scope, node.name, (OTHER,))
        if node.type is not None:
            stack.append(node.type)
        stack.extend(node.body)

    def _captured(self, node, scope, stack):
        """`case [*rest]`, `case {**rest}`, `case x`."""
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if name is not None:
            self._bind(scope, name, (OTHER,))
        if node.__class__.__name__ == "MatchAs" and node.pattern is not None:
            stack.append(node.pattern)
        if node.__class__.__name__ == "MatchMapping":
            stack.extend(node.keys)
            stack.extend(node.patterns)

    def _class_pattern(self, node, scope, stack):
        """`case object(__subclasses__=found)` fetches attributes."""
        for name in node.kwd_attrs:
            if name in ATTRIBUTES:
                self.report(node, ATTRIBUTES[name], name)
        stack.append(node.cls)
        stack.extend(node.patterns)
        stack.extend(node.kwd_patterns)


# Of the most common nodes, without a look-up.
_NAME, _LOAD, _CONSTANT = ast.Name, ast.Load, ast.Constant

# Names of built-in functions that are of interest from the start.
SEEN_NAMES = frozenset(BUILTINS) | SEEN_CALLS | frozenset(["open"])
# Expressions that may stand for a module; and for a text.
_ALIASES = frozenset(
    [ast.Name, ast.Attribute, ast.IfExp, ast.BoolOp, ast.NamedExpr, ast.Call, ast.Subscript]
)
_TEXTS = frozenset(
    [ast.Name, ast.BinOp, ast.JoinedStr, ast.Call, ast.IfExp, ast.Subscript, ast.NamedExpr]
)


def _is_locals(call):
    return call.func.__class__ is ast.Name and call.func.id == "locals"


def _roots(node):
    """The names that decide what an expression stands for; None: it names a module by itself."""
    roots = []
    waiting = [node]
    while waiting:
        node = waiting.pop()
        kind = node.__class__
        if kind is ast.Name:
            roots.append(node.id)
        elif kind in (ast.Attribute, ast.NamedExpr):
            waiting.append(node.value)
            if kind is ast.Attribute and node.attr in CARRIED_ANYHOW:
                roots.append(None)
        elif kind is ast.IfExp:
            waiting.extend((node.body, node.orelse))
        elif kind is ast.BoolOp:
            waiting.extend(node.values)
        elif kind is ast.Call:
            waiting.append(node.func)
        elif kind is ast.Subscript:
            if node.value.__class__ in (ast.List, ast.Tuple):
                waiting.extend(node.value.elts)
            elif node.value.__class__ is ast.Dict:
                waiting.extend(node.value.values)
    return roots


_HANDLERS = {
    ast.Attribute: Collector._attribute,
    ast.Subscript: Collector._subscript,
    ast.Compare: Collector._compare,
    ast.Call: Collector._call,
    ast.Assign: Collector._assignment,
    ast.AnnAssign: Collector._annotated,
    ast.AugAssign: Collector._augmented,
    ast.NamedExpr: Collector._walrus,
    ast.Import: Collector._import,
    ast.ImportFrom: Collector._import_from,
    ast.FunctionDef: Collector._function,
    ast.AsyncFunctionDef: Collector._function,
    ast.Lambda: Collector._lambda,
    ast.ClassDef: Collector._class,
    ast.ListComp: Collector._comprehension,
    ast.SetComp: Collector._comprehension,
    ast.DictComp: Collector._comprehension,
    ast.GeneratorExp: Collector._comprehension,
    ast.Global: Collector._global,
    ast.Nonlocal: Collector._nonlocal,
    ast.ExceptHandler: Collector._caught,
}
for _name in ("MatchAs", "MatchStar", "MatchMapping"):
    if hasattr(ast, _name):
        _HANDLERS[getattr(ast, _name)] = Collector._captured
if hasattr(ast, "MatchClass"):
    _HANDLERS[ast.MatchClass] = Collector._class_pattern

# Fields that hold no nodes.
_PLAIN_FIELDS = frozenset(
    """ctx op ops kind type_comment type_ignores id attr names module level arg conversion is_async
    simple rest kwd_attrs str""".split()
)
_FIELDS = {
    kind: tuple(
        field
        for field in kind._fields
        if field not in _PLAIN_FIELDS and (field, kind.__name__) != ("value", "Constant")
    )
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}
# Names of type parameters are texts; the name of a type alias is a node.
for _kind, _fields in _FIELDS.items():
    if _kind.__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):
        _FIELDS[_kind] = tuple(field for field in _fields if field != "name")
