"""The entry points of plugins, beside those that the standard library finds."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from vpcore.plugins.installed import Package, entry_points
from vpcore.plugins.manager import Plugins

Install = Callable[..., list[metadata.EntryPoint]]


def of_the_standard_library() -> set[tuple[str, str, str]]:
    return {(item.name, item.value, item.dist.name) for item in metadata.entry_points(group="vpcore") if item.dist}


def found() -> list[tuple[str, str, str]]:
    return [(item.name, item.value, item.dist.name) for item in entry_points() if item.dist]


def test_they_are_those_of_the_standard_library(install: Install) -> None:
    install("one", "")
    install("two", "", entry="same")
    install("three", "", entry="same")
    assert {("one", "one_module", "one"), ("same", "two_module", "two")} <= set(found())
    assert set(found()) == of_the_standard_library()
    assert len(found()) == len(set(found()))


def test_two_distributions_with_one_entry_point_are_both_found(install: Install, tmp_path: Path) -> None:
    install("one", "")
    install("other", "")
    (tmp_path / "other-1.2.dist-info/entry_points.txt").write_text("[vpcore]\none = one_module\n")
    assert {("one", "one_module", "one"), ("one", "one_module", "other")} <= set(found())
    assert set(found()) == of_the_standard_library()


@pytest.mark.parametrize(
    ("name", "entries", "expected"),
    [
        ("twice", "[console_scripts]\ntwice = a:b\n\n[vpcore]\ntwice = twice_module\n", ["twice_module 2.0"]),
        ("twice", "[vpcore]\ntwice = other_module\n", ["other_module 2.0"]),
        ("Twice", "[vpcore]\ntwice = twice_module\n", ["twice_module 2.0"]),
        ("twice", "[console_scripts]\ntwice = a:b\n", []),
        ("twice", None, []),
    ],
)
def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    entries: str | None,
    expected: list[str],
) -> None:
    install("twice", "", version="1.0")
    before = tmp_path / "before"
    info = before / "twice-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    if entries is not None:
        (info / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(str(before))
    own = [item for item in entry_points() if item.name == "twice"]
    assert [f"{item.value} {item.dist.version}" for item in own if item.dist] == expected
    assert set(found()) == of_the_standard_library()


def test_metadata_is_read_when_asked_for(install: Install, tmp_path: Path) -> None:
    install("late", "")
    file = tmp_path / "late-1.2.dist-info/METADATA"
    text = file.read_text()
    file.unlink()
    plugins = Plugins([item for item in entry_points() if item.name == "late"], disable=[])
    file.write_text(text.replace("1.2", "1.3"))
    assert [(item.name, str(item.package)) for item in plugins.loaded[1:]] == [("late", "late 1.3")]


def test_a_plugin_without_a_distribution() -> None:
    package = Package.of(lambda: None)
    assert (package.name, package.version) == ("", "")
