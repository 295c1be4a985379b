"""Where a signal's code comes from: its distribution, a digest of its sources, and whether a worker can import it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from vpcore.errors import SignalError

if TYPE_CHECKING:
    from vpcore.signal.base import Signal


def _top_level(cls: type[Signal]) -> str:
    return cls.__module__.partition(".")[0]


def _source_root(cls: type[Signal]) -> Path | None:
    """Return the folder of the class's top-level package, or the file of its lone module; None without a file."""
    for name in (_top_level(cls), cls.__module__):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and Path(path).is_file():
            return _root_of(path)
    return None


def _root_of(path: str) -> Path:
    file = Path(path).resolve()
    return file.parent if file.name == "__init__.py" else file


def _digest(root: Path) -> str:
    hasher = hashlib.sha256()
    for file in [root] if root.is_file() else sorted(root.rglob("*.py")):
        name = file.name if root.is_file() else file.relative_to(root).as_posix()
        hasher.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return hasher.hexdigest()


def code_digest(cls: type[Signal]) -> str:
    """Return the sha256, as 64 hex digits, over the sources of a signal's top-level package.

    Every ``.py`` file of the package counts, by its path within it and its bytes, because a signal's values may depend
    on any of them. Of a class in a lone module it is that file, of one in a notebook the text of the class.

    Raises
    ------
    SignalError
        If the class has no source at all.
    """
    root = _source_root(cls)
    if root is None:
        try:
            return hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()
        except (OSError, TypeError):
            raise SignalError(
                f"Signal '{cls.__name__}' has no source ({cls.__module__}), so its results could not be "
                "told from those of "
                "another version. Put the class into a file."
            ) from None
    return _digest(root)


def declared_digests(targets: Mapping[str, str]) -> dict[str, str]:
    """Return the `code_digest` of classes that a file says are there, without importing them.

    Parameters
    ----------
    targets : mapping of name to str
        ``"package.module:Class"``, as in a `Component`.

    Returns
    -------
    dict
        By name; without those whose module does not hold the class statement itself.
    """
    roots: dict[str, Path] = {}
    for name, target in targets.items():
        module, _, attribute = target.partition(":")
        try:  # a submodule is found through its package, which is imported for it and may be broken
            file = _file_of(module)
            top = _file_of(module.partition(".")[0])
        except Exception:
            continue
        if file is not None and re.search(rf"^class {attribute}\b", file.read_text(errors="replace"), re.MULTILINE):
            roots[name] = _root_of(str(top or file))
    digests = {root: _digest(root) for root in set(roots.values())}
    return {name: digests[root] for name, root in roots.items()}


def _file_of(module: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    file = Path(spec.origin) if spec is not None and spec.origin else None
    return file if file is not None and file.suffix == ".py" and file.is_file() else None


@lru_cache(maxsize=1)
def _owners() -> dict[str, list[str]]:
    return {name: sorted(set(owners)) for name, owners in importlib.metadata.packages_distributions().items()}


def distribution_of(cls: type[Signal]) -> tuple[str, str]:
    """Return the name and version of the distribution that a signal was installed with.

    A class that no distribution owns has its top-level module's name and the version ``""``.
    """
    owners = _owners().get(_top_level(cls))
    if not owners:
        return _top_level(cls), ""
    return owners[0], importlib.metadata.version(owners[0])


def require_importable(cls: type[Signal]) -> None:
    """Raise `SignalError` if a newly started process could not import a signal's class by its name.

    Executors with worker processes call this before anything is handed out.
    """
    found: object = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if cls.__module__ == "__main__" or found is not cls:
        where = "a notebook or script" if cls.__module__ == "__main__" else f"'{cls.__qualname__}' of {cls.__module__}"
        raise SignalError(
            f"Signal '{cls.__name__}' is defined in {where}, where a worker process cannot import it. "
            "Set parallel.executor to serial (executor: serial), or move the class to the top level of a module."
        )
