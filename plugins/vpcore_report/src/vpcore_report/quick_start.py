"""A faster start of matplotlib, for commands."""

from __future__ import annotations

from typing import Any


def skip_docstrings() -> None:
    """Import matplotlib without the lists of properties in its docstrings, which take a third of its import.

    Commands call this before they import pictures. A notebook keeps the full docstrings.
    """
    from matplotlib import artist

    made: Any = artist
    made.kwdoc = lambda _: ""
    made.Artist._update_set_signature_and_docstring = classmethod(lambda _: None)
