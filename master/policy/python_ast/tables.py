# What the policy for Python refuses, as data: modules, names of modules, built-in functions,
# attributes and calls. It never looks at code. A rule's name is stable: docs/code-policy.md and
# ../rules.ts list the same ones. Python 3.8 or later, standard library only.

# How a sentence about a finding ends, by rule: "os.system reaches the operating system."
REASONS = {
    "os-module": "reaches the operating system",
    "import-subprocess": "starts other programs",
    "import-multiprocessing": "starts other processes",
    "file-system": "changes files wherever they are",
    "absolute-path": "lies outside of the working folder",
    "native-code": "calls native code",
    "system-calls": "makes calls of the operating system",
    "network": "opens network connections",
    "http-client": "sends HTTP requests",
    "unpickle": "lets data run code",
    "run-code": "runs text as code",
    "dynamic-import": "loads modules that cannot be seen before it runs",
    "import-machinery": "reaches what loads modules",
    "builtins": "hands out every built-in function",
    "namespace": "hands out every name of a module",
    "hidden-attribute": "fetches attributes that cannot be seen before it runs",
    "dunder-escape": "leads from any object to what runs code",
    "frames": "reads or traces code while it runs",
    "gc": "reaches every object of the interpreter",
    "debugger": "starts a debugger",
    "sys-internals": "reaches into the interpreter",
    "hidden-text": "is read as other code when it runs",
    "too-complex": "is too large or too deeply nested to be checked",
}

# Modules that are refused whole, with everything below them.
_REFUSED = {
    "os-module": "posix nt _posixsubprocess _osx_support",
    "import-subprocess": """subprocess _posixsubprocess pty webbrowser antigravity asyncio.subprocess
        pip ensurepip venv distutils setuptools numpy.distutils numpy.f2py pexpect ptyprocess sh
        plumbum fabric invoke commands popen2""",
    "import-multiprocessing": """multiprocessing _multiprocessing multiprocess billiard
        concurrent.futures.process torch.multiprocessing _xxsubinterpreters _interpreters
        concurrent.interpreters""",
    "file-system": "shutil",
    "native-code": """ctypes _ctypes cffi _cffi_backend numpy.ctypeslib pyximport Cython cython
        _testcapi _testinternalcapi""",
    "system-calls": """fcntl signal _signal resource mmap termios tty pwd grp spwd crypt syslog psutil
        winreg _winapi msvcrt _posixshmem""",
    "network": """socket _socket ssl _ssl socketserver ftplib telnetlib smtplib smtpd poplib imaplib
        nntplib http.client http.server urllib.request urllib.robotparser xmlrpc wsgiref asyncore
        asynchat websocket websockets paramiko pycurl zmq scapy twisted asyncssh socks""",
    "http-client": "requests httpx aiohttp urllib3",
    "unpickle": "shelve jsonpickle",
    "run-code": "code codeop runpy doctest",
    "import-machinery": """imp _imp zipimport site _frozen_importlib _frozen_importlib_external
        importlib.machinery importlib.abc importlib._bootstrap importlib._bootstrap_external""",
    "builtins": "builtins __builtin__",
    "namespace": "__main__",
    "debugger": "pdb bdb",
    "frames": "_lsprof sys.monitoring",
}

REFUSED = {name: rule for rule, names in _REFUSED.items() for name in names.split()}


class Only:
    """A module of which a list of names is harmless; handing it on hides which are used."""

    def __init__(self, rule, names):
        self.rule = rule
        self.names = frozenset(names.split())
        self.hides = True

    def rule_of(self, name):
        return None if name in self.names else self.rule


class Except:
    """A module of which some names are refused."""

    def __init__(self, hides=False, **names):
        self.hides = hides
        self.rule = "sys-internals"
        self.names = {
            name: rule.replace("_", "-") for rule, listed in names.items() for name in listed.split()
        }

    def rule_of(self, name):
        return self.names.get(name)


_PICKLES = """dump dumps Pickler PickleError PicklingError UnpicklingError HIGHEST_PROTOCOL
    DEFAULT_PROTOCOL"""

