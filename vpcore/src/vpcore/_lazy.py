"""Packages with names imported on first use, so that each command imports only its own needs.

numba alone takes longer to import than a ranking of a hundred thousand rows takes to compute.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def exports(package: str, base: str | None = None, /, **homes: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module: each name is imported from its home on first use.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    base : str, optional
        Package that holds the homes; by default `package`.
    **homes : str
        By module of the package, the names that it gives, with spaces between. A name must differ from the names of
        the package's modules: an imported module becomes an attribute of its package and hides the exported name.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(importlib.import_module(f"{base or package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
