from __future__ import annotations

import pytest
import yaml

from vpcore import ConfigError, Workspace
from vpcore.config.instruments import packaged_instruments
from vpcore.config.loader import FAST, load_document, parse_document

# Contract specifications of CME Group: tick, currency per point, currency per tick.
FACTS = {
    "ES": (0.25, 50, 12.5), "MES": (0.25, 5, 1.25), "NQ": (0.25, 20, 5), "MNQ": (0.25, 2, 0.5),
    "RTY": (0.1, 50, 5), "M2K": (0.1, 5, 0.5), "YM": (1, 5, 5), "MYM": (1, 0.5, 0.5),
    "ZT": (1 / 256, 2000, 7.8125), "ZF": (1 / 128, 1000, 7.8125), "ZN": (1 / 64, 1000, 15.625), "TN": (1 / 64, 1000, 15.625),
    "ZB": (1 / 32, 1000, 31.25), "UB": (1 / 32, 1000, 31.25),
    "ZQ": (0.005, 4167, 20.835), "SR1": (0.005, 4167, 20.835), "SR3": (0.005, 2500, 12.5),
    "6A": (5e-5, 100_000, 5), "6B": (1e-4, 62_500, 6.25), "6C": (5e-5, 100_000, 5), "6E": (5e-5, 125_000, 6.25),
    "6J": (5e-7, 12_500_000, 6.25), "6M": (1e-5, 500_000, 5), "6N": (5e-5, 100_000, 5), "6S": (5e-5, 125_000, 6.25),
    "CL": (0.01, 1000, 10), "MCL": (0.01, 100, 1), "NG": (0.001, 10_000, 10), "RB": (1e-4, 42_000, 4.2), "HO": (1e-4, 42_000, 4.2),
    "BZ": (0.01, 1000, 10),
    "GC": (0.1, 100, 10), "MGC": (0.1, 10, 1), "SI": (0.005, 5000, 25), "HG": (5e-4, 25_000, 12.5), "PL": (0.1, 50, 5),
    "ZC": (0.25, 50, 12.5), "ZS": (0.25, 50, 12.5), "ZW": (0.25, 50, 12.5), "KE": (0.25, 50, 12.5), "ZM": (0.1, 100, 10),
    "ZL": (0.01, 600, 6),
    "LE": (0.025, 400, 10), "HE": (0.025, 400, 10), "GF": (0.025, 500, 12.5),
    "BTC": (5, 5, 25), "MBT": (5, 0.1, 0.5), "MET": (0.5, 0.1, 0.05),
}  # fmt: skip
CHICAGO = dict.fromkeys(("ZC", "ZS", "ZW", "KE", "ZM", "ZL"), ("13:20", "19:00")) | dict.fromkeys(
    ("LE", "HE", "GF"), ("13:05", "08:30")
)
"""Daily halts that are written in Chicago times."""


@pytest.mark.parametrize("root", FACTS)
def test_packaged_instruments(workspace: Workspace, root: str) -> None:
    for symbol in (f"{root}H4", f"{root}.c.0"):
        instrument = workspace.instrument(symbol)
        assert instrument.root == root
    assert (instrument.tick_size, instrument.multiplier, instrument.tick_value) == FACTS[root]
    zone = "America/Chicago" if root in CHICAGO else "America/New_York"
    assert (instrument.timezone, instrument.daily_halt) == (zone, CHICAGO.get(root, ("17:00", "18:00")))
    # A fee in cents, or of another size of the contract, would be outside.
    assert instrument.fee_per_side is not None
    assert 0.01 < instrument.fee_per_side / instrument.tick_value < 6
    assert instrument.exchange in {"CME", "CBOT", "NYMEX", "COMEX"}
    assert set(packaged_instruments()) == set(FACTS)


def test_packaged_files_read_fast_are_the_same_documents() -> None:
    for path in packaged_instruments().values():
        fast, plain = load_document(path, loader=FAST), load_document(path)
        assert (fast.data, fast.lines) == (plain.data, plain.lines)
    quoted = "a: '1'\nb: \"true\"\nc: |\n  2\nd: 3\n"
    for loader in (FAST, yaml.SafeLoader):
        assert parse_document(quoted, "", None, loader).data == {"a": "1", "b": "true", "c": "2\n", "d": 3}


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
        ("ES.v.0", "ES"),
        ("6E.n.1", "6E"),
    ],
)
def test_symbols_have_their_root(workspace: Workspace, symbol: str, root: str) -> None:
    assert workspace.instrument(symbol).root == root


@pytest.mark.parametrize(
    ("symbol", "why"),
    [
        (symbol, r"Symbols of ES are ESH4 \(root, month letter .*; symbol_pattern in configs/instruments/ES.yaml allows others")
        for symbol in ("ES", "ESA4", "ESH", "ESH444", "esh4", "ES.c", "ES.x.0")
    ]
    + [
        ("ESH4-ESM4", r"A calendar spread has its own tick: add configs/instruments/ESSPREAD.yaml .* symbol_pattern: 'ES\[F"),
        ("ES.FUT", r"It stands for every contract of a root at once, .* as ESH4, or ES.v.0 in a file with continuous symbols"),
        ("XESH4", r"Roots: 6A, 6B, .* ZW. Write the symbol of one expiry, as ESH4, or add an instrument: vp new-instrument FILE"),
    ],
)  # fmt: skip
def test_a_refused_symbol_is_explained(workspace: Workspace, symbol: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"No instrument has the symbol '{symbol}'. {why}"):
        workspace.instrument(symbol)


def test_a_calendar_spread_works_as_its_refusal_says(workspace: Workspace) -> None:
    with pytest.raises(ConfigError) as refused:
        workspace.instrument("ESH4-ESM4")
    pattern = str(refused.value).partition("symbol_pattern: ")[2].rstrip(".")
    (workspace.configs / "instruments" / "ESSPREAD.yaml").write_text(
        f"root: ESSPREAD\ntick_size: 0.05\nmultiplier: 50\nsymbol_pattern: {pattern}\n"
    )
    assert workspace.instrument("ESH4-ESM4").tick_size == 0.05
    assert workspace.instrument("ESH4").root == "ES"


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
        "'ESH4' is a symbol of more than one instrument: configs/instruments/ALL.yaml, vpcore/data/instruments/ES.yaml"
    )
    with pytest.raises(ConfigError, match=expected):
        workspace.instrument("ESH4")


def test_the_file_must_have_the_name_of_the_root(workspace: Workspace) -> None:
    (workspace.configs / "instruments" / "ES.yaml").write_text("root: NQ\ntick_size: 1\nmultiplier: 1\n")
    expected = r"root must be the name of its file, was 'NQ' \(configs/instruments/ES.yaml:1\). Write root: ES, or call the file NQ.yaml."
    with pytest.raises(ConfigError, match=expected):
        workspace.instrument("ESH4")