GUARDED = {
    "os": Only(
        "os-module",
        """path sep altsep extsep pathsep linesep name curdir pardir devnull getcwd getcwdb makedirs
        mkdir listdir scandir walk stat lstat stat_result access F_OK R_OK W_OK X_OK cpu_count
        process_cpu_count getpid urandom fspath fsencode fsdecode PathLike DirEntry error environ
        getenv get_terminal_size terminal_size strerror times SEEK_SET SEEK_CUR SEEK_END""",
    ),
    "sys": Except(
        hides=True,
        sys_internals="modules addaudithook setdlopenflags _clear_type_cache _debugmallocstats",
        frames="""_getframe _getframemodulename _current_frames _current_exceptions settrace
            setprofile call_tracing monitoring""",
        import_machinery="meta_path path_hooks path_importer_cache",
        debugger="breakpointhook __breakpointhook__ remote_exec",
    ),
    "importlib": Only(
        "import-machinery", "import_module metadata resources util invalidate_caches reload"
    ),
    "importlib.util": Only("import-machinery", "find_spec"),
    "pickle": Only("unpickle", _PICKLES),
    "_pickle": Only("unpickle", _PICKLES),
    "cPickle": Only("unpickle", _PICKLES),
    "cloudpickle": Only("unpickle", _PICKLES),
    "dill": Only("unpickle", _PICKLES),
    "marshal": Only("unpickle", "dump dumps version"),
    "gc": Only(
        "gc",
        """collect enable disable isenabled get_count get_threshold set_threshold get_stats freeze
        unfreeze get_freeze_count""",
    ),
    "inspect": Except(
        frames="""currentframe stack trace getframeinfo getouterframes getinnerframes getclosurevars
            getmodule getgeneratorlocals getcoroutinelocals"""
    ),
    "threading": Except(frames="settrace setprofile settrace_all_threads setprofile_all_threads"),
    "traceback": Except(frames="walk_stack walk_tb"),
    "types": Except(run_code="CodeType", frames="FrameType"),
    "typing": Except(run_code="_eval_type"),
    "asyncio": Except(
        import_subprocess="create_subprocess_exec create_subprocess_shell",
        network="""open_connection start_server open_unix_connection start_unix_server sslproto
            selector_events""",
    ),
    "concurrent.futures": Except(import_multiprocessing="ProcessPoolExecutor"),
    "timeit": Except(run_code="template main"),
    "trace": Except(run_code="Trace"),
    "profile": Except(run_code="run runctx"),
    "cProfile": Except(run_code="run runctx"),
    "pydoc": Except(import_subprocess="pipepager tempfilepager", dynamic_import="locate importfile"),
    "pkgutil": Except(
        dynamic_import="resolve_name walk_packages",
        import_machinery="get_loader find_loader get_importer",
    ),
    "logging.config": Except(network="listen"),
    "pandas": Except(unpickle="read_pickle"),
    "joblib": Except(unpickle="load"),
    "torch": Except(unpickle="load"),
    "yaml": Except(unpickle="unsafe_load unsafe_load_all UnsafeLoader CUnsafeLoader"),
    "numpy": Except(unpickle="DataSource"),
}

# Modules that many modules carry as an attribute: `logging.os` is `os`.
CARRIED = frozenset(
    """os sys subprocess shutil socket ctypes builtins importlib posix pty multiprocessing""".split()
)
# The same below modules of the standard library only; elsewhere `signal` or `code` is a name.
CARRIED_IN_STDLIB = CARRIED | frozenset(
    """signal ssl fcntl resource mmap pickle marshal gc code pwd grp pdb bdb runpy
    tty termios socketserver""".split()
)
# Under which other names they are carried.
CARRIED_AS = {"_os": "os", "_sys": "sys", "_subprocess": "subprocess", "_shutil": "shutil"}

STDLIB = frozenset(
    """abc argparse array ast asyncio base64 bisect calendar cgi cmath cmd codecs collections
    colorsys compileall concurrent configparser contextlib contextvars copy copyreg csv dataclasses
    datetime dbm decimal difflib dis email encodings enum errno faulthandler filecmp fileinput
    fnmatch fractions ftplib functools genericpath getopt getpass gettext glob graphlib gzip hashlib
    heapq hmac html http imghdr inspect io ipaddress itertools json keyword linecache locale logging
    lzma mailbox mimetypes modulefinder netrc ntpath numbers opcode operator optparse os pathlib
    pickletools pipes pkgutil platform plistlib posixpath pprint profile pyclbr py_compile pydoc
    queue quopri random re reprlib rlcompleter sched secrets selectors shlex sqlite3 sre_compile
    stat statistics string stringprep struct symtable sysconfig tabnanny tarfile tempfile
    test textwrap threading timeit token tokenize trace traceback tracemalloc types typing unittest
    urllib uu uuid warnings weakref xml zipapp zipfile _pyio _strptime _threading_local
    _collections_abc""".split()
)

# Built-in functions whose mere mention is refused, unless the code means a name of its own.
BUILTINS = {
    "eval": "run-code",
    "exec": "run-code",
    "compile": "run-code",
    "execfile": "run-code",
    "__import__": "dynamic-import",
    "breakpoint": "debugger",
    "__builtins__": "builtins",
    "__loader__": "import-machinery",
    "__spec__": "import-machinery",
}
# Those that may be called where the check sees with what, and not be handed on.
FETCHERS = frozenset(["getattr", "setattr", "delattr", "hasattr"])
NAMESPACES = frozenset(["globals", "locals", "vars"])
SEEN_CALLS = FETCHERS | NAMESPACES

