"""The decorator for compiled code, with a cache that notices every change of source.

numba's file cache checks only the file of the decorated function: after a change of a helper in another file, callers
keep the old helper. Here a digest of all kernels of vpcore and of all sources of the caller's package names the cache
directory, so that any change compiles anew; old directories are deleted.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import importlib.util
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any, TypeVar, cast, overload

from vpcore.kernels.absent import absent

os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")  # its transcendental functions differ in the last bits

with absent("coverage"):  # numba loads it where it is installed, a tenth of a worker's start, and asks it nothing
    import numba

import numba.core.event
import numba.core.options
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

from vpcore.kernels.cache_folder import writable_cache
from vpcore.kernels.linked import LinkedCompiler

_FOLDER = "vpcore-kernels"

CAN_BORROW = hasattr(numba.core.options.DefaultOptions, "_nrt")
"""Whether this numba can leave reference counts alone; without, the same code is right and slower."""

_log = logging.getLogger(__name__)


class _Announced(numba.core.event.Listener):  # type: ignore[misc]  # numba is untyped
    """Logs the start of a compilation once per process: it may take 20 seconds.

    The command line shows the log, a server keeps it, and a worker process is silent.
    """

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: numba.core.event.Event) -> None:
        """Called when a function is compiled; loading from the cache is silent."""
        if not self._said:
            self._said = True
            kept = writable_cache(_FOLDER)
            where = f"kept for later in {kept}" if kept is not None else "not kept: no cache directory can be written"
            _log.info("Compiling code at its first use, which may take some 20 seconds; it is %s.", where)

    def on_end(self, event: numba.core.event.Event) -> None:
        """Stay silent: compilations follow one another, as functions are first called."""


numba.core.event.register("numba:compile", _Announced())


@cache
def _load_array_functions() -> None:
    """Load numba's functions of arrays without scipy, which takes a fifth of the start of a command.

    numba imports ``scipy.linalg`` to learn whether ``np.dot`` can be compiled. Here it only looks whether scipy is
    installed; a compilation of ``np.dot``, and code from the cache that calls it, import scipy by themselves.
    """
    import numba.np.linalg

    linalg, found = numba.np.linalg, importlib.util.find_spec("scipy") is not None
    check = linalg.ensure_blas
    linalg.ensure_blas = (lambda: None) if found else check
    try:
        import numba.np.arraymath
    finally:
        linalg.ensure_blas = check
    numba.np.arraymath.ensure_blas = check


class _Function(CPUDispatcher):  # type: ignore[misc]  # numba is untyped
    """A compiled function, in two forms: one for calls from Python, one for calls from compiled code.

    Only the first has a wrapper that unpacks Python's arguments. numba gives one to every function. For a tuple of
    arrays the wrapper is longer than most helpers, and it took a quarter of the time of a first compilation.
    """

    _folder: Path | None = None
    serves_both = False
    """True if compiled code calls the form for Python too: one compilation of a function with both kinds of callers."""

    def keep_in(self, folder: Path) -> None:
        """Save compiled code in a folder, and load it from there."""
        self._folder = folder
        _cache_in(self, folder)

    @cached_property
    def _bare(self) -> Any:
        """The form for calls from compiled code; made when a caller is compiled, which a warm cache never does."""
        options = {**self.targetoptions, "no_cpython_wrapper": True}
        made = CPUDispatcher(self.py_func, targetoptions=options, pipeline_class=LinkedCompiler)
        if self._folder is not None:
            _cache_in(made, self._folder / "bare")
        return made

    def compile(self, sig: Any) -> Any:
        """Compile for calls from Python. Workers that need the same function wait for the first and load its code."""
        with ExitStack() as held:
            if self._folder is not None:
                with suppress(OSError):  # no folder, or a file system without locks: every process compiles
                    lock = held.enter_context((self._folder / f"{self.__module__}.{self.__qualname__}.lock").open("w"))
                    _wait_for(lock)
            _load_array_functions()
            held.enter_context(global_compiler_lock)  # numba's: another thread would take the pause for the usual state
            held.callback(gc.enable if gc.isenabled() else gc.disable)
            gc.disable()  # a compilation makes many objects that live for long: looking among them took a tenth
            return super().compile(sig)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile for calls from compiled code."""
        if self.serves_both:
            return super().get_call_template(args, kws)
        return self._bare.get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        """Return the code for calls from compiled code."""
        if self.serves_both:
            return super().get_overload(sig)
        return self._bare.get_overload(sig)

    @property
    def is_compiling(self) -> bool:
        """Whether a compilation is under way: then a call of the function by itself is a recursion."""
        return bool(super().is_compiling or ("_bare" in self.__dict__ and self._bare.is_compiling))


def compile_once(function: Callable[..., Any]) -> None:
    """Let compiled code call the same form of a function as Python does."""
    if isinstance(function, _Function):
        function.serves_both = True


