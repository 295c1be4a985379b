"""Which files a signal opens while it computes: answers must not come from a file."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from vpcore.errors import CausalityError
from vpcore.kernels.cache_folder import writable_cache
from vpcore.signal import Signal

_WATCHED: ContextVar[tuple[str, frozenset[str], list[str]] | None] = ContextVar("_WATCHED", default=None)
_CODE = (".py", ".pyc", ".pyd", ".so")
_CONNECTIONS = ("socket.connect", "sqlite3.connect", "subprocess.Popen", "os.system", "urllib.Request")


@contextmanager
def only_declared_files(signal: Signal, name: str) -> Iterator[None]:
    """Refuse a signal that opens a file, a connection or a process while it computes.

    Allowed are the interpreter, installed packages, compiled code, and the signal's `data_files`. Python reports the
    files that Python code opens. What a library opens in its own compiled code, or a signal in a thread of its own,
    goes unseen.

    Raises
    ------
    CausalityError
        At the file, and again at the end if the signal has caught the error.
    """
    _install()
    module = getattr(sys.modules.get(type(signal).__module__), "__file__", None)
    folder = Path(module).resolve().parent if module else Path.cwd()
    own = frozenset(os.path.realpath(folder / entry) for entry in type(signal).data_files)
    found: list[str] = []
    token = _WATCHED.set((name, own, found))
    try:
        yield
    finally:
        _WATCHED.reset(token)
    if found:
        raise CausalityError(found[0])


@cache
def _install() -> None:
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event != "open" and event not in _CONNECTIONS:
        return
    watched = _WATCHED.get()
    if watched is None:
        return
    name, own, found = watched
    if event == "open":
        path = args[0]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a file that is open already
        shown = os.path.realpath(os.fsdecode(path))
        if shown in own or shown.startswith(_allowed()) or shown.endswith(_CODE):
            return
        if any(folder in shown for folder in ("/__pycache__/", "/site-packages/", "/dist-packages/")):
            return
        what = f"opens {shown} while it computes. Name what it needs in data_files, beside its module."
    else:
        what = f"opens a connection or a process while it computes ({event})."
    found.append(f"Signal '{name}' {what} A value may depend on the bins up to its own alone.")
    raise CausalityError(found[0])


@cache
def _allowed() -> tuple[str, ...]:
    """Return the beginnings of allowed paths: interpreter and installed packages, compiled code, the system."""
    caches = [writable_cache("vpcore-kernels"), os.environ.get("NUMBA_CACHE_DIR")]
    roots = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *map(str, filter(None, caches))}
    system = ("/proc/", "/sys/", "/dev/", "/usr/", "/lib/", "/lib32/", "/lib64/", "/etc/")
    return (*(os.path.join(os.path.realpath(root), "") for root in sorted(roots)), *system)
