"""Default runs repeat exactly: random tests depend on their code alone, and no test takes fresh entropy."""

from __future__ import annotations

import importlib.util
import random
import re
import sys
from pathlib import Path

from hypothesis import given, settings, strategies as st

TESTS = Path(__file__).parents[1]


def drawn() -> list[tuple[int, str]]:
    found = []

    @settings(max_examples=100)
    @given(st.integers(), st.text())
    def draw(number: int, text: str) -> None:
        found.append((number, text))

    draw()
    return found


def test_examples_are_the_same_whatever_was_imported_before(tmp_path: Path, monkeypatch) -> None:
    before = drawn()
    path = tmp_path / "imported_later.py"
    path.write_text("WORDS = " + repr([f"word {i}" for i in range(200)]) + "\nNUMBERS = " + repr([*range(700, 900)]))
    spec = importlib.util.spec_from_file_location("imported_later", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "imported_later", module)
    assert drawn() == before
    assert len(set(before)) > 50


def test_the_global_generator_begins_every_test_alike() -> None:
    assert random.random() == random.Random(0).random()


def test_no_test_takes_fresh_entropy() -> None:
    fresh = re.compile(
        r"default_rng\(\)|RandomState\(\)|\bRandom\(\)|np\.random\.(?!default_rng|Generator|get_state)\w+\(|urandom\("
    )
    for path in sorted(TESTS.rglob("*.py")):
        if path != Path(__file__):
            assert not fresh.search(path.read_text()), path