def _wait_for(lock: IO[str]) -> None:
    """Lock a file, or give up: whoever holds it may be stopped, and then it is better to compile twice."""
    end = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < end:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return


def _cache_in(compiled: Any, folder: Path) -> None:
    """Turn on numba's cache of a function. ``numba.config.CACHE_DIR`` is changed meanwhile and put back."""
    before = numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = str(folder)
        compiled.enable_caching()
    finally:
        numba.config.CACHE_DIR = before


F = TypeVar("F", bound=Callable[..., Any])

_LONGEST_WAIT = 120.0
"""Seconds; no function takes that long to compile."""

_KEEP_DIGESTS = 8
_KEEP_SECONDS = 14 * 24 * 3600


@cache
def sources_digest(root: Path) -> str:
    """Return 16 hex digits over names and bytes of every ``.py`` file below `root`, or of `root` if it is a file."""
    hasher = hashlib.sha256()
    files = [root] if root.is_file() else sorted(root.rglob("*.py"))
    for file in files:
        hasher.update(file.relative_to(root.parent).as_posix().encode() + b"\0")
        hasher.update(hashlib.sha256(file.read_bytes()).digest())
    return hasher.hexdigest()[:16]


@cache
def _resolved(path: str) -> Path:
    return Path(path).resolve()


def _caller_root(module_name: str) -> Path | None:
    """Return the folder or file with the sources of the caller's package, None for a notebook."""
    module = sys.modules.get(module_name)
    path = getattr(module, "__file__", None)
    if module_name == "__main__" or not path:
        return None
    kernels = _resolved(__file__).parent
    here = _resolved(path)
    if kernels in here.parents:
        return kernels
    top = sys.modules.get(module_name.partition(".")[0])
    top_path = getattr(top, "__file__", None)
    if top_path and Path(top_path).name == "__init__.py":
        return _resolved(top_path).parent
    return here


@cache
def _cache_folder(root: Path) -> Path | None:
    base = writable_cache(_FOLDER)
    if base is None:
        return None
    kernels = _resolved(__file__).parent
    key = f"{sources_digest(kernels)}-{sources_digest(root)}-numba{numba.__version__}"
    folder = base / key
    _prune(base, folder)
    try:
        folder.mkdir(exist_ok=True)
        os.utime(folder)
    except OSError:
        return None
    return folder


def _prune(base: Path, keep: Path) -> None:
    try:
        others = sorted((p for p in base.iterdir() if p != keep), key=lambda p: p.stat().st_mtime, reverse=True)
        oldest = time.time() - _KEEP_SECONDS
        for stale in others[_KEEP_DIGESTS:]:
            if stale.stat().st_mtime < oldest:
                shutil.rmtree(stale, ignore_errors=True)
    except OSError:  # another process prunes at the same time
        return


@overload
def jit(function: F) -> F: ...
@overload
def jit(*, nogil: bool = ..., inline: bool = ..., borrows: bool = ...) -> Callable[[F], F]: ...


def jit(
    function: F | None = None, *, nogil: bool = True, inline: bool = False, borrows: bool = False
) -> F | Callable[[F], F]:
    """Compile a function on first call, without Python objects and without the global lock.

    Parameters
    ----------
    function : callable
        A loop over plain arrays and numbers.
    nogil : bool
        Release the global interpreter lock while it runs.
    inline : bool
        Always inline into compiled callers, in LLVM. For helpers of inner loops that take a tuple of arrays: passing
        one through a call costs more than such a helper does.
    borrows : bool
        The function and its callees only read and write arrays of its caller: they allocate, return and keep none.
        Reference counts then stay untouched. Taking an array out of a tuple counts up and down atomically, and in the
        engine's event loop that took three quarters of the time.

    Returns
    -------
    callable
        The compiled function. Bits follow plain IEEE arithmetic in the written order (no ``fastmath``), and division by
        zero follows numpy.

    Notes
    -----
    The cache honours ``NUMBA_CACHE_DIR``, else lies below the user's cache directory. ``numba.config.CACHE_DIR`` is
    changed around the decoration only and put back. A function in a notebook stays uncached.
    """

    def decorate(target: F) -> F:
        if numba.config.DISABLE_JIT:
            return target
        options = {
            "nopython": True,
            "boundscheck": None,
            "nogil": nogil,
            "fastmath": False,
            "error_model": "numpy",
            "forceinline": inline,  # not inline="always": that copies numba's own IR, and compiles for longer
            "no_cfunc_wrapper": True,
        }
        if borrows and CAN_BORROW:
            options["_nrt"] = False
        compiled = _Function(target, targetoptions=options)
        root = _caller_root(target.__module__)
        folder = _cache_folder(root) if root is not None else None
        if folder is not None:
            compiled.keep_in(folder)
        return cast(F, compiled)

    return decorate if function is None else decorate(function)
