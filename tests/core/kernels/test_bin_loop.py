"""One loop serves the steps of all signals: same bits as one step after the other, and a cache entry for each step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import vpcore.kernels.bin_loop as module
from vpcore.kernels.bin_loop import bin_loop
from vpcore.kernels.jit import jit


@jit
def total(state, seq, weight, first, second):
    state[0] += seq * weight
    return state[0] + first[0] - second[-1]


def test_the_loop_gives_numbers_then_rows_and_skips_invalid_bins() -> None:
    n, cells = 50, 5
    rng = np.random.default_rng(3)
    bins = (np.arange(n, dtype=np.int32), rng.normal(size=n))
    grid = (rng.normal(size=(n, cells)).astype(np.float32), rng.integers(-2, 3, size=(n, cells)).astype(np.int8))
    valid = rng.random(n) > 0.3
    out = np.empty(n)
    rows = tuple(np.empty((2, cells)))
    bin_loop(total)(np.zeros(1), bins, grid, rows, rows, valid, out)
    sum_, expected = 0.0, []
    for i in range(n):
        if valid[i]:
            sum_ += int(bins[0][i]) * float(bins[1][i])
        expected.append(sum_ + float(grid[0][i, 0]) - float(grid[1][i, -1]) if valid[i] else np.nan)
    assert out.tobytes() == np.array(expected).tobytes()


@jit
def doubled(state, x):
    return state[0] + 2.0 * x


@pytest.mark.compiled
def test_a_step_is_compiled_once_for_the_loop_and_for_python() -> None:
    state, out = np.ones(1), np.empty(3)
    bin_loop(doubled)(state, (np.arange(3.0),), (), (), (), np.ones(3, bool), out)
    assert out.tolist() == [doubled(state, float(x)) for x in range(3)]
    assert len(doubled.overloads) == 1
    assert "_bare" not in vars(doubled)


@jit
def constant(state):
    return state[0]


def test_a_step_may_read_no_column() -> None:
    out = np.empty(2)
    bin_loop(constant)(np.full(1, 7.0), (), (), (), (), np.array([True, False]), out)
    assert out[0] == 7.0
    assert np.isnan(out[1])


STEP = "from vpcore.kernels.jit import jit\n\n\n@jit\ndef _step(state, x):\n    return x * {}\n"
MAIN = """
import numpy as np
import vpcore.kernels.bin_loop as module
from vpcore.kernels.bin_loop import bin_loop
from looped_package.a.signal import _step as first
from looped_package.b.signal import _step as second

for step in (first, second):
    out = np.empty(1)
    bin_loop(step)(np.zeros(1), (np.ones(1),), (), (), (), np.ones(1, dtype=np.bool_), out)
    print(out[0], sum(bin_loop(step).stats.cache_hits.values()))
"""


@pytest.mark.slow
@pytest.mark.compiled
def test_the_cache_tells_steps_of_one_name_and_line_apart(tmp_path: Path) -> None:
    for folder, factor in (("", 0), ("a", 2), ("b", 3)):
        package = tmp_path / "looped_package" / folder
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        if folder:
            (package / "signal.py").write_text(STEP.format(factor))
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run() -> list[str]:
        done = subprocess.run([sys.executable, "-c", MAIN], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert run() == ["2.0", "0", "3.0", "0"]
    assert run() == ["2.0", "1", "3.0", "1"]


def test_the_compiled_form_of_a_bin_reads_as_the_plain_one() -> None:
    """numba compiles what these functions return, column by column; here they run as Python."""
    bins = (np.array([3, 4], np.int32), np.array([0.5, 1.5]))
    grid, rows = (np.array([[1, -1], [0, 1]], np.int8),), (np.empty(2),)
    for columns in (bins, bins[1:], ()):
        read = module._compile_numbers(tuple(map(numba.typeof, columns)), 1)
        assert read(columns, 1) == module._numbers(columns, 1)
    module._compile_widen_all(tuple(map(numba.typeof, grid)), rows, 1)(grid, rows, 1)
    assert rows[0].tolist() == [0.0, 1.0]
    assert module._compile_widen_all((), (), 1)((), (), 1) is None
