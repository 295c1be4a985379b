"""Packages whose names are imported when they are used, so that a command pays only for what it does.

numba alone takes longer to import than a ranking of a hundred thousand rows takes to compute.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def exports(package: str, **homes: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package: each name is imported from its module on first use.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    **homes : str
        By module of the package, the names that it gives, with spaces between. None of them may be a module's: an
        imported module becomes an attribute of its package, and would stand before the name.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