# Attributes that are refused on any object.
ATTRIBUTES = {
    name: rule
    for rule, names in {
        "dunder-escape": """__subclasses__ __globals__ __bases__ __base__ __mro__ mro_entries __code__
            __closure__ __self__ func_globals func_code im_func __getattribute_from_base__""",
        "builtins": "__builtins__ __builtin__",
        "dynamic-import": "__import__",
        "import-machinery": "__loader__ __spec__",
        "frames": """f_globals f_locals f_builtins f_back tb_frame gi_frame cr_frame ag_frame
            _getframe _current_frames""",
        "import-subprocess": "create_subprocess_exec create_subprocess_shell subprocess_exec subprocess_shell",
        "network": """create_unix_connection create_unix_server create_datagram_endpoint sock_connect
            connect_accepted_socket""",
        "native-code": "enable_load_extension",
    }.items()
    for name in names.split()
}

# Names below a module that are refused even where nobody can tell what the module's name stands for:
# `anything.os.system`.
PAIRS = {
    "os": frozenset(
        """system popen fork forkpty execl execle execlp execlpe execv execve execvp execvpe spawnl
        spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe posix_spawn posix_spawnp kill killpg
        _exit abort setuid setgid chroot mkfifo mknod remove unlink rmdir removedirs rename chmod
        chown symlink startfile""".split()
    ),
    "subprocess": frozenset(
        "run call check_call check_output Popen getoutput getstatusoutput".split()
    ),
    "sys": frozenset("modules _getframe settrace setprofile".split()),
    "builtins": frozenset("eval exec compile __import__ open getattr".split()),
}

# Keys under which namespaces hold what is refused: `d["__builtins__"]` on whatever `d` is.
KEYS = {
    "__builtins__": "builtins",
    "__import__": "dynamic-import",
    "__loader__": "import-machinery",
    "__globals__": "dunder-escape",
    "__subclasses__": "dunder-escape",
    "__code__": "dunder-escape",
    "__closure__": "dunder-escape",
    "__mro__": "dunder-escape",
    "__bases__": "dunder-escape",
    "__base__": "dunder-escape",
}

# Calls whose first argument is a path, with the name of that argument.
PATH_CALLS = {
    "builtins.open": "file",
    "io.open": "file",
    "io.open_code": "path",
    "io.FileIO": "file",
    "_io.open": "file",
    "_io.FileIO": "file",
    "codecs.open": "filename",
    "gzip.open": "filename",
    "bz2.open": "filename",
    "lzma.open": "filename",
    "tarfile.open": "name",
    "zipfile.ZipFile": "file",
    "linecache.getline": "filename",
    "linecache.getlines": "filename",
    "fileinput.input": "files",
    "glob.glob": "pathname",
    "glob.iglob": "pathname",
    "sqlite3.connect": "database",
    "pathlib.Path": "",
    "pathlib.PosixPath": "",
    "os.listdir": "path",
    "os.scandir": "path",
    "os.walk": "top",
    "os.makedirs": "name",
    "os.mkdir": "path",
    "os.stat": "path",
    "os.lstat": "path",
    "os.access": "path",
    "numpy.load": "file",
    "numpy.loadtxt": "fname",
    "numpy.genfromtxt": "fname",
    "numpy.fromfile": "file",
    "numpy.save": "file",
    "numpy.savetxt": "fname",
    "pandas.read_csv": "filepath_or_buffer",
    "pandas.read_table": "filepath_or_buffer",
    "pandas.read_fwf": "filepath_or_buffer",
    "pandas.read_json": "path_or_buf",
    "pandas.read_excel": "io",
}
# Where code may leave files although the path is absolute.
OWN_PATHS = ("/tmp", "/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr")

# Calls that are looked at by name, wherever the method comes from.
FORMATTERS = frozenset(["format", "format_map", "vformat", "get_field"])
GETTERS = frozenset(["get", "pop", "setdefault", "__getitem__"])
# Methods of an event loop by which it connects or listens; other things have methods of these names.
CONNECTORS = frozenset(["create_connection", "create_server"])
SEEN_METHODS = (
    FORMATTERS
    | GETTERS
    | CONNECTORS
    | frozenset(["update", "joinpath", "__getattribute__", "__getattr__"])
)

CARRIED_ANYHOW = CARRIED_IN_STDLIB | frozenset(CARRIED_AS) | frozenset(["__dict__"])
# First parts of the dotted names that the tables speak of.
SIGNIFICANT = frozenset(
    name.partition(".")[0] for table in (REFUSED, GUARDED, PATH_CALLS) for name in table
) | frozenset(["operator"])
