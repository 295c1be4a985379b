"""The workspace of `sweep_workspace`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sweep_workspace import edit, frames, importable, make_proven, make_workspace, paths, proofs, workspace

from vpcore import Workspace

__all__ = ["edit", "frames", "importable", "make_proven", "make_workspace", "paths", "proofs", "workspace"]


@pytest.fixture
def ws(make_proven: Callable[[str], Workspace]) -> Workspace:
    """A workspace whose signals are proven."""
    return make_proven("ws")
