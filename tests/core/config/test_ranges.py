"""`dates: {from, to}`: the open days of a range, and the contract of each."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from dated_experiment import dates

from vpcore import ConfigError, Workspace
from vpcore.config.closures import closures_of
from vpcore.config.sessions import MOST_DAYS
from vpcore.source import Source, SourceRequest

__all__ = ["dates"]

NS = 10**9


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
