"""`vp new-pipeline` and `vp new-instrument`: from a file to specs that hold."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import databento_dbn
import numpy as np
import pytest
import yaml
from definitions import definition, put_definitions
from hypothesis import given, strategies as st
from real_data import ESH4, needs_esh4

from vpcore import Component, SourceError, Workspace, hookimpl
from vpcore.config.instruments import packaged_instrument
from vpcore.kernels.records import MBO_DTYPE, MBO_RTYPE
from vpcore.plugins.manager import Plugins
from vpcore_cli import app
from vpcore_cli.app import run
from vpcore_databento.definitions import read_definitions
from vpcore_databento.new_specs import choose_window
from vpcore_databento.plugin import vp_commands
from vpcore_dbn.header import Mapping
from vpcore_dbn.inspect import Inspection, InstrumentFigures, inspect_file
from vpcore_dbn.plugin import vp_sources
from vpcore_dbn.writer import DbnWriter, encode_metadata

NS, MINUTE = 10**9, 60 * 10**9
DAY = 86_400 * NS


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * NS


def records_at(times: np.ndarray, instrument: int = 7, price: int = 4000 * NS) -> np.ndarray:
    records = np.zeros(len(times), MBO_DTYPE)
    records["length"], records["rtype"], records["publisher_id"] = MBO_DTYPE.itemsize // 4, MBO_RTYPE, 1
    records["instrument_id"], records["ts_recv"], records["ts_event"] = instrument, times, times
    records["order_id"], records["size"], records["flags"] = np.arange(1, len(times) + 1), 1, 128
    records["price"] = price + (np.arange(len(times)) % 2) * NS // 4
    records["action"], records["side"] = ord("A"), ord("B")
    return records


def put(path: Path, symbols: dict[str, np.ndarray], start_ns: int, end_ns: int | None) -> Path:
    mappings = [
        Mapping(name, 7 + i, start_ns // DAY * DAY, start_ns // DAY * DAY + 2 * DAY) for i, name in enumerate(symbols)
    ]
    parts = [records_at(times, 7 + i) for i, times in enumerate(symbols.values())]
    together = np.concatenate(parts)
    with DbnWriter(
        path, encode_metadata(dataset="TEST", start_ns=start_ns, end_ns=end_ns, mappings=mappings)
    ) as writer:
        writer.write(together[np.argsort(together["ts_recv"], kind="stable")])
    return path


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    module = ModuleType("signals_of_a_test")
    module.vp_signals = hookimpl(  # type: ignore[attr-defined]
        lambda: [Component("steady", "serving_signals:Level", "Of a test.")]
    )
    module.vp_commands, module.vp_sources = vp_commands, vp_sources  # type: ignore[attr-defined]

    def found() -> Plugins:
        plugins = Plugins(entry_points=[])
        plugins.register(module, "test", "vp-test", "1.0")
        return plugins

    monkeypatch.setattr(app, "Plugins", found)
    monkeypatch.delenv("VP_ROOT", raising=False)
    workspace, _ = Workspace.create(tmp_path / "ws", plugins=found())
    monkeypatch.chdir(workspace.root)
    return workspace


# -- the window --------------------------------------------------------------------------------------------------------


@given(
    counts=st.dictionaries(st.integers(0, 40), st.integers(1, 5), min_size=3),
    minutes=st.integers(1, 20),
    end=st.integers(0, 3),
)
def test_the_window_is_the_busiest_of_all(counts: dict[int, int], minutes: int, end: int) -> None:
    first, last = min(counts), max(counts)
    if last - first < 3:
        return
    item = InstrumentFigures(("X",), minutes=counts, live_first_ns=first * MINUTE + 1, live_last_ns=last * MINUTE + 5)
    file = type("File", (), {"end_ns": (last + end) * MINUTE, "path": Path("x.dbn")})()
    window = choose_window(Inspection(file), item, minutes)
    stop = last + 1 if end else last
    length = min(minutes, stop - first)
    sums = {at: sum(counts.get(at + i, 0) for i in range(length)) for at in range(first, stop - length + 1)}
    assert window.records == max(sums.values())
    assert window.start_ns == min(at for at, total in sums.items() if total == window.records) * MINUTE
    assert window.end_ns - window.start_ns == length * MINUTE
    assert window.end_ns <= file.end_ns


def test_records_of_less_than_a_second_are_no_window(tmp_path: Path) -> None:
    path = put(tmp_path / "a.dbn", {"ESH4": np.arange(20_000 * DAY + 5, 20_000 * DAY + 500)}, 20_000 * DAY, None)
    found = inspect_file(path)
    with pytest.raises(
        SourceError, match="The records of a.dbn must last at least a second, were 2024-10-04 00:00:00.0"
    ):
        choose_window(found, found.instruments[7], 60)


# -- vp new-pipeline ---------------------------------------------------------------------------------------------------


def test_several_files_are_answered_with_the_way(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new-pipeline", "lake/raw/a.dbn", "lake/raw/b.dbn", "--name", "first"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "takes one file, was given 2. Begin with one: vp new-pipeline lake/raw/b.dbn. For many days" in said


@needs_esh4
def test_the_real_evening_gives_its_hour_of_trading(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace.raw / ESH4.name).symlink_to(ESH4)
    assert run(["new-pipeline", f"lake/raw/{ESH4.name}"]) == 0
    out = capsys.readouterr()
    assert out.out.split() == [
        str(workspace.configs / kind / "esh4_20231225_1800.yaml") for kind in ("pipelines", "serving", "experiments")
    ]
    assert "Window: 2023-12-25 23:00:00 to 2023-12-26 00:00:00 UTC, 59,143 records." in out.err
    resolved = workspace.pipeline("esh4_20231225_1800").resolve()
    assert (resolved.symbol, resolved.n_bins, resolved.files) == ("ESH4", 36_000, None)
    config = workspace.experiment("esh4_20231225_1800").to_harness_config()
    assert config.eval.fee_ticks == workspace.instrument("ESH4").fee_ticks
    assert config.kept_back.share == 0.3
    assert run(["new-pipeline", f"lake/raw/{ESH4.name}"]) == 2
    assert (
        "esh4_20231225_1800.yaml is there already. Give the new specs another name: --name NAME."
        in capsys.readouterr().err
    )


def test_the_busiest_symbol_over_midnight_and_a_file_elsewhere(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = at("2024-03-05 23:30", "America/New_York")
    path = put(
        tmp_path / "two.dbn.zst",
        {"ESH4": np.arange(start, start + 3600 * NS, NS), "NQH4": np.arange(start, start + 3600 * NS, 20 * NS)},
        start,
        start + 2 * 3600 * NS,
    )
    assert run(["new-pipeline", str(path), "--name", "night"]) == 0
    spec = yaml.safe_load((workspace.configs / "pipelines" / "night.yaml").read_text())
    assert spec["capture"]["overnight"] is True
    assert spec["capture"]["cold_book"] == "build"
    resolved = workspace.pipeline("night").resolve()
    assert (resolved.symbol, resolved.start_ns, resolved.end_ns, resolved.files) == (
        "ESH4",
        start,
        start + 3600 * NS,
        (path,),
    )
    assert "too few for a market" not in capsys.readouterr().err
    assert run(["new-pipeline", str(path), "--symbol", "NQH4", "--minutes", "30", "--name", "evening"]) == 0
    assert "Warning: 90 records are too few for a market, at least 1,000 are usual" in capsys.readouterr().err
    resolved = workspace.pipeline("evening").resolve()
    assert (resolved.symbol, resolved.start_ns, resolved.end_ns) == ("NQH4", start, start + 1800 * NS)
    assert '"24:00"' in (workspace.configs / "pipelines" / "evening.yaml").read_text()
    assert run(["new-pipeline", str(path), "--symbol", "NQH5"]) == 2
    assert (
        "two.dbn.zst holds no record of NQH5. It has records of: ESH4, NQH4. Did you mean 'NQH4'?"
        in capsys.readouterr().err
    )


def test_a_window_in_the_hour_that_comes_twice_is_in_utc(workspace: Workspace) -> None:
    start = at("2024-11-03 05:10")
    path = put(
        workspace.raw / "autumn.dbn", {"ESZ4": np.arange(start, start + 1800 * NS, NS)}, start, start + 1800 * NS
    )
    assert run(["new-pipeline", str(path), "--name", "autumn"]) == 0
    resolved = workspace.pipeline("autumn").resolve()
    assert (resolved.start_ns, resolved.end_ns) == (start, start + 1800 * NS)
    assert "timezone: UTC" in (workspace.configs / "pipelines" / "autumn.yaml").read_text()


def test_continuous_symbols_make_a_pipeline_too(workspace: Workspace) -> None:
    start = at("2024-03-05 15:00")
    path = put(workspace.raw / "c.dbn", {"ES.c.0": np.arange(start, start + 600 * NS, NS)}, start, start + 600 * NS)
    assert run(["new-pipeline", str(path)]) == 0
    assert workspace.pipeline("es_c_0_20240305_1000").resolve().symbol == "ES.c.0"


@pytest.mark.parametrize("symbol, arguments, message", [
    ("XXH4", [], "No instrument has the symbol 'XXH4'. Roots: .* vp new-instrument FILE"),
    ("ESH4", ["--signal", "stedy"], "No signal is called 'stedy'.*Did you mean 'steady'"),
])  # fmt: skip
def test_nothing_is_written_where_something_is_wrong(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], symbol: str, arguments: list[str], message: str
) -> None:
    start = at("2024-03-05 15:00")
    path = put(workspace.raw / "a.dbn", {symbol: np.arange(start, start + 600 * NS, NS)}, start, start + 600 * NS)
    assert run(["new-pipeline", str(path), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(workspace.configs.glob("*/*.yaml"))


def test_without_a_fitting_signal_the_package_is_named(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("commands_of_a_test")
    module.vp_commands, module.vp_sources = vp_commands, vp_sources  # type: ignore[attr-defined]

    def without_signals() -> Plugins:
        plugins = Plugins(entry_points=[])
        plugins.register(module, "test")
        return plugins

    monkeypatch.setattr(app, "Plugins", without_signals)
    start = at("2024-03-05 15:00")
    path = put(workspace.raw / "a.dbn", {"SR3H4": np.arange(start, start + 600 * NS, NS)}, start, start + 600 * NS)
    assert run(["new-pipeline", str(path)]) == 2
    assert "No installed signal fits the pipeline. Run: pip install vpcore-signals-stat" in capsys.readouterr().err
    assert not list(workspace.configs.glob("*/*.yaml"))


def test_an_instrument_without_a_fee_has_its_place_marked(workspace: Workspace) -> None:
    start = at("2024-03-05 15:00")
    path = put(workspace.raw / "a.dbn", {"SR3H4": np.arange(start, start + 600 * NS, NS)}, start, start + 600 * NS)
    own = packaged_instrument("SR3")[0].model_dump(mode="json", exclude_none=True, exclude={"fee_per_side"})
    (workspace.configs / "instruments" / "SR3.yaml").write_text(yaml.safe_dump(own))
    assert run(["new-pipeline", str(path), "--name", "sofr"]) == 0
    assert (
        "fee_ticks: 0  # the instrument has no fee_per_side"
        in (workspace.configs / "experiments" / "sofr.yaml").read_text()
    )
    assert workspace.experiment("sofr").to_harness_config().kept_back is None


# -- vp new-instrument -------------------------------------------------------------------------------------------------


def test_an_instrument_from_definitions(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put_definitions(
        tmp_path / "d.dbn.zst",
        [
            definition("XYH4", "XY", 0.005, tick_value=12.5, instrument_id=1),
            definition("XYM4", "XY", 0.005, tick_value=12.5, instrument_id=2),
            definition("XYF4", "XY", 0.0025, tick_value=6.25, instrument_id=3),
            definition(
                "XYH4-XYM4",
                "XY",
                0.05,
                tick_value=2.5,
                instrument_id=4,
                kind=databento_dbn.InstrumentClass.FUTURE_SPREAD,
            ),
        ],
    )
    assert [(one.symbol, one.multiplier) for one in read_definitions(path)] == [
        ("XYF4", 2500),
        ("XYH4", 2500),
        ("XYM4", 2500),
    ]
    assert run(["new-instrument", str(path)]) == 0
    spec = workspace.instrument("XYH4")
    assert (spec.root, spec.tick_size, spec.multiplier, spec.currency, spec.fee_per_side) == (
        "XY",
        0.005,
        2500,
        "USD",
        None,
    )
    assert "# XYH4 expires 2024-03-15 13:30:00 UTC" in (workspace.configs / "instruments" / "XY.yaml").read_text()
    assert run(["new-instrument", str(path)]) == 2
    assert "XY.yaml is there already. Change it by hand, or move it away." in capsys.readouterr().err


def test_a_packaged_instrument_keeps_its_hours_under_definitions(workspace: Workspace, tmp_path: Path) -> None:
    path = put_definitions(tmp_path / "d.dbn", [definition("6SH4", "6S", 0.0001, tick_value=12.5)])
    assert run(["new-instrument", str(path), "--fee", "2.5"]) == 0
    spec, packaged = workspace.instrument("6SH4"), Workspace.create(tmp_path / "other")[0].instrument("6SH4")
    assert (spec.tick_size, spec.multiplier, spec.fee_per_side) == (0.0001, 125_000, 2.5)
    assert (spec.daily_halt, spec.timezone, spec.exchange) == (
        packaged.daily_halt,
        packaged.timezone,
        packaged.exchange,
    )


@pytest.mark.parametrize("root", ["ES", "6J", "ZC", "SR3"])
def test_a_packaged_instrument_is_copied_whole(workspace: Workspace, root: str) -> None:
    packaged = workspace.instrument(f"{root}H4")
    assert run(["new-instrument", root]) == 0
    assert (workspace.configs / "instruments" / f"{root}.yaml").is_file()
    assert workspace.instrument(f"{root}H4") == packaged


def test_an_instrument_from_records_and_options(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    start = at("2024-03-05 15:00")
    path = str(put(workspace.raw / "a.dbn", {"QQH4": np.arange(start, start + 600 * NS, NS)}, start, start + 600 * NS))
    assert run(["new-instrument", path]) == 2
    assert (
        "--tick and --multiplier must be given for QQ: neither a definition nor a packaged instrument says it. They are in "
        "the exchange's contract specification. Prices in the file are multiples of 0.25." in capsys.readouterr().err
    )
    assert run(["new-instrument", path, "--tick", "0.1", "--multiplier", "20"]) == 2
    assert (
        "tick_size must be a divisor of 0.25 points, the common step of the prices in the file, was 0.1 points"
        in capsys.readouterr().err
    )
    assert run(["new-instrument", path, "--tick", "0.25", "--multiplier", "20", "--timezone", "Mars/Olympus"]) == 2
    assert "IANA time zone" in capsys.readouterr().err
    assert not list(workspace.configs.glob("*/*.yaml"))
    assert run(["new-instrument", path, "--tick", "0.25", "--multiplier", "20", "--timezone", "UTC"]) == 0
    assert workspace.instrument("QQH4").tick_value == 5
    spread = str(
        put(workspace.raw / "s.dbn", {"QQH4-QQM4": np.arange(start, start + 600 * NS, NS)}, start, start + 600 * NS)
    )
    assert run(["new-instrument", spread, "--tick", "0.05", "--multiplier", "20"]) == 2
    assert "QQH4-QQM4 does not show its root. Name it: --instrument ROOT, with --pattern" in capsys.readouterr().err
    options = ["--instrument", "QQSPREAD", "--pattern", "QQ..-QQ..", "--tick", "0.05", "--multiplier", "20"]
    assert run(["new-instrument", spread, *options]) == 0
    assert workspace.instrument("QQH4-QQM4").root == "QQSPREAD"


def test_definitions_of_several_roots_ask_for_one(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put_definitions(
        tmp_path / "d.dbn",
        [definition("AAH4", "AA", 1, tick_value=None), definition("BBH4", "BB", 1, tick_value=2, instrument_id=8)],
    )
    assert run(["new-instrument", str(path)]) == 2
    assert "d.dbn defines futures of AA, BB. Name one root: --instrument ROOT." in capsys.readouterr().err
    assert run(["new-instrument", str(path), "--symbol", "AAH4"]) == 2
    assert "--multiplier must be given for AA" in capsys.readouterr().err
    assert run(["new-instrument", str(path), "--instrument", "BB"]) == 0
    assert workspace.instrument("BBH4").multiplier == 2


def test_files_that_define_nothing(tmp_path: Path) -> None:
    option = definition("ESH4 C5000", "ES", 0.05, tick_value=2.5, kind=databento_dbn.InstrumentClass.CALL)
    with pytest.raises(
        SourceError, match="defines no outright future. Request the symbol of one, as ESH4, or a parent"
    ):
        read_definitions(put_definitions(tmp_path / "a.dbn", [option]))
    with pytest.raises(SourceError, match="must be a file of instrument definitions, was of the schema trades"):
        read_definitions(put_definitions(tmp_path / "b.dbn", [], schema="trades"))
    whole = put_definitions(tmp_path / "c.dbn.zst", [definition("ESH4", "ES", 0.25, tick_value=12.5)]).read_bytes()
    (tmp_path / "cut.dbn.zst").write_bytes(whole[:-9])
    with pytest.raises(SourceError, match="cut.dbn.zst is truncated: .* Fetch the file again"):
        read_definitions(tmp_path / "cut.dbn.zst")
