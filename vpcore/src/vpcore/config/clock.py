"""Local times of a capture window as UTC nanoseconds, exactly."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from vpcore.errors import ConfigError
from vpcore.units import NS_PER_S

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_NS = 86_400 * NS_PER_S


def clock_ns(text: str) -> int:
    """Return a time of day, ``H:MM[:SS[.fraction]]``, as nanoseconds since midnight. ``24:00`` is allowed.

    Raises
    ------
    ValueError
        If the text is no time of day.
    """
    match = _CLOCK.match(text)
    if match:
        hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3))
        nanoseconds = int((match.group(4) or "").ljust(9, "0"))
        total = ((hours * 60 + minutes) * 60 + seconds) * NS_PER_S + nanoseconds
        if minutes < 60 and seconds < 60 and total <= _DAY_NS:
            return total
    raise ValueError(f"must be a time of day, '18:00' or '18:00:00.5', was '{text}'.")


def clock_text(nanoseconds: int) -> str:
    """Return a time of day as digits for an id: ``1800``, with seconds and a fraction only where there are any."""
    minutes, rest = divmod(nanoseconds, 60 * NS_PER_S)
    text = f"{minutes // 60:02d}{minutes % 60:02d}"
    if rest:
        seconds, fraction = divmod(rest, NS_PER_S)
        text += f"{seconds:02d}" + (f"{fraction:09d}".rstrip("0") if fraction else "")
    return text


def local_to_ns(day: date, clock: int, timezone: str) -> int:
    """Return the UTC nanoseconds since the epoch of a local time.

    Parameters
    ----------
    day : date
        Local date.
    clock : int
        Nanoseconds since local midnight, as the clock on the wall shows them, up to 24 hours.
    timezone : str
        IANA name.

    Raises
    ------
    ConfigError
        If the clock skips that time, or shows it twice, in a change of daylight saving time.
    """
    if clock >= _DAY_NS:
        day, clock = day + timedelta(days=1), clock - _DAY_NS
    seconds, nanoseconds = divmod(clock, NS_PER_S)
    wall = time(seconds // 3600, seconds // 60 % 60, seconds % 60)
    zone = ZoneInfo(timezone)
    # As int(timestamp() * 1e9) would lose hundreds of nanoseconds, whole seconds are counted, in integers.
    first, second = (datetime.combine(day, wall, tzinfo=zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first != second:
        skipped = first.astimezone(zone).replace(tzinfo=None) != datetime.combine(day, wall)
        what = "does not exist" if skipped else "comes twice"
        raise ConfigError(
            f"{wall.isoformat()} on {day} {what} in {timezone}: clocks change there. "
            "Write the window in UTC, with capture.timezone: UTC."
        )
    elapsed = first - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * NS_PER_S + nanoseconds
