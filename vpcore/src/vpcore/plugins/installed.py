"""What is installed: the entry points of plugins, and the distributions behind them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, distributions

from vpcore.plugins.hookspecs import PROJECT

_SECTION = f"[{PROJECT}]"


def entry_points() -> list[EntryPoint]:
    """Return the installed entry points of plugins, in the order of ``sys.path``.

    They are those of `importlib.metadata.entry_points` for the group ``vpcore``. Files without that group stay
    unparsed, as most are. Of two copies of one distribution, the first on ``sys.path`` counts, even without plugins.
    """
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for distribution in distributions():
        name = distribution._normalized_name  # type: ignore[attr-defined]  # of its folder, without its metadata
        if name in seen:
            continue
        seen.add(name)
        text = distribution.read_text("entry_points.txt")
        if text is not None and _SECTION in text:
            found += distribution.entry_points.select(group=PROJECT)
    return found


class Package:
    """The distribution of a plugin. Its metadata is read when `name` or `version` is first asked for, and kept.

    Parameters
    ----------
    read : callable
        Returns name and version.
    """

    def __init__(self, read: Callable[[], tuple[str, str]]) -> None:
        self._read = read

    @classmethod
    def of(cls, find: Callable[[], Distribution | None]) -> Package:
        """Return the package of a distribution. `find` returns it, or None for a plugin without one."""

        def read() -> tuple[str, str]:
            found = find()
            if found is None:
                return "", ""
            metadata = found.metadata  # parsed anew at every access
            return metadata["Name"], metadata["Version"]

        return cls(read)

    @classmethod
    def called(cls, name: str, version: str) -> Package:
        """Return a package of a given name and version; both are empty for none."""
        return cls(lambda: (name, version))

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @cached_property
    def _metadata(self) -> tuple[str, str]:
        return self._read()

    @property
    def name(self) -> str:
        """The name of the distribution; empty for none."""
        return self._metadata[0]

    @property
    def version(self) -> str:
        """The version of the distribution; empty for none."""
        return self._metadata[1]
