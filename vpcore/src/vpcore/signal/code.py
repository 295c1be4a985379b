"""Identity of code: digests of a signal and of the core, the signal's distribution, and checks of worker processes."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import inspect
import os
import platform
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vpcore.errors import SignalError
from vpcore.plugins.installed import entry_points
from vpcore.signal.module_graph import ModuleGraph, data_digest, parse_source

if TYPE_CHECKING:
    from vpcore.signal.base import Signal


CORE = (
    "vpcore.backtest.session",
    "vpcore.kernels.stream",
    "vpcore.signal.drivers",
    "vpcore.kernels.rolling",
    "vpcore.kernels.robust_z",
    "vpcore.kernels.spatial",
)
"""Roots of the core code of a row: the evaluation session, the book behind the fills of makers, the drivers, and the
compiled steps of signals.
"""


@dataclass(frozen=True, slots=True)
class SignalCode:
    """Source behind a signal's values.

    Attributes
    ----------
    digest : str
        64 hex digits.
    modules : dict of str to str
        Digest of each module, by name.
    imported : frozenset of str
        Top-level modules of other distributions that these modules import, the standard library left out.
    """

    digest: str
    modules: dict[str, str]
    imported: frozenset[str]


@dataclass(frozen=True, slots=True)
class InstalledCode:
    """Digests of the installed code: of the core, and of each signal by name."""

    core: str
    signals: Mapping[str, str]


@cache
def core_digest() -> str:
    """Return 64 hex digits over the source of the core's modules that decide a row, comments and docstrings removed.

    A process computes it once: it runs the code that it has loaded, whatever is edited later.
    """
    graph = ModuleGraph(lambda top: top == "vpcore")
    for root in CORE:
        graph.add(root)
    return graph.digest()


def code_digest(cls: type[Signal]) -> str:
    """Return 64 hex digits over the source and the data files behind a signal; see `code_of`."""
    return code_of(cls).digest


def code_of(cls: type[Signal]) -> SignalCode:
    """Return the modules that a signal's module reaches by import inside plugins of vpcore, and their digest.

    Comments and docstrings are left out; the bytes of the data files that classes of these modules declare
    (``data_files``) are included. A script, or a module outside the import path, is its own file alone; a class of a
    notebook is the text of its class statement.

    Raises
    ------
    SignalError
        If the source of the class or a declared data file is missing.
    """
    module = cls.__module__
    loaded = getattr(sys.modules.get(module), "__file__", None)
    file = Path(loaded) if loaded and Path(loaded).is_file() else None
    graph = _graph_of(module)
    place = graph.place(module)
    if place is not None and place.file is not None and (file is None or place.file.samefile(file)):
        graph.add(module)
    elif file is not None:
        graph.add_file(file.stem, file)
    else:
        return _code_of_text(cls)
    missed = set(cls.data_files) - {entry for source in graph.sources.values() for entry in source.data_files}
    if missed:
        raise SignalError(
            f"data_files of signal '{cls.__name__}' must be written out in its class statement, but '{min(missed)}' is "
            "not. Write the names there: data_files = ('table.csv',)."
        )
    top = module.partition(".")[0]
    return _code(graph, _beside(top) | {top})


def _code(graph: ModuleGraph, own: frozenset[str]) -> SignalCode:
    modules = {name: source.digest for name, source in graph.sources.items()}
    reached = {name.partition(".")[0] for name in modules}
    return SignalCode(graph.digest(), modules, frozenset(graph.foreign | reached) - own)


def _code_of_text(cls: type[Signal]) -> SignalCode:
    try:
        text = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        raise SignalError(
            f"Signal '{cls.__name__}' has no source ({cls.__module__}), so its results could not be told from those of "
            "another version. Put the class into a file."
        ) from None
    data = [data_digest(Path.cwd(), entry) for entry in cls.data_files]
    digest = hashlib.sha256("\n".join([parse_source(text).digest, *data]).encode()).hexdigest()
    return SignalCode(digest, {}, frozenset())


def _graph_of(module: str, like: ModuleGraph | None = None) -> ModuleGraph:
    top = module.partition(".")[0]
    stdlib = sys.stdlib_module_names
    plugins = _plugins()
    return ModuleGraph(
        lambda other: other == top or other in plugins or (other not in stdlib and other in _beside(top)), like
    )


@cache
def _plugins() -> frozenset[str]:
    """Return the top-level modules of all plugins: a signal may read features and base classes of another plugin."""
    return frozenset(entry.value.partition(":")[0].partition(".")[0] for entry in entry_points())


def declared_digests(targets: Mapping[str, str]) -> dict[str, str]:
    """Return the `code_digest` of signals by their declared places, from source text alone.

    Parameters
    ----------
    targets : mapping of name to str
        ``"package.module:Class"``, as in a `Component`.

    Returns
    -------
    dict
        By name. Signals with a missing class statement or data file are left out.
    """
    found: dict[str, str] = {}
    files = _graph_of("")
    for name, target in targets.items():
        module, _, attribute = target.partition(":")
        home = files.home(module, attribute)
        if home is None:
            continue
        graph = _graph_of(home, files)
        with contextlib.suppress(SignalError):
            graph.add(home)
            found[name] = graph.digest()
    return found


# -- code of this process ----------------------------------------------------------------------------------------------

_LOADED: dict[str, tuple[object, str]] = {}
"""By module, the import that loaded it (its spec) and the digest of its source when a signal first used it here."""


def require_loaded_as(cls: type[Signal], expected: str) -> None:
    """Raise `SignalError` if the modules of a signal were edited after loading, or differ from the planned code.

    Parameters
    ----------
    cls : type
        The signal.
    expected : str
        `code_digest` of the planned run.
    """
    where = f"{cls.__module__}:{cls.__qualname__}"
    code = code_of(cls)
    if code.digest != expected:
        raise SignalError(
            f"The sources of {where} were changed while the experiment was running. Run it again: the edited signal "
            "is a run of its own."
        )
    for name, digest in code.modules.items():
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is None:
            continue
        then, was = _LOADED.setdefault(name, (spec, digest))
        if then is not spec:  # imported anew
            _LOADED[name] = (spec, digest)
        elif was != digest:
            raise SignalError(
                f"The sources of {where} were changed since process {os.getpid()} on {platform.node()} has loaded "
                "them. Restart the workers (or this notebook's kernel), and run again."
            )


def require_core(expected: str) -> None:
    """Raise `SignalError` if the core code of this process differs from `expected`, the digest of a planned run."""
    if core_digest() != expected:
        raise SignalError(
            f"Process {os.getpid()} on {platform.node()} has other code of vpcore ({core_digest()[:12]}) than the "
            f"process that planned the run ({expected[:12]}). Install the same vpcore on every host, restart the "
            "workers, and run again."
        )


# -- distributions -----------------------------------------------------------------------------------------------------


@cache
def owners_of(top: str) -> tuple[str, ...]:
    """Return the names of the distributions with a top-level module, sorted.

    A module of the standard library has none. A distribution of the module's name counts as its only owner.
    """
    if top in sys.stdlib_module_names:
        return ()
    try:
        named = importlib.metadata.distribution(top)
        if top in _top_levels(named):
            return (named.name,)
    except importlib.metadata.PackageNotFoundError:
        pass
    found = importlib.metadata.distributions()
    return tuple(sorted({each.name for each in found if _may_own(each, top) and top in _top_levels(each)}))


@cache
def _distribution(top: str) -> importlib.metadata.Distribution | None:
    """Return the distribution of a top-level module, the first of several by name."""
    owners = owners_of(top)
    return importlib.metadata.distribution(owners[0]) if owners else None


def _may_own(distribution: importlib.metadata.Distribution, top: str) -> bool:
    """Return False if a text search rules out a top-level module: parsing every list of files takes 0.2 s."""
    names = (distribution.read_text("top_level.txt") or "").strip() or distribution.read_text("RECORD")
    return names is None or top in names


def _top_levels(distribution: importlib.metadata.Distribution) -> frozenset[str]:
    declared = (distribution.read_text("top_level.txt") or "").split()
    files = () if declared else distribution.files or ()
    return frozenset(declared) | {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"}


@cache
def _beside(top: str) -> frozenset[str]:
    """Return the top-level modules of the distribution of `top`."""
    distribution = _distribution(top)
    return frozenset() if distribution is None else _top_levels(distribution)


def distribution_of(cls: type[Signal]) -> tuple[str, str]:
    """Return the name and version of the distribution that a signal was installed with.

    A class outside all distributions has its top-level module's name and the version ``""``.
    """
    top = cls.__module__.partition(".")[0]
    found = _distribution(top)
    return (found.name, found.version) if found is not None else (top, "")


def imported_distributions(cls: type[Signal]) -> dict[str, str]:
    """Return the versions of the other distributions that a signal's modules import, by name."""
    names = {owner for top in code_of(cls).imported for owner in owners_of(top)}
    return {name: importlib.metadata.version(name) for name in sorted(names)}


def require_importable(cls: type[Signal]) -> None:
    """Raise `SignalError` unless a new process can import a signal's class by its name.

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
