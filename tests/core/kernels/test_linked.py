"""A helper of compiled code has no machine code of its own, and its callers do what they did."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numba
import numba.core.event
import pytest
from numba.core.errors import TypingError

from vpcore.kernels.jit import jit
from vpcore.kernels.linked import LinkedLibrary

pytestmark = pytest.mark.compiled

MODULE = """
import numba
import numpy as np

from vpcore.kernels.jit import jit


@jit
def helper(x, n):
    if n == 1:
        raise ValueError("one")
    if n == 2:
        raise ValueError("two", n)
    if n == 3:
        print("three", n)
    return x.sum() + n


@jit
def entry(x, n):
    return helper(x, n) + 10


@jit
def second(x, n):
    return helper(x, n) + 20


@numba.njit
def foreign(x, n):
    return helper(x, n) + 30


def answer(function, n):
    try:
        return function(np.arange(3.0), n)
    except ValueError as error:
        return error.args
"""
CALL = "import helpers\nfor name in {names}:\n    print([helpers.answer(getattr(helpers, name), n) for n in range(4)])"
ANSWERS = {
    "foreign": "[33.0, ('one',), ('two', 2), 36.0]",
    "entry": "[13.0, ('one',), ('two', 2), 16.0]",
    "second": "[23.0, ('one',), ('two', 2), 26.0]",
    "helper": "[3.0, ('one',), ('two', 2), 6.0]",
}


def _compiled_here(function: Any) -> Any:
    """Return a function as `jit` compiles it, without the cache: as if from a notebook."""
    function.__module__ = "__main__"
    return jit(function)


def test_a_helper_is_linked_into_callers_and_has_no_address() -> None:
    @_compiled_here
    def scaled(x, factor):
        if factor < 0:
            raise ValueError("negative", factor)
        return x * factor

    @_compiled_here
    def twice(x):
        return scaled(x, 2)

    @numba.njit
    def foreign(x, factor):
        return scaled(x, factor) + 1

    assert twice(3.0) == 6.0
    assert foreign(3.0, 4) == 13.0
    with pytest.raises(ValueError, match="negative") as caught:
        foreign(3.0, -4)
    assert caught.value.args == ("negative", -4)
    made = [compiled.library for compiled in scaled._bare.overloads.values()]
    assert [type(library) for library in made] == [LinkedLibrary] * 2
    assert [library.get_pointer_to_function(library.name) for library in made] == [0, 0]


def test_garbage_is_looked_for_again_after_a_compilation() -> None:
    @_compiled_here
    def longer(x):
        return x + "text"

    @_compiled_here
    def twice(x):
        return 2 * x

    assert gc.isenabled()
    with pytest.raises(TypingError):
        longer(1.0)
    assert gc.isenabled()
    gc.disable()
    try:
        assert twice(3.0) == 6.0
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_is_looked_for_again_after_two_threads_compiled_at_once() -> None:
    """The second begins while the first has the search off, and ends after it."""

    @_compiled_here
    def first(x):
        return x + 1

    @_compiled_here
    def second(x):
        return x + 2

    other = threading.Thread(target=second, args=(1.0,))

    class Begin(numba.core.event.Listener):
        def on_start(self, event: Any) -> None:
            if event.data["dispatcher"] is first:
                other.start()
                time.sleep(0.2)

        def on_end(self, event: Any) -> None:
            pass

    with numba.core.event.install_listener("numba:compile", Begin()):
        assert first(1.0) == 2.0
    other.join()
    assert gc.isenabled()


@pytest.mark.slow
def test_exceptions_and_prints_of_helpers_are_those_of_their_callers(tmp_path: Path) -> None:
    """In any order of callers, of this package or of others, compiled here or loaded."""
    (tmp_path / "helpers.py").write_text(MODULE)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for names in (("foreign", "entry"), ("second", "entry", "helper", "foreign")):
        command = [sys.executable, "-c", CALL.format(names=names)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == [line for name in names for line in ("three 3", ANSWERS[name])]
