"""A table of many rows."""

from __future__ import annotations

import contextlib
import os
import tracemalloc

import pytest
from many_rows import N_RUNS, N_THRESHOLDS, many, written

from vpcore import Workspace
from vpcore_cli.app import run

__all__ = ["many", "written"]


@pytest.mark.slow
def test_csv_of_many_rows_is_written_row_by_row(many: Workspace) -> None:
    arguments = ["compare", "--root", str(many.root), "--min-signals", "0", "--csv", "--limit"]
    peaks = []
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for limit in (10, N_RUNS * N_THRESHOLDS):
            tracemalloc.start()
            assert run([*arguments, str(limit)]) == 0
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 500 * N_RUNS * N_THRESHOLDS  # all rows as dictionaries take ten times as much
