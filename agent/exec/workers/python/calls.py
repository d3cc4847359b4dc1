# Finds the function of a call: a file of the DAG or inline code, loaded once and kept. It owns the
# module cache and sys.path. It never calls the function.
import os
import sys


class NotFound(Exception):
    """The function, its file or its code is not there; the text is for people."""


class Entry:
    """A function ready to be called. `quick`: its last call was too short to send answers before it."""

    __slots__ = ("function", "quick")

    def __init__(self, function):
        self.function = function
        self.quick = False


class Loader:
    def __init__(self):
        self._entries = {}
        self._modules = {}
        self._base_path = list(sys.path)
        self._folders = None
        self._run = None
        self._inline = {}
        self._loading = None

    def entry(self, callee, task, run, cwd):
        """The entry of the function that a call names. What the user's module raises passes through."""
        file = callee.get("file")
        key = (file or callee.get("code"), callee["function"], cwd)
        if run != self._run:
            self._change_run(run)
        folder = cwd if file is None else file[: file.rfind("/")]
        if self._folders != (folder, cwd):
            self._folders = (folder, cwd)
            sys.path[:] = [folder] + ([cwd] if cwd != folder else []) + self._base_path
        entry = self._entries.get(key)
        if entry is None:
            self._loading = file
            code = callee.get("code")
            module = self._file(file) if file is not None else self._code(code, task)
            name = callee["function"]
            if not name:
                name = _only_function(module, code, file)
            entry = Entry(_member(module, name, file))
            self._entries[key] = entry
        return entry

    def sources(self):
        """Inline code by the file name that its tracebacks show."""
        return self._inline

    def is_of_task(self, name):
        """Whether tracebacks call the code of a call so, or the file that was loaded last."""
        return name is not None and (name in self._inline or name == self._loading)

    def forget(self):
        """Forgets all that was loaded so far."""
        self._change_run(None)

    def _change_run(self, run):
        # Two runs may have different files under one module name, so the modules go with the run.
        folders = tuple(os.path.join(name, "") for name in self._folders or ())
        for name, module in list(sys.modules.items()) if folders else ():
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and path.startswith(folders):
                del sys.modules[name]
        for name in self._modules.values():
            sys.modules.pop(name.__name__, None)
        if self._run is not None:
            sys.path_importer_cache.clear()
        self._entries.clear()
        self._modules.clear()
        self._inline.clear()
        self._folders = None
        self._run = run

    def _file(self, path):
        module = self._modules.get(path)
        if module is not None:
            return module
        if not os.path.isfile(path):
            raise NotFound("the file %s does not exist" % path)
        from importlib.machinery import ModuleSpec, SourceFileLoader

        stem = os.path.basename(path).rsplit(".", 1)[0]
        known = sys.modules.get(stem)
        if known is not None and getattr(known, "__file__", None) == path:
            module = known
        else:
            name = stem if stem.isidentifier() and known is None else "edgedag_file_" + stem
            loader = SourceFileLoader(name, path)
            module = type(sys)(name)
            module.__spec__ = ModuleSpec(name, loader, origin=path)
            module.__spec__.has_location = True
            module.__file__ = path
            module.__loader__ = loader
            self._execute(module, loader.get_code, name)
        self._modules[path] = module
        return module

    def _code(self, code, task):
        if code is None:
            raise NotFound("the call names neither a file nor code")
        module = self._modules.get(code)
        if module is None:
            shown = "<task %s>" % task.split("[", 1)[0]
            self._inline[shown] = code
            if "linecache" in sys.modules:
                fill_linecache({shown: code})
            module = type(sys)("edgedag_code_%d" % len(self._modules))
            self._execute(module, lambda _name: compile(code, shown, "exec"), module.__name__)
            self._modules[code] = module
        return module

    @staticmethod
    def _execute(module, get_code, name):
        # In sys.modules before it runs, as an import does: dataclasses and pickle look there.
        sys.modules[name] = module
        try:
            exec(get_code(name), module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            raise


def fill_linecache(sources):
    """Lets tracebacks show the lines of inline code."""
    import linecache

    for name, code in sources.items():
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)


def _only_function(module, code, file):
    """The name of the function of a call that names none: `main`, or the only public one."""
    found = vars(module)
    if callable(found.get("main")):
        return "main"
    import _ast

    if code is None:
        code = module.__loader__.get_data(module.__file__)
    # What the module itself defines, decorated or not: what it only imports is none of its own.
    tree = compile(code, file or "<code>", "exec", _ast.PyCF_ONLY_AST)
    kinds = (_ast.FunctionDef, _ast.AsyncFunctionDef)
    names = {part.name for part in tree.body if isinstance(part, kinds) and part.name[0] != "_"}
    names = sorted(name for name in names if callable(found.get(name)))
    if len(names) == 1:
        return names[0]
    has = "it has %s" % ", ".join("`%s`" % name for name in names[:10]) if names else "it has none"
    raise NotFound(
        "%s must have a function `main` or exactly one public function; %s" % (file or "the code", has))


def _member(module, dotted, file):
    found = module
    for name in dotted.split("."):
        if not hasattr(found, name):
            raise NotFound(_not_found(found, dotted, name, file))
        found = getattr(found, name)
    if not callable(found):
        where = file or "the code"
        raise NotFound("`%s` in %s is not a function but %s" % (dotted, where, type(found).__name__))
    return found


def _not_found(owner, dotted, name, file):
    import difflib

    known = [key for key, value in vars(owner).items() if callable(value) and key[:1] != "_"]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = "did you mean `%s`?" % near[0] if near else (
        "it has: %s" % ", ".join("`%s`" % key for key in known[:10]) if known else "it has none")
    return "there is no function `%s` in %s; %s" % (dotted, file or "the code", hint)
