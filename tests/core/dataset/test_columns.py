"""Columns as arrays, without pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from vpcore.dataset.columns import numpy_of


@given(
    kind=st.sampled_from(["bool_", "int8", "uint8", "int16", "int32", "int64", "float32", "float64"]),
    values=st.lists(st.integers(0, 1), max_size=40),
    start=st.integers(0, 12),
    holes=st.booleans(),
)
def test_columns_are_those_of_pyarrow(kind: str, values: list[int], start: int, holes: bool) -> None:
    filled: list[Any] = [bool(value) if kind == "bool_" else value for value in values]
    if holes and filled:
        filled[0] = None
    column = pa.chunked_array([pa.array(filled, getattr(pa, kind)()).slice(start)])
    expected, found = column.to_numpy(zero_copy_only=False), numpy_of(column)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_reading_a_column_imports_no_pandas() -> None:
    pytest.importorskip("pandas")
    code = (
        "import sys, numpy as np, pyarrow as pa\n"
        "from vpcore.dataset.columns import numpy_of\n"
        "data = [None, pa.py_buffer(np.arange(2.0))]  # pa.array imports pandas too\n"
        "for kind in (pa.float64(), pa.bool_()):\n"
        "    numpy_of(pa.chunked_array([pa.Array.from_buffers(kind, 2, data)]))\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
