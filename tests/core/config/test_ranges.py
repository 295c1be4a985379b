"""`dates: {from, to}`: the open days of a range, and the contract of each."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

from vpcore import ConfigError, Workspace
from vpcore.config.closures import closures_of
from vpcore.config.sessions import MOST_DAYS
from vpcore.kernels.records import ADD, MBO_DTYPE, MBO_RTYPE, TRADE
from vpcore.source import Source, SourceRequest
from vpcore.source.dbn.header import Mapping
from vpcore.source.dbn.writer import DbnWriter, encode_metadata

NS = 10**9
DAY = 86_400 * NS


@pytest.fixture
def dates(workspace: Workspace):
    """Return the dates of an experiment on a range, for a window."""

    def of(days: Any, start: str = "09:30", end: str = "16:00", symbol: str = "ESH4", **capture: Any) -> list[str]:
        first = {"symbol": symbol, "date": "2024-01-02", "start_time": start, "end_time": end, **capture}
        for kind, spec in (
            ("pipelines", {"name": "p", "capture": first, "pipeline": {"cell_width_ms": 100}}),
            ("serving", {"name": "s", "pipeline": "p", "signal": {"name": "plain"}}),
            ("experiments", {"name": "e", "serving": "s", "dates": days}),
        ):
            path = workspace.configs / kind / f"{spec['name']}.yaml"
            path.write_text(yaml.safe_dump(spec))
        return [session.label[:10] for session in workspace.experiment("e").to_harness_config().sessions]

    return of


def weekdays(first: str, last: str) -> list[str]:
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    return [str(day) for day in days if np.is_busday(day)]


def test_a_quarter_without_its_holidays(dates) -> None:
    """Martin Luther King and Presidents' Day close index futures at 13:00 New York, so a day session is incomplete."""
    found = dates({"from": "2024-01-02", "to": "2024-03-28"})
    assert found == [day for day in weekdays("2024-01-02", "2024-03-28") if day not in ("2024-01-15", "2024-02-19")]
    assert len(found) == 61
    morning = dates({"from": "2024-01-02", "to": "2024-03-28"}, end="12:30")
    assert morning == weekdays("2024-01-02", "2024-03-28")


@pytest.mark.parametrize(
    ("symbol", "date", "start", "end", "is_open"),
    [  # notices of CME Group on holiday hours
        ("ESH4", "2023-12-24", "18:00", "19:00", False),  # Christmas Eve, a Sunday
        ("ESH4", "2023-12-25", "18:00", "19:00", True),  # the evening of Christmas Day
        ("ESH4", "2023-12-25", "09:30", "10:30", False),
        ("ESH4", "2024-01-01", "09:30", "10:30", False),
        ("ESH4", "2024-01-12", "18:00", "19:00", False),  # a Friday
        ("ESH4", "2024-01-14", "18:00", "19:00", True),  # a Sunday
        ("ESH4", "2024-01-13", "10:00", "11:00", False),  # a Saturday
        ("ESZ4", "2024-11-28", "10:00", "12:00", True),  # Thanksgiving
        ("ESZ4", "2024-11-28", "12:30", "13:30", False),
        ("ESZ4", "2024-11-29", "10:00", "13:00", True),
        ("ESH5", "2025-01-09", "10:00", "11:00", False),  # a day of mourning
        ("CLZ4", "2024-11-28", "12:30", "13:30", True),
        ("ZCZ4", "2024-11-28", "10:00", "11:00", False),
        ("6EZ4", "2024-11-28", "13:30", "14:30", True),
        ("LEZ4", "2024-11-27", "10:00", "14:00", True),
        ("LEZ4", "2024-11-28", "10:00", "14:00", False),
        ("LEZ4", "2024-11-29", "10:00", "14:00", False),  # closes at 12:05 in Chicago
        ("LEZ4", "2024-11-29", "10:00", "13:00", True),
        ("ESM4", "2024-03-29", "10:00", "11:00", False),  # Good Friday
        ("ESH4", "2024-01-10", "16:30", "18:30", True),  # over a daily halt
    ],
)
def test_open_and_closed(dates, symbol: str, date: str, start: str, end: str, is_open: bool) -> None:
    day = datetime.date.fromisoformat(date)
    around = {"from": str(day - datetime.timedelta(days=3)), "to": str(day + datetime.timedelta(days=3))}
    zone = {"timezone": "America/New_York"}
    assert (date in dates(around, start, end, symbol, **zone)) == is_open


