"""Rows made up for the store's tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from result_rows import made_meta, made_rows

from vpcore.results import ResultsDB


@pytest.fixture
def db(tmp_path: Any) -> ResultsDB:
    return ResultsDB(tmp_path / "results")


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    return SimpleNamespace(meta=made_meta, rows=made_rows)
