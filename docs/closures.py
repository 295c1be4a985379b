"""Write vpcore/data/closures.json: when the markets of CME Group are closed outside their regular hours.

The table comes from pandas_market_calendars. It holds holidays, early closes and late opens as UTC spans in which the
regular hours of the packaged instruments say open. `--check` compares the table in the repository with a new one. Both
compare the holidays of equity index futures with those of exchange_calendars, another library.

    make closures
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

import exchange_calendars
import pandas as pd
import pandas_market_calendars

from vpcore.config.instruments import packaged_instrument
from vpcore.halts import halts_between

FIRST, LAST = datetime.date(2017, 1, 1), datetime.date(2027, 12, 31)
CALENDARS = {
    "equity": ("CME Globex Equity", "ES"),
    "rates": ("CME Globex Interest Rate Products", "ZN"),
    "fx": ("CMEGlobex_FX", "6E"),
    "energy_metals": ("CMEGlobex_EnergyAndMetals", "CL"),
    "grains": ("CMEGlobex_Grains", "ZC"),
    "livestock": ("CMEGlobex_Livestock", "LE"),
    "crypto": ("CME Globex Crypto", "BTC"),
}
"""Name in an instrument -> calendar of the library, and an instrument with its regular hours."""

MOURNING = {"equity": [["2018-12-05T14:30Z", "2018-12-05T22:00Z"], ["2025-01-09T14:30Z", "2025-01-09T22:00Z"]]}
"""Days of mourning, which the calendars lack: equity index futures closed at 08:30 in Chicago."""

FILE = Path(__file__).parents[1] / "vpcore" / "src" / "vpcore" / "data" / "closures.json"
LEAST_NS = 5 * 60 * 10**9
DAY_NS = 86_400 * 10**9


def ns(day: datetime.date) -> int:
    """Return the midnight before a day, UTC, ns since the epoch."""
    return (day.toordinal() - datetime.date(1970, 1, 1).toordinal()) * DAY_NS


def complement(spans: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """Return the spans of ``[start, end)`` outside others."""
    found, at = [], start
    for first, last in sorted(spans):
        if first > at:
            found.append((at, min(first, end)))
        at = max(at, last)
    return [*found, (at, end)] if at < end else found


def closures(calendar: str, root: str) -> list[list[str]]:
    """Return the spans in which regular hours say open and the calendar says closed."""
    start, end = ns(FIRST), ns(LAST) + DAY_NS
    schedule = pandas_market_calendars.get_calendar(calendar).schedule(
        FIRST - datetime.timedelta(days=7), LAST + datetime.timedelta(days=7)
    )
    opened = [(int(row.market_open.value), int(row.market_close.value)) for row in schedule.itertuples()]
    closed = complement(opened, start, end)
    instrument = packaged_instrument(root)[0]
    halts = [
        (int(a), int(b))
        for a, b in halts_between((*instrument.daily_halt, instrument.timezone), start - DAY_NS, end + DAY_NS)
    ]
    regular = complement(halts, start, end)
    both = [(max(a, c), min(b, d)) for a, b in closed for c, d in regular if min(b, d) - max(a, c) >= LEAST_NS]
    return [[f"{pd.Timestamp(value, tz='UTC'):%Y-%m-%dT%H:%MZ}" for value in pair] for pair in both]


def table() -> str:
    """Return the content of the file."""
    content = {
        "source": f"pandas_market_calendars {pandas_market_calendars.__version__}",
        "first": FIRST.isoformat(),
        "last": LAST.isoformat(),
        "calendars": {name: sorted(closures(*of) + MOURNING.get(name, [])) for name, of in CALENDARS.items()},
    }
    lines = json.dumps(content, indent=None, separators=(",", ":")).replace("],[", "],\n[")
    return lines + "\n"


def check_equity(text: str) -> list[str]:
    """Return the days on which the table and exchange_calendars differ about 11:00 New York."""
    spans = [tuple(pd.Timestamp(value) for value in pair) for pair in json.loads(text)["calendars"]["equity"]]
    other = exchange_calendars.get_calendar("CMES", start=FIRST.isoformat(), end=LAST.isoformat())
    sessions = {day.date() for day in other.sessions}
    wrong = []
    for day in pd.date_range(FIRST, LAST, freq="B"):
        moment = pd.Timestamp(f"{day:%Y-%m-%d} 11:00", tz="America/New_York")
        closed = any(a <= moment < b for a, b in spans)
        if (day.date() not in sessions) != closed:
            wrong.append(f"{day:%Y-%m-%d}: closed here {closed}, there {day.date() not in sessions}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    text = table()
    if not parser.parse_args().check:
        FILE.write_text(text)
    elif FILE.read_text() != text:
        raise SystemExit(f"{FILE} differs from a new one: run make closures")
    if wrong := check_equity(text):
        raise SystemExit("exchange_calendars differs:\n" + "\n".join(wrong))