def test_days_may_be_left_out_and_mixed_with_others(dates) -> None:
    found = dates([{"from": "2024-01-02", "to": "2024-01-05", "leave_out": ["2024-01-03"]}, "2024-01-09"])
    assert found == ["2024-01-02", "2024-01-04", "2024-01-05", "2024-01-09"]


def test_a_night_session_over_the_change_of_clocks(dates) -> None:
    found = dates({"from": "2024-03-08", "to": "2024-03-12"}, "02:30", "03:30")
    assert found == ["2024-03-08", "2024-03-11", "2024-03-12"]


def test_every_closure_is_in_regular_hours_and_in_order() -> None:
    for name in ("equity", "rates", "fx", "energy_metals", "grains", "livestock", "crypto"):
        spans = closures_of(name).spans
        assert len(spans) > 60
        assert (spans[:, 0] < spans[:, 1]).all()
        assert (spans[1:, 0] >= spans[:-1, 1]).all()
        assert not spans.flags.writeable


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ({"from": "2024-01-02"}, "must be a date, or from and to: 2024-03-14, or {from: 2024-01-02, to: 2024-03-28}"),
        ({"date": "2024-01-02", "to": "2024-01-04"}, "must be a date, or from and to"),
        ({"from": "2024-02-02", "to": "2024-01-04"}, f"to must be at or after from, and within {MOST_DAYS:,} days, was 2024-01-04"),
        ({"from": "2002-02-02", "to": "2024-01-04"}, "within 4,000 days"),
        ({"from": "2016-12-30", "to": "2017-01-05"}, "Holidays are known from 2017-01-01 to 2027-12-31, the range is 2016-12-30 to 2017-01-05"),
        ({"from": "2024-01-06", "to": "2024-01-07"}, "No day from 2024-01-06 to 2024-01-07 has pipeline 'p' open from 09:30 to 16:00"),
        ({"from": "2024-01-02", "to": "2024-01-04", "symbol": "ESM4"}, "symbol and files belong to a single day"),
        ([{"date": "2024-01-02", "contract": "volume"}], "leave_out and contract belong to a range"),
        ({"form": "2024-01-02", "to": "2024-01-04"}, "'form' is not a field of dates.*Did you mean 'from'"),
        ({"from": "2024-01-02", "to": "tomorrow"}, "dates.*to must be a date"),
    ],
)  # fmt: skip
def test_wrong_ranges(dates, days: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dates(days)


# -- the contract ------------------------------------------------------------------------------------------------------


def put(
    raw: Path,
    symbol: str,
    day: str,
    requested: str | None = None,
    name: str = "",
    trades: tuple[tuple[float, int], ...] = (),
) -> None:
    """Write a file of a day with trades, each an hour and a size."""
    start = int(datetime.datetime.fromisoformat(f"{day}T00:00+00:00").timestamp()) * NS
    mapping = Mapping(symbol, 7, start, start + DAY)
    path = raw / f"{name or symbol}-{day}.dbn"
    with DbnWriter(
        path, encode_metadata(dataset="TEST", start_ns=start, end_ns=start + DAY, mappings=[mapping])
    ) as writer:
        records = np.zeros(2 * len(trades), MBO_DTYPE)
        records["length"], records["rtype"], records["instrument_id"] = MBO_DTYPE.itemsize // 4, MBO_RTYPE, 7
        records["ts_event"] = records["ts_recv"] = np.repeat([start + int(hour * 3600 * NS) for hour, _ in trades], 2)
        records["size"] = np.repeat([size for _, size in trades], 2)
        records["action"] = np.tile([TRADE, ADD], len(trades))  # an order counts nothing
        writer.write(records)
    if requested:
        path.with_name(f"{path.name}.json").write_text(json.dumps({"requested": requested}))


def test_the_contract_is_that_of_each_days_file(workspace: Workspace, dates) -> None:
    for day, symbol in (("2024-03-07", "ESH4"), ("2024-03-08", "ESH4"), ("2024-03-11", "ESM4")):
        put(workspace.raw, symbol, day)
        put(workspace.raw, "NQH4", day)
    put(workspace.raw, "ESM4", "2024-03-08")
    days = {"from": "2024-03-07", "to": "2024-03-11", "contract": "volume"}
    with pytest.raises(
        ConfigError,
        match="hold 2 contracts of ES from 2024-03-08 14:30:00 to .*, ESH4, ESM4, and no time of the 7 days before it that "
        "all of them hold: their volumes cannot be compared. Name the day's contract",
    ):
        dates(days)
    put(workspace.raw, "ESM4", "2024-03-08", requested="ES.v.0", name="fetched")
    dates(days)
    found = [session.symbol for session in workspace.experiment("e").to_harness_config().sessions]
    assert found == ["ESH4", "ESM4", "ESM4"]
    with pytest.raises(
        ConfigError, match="No file below .* holds a contract of ES from 2024-03-12 13:30:00 to .* vp fetch ES.v.0 DATE"
    ):
        dates(days | {"to": "2024-03-12"})


def test_of_two_contracts_the_one_with_the_greater_volume_before_the_day(workspace: Workspace, dates) -> None:
    # On the 6th the files share an hour; what ESH4 alone has, and what the day itself trades, count nothing.
    put(workspace.raw, "ESH4", "2024-03-06", trades=((1, 10), (2, 10)))
    put(workspace.raw, "ESM4", "2024-03-06", trades=((3, 15),))
    for symbol, size in (("ESH4", 99), ("ESM4", 1)):
        put(workspace.raw, symbol, "2024-03-08", trades=((14, size),))
    days = {"from": "2024-03-08", "to": "2024-03-08", "contract": "volume"}
    dates(days)
    of = lambda: [session.symbol for session in workspace.experiment("e").to_harness_config().sessions]  # noqa: E731
    assert of() == ["ESH4"]
    # Two days before the 11th nothing was traded; on the 8th, ESH4.
    put(workspace.raw, "ESH4", "2024-03-07", trades=((1, 5),))
    put(workspace.raw, "ESM4", "2024-03-07", trades=((1, 6), (23.9, 7)))
    assert of() == ["ESM4"]
    kept = sorted((workspace.cache_dir / "volumes").glob("*.json"))
    assert len(kept) == 4
    kept[0].write_text("damaged")
    assert of() == ["ESM4"]
    put(workspace.raw, "ESH4", "2024-03-07", name="again", trades=((20, 8),))
    assert of() == ["ESM4"]  # time that two files hold counts once
    put(workspace.raw, "ESH4", "2024-03-07", trades=((1, 13),))
    with pytest.raises(ConfigError, match="ESH4, ESM4, and equal volumes, ESH4 13, ESM4 13 before it. Name the day"):
        dates(days)


class Knowing(Source):
    """Knows contracts, and has no records."""

    asked: ClassVar[list[SourceRequest]] = []

    def open(self, request: SourceRequest) -> Any:
        raise NotImplementedError

    def contract(self, request: SourceRequest, matches: Callable[[str], bool]) -> str:
        self.asked.append(request)
        return next(symbol for symbol in ("NQH4", "ES", "ESM4") if matches(symbol))


class Ignorant(Knowing):
    contract = Source.contract


def test_any_source_may_say_the_contract(workspace: Workspace, dates, monkeypatch: pytest.MonkeyPatch) -> None:
    days = {"from": "2024-03-08", "to": "2024-03-08", "contract": "volume"}
    sources, load = {"source": Knowing}, workspace.plugins.load
    monkeypatch.setattr(workspace.plugins, "load", lambda kind, name, where="": sources.get(kind) or load(kind, name))
    dates(days)
    assert [session.symbol for session in workspace.experiment("e").to_harness_config().sessions] == ["ESM4"]
    request = Knowing.asked[-1]
    assert (request.symbol, request.raw) == ("ES", workspace.raw_folder)
    assert (request.end_ns - request.start_ns) == 6.5 * 3600 * NS
    sources["source"] = Ignorant
    with pytest.raises(
        ConfigError,
        match="The source cannot tell which contract of ES to take from 2024-03-08 14:30:00 to .* UTC. Name the day's contract",
    ):
        dates(days)
