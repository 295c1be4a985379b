"""The daily halt of an exchange: when it is, and which times lie in it."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from vpcore.units import NS_PER_S

_DAY = datetime.timedelta(days=1)
_FRIDAY, _SUNDAY = 4, 6
_WEEK_NS = 7 * 86_400 * NS_PER_S


def check_timezone(name: str) -> str:
    """Return `name` if it is a time zone of the IANA database.

    Raises
    ------
    ValueError
        If it is not.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"must be an IANA time zone such as 'America/New_York' or 'UTC', was '{name}'.") from None
    return name


def check_halt(halt: tuple[str, ...]) -> tuple[str, ...]:
    """Return a halt if it is one: start and end, then perhaps a time zone.

    Raises
    ------
    ValueError
        Unless start and end are two times of day without a zone of their own, and the zone is a time zone.
    """
    start, end, *zone = halt
    try:
        first, last = (datetime.time.fromisoformat(text) for text in (start, end))
        if first.tzinfo is not None or last.tzinfo is not None:
            raise ValueError
    except ValueError:
        raise ValueError(f"must be two times of day such as '17:00' and '18:00', was '{start}' and '{end}'.") from None
    if first == last:
        raise ValueError(f"must end at another time of day than it begins, was '{start}' and '{end}'.")
    for name in zone:
        check_timezone(name)
    return halt


TimeZone = Annotated[str, AfterValidator(check_timezone)]
"""Name of a time zone of the IANA database."""

LocalHalt = Annotated[tuple[str, str], AfterValidator(check_halt)]
"""Start and end of a daily halt, in a time zone stated elsewhere."""

DailyHalt = Annotated[tuple[str, str, str], AfterValidator(check_halt)]
"""Start, end and time zone: ``("17:00", "18:00", "America/New_York")``. On Friday it lasts until Sunday's end. An
end before the start, ``("13:05", "08:30", "America/Chicago")``, is of the next day, and on Friday of Monday."""


@lru_cache(maxsize=64)
def halts_between(halt: DailyHalt, first_ns: int, last_ns: int) -> npt.NDArray[np.int64]:
    """Return start and end of every halt that overlaps a time, int64[n, 2], ns since the epoch, read-only."""
    start, end, name = halt
    zone = ZoneInfo(name)
    first = datetime.datetime.fromtimestamp(first_ns // NS_PER_S, zone).date() - 3 * _DAY
    last = datetime.datetime.fromtimestamp(last_ns // NS_PER_S, zone).date()
    night = int(datetime.time.fromisoformat(end) < datetime.time.fromisoformat(start))
    found = []
    day = first
    while day <= last:
        if day.weekday() <= _FRIDAY:
            until = day + (night + (_SUNDAY - _FRIDAY if day.weekday() == _FRIDAY else 0)) * _DAY
            times = ((day, start), (until, end))
            at = [datetime.datetime.combine(on, datetime.time.fromisoformat(text), zone) for on, text in times]
            pair = [int(moment.timestamp()) * NS_PER_S for moment in at]
            if pair[0] < last_ns and pair[1] > first_ns:
                found.append(pair)
        day += _DAY
    halts = np.array(found, dtype=np.int64).reshape(-1, 2)
    halts.setflags(write=False)
    return halts


def halted(halt: DailyHalt | None, start_ns: npt.NDArray[np.int64], width_ns: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the bins that lie in a halt, wholly or in part.

    Parameters
    ----------
    halt : DailyHalt or None
        None: there is no halt.
    start_ns : int64[n_bins]
        Start of each bin, ascending.
    width_ns : int
        Width of a bin.
    """
    mask = np.zeros(len(start_ns), dtype=bool)
    if halt is not None and len(start_ns):
        for start, end in halts_between(halt, int(start_ns[0]), int(start_ns[-1]) + width_ns):
            mask |= (start_ns + width_ns > start) & (start_ns < end)
    return mask


def in_halt(halt: DailyHalt | None, start_ns: int, width_ns: int, seq: int) -> bool:
    """Return whether a bin of a session that began at `start_ns` lies in a halt."""
    if halt is None:
        return False
    bin_ns = start_ns + seq * width_ns
    week = bin_ns // _WEEK_NS * _WEEK_NS  # few different arguments, so that the answer is kept
    halts = halts_between(halt, week - _WEEK_NS, week + 2 * _WEEK_NS)
    return bool(((bin_ns + width_ns > halts[:, 0]) & (bin_ns < halts[:, 1])).any())
