"""Causality on the evaluated data: a synthetic session cannot show what a signal does on longer or other data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vpcore.canonical import digest
from vpcore.errors import CausalityError, VpError
from vpcore.rules import TradeRules
from vpcore.schema import BIN_COLUMNS
from vpcore.signal import Signal, SignalData, SignalResult, batch, stream
from vpcore.signal.conformance.checks import (
    ROUNDS,
    SHIFT_BINS,
    SHIFT_TICKS,
    first_difference,
    moved_value,
    only_rounded,
)
from vpcore.signal.conformance.data import SessionData
from vpcore.signal.conformance.files import only_declared_files

TAIL_BINS = 512
"""Bins of another future that follow a prefix."""

ALIKE = 20
"""Changes of value in a row that are equal on other data: chance does not do that."""

CLOCK = frozenset({"bin_seq", "ts_ns", "bin_start_ns", "bin_end_ns"})
"""Columns that tell the time and nothing about the market."""

_Values = npt.NDArray[np.float64]


def columns_of(data: SignalData, signal: Signal, n_bins: int | None = None) -> SessionData:
    """Return the declared columns of the first bins, or of all, as views."""
    names = {*signal.columns, "bin_seq", "book_valid"}
    return SessionData(
        {name: data.bin(name)[:n_bins] for name in names if name in BIN_COLUMNS},
        {name: data.grid(name)[:n_bins] for name in names if name not in BIN_COLUMNS},
        np.asarray(data.k),
        data.cell_width_ns,
        data.tick_int,
    )


def values_of(signal: Signal, data: SignalData, rules: TradeRules | None, name: str) -> SignalResult:
    """Return `vpcore.signal.batch`, and refuse a signal that opens files meanwhile.

    Raises
    ------
    CausalityError
        If it opens an undeclared file, a connection or a process.
    """
    with only_declared_files(signal, name):
        return batch(signal, data, rules)


def require_causal(
    signal: Signal, data: SignalData, values: _Values, rules: TradeRules | None, *, name: str, key: str, future: bool
) -> None:
    """Refuse a signal whose values change with the end of the data or with other later data.

    Parameters
    ----------
    signal : Signal
        The signal, with its parameters.
    data : SignalData
        The evaluated data.
    values : float64[n_bins]
        Its values on them.
    rules : TradeRules, optional
        Trade rules of a learning signal.
    name : str
        Name of the signal, for messages.
    key : str
        Decides where the data are cut, between three and seven tenths.
    future : bool
        Also with another future. Without, the data only end earlier.

    Raises
    ------
    CausalityError
        If a value differs.
    """
    share = 0.3 + 0.4 * int(digest(key)[:8], 16) / 2**32
    n = int(share * len(values))
    if n < 1 or np.isnan(values[:n]).all():
        return
    part = values_of(signal, columns_of(data, signal, n), rules, name).values
    _require_same(part, values[:n], name, f"when the data end at bin {n - 1:,} instead of {len(values) - 1:,}")
    if future:
        tail = min(n + TAIL_BINS, len(values))
        other = values_of(signal, columns_of(data, signal, tail).disturbed(n, n), rules, name).values
        _require_same(other[:n], values[:n], name, f"when only bins from {n:,} on are changed")


def require_streamed(signal: Signal, data: SignalData, values: _Values, rules: TradeRules | None, *, name: str) -> None:
    """Refuse a signal whose streamed values differ from its batch values, or whose values ignore the data.

    Its values must also be the same at another time and price, unless it declares `uses_clock` or `uses_price_level`.
    Parameters as in `require_causal`. Cost: a step per bin, and two batches.

    Raises
    ------
    CausalityError
        If a value differs, or other data give the same values.
    """
    whole = columns_of(data, signal)
    with only_declared_files(signal, name):
        streamed = stream(signal, whole, rules).values
    _require_same(streamed, values, name, "bin by bin")
    _require_unmoved(signal, whole, values, rules, name)
    if set(signal.columns) <= CLOCK:
        return
    other = values_of(signal, whole.disturbed(0, 1), rules, name).values
    if _moves_alike(values, other) >= ALIKE:
        raise CausalityError(
            f"Signal '{name}' gives the values of this dataset for other data too: they come from the clock, or from "
            "somewhere else than the columns that it declares."
        )


def _require_unmoved(signal: Signal, data: SessionData, values: _Values, rules: TradeRules | None, name: str) -> None:
    if rules is not None and rules.daily_halt is not None:  # a moved session meets the halts of its labels elsewhere
        rules = rules.model_copy(update={"daily_halt": None})
        values = values_of(signal, data, rules, name).values
    for moved, what, declare in (
        (data.shifted(SHIFT_BINS, 0), "bins", "uses_clock"),
        (data.shifted(0, SHIFT_TICKS), "ticks", "uses_price_level"),
    ):
        if getattr(signal, declare):
            continue
        try:
            at = moved_value(values, values_of(signal, moved, rules, name).values)
            happens = "" if at is None else f"has other values, first at bin {at:,},"
        except VpError:
            raise
        except Exception as error:  # a signal's own code can raise anything
            happens = f"fails ({type(error).__name__}: {error})"
        if happens:
            raise CausalityError(
                f"Signal '{name}' {happens} when the session moves by whole {what}: it knows when or at which price it "
                f"is evaluated. If it is meant to, declare {declare} = True."
            )


def _moves_alike(values: _Values, other: _Values) -> int:
    """Return the most changes of value in a stretch of bins in which two vectors are equal, bins without both apart."""
    both = ~np.isnan(values) & ~np.isnan(other)
    values, other = values[both], other[both]
    equal = values == other
    moved = np.append(False, equal[1:] & equal[:-1] & (values[1:] != values[:-1]))
    total = np.cumsum(moved)
    return int((total - np.maximum.accumulate(np.where(equal, 0, total))).max(initial=0))


def _require_same(found: _Values, values: _Values, name: str, when: str) -> None:
    at = first_difference(found, values)
    if at is None:
        return
    if only_rounded(found, values):
        raise CausalityError(
            f"Signal '{name}' rounds differently {when}: bin {at:,} is {float(found[at])!r} instead of "
            f"{float(values[at])!r}. {ROUNDS}"
        )
    what = "streams other values than it computes" if when == "bin by bin" else "looks ahead"
    raise CausalityError(
        f"Signal '{name}' {what} on the evaluated dataset: bin {at:,} is {float(found[at])!r} {when}, and "
        f"{float(values[at])!r} as evaluated."
    )
