"""`contract: volume`: the contract of each day, by the files below lake/raw."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dated_experiment import dates
from tape_source import DAY, NS

from vpcore import ConfigError, Workspace
from vpcore.kernels.records import ADD, MBO_DTYPE, MBO_RTYPE, TRADE
from vpcore_dbn.header import Mapping
from vpcore_dbn.writer import DbnWriter, encode_metadata

__all__ = ["dates"]


@pytest.fixture
def workspace(make_workspace: Callable[[str], Workspace]) -> Workspace:
    return make_workspace("ws")


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
