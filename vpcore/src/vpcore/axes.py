"""One axis of a sweep in a specification: a list, a range, or a range in equal ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from vpcore.errors import did_you_mean

MOST_VALUES = 10_000
"""Limit of values per axis: a step with missing zeros is an error before it fills the memory."""

_DIGITS = 6
_RANGE, _LOG = ("from", "to", "step"), ("log", "num", "whole")
_FORMS = "Write a list, {from: 60, to: 480, step: 60} or {log: [0.001, 1], num: 7}"


def axis_values(value: Any) -> Any:
    """Return the values of an axis. A range is a mapping; anything else is returned unchanged.

    Parameters
    ----------
    value : mapping or anything
        ``{from, to, step}``: from `from` in steps up to `to`, which is included if a step meets it. The arithmetic is
        decimal: 0.1 to 0.3 by 0.1 gives three values, and the last is 0.3.
        ``{log: [low, high], num}``: `num` values in equal ratios, both ends included, to six significant digits. With
        ``whole: true`` the values are distinct whole numbers.

    Returns
    -------
    list of numbers, or `value`
        Whole numbers as int.

    Raises
    ------
    ValueError
        If the mapping has another form, a bound of another type than a number, bounds in descending order, or more
        than `MOST_VALUES` values.
    """
    if not isinstance(value, Mapping):
        return value
    known = _LOG if "log" in value else _RANGE
    for name in value:
        if name not in known:
            raise ValueError(f"must be an axis, '{name}' is no part of one.{did_you_mean(str(name), known)} {_FORMS}.")
    missing = [name for name in known if name not in value and name != "whole"]
    if missing:
        raise ValueError(f"must be an axis, '{missing[0]}' is missing. {_FORMS}.")
    return _in_ratios(value) if known is _LOG else _in_steps(value)


def _in_steps(value: Mapping[str, Any]) -> list[int | float]:
    start, stop, step = (_decimal(name, value[name]) for name in _RANGE)
    if step <= 0:
        raise ValueError(f"must have a step greater than 0, was {value['step']}.")
    if stop < start:
        raise ValueError(f"must go upwards, was {value['from']}..{value['to']}. Exchange the two.")
    count = int((stop - start) / step) + 1
    _not_too_many(count, "Take a larger step")
    return [_number(start + i * step) for i in range(count)]


def _in_ratios(value: Mapping[str, Any]) -> list[int | float]:
    ends, num, whole = value["log"], value["num"], value.get("whole", False)
    if not isinstance(ends, (list, tuple)) or len(ends) != 2:
        raise ValueError(f"must have two bounds in log, was {ends!r}. {_FORMS}.")
    low, high = (float(_decimal("log", end)) for end in ends)
    if not 0.0 < low < high:
        raise ValueError(f"must have bounds in log greater than 0 and upwards, was {ends[0]} to {ends[1]}.")
    if isinstance(num, bool) or not isinstance(num, int) or num < 2:
        raise ValueError(f"must have a whole num of at least 2, was {num!r}.")
    if not isinstance(whole, bool):
        raise ValueError(f"must have whole true or false, was {whole!r}.")
    _not_too_many(num, "Take a smaller num")
    ratio = math.log(high / low) / (num - 1)
    raw = [low, *(low * math.exp(i * ratio) for i in range(1, num - 1)), high]
    if whole:
        return sorted({round(item) for item in raw})
    values = [_number(Decimal(f"{item:.{_DIGITS}g}")) for item in raw[1:-1]]
    values = [_number(_decimal("log", ends[0])), *values, _number(_decimal("log", ends[1]))]
    if len(set(values)) < num:
        raise ValueError(f"must have values that differ in six digits, {num} between {ends[0]} and {ends[1]} do not.")
    return values


def _decimal(name: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"must have a number as {name}, was {value!r}.")
    return Decimal(repr(value))


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value(ROUND_HALF_EVEN) else float(value)


def _not_too_many(count: int, fix: str) -> None:
    if count > MOST_VALUES:
        raise ValueError(f"must have at most {MOST_VALUES} values, has {count}. {fix}.")
