from __future__ import annotations

from pathlib import Path

import pytest

from vpcore import ConfigError, Workspace
from vpcore.config.instruments import packaged_instruments

# Contract specifications of CME Group: tick, currency per point, currency per tick.
FACTS = {
    "ES": (0.25, 50, 12.5),
    "MES": (0.25, 5, 1.25),
    "NQ": (0.25, 20, 5),
    "MNQ": (0.25, 2, 0.5),
    "CL": (0.01, 1000, 10),
    "MCL": (0.01, 100, 1),
    "GC": (0.1, 100, 10),
}


@pytest.mark.parametrize("root", FACTS)
def test_packaged_instruments(workspace: Workspace, root: str) -> None:
    instrument = workspace.instrument(f"{root}H4")
    assert instrument.root == root
    assert (instrument.tick_size, instrument.multiplier, instrument.tick_value) == FACTS[root]
    assert instrument.timezone == "America/New_York"
    assert set(packaged_instruments()) == set(FACTS)


def test_the_repository_has_the_packaged_files() -> None:
    folder = Path(__file__).parents[3] / "configs" / "instruments"
    assert {path.stem: path.read_bytes() for path in folder.iterdir()} == {
        root: path.read_bytes() for root, path in packaged_instruments().items()
    }


@pytest.mark.parametrize(
    ("symbol", "root"),
    [
        ("ESH4", "ES"),
        ("ESM24", "ES"),
        ("MNQZ5", "MNQ"),
        ("CLF5", "CL"),
        ("MESU3", "MES"),
        ("NQZ5", "NQ"),
        ("GCG26", "GC"),
    ],
)
def test_symbols_have_their_root(workspace: Workspace, symbol: str, root: str) -> None:
    assert workspace.instrument(symbol).root == root


@pytest.mark.parametrize("symbol", ["ES", "ESA4", "ESH", "ESH444", "XESH4", "ESH4-ESM4", "ES.FUT", "esh4"])
def test_what_is_no_outright_has_none(workspace: Workspace, symbol: str) -> None:
    with pytest.raises(ConfigError, match="No instrument has the symbol"):
        workspace.instrument(symbol)


def test_the_workspaces_file_goes_before_the_packaged_one(workspace: Workspace) -> None:
    path = workspace.configs / "instruments" / "ES.yaml"
    path.write_text("root: ES\ntick_size: 0.5\nmultiplier: 1\n")
    assert workspace.instrument("ESH4").tick_size == 0.5
    path.unlink()
    assert workspace.instrument("ESH4").tick_size == 0.25


def test_a_symbol_of_two_instruments_is_an_error(workspace: Workspace) -> None:
    (workspace.configs / "instruments" / "ALL.yaml").write_text(
        "root: ALL\ntick_size: 1\nmultiplier: 1\nsymbol_pattern: '.*'\n"
    )
    expected = (
        "'ESH4' is a symbol of more than one instrument: configs/instruments/ALL.yaml, configs/instruments/ES.yaml"
    )
    with pytest.raises(ConfigError, match=expected):
        workspace.instrument("ESH4")


def test_the_file_must_have_the_name_of_the_root(workspace: Workspace) -> None:
    (workspace.configs / "instruments" / "ES.yaml").write_text("root: NQ\ntick_size: 1\nmultiplier: 1\n")
    expected = r"root must be the name of its file, was 'NQ' \(configs/instruments/ES.yaml:1\). Write root: ES, or call the file NQ.yaml."
    with pytest.raises(ConfigError, match=expected):
        workspace.instrument("ESH4")
