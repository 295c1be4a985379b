"""What is installed: the entry points of plugins, and the distributions behind them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, distributions

from vpcore.plugins.hookspecs import PROJECT

_SECTION = f"[{PROJECT}]"


def entry_points() -> list[EntryPoint]:
    """Return the installed entry points of plugins, in the order of ``sys.path``.

    They are those of `importlib.metadata.entry_points` for the group ``vpcore``, at a third of its cost: the other
    groups of an environment stay unparsed. Of two copies of one distribution, the first on ``sys.path`` counts.
    """
    found: dict[tuple[str, str], list[EntryPoint]] = {}
    for distribution in distributions():
        text = distribution.read_text("entry_points.txt")
        if text is None or _SECTION not in text:
            continue
        for entry in distribution.entry_points.select(group=PROJECT):
            same = found.setdefault((entry.name, entry.value), [])
            # Names are read only where an entry point comes twice: each costs a parse of the metadata.
            if not same or distribution.name not in {other.dist.name for other in same if other.dist is not None}:
                same.append(entry)
    return [entry for same in found.values() for entry in same]


class Package:
    """The distribution of a plugin. Its metadata is read when `name` or `version` is first asked for.

    Parameters
    ----------
    find : callable
        Returns the distribution, or None for a plugin without one.
    """

    def __init__(self, find: Callable[[], Distribution | None]) -> None:
        self._find = find

    @classmethod
    def called(cls, name: str, version: str) -> Package:
        """Return a package of a given name and version; both are empty for none."""
        made = cls(lambda: None)
        made.__dict__["_metadata"] = (name, version)
        return made

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @cached_property
    def _metadata(self) -> tuple[str, str]:
        found = self._find()
        if found is None:
            return "", ""
        metadata = found.metadata  # parsed anew at every access
        return metadata["Name"], metadata["Version"]

    @property
    def name(self) -> str:
        """The name of the distribution; empty for none."""
        return self._metadata[0]

    @property
    def version(self) -> str:
        """The version of the distribution; empty for none."""
        return self._metadata[1]
