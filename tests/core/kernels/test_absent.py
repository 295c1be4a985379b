"""Imports without an optional dependency."""

from __future__ import annotations

import sys

import pytest

from vpcore.kernels.absent import absent


def test_a_module_is_absent_from_the_imports_inside_alone() -> None:
    sys.modules.pop("colorsys", None)
    with absent("colorsys"), pytest.raises(ModuleNotFoundError):
        import colorsys
    import colorsys

    with absent("colorsys"):  # it is loaded already
        assert sys.modules["colorsys"] is colorsys
    with pytest.raises(ZeroDivisionError), absent("no_such_module"):
        raise ZeroDivisionError
    assert "no_such_module" not in sys.modules
