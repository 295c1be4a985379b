"""Other values for a parameter, guessed from its default, its type and its range."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from vpcore.errors import ConfigError
from vpcore.signal import Signal


def variations(signal: Signal, name: str) -> Iterator[Signal]:
    """Yield signals that differ from `signal` in one parameter, then also in a choice that it may depend on.

    Values that the parameters refuse are left out. ``examples`` of the field come first.
    """
    yield from _varied(signal, name)
    for other, info in type(signal.params).model_fields.items():
        if other == name:
            continue
        for choice in _choices(info.annotation):
            if choice != getattr(signal.params, other):
                try:
                    base = type(signal)(signal.params, **{other: choice})
                except ConfigError:
                    continue
                yield from _varied(base, name)


def _varied(signal: Signal, name: str) -> Iterator[Signal]:
    info = type(signal.params).model_fields[name]
    current = getattr(signal.params, name)
    seen = [current]
    for value in (*(info.examples or ()), *_candidates(current, info)):
        if any(value == other and type(value) is type(other) for other in seen):
            continue
        seen.append(value)
        try:
            yield type(signal)(signal.params, **{name: value})
        except ConfigError:
            continue


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a type that has a few."""
    if annotation is bool:
        return (False, True)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (typing.Union, getattr(typing, "UnionType", typing.Union)):
        return tuple(choice for part in get_args(annotation) for choice in _choices(part))
    return ()


def _candidates(current: Any, info: FieldInfo) -> Iterator[Any]:
    yield from _choices(info.annotation)
    low, high = _bounds(list(info.metadata))
    if isinstance(current, bool):
        yield not current
    elif isinstance(current, (int, float)):
        yield from _numbers(current, low, high)
    elif isinstance(current, tuple):
        yield from _tuples(current)
    elif current is None:
        yield from (1, 10, 0.5)


def _numbers(current: float, low: float | None, high: float | None) -> Iterator[float]:
    whole = isinstance(current, int)
    for value in (current * 2, current / 2, current + 1, current * 10, current / 10, current + 5, current - 1):
        yield round(value) if whole else value
    if low is not None and high is not None:
        yield round((low + high) / 2) if whole else (low + high) / 2
    for bound in (low, high):
        if bound is not None:
            yield int(bound) if whole else float(bound)


def _tuples(current: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Change one element at a time, the last ones first: rising lists stay rising more often so."""
    for i in reversed(range(len(current))):
        item = current[i]
        if isinstance(item, bool) or not isinstance(item, (int, float, tuple)):
            continue
        changed = _tuples(item) if isinstance(item, tuple) else _numbers(item, None, None)
        for value in changed:
            yield (*current[:i], value, *current[i + 1 :])
    if len(current) > 1:
        yield current[:-1]
        yield current[::-1]


def _bounds(metadata: list[Any]) -> tuple[float | None, float | None]:
    low = high = None
    for item in metadata:
        if isinstance(item, annotated_types.Ge):
            low = item.ge
        elif isinstance(item, annotated_types.Le):
            high = item.le
    return low, high  # type: ignore[return-value]
