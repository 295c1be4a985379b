from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings, strategies as st

from vpcore import ConfigError
from vpcore.config.clock import clock_ns, clock_text, local_to_ns

DAY = 86_400 * 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds", "digits"),
    [
        ("18:00", 64_800 * 10**9, "1800"),
        ("9:05", 32_700 * 10**9, "0905"),
        ("00:00:01", 10**9, "000001"),
        ("00:00:00.000000001", 1, "000000000000001"),
        ("23:59:59.5", DAY - 5 * 10**8, "2359595"),
        ("24:00", DAY, "2400"),
    ],
)
def test_times_of_day(text: str, nanoseconds: int, digits: str) -> None:
    assert clock_ns(text) == nanoseconds
    assert clock_text(nanoseconds) == digits


@pytest.mark.parametrize(
    "text", ["24:01", "12:60", "12:00:60", "12", "1200", "12:0", "-1:00", "12:00:00.0000000001", ""]
)
def test_what_is_not_a_time_of_day(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time of day, '18:00' or '18:00:00.5', was"):
        clock_ns(text)


@pytest.mark.parametrize(
    ("day", "clock", "zone", "expected"),
    [
        (date(2023, 12, 25), "18:00", "America/New_York", 1_703_545_200_000_000_000),  # the sample file's open
        (date(2024, 7, 1), "18:00", "America/New_York", 1_719_871_200_000_000_000),  # daylight saving time
        (date(2024, 7, 1), "17:00", "America/Chicago", 1_719_871_200_000_000_000),
        (date(1970, 1, 1), "00:00:00.000000001", "UTC", 1),
        (date(1969, 12, 31), "23:59:59.999999999", "UTC", -1),
        (date(2024, 2, 28), "24:00", "UTC", 1_709_164_800_000_000_000),
    ],
)
def test_local_times_as_utc_nanoseconds(day: date, clock: str, zone: str, expected: int) -> None:
    assert local_to_ns(day, clock_ns(clock), zone) == expected


@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)), st.integers(0, DAY))
@settings(max_examples=50)
def test_utc_is_exact_to_the_nanosecond(day: date, clock: int) -> None:
    assert local_to_ns(day, clock, "UTC") == (day - date(1970, 1, 1)).days * DAY + clock


def test_times_that_the_clock_skips_or_repeats_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="02:30:00 on 2024-03-10 does not exist in America/New_York: clocks change there"
    ):
        local_to_ns(date(2024, 3, 10), clock_ns("02:30"), "America/New_York")
    with pytest.raises(ConfigError, match="01:30:00 on 2024-11-03 comes twice in America/New_York"):
        local_to_ns(date(2024, 11, 3), clock_ns("01:30"), "America/New_York")
