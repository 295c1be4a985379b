"""What `vp inspect` says, against the figures of the shared data's README."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from real_data import ESH4, ESM4, needs_esh4, needs_esm4

from vpcore.config.instruments import packaged_instrument_of
from vpcore.errors import SourceError
from vpcore_cli.app import run
from vpcore_dbn import records as records_module
from vpcore_dbn.header import Mapping
from vpcore_dbn.inspect import inspect_file
from vpcore_dbn.records import RecordReader


@needs_esh4
def test_esh4():
    found = inspect_file(ESH4)
    assert found.records == 68_792
    assert found.actions == {"A": 29_216, "C": 17_999, "M": 12_233, "R": 0, "T": 2_973, "F": 6_371, "N": 0}
    assert (found.snapshot, found.snapshot_records, found.flags["bad_ts_recv"], found.bad_times) == (
        "snapshot",
        8_725,
        8_725,
        0,
    )
    assert found.flags["last"] == 47_022
    assert found.buy_volume + found.sell_volume + found.cross_volume == 9_892
    assert found.cross_volume == 44
    assert found.live_first_ns == 1_703_541_600_181_198_464
    assert (found.backwards, found.undefined_prices, found.unfinished) == (0, 0, False)
    assert found.instruments[17077].price_unit_int == 250_000_000
    assert found.instruments[17077].symbols == ("ESH4",)
    assert [round((b - a) / 1e9) for a, b in found.gaps] == [504, 312, 993, 363, 257]


@needs_esm4
def test_esm4():
    found = inspect_file(ESM4)
    assert (found.records, found.snapshot, found.snapshot_records) == (13_796, "clear and snapshot", 13_601)
    assert found.actions["T"] == 5
    assert found.undefined_prices == 0  # the one of the clear is as it should be


@needs_esh4
def test_chunks_change_nothing(monkeypatch):
    whole = inspect_file(ESH4).as_dict()
    monkeypatch.setattr(records_module.RecordReader.__init__, "__defaults__", (501,))
    assert inspect_file(ESH4).as_dict() == whole


def test_oddities(tmp_path, made):
    records = made.records(100)
    records["ts_recv"][50] = records["ts_recv"][48]
    records["ts_recv"][60] = made.DAY0 + 2 * made.DAY
    records["ts_recv"][61] = 2**64 - 1
    records["flags"][62] = 128 | 8
    records["price"][63] = 2**63 - 1
    records["ts_recv"][80:] += np.uint64(600 * made.NS)
    records["flags"][-1] = 0
    records["instrument_id"][90:] = 9
    records["price"][90:] = 35 * made.NS
    found = inspect_file(made.put(tmp_path / "a.dbn", made.metadata(), records[:5], made.system_message(), records[5:]))
    assert (found.backwards, found.beyond_end, found.undefined_times) == (2, 1, 1)
    assert (found.bad_times, found.undefined_prices, found.unfinished) == (1, 1, True)
    assert found.snapshot == "none"
    assert found.skipped == {23: 1}
    assert {
        number: (item.records, item.symbols, item.price_unit_int) for number, item in found.instruments.items()
    } == {
        7: (90, ("SYM",), made.NS),
        9: (10, (), 35 * made.NS),
    }
    assert (made.DAY0 + 79 * made.NS, made.DAY0 + 680 * made.NS) in found.gaps


@pytest.mark.parametrize("chunk", [7, 32_768])
def test_a_silence_and_a_stretch_that_comes_twice_are_remarked(tmp_path, made, capsys, monkeypatch, chunk):
    monkeypatch.setattr("vpcore_dbn.inspect.RecordReader", lambda file: RecordReader(file, chunk))
    records = made.records(100)
    records["ts_recv"][50:] += np.uint64(2700 * made.NS)
    twice = np.concatenate([records[:37], records[30:]])
    path = made.put(tmp_path / "a.dbn", made.metadata(), twice)
    found = inspect_file(path)
    assert found.repeated == (37, made.DAY0 + 36 * made.NS, made.DAY0 + 30 * made.NS)
    assert found.as_dict()["quality"]["repeated"]["record"] == 37
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "silences of a minute or more, the longest 2,701 s" in out
    assert "receive times run back by 6 s at record 37: a stretch is there twice" in out


def test_another_schema_has_its_metadata_said(tmp_path, made, capsys):
    path = made.put(tmp_path / "a.dbn", made.metadata(schema="trades"))
    assert inspect_file(path).as_dict()["records"] is None
    assert run(["inspect", str(path)]) == 0
    assert "not read: an order book needs the schema mbo, this is trades" in capsys.readouterr().out


def test_a_cut_file(tmp_path, made):
    path = made.put(tmp_path / "a.dbn", made.metadata(), made.records(9).tobytes()[:-3])
    with pytest.raises(SourceError, match="is truncated"):
        inspect_file(path)


def test_command(tmp_path, made, capsys):
    symbols = [Mapping("AAA", 7, made.DAY0, made.DAY0 + made.DAY), Mapping("BBB", 8, made.DAY0, made.DAY0 + made.DAY)]
    path = made.put(tmp_path / "a.dbn.zst", made.metadata(symbols), made.records(2000))
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    for text in (
        "DBN version 3, schema mbo, dataset TEST",
        "AAA = instrument 7 (2024-10-04)",
        "A 2,000",
        "no clear and no snapshot",
        "nothing to remark",
    ):
        assert text in out
    assert run(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["records"], found["schema"], found["actions"]["A"]) == (2000, "mbo", 2000)
    assert run(["inspect", str(tmp_path / "none.dbn")]) == 2
    assert "could not be opened" in capsys.readouterr().err


def orders(made, n: int) -> np.ndarray:
    """A book of two sides, then `n` cancels of orders that it never held."""
    records = made.records(n + 4)
    records["price"] = np.where(np.arange(n + 4) % 2, 101, 100) * made.NS
    records["action"][4:] = ord("C")
    records["order_id"][4:] += 10_000
    return records


def test_unknown_orders_and_a_crossed_book_are_remarked(tmp_path, made, capsys):
    records = orders(made, 1440)
    crossed = made.records(6, start_ns=made.DAY0 + 2000 * made.NS)
    crossed["price"], crossed["side"] = 102 * made.NS, ord("B")
    crossed["order_id"] += 50_000
    path = made.put(tmp_path / "a.dbn", made.metadata(), records, crossed)
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "1,440 cancels and modifies of unknown orders, 100.0% of all; 6 events that end with a crossed book" in out
    assert run(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["books"]["SYM"]["unknown_cancels"] == 1440
    assert run(["inspect", str(path), "--no-book"]) == 0
    assert "unknown orders" not in capsys.readouterr().out


def test_records_that_no_book_takes_are_said(tmp_path, made, capsys):
    records = made.records(20)
    records["publisher_id"][10:] = 2
    path = made.put(tmp_path / "a.dbn", made.metadata(), records)
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "1 (10 records), 2 (10 records)" in out
    assert "no book can be made: Record 10 comes from publisher 2" in out
    assert "SYM, stype_in raw_symbol" in out


@pytest.mark.parametrize(
    ("from_hour", "hours", "said"), [(20.99, 1.02, " (daily halt, weekend or holiday)"), (14, 0.75, " (the market was open: ")]
)  # fmt: skip
def test_a_silence_is_held_against_the_halt(tmp_path, made, capsys, from_hour, hours, said):
    first = made.DAY0 + int(from_hour * 3600) * made.NS  # a Friday; the halt begins at 17:00 in New York, 21:00 UTC
    records = np.concatenate(
        [made.records(5, first - 5 * made.NS), made.records(5, first + int(hours * 3600) * made.NS)]
    )
    path = made.put(tmp_path / "a.dbn", made.metadata([Mapping("ESZ4", 7, made.DAY0, made.DAY0 + made.DAY)]), records)
    assert run(["inspect", str(path), "--no-book"]) == 0
    assert said in capsys.readouterr().out


def test_several_files_are_laid_side_by_side(tmp_path, made, capsys):
    names = [
        made.put(tmp_path / f"{name}.dbn", made.metadata(), made.records(100, made.DAY0 + start * made.NS))
        for name, start in (("a", 0), ("b", 50), ("c", 5000))
    ]
    assert run(["inspect", "--no-book", *map(str, names)]) == 0
    out = capsys.readouterr().out
    assert (
        "SYM: 2024-10-04 00:00:50 to 2024-10-04 00:01:39 is in a.dbn and again in b.dbn: name one in capture.files."
        in out
    )
    assert "SYM: no record 2024-10-04 00:02:29 to 2024-10-04 01:23:20, 4,851 s, between b.dbn and c.dbn." in out
    assert run(["inspect", "--no-book", "--json", *map(str, names)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["records"] for one in found["files"]] == [100, 100, 100]
    assert [one["twice"] for one in found["between"]] == [True, False]
    assert run(["inspect", "--no-book", str(names[0]), str(names[2])]) == 0
    assert run(["inspect", "--no-book", str(names[0]), str(tmp_path / "a.dbn")]) == 0
    other = made.put(
        tmp_path / "d.dbn", made.metadata([Mapping("OTHER", 7, made.DAY0, made.DAY0 + made.DAY)]), made.records(9)
    )
    capsys.readouterr()
    assert run(["inspect", "--no-book", str(names[0]), str(other)]) == 0
    assert "Between the files there is nothing to remark." in capsys.readouterr().out


@pytest.mark.parametrize("path", [pytest.param(ESH4, marks=needs_esh4), pytest.param(ESM4, marks=needs_esm4)])
def test_prices_of_real_files_are_multiples_of_the_tick(path: Path) -> None:
    for item in inspect_file(path).instruments.values():
        assert item.price_unit_int == packaged_instrument_of(item.symbols[0]).tick_int
