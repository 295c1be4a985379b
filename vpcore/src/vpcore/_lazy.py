"""Packages with names imported on first use, so that each command imports only its own needs.

numba alone takes longer to import than a ranking of a hundred thousand rows takes to compute.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from typing import Any

_IMPORT = re.compile(r"^    from (\S+) import (\([^)]*\)|.*)$", re.MULTILINE)


def exports(package: str) -> tuple[Callable[[str], Any], list[str]]:
    """Return the ``__getattr__`` and the sorted exported names of a module.

    A module exports the names that it imports as ``name as name`` under ``if TYPE_CHECKING``: type checkers read the
    same lines. Each name is imported from its home on first use. A name must differ from the names of the package's
    modules: an imported module becomes an attribute of its package and hides the exported name.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    """
    module = sys.modules[package]
    text = module.__spec__.loader.get_source(package)  # type: ignore[union-attr]
    home = {name: source for source, names in _IMPORT.findall(text) for name in re.findall(r"\b(\w+) as \1\b", names)}

    def __getattr__(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(importlib.import_module(home[name]), name)
        setattr(module, name, value)
        return value

    return __getattr__, sorted(home)
