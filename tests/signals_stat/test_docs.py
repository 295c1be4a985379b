"""docs/reference/signals.md and the README say what the models say."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from signal_docs import DOCS, block, parameter_table

from vpcore_signals_stat.plugin import vp_signals

README = Path(__file__).resolve().parents[2] / "vpcore_signals_stat" / "README.md"
COMPONENTS = {component.name: component for component in vp_signals()}


def resolved(component):
    module, _, name = component.target.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_parameters_are_those_of_the_model(name):
    text = DOCS.read_text()
    assert f"\n## `{name}`: " in text
    message = "Write them anew: python tests/support/signal_docs.py"
    assert block(text, f"parameters {name}") == parameter_table(resolved(COMPONENTS[name])), message


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_signal_is_in_the_table_of_figures_and_in_the_readme(name):
    assert block(DOCS.read_text(), "figures").count(f"| `{name}` |") == 1
    assert README.read_text().count(f"\n| `{name}` |") == 1


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_docstring_has_the_formula_and_its_reading(name):
    text = " ".join(importlib.import_module(COMPONENTS[name].target.partition(":")[0]).__doc__.split())
    assert text.startswith(f"``{name}``")
    for part in ("value", "Economic reading:", "ositive is bullish"):
        assert part in text
