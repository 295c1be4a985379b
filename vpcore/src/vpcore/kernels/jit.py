"""The decorator for compiled code, with a cache that notices every change of source.

numba's file cache checks only the file of the decorated function: after a change of a helper in another file, callers
keep the old helper. Here a digest of all kernels of vpcore and of all sources of the caller's package names the cache
directory, so that any change compiles anew; old directories are deleted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")  # its transcendental functions differ in the last bits

import numba
import numba.core.event
import numba.core.options

from vpcore.kernels.cache_folder import writable_cache

_FOLDER = "vpcore-kernels"

CAN_BORROW = hasattr(numba.core.options.DefaultOptions, "_nrt")
"""Whether this numba can leave reference counts alone; without, the same code is right and slower."""

_log = logging.getLogger(__name__)


class _Announced(numba.core.event.Listener):  # type: ignore[misc]  # numba is untyped
    """Logs the start of a compilation once per process: it may take half a minute.

    In the log, so that the command line shows it, a server keeps it and a worker process is silent.
    """

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: numba.core.event.Event) -> None:
        """Called when a function is compiled; loading from the cache is silent."""
        if not self._said:
            self._said = True
            kept = writable_cache(_FOLDER)
            where = f"kept for later in {kept}" if kept is not None else "not kept: no cache directory can be written"
            _log.info("Compiling on first use; all of it takes about half a minute, and is %s.", where)

    def on_end(self, event: numba.core.event.Event) -> None:
        """Stay silent: compilations follow one another, as functions are first called."""


numba.core.event.register("numba:compile", _Announced())

F = TypeVar("F", bound=Callable[..., Any])

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


def _caller_root(module_name: str) -> Path | None:
    """Return the folder or file with the sources of the caller's package, None for a notebook."""
    module = sys.modules.get(module_name)
    path = getattr(module, "__file__", None)
    if module_name == "__main__" or not path:
        return None
    kernels = Path(__file__).resolve().parent
    here = Path(path).resolve()
    if kernels in here.parents:
        return kernels
    top = sys.modules.get(module_name.partition(".")[0])
    top_path = getattr(top, "__file__", None)
    if top_path and Path(top_path).name == "__init__.py":
        return Path(top_path).resolve().parent
    return here


@cache
def _cache_folder(root: Path) -> Path | None:
    base = writable_cache(_FOLDER)
    if base is None:
        return None
    kernels = Path(__file__).resolve().parent
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
        root = _caller_root(target.__module__)
        folder = _cache_folder(root) if root is not None else None
        before = numba.config.CACHE_DIR
        if folder is not None:
            numba.config.CACHE_DIR = str(folder)
        try:
            compiled: F = numba.njit(
                cache=folder is not None,
                nogil=nogil,
                fastmath=False,
                error_model="numpy",
                **({"_nrt": False} if borrows and CAN_BORROW else {}),
                forceinline=inline,  # not inline="always": that copies numba's own IR, and compiles for longer
            )(target)
        finally:
            numba.config.CACHE_DIR = before
        return compiled

    return decorate if function is None else decorate(function)
