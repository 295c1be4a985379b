"""One workspace with two published versions, which the tests only read."""

from __future__ import annotations

import pytest
from served_world import make_served_workspace

from vpcore import Workspace


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_served_workspace(tmp_path_factory.mktemp("served") / "ws")
