"""The conformance checks of a signal, one function per check. A failed check raises `CheckFailed`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from vpcore.canonical import canonical_json
from vpcore.errors import ConfigError, SignalError, VpError
from vpcore.rules import TradeRules
from vpcore.signal import (
    MLSignal,
    Signal,
    SignalContext,
    SignalStream,
    StatisticalSignal,
    batch,
    frames,
    stream as stream_values,
)
from vpcore.signal.conformance.data import SessionData
from vpcore.signal.conformance.files import only_declared_files
from vpcore.signal.conformance.model_checks import model_problem
from vpcore.signal.conformance.variations import variations

Values = npt.NDArray[np.float64]

MIRROR_TOLERANCE = 1e-9
"""Largest difference under mirroring, relative to the largest value: sums over mirrored cells may run the other way."""


ROUNDING = 1e-9
"""Largest difference of rounding, relative to the largest value; a larger one is of other data."""

SHIFT_BINS, SHIFT_TICKS = 10_007, 403
"""By how much a session moves in time and in price: prime, so no multiple of what a signal may count by."""

SHIFT_TOLERANCE = 1e-6
"""Largest difference under such a move, relative to the largest value: a price in floating point rounds."""


class CheckFailed(Exception):
    """A failed check. The message is a clause that follows the signal's name."""


class Subject:
    """A signal under test, its data, and its values, which several checks share.

    Parameters
    ----------
    signal : Signal
        The signal, with its parameters.
    data : SessionData
    rules : TradeRules, optional
        Trade rules of a learning signal.
    """

    def __init__(self, signal: Signal, data: SessionData, rules: TradeRules | None = None) -> None:
        self.signal = signal
        self.data = data
        self.rules = rules
        self._values: Values | None = None

    @property
    def context(self) -> SignalContext:
        """The context for `Signal.start`."""
        return SignalContext.of(self.data, self.rules)

    @property
    def values(self) -> Values:
        """The signal over the whole data, computed once."""
        if self._values is None:
            self._values = self.compute(self.data)
        return self._values

    def compute(self, data: SessionData, signal: Signal | None = None) -> Values:
        """Return a copy of the batch values over some data."""
        with only_declared_files(self.signal, type(self.signal).__name__):
            return batch(signal or self.signal, data, self.rules).values.copy()

    def stream(self, data: SessionData) -> Values:
        """Return the streamed values over some data."""
        with only_declared_files(self.signal, type(self.signal).__name__):
            return stream_values(self.signal, data, self.rules).values

    @property
    def warmup(self) -> int:
        """The declared warm-up, in valid bins."""
        return int(self.signal.warmup_bins(self.context))

    @property
    def first_warm(self) -> int:
        """The first bin after the warm-up; the number of bins if the data end before."""
        valid = np.flatnonzero(self.data.valid)
        return int(valid[self.warmup]) if 0 <= self.warmup < len(valid) else self.data.n_bins


def first_difference(a: Values, b: Values) -> int | None:
    """Return the first index with different bits in two vectors; None if all are equal. NaN equals NaN."""
    same = (a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))
    return None if same.all() else int(np.argmin(same))


def _shown(value: float) -> str:
    return repr(float(value))


def _by(a: float, b: float) -> str:
    return "" if np.isnan(a) or np.isnan(b) else f", a difference of {abs(a - b):.3g}"


def only_rounded(a: Values, b: Values) -> bool:
    """Return True if two vectors are NaN in the same bins and differ by rounding at most."""
    if (np.isnan(a) != np.isnan(b)).any():
        return False
    largest = float(np.nanmax(np.abs(b), initial=0.0))
    return float(np.nanmax(np.abs(a - b), initial=0.0)) <= ROUNDING * largest


ROUNDS = (
    "It does not look ahead, but the bytes must be equal. A matrix product and a sum over bins depend on the number of "
    "rows: compute each bin by itself, in compute as in step."
)
"""The remedy for a signal that `only_rounded`."""


def _require_same(a: Values, b: Values, problem: str, rounds: str = "") -> None:
    """Raise `CheckFailed` with `problem` if two vectors differ: ``{at}``, ``{a}``, ``{b}`` and ``{by}`` name where.

    With `rounds`, the circumstances of the second vector, a difference of rounding has a message of its own.
    """
    at = first_difference(a, b)
    if at is None:
        return
    if rounds and only_rounded(a, b):
        raise CheckFailed(
            f"rounds differently {rounds}: bin {at} is {_shown(a[at])} and {_shown(b[at])}{_by(a[at], b[at])}. {ROUNDS}"
        )
    raise CheckFailed(problem.format(at=at, a=_shown(a[at]), b=_shown(b[at]), by=_by(a[at], b[at])))


def check_shape(subject: Subject) -> None:
    """One float64 per bin: NaN in invalid bins, finite or NaN elsewhere, and a number in at least one bin."""
    values = subject.values
    if subject.first_warm < subject.data.n_bins and np.isnan(values).all():
        raise CheckFailed(
            f"has no value in any of {len(values)} bins, though it is declared warm from bin {subject.first_warm}."
        )


def check_declared_columns(subject: Subject) -> None:
    """Batch and streaming read declared columns only."""
    part = subject.data.prefix(min(subject.data.n_bins, subject.first_warm + 50))
    subject.compute(part)
    subject.stream(part)


def check_read_only(subject: Subject) -> None:
    """Batch and streaming leave their input unchanged."""
    data = subject.data
    before = {name: array.tobytes() for name, array in (*data.bins.items(), *data.grids.items())}
    subject.compute(data)
    subject.stream(data.prefix(min(data.n_bins, subject.first_warm + 50)))
    for name, array in (*data.bins.items(), *data.grids.items()):
        if array.tobytes() != before[name]:
            was = np.frombuffer(before[name], array.dtype).reshape(array.shape)
            i = tuple(np.argwhere(was != array)[0].tolist())
            raise CheckFailed(
                f"writes to its input: column '{name}' changed at bin {i[0]}, from {was[i]} to {array[i]}. "
                "Copy what you change."
            )


def check_determinism(subject: Subject) -> None:
    """The same data give the same bytes, whatever the signal object did before and whoever else streams meanwhile."""
    data, values = subject.data, subject.values
    mirrored = data.mirrored()
    used = subject.compute(mirrored)
    for label, again in (
        ("a second time", subject.compute(data)),
        ("by a fresh object", subject.compute(data, type(subject.signal)(subject.signal.params))),
    ):
        _require_same(
            values,
            again,
            f"is not deterministic: bin {{at}} is {{a}} the first time but {{b}} {label}{{by}}. Keep everything that "
            "changes in the state, and seed what is random.",
        )
    fresh = subject.compute(mirrored, type(subject.signal)(subject.signal.params))
    _require_same(
        used,
        fresh,
        "remembers other data: bin {at} of a second session is {a} after a first one but {b} without it{by}. "
        "Keep nothing on the object or its class.",
    )
    alone = subject.stream(data)
    first, second = SignalStream(subject.signal, subject.context), SignalStream(subject.signal, subject.context)
    together = np.empty(data.n_bins)
    for i, (frame, other) in enumerate(
        zip(frames(subject.signal, data), frames(subject.signal, mirrored), strict=True)
    ):
        together[i] = first.push(frame)
        second.push(other)
    _require_same(
        alone,
        together,
        "keeps something outside its state: bin {at} is {a} when it streams alone but {b} when another stream runs "
        "beside it{by}.",
    )


def cuts(subject: Subject) -> Iterator[int]:
    """Yield lengths at which to end the data: around the end of the warm-up, and spread over the rest."""
    n_bins, warm = subject.data.n_bins, subject.first_warm
    rng = np.random.default_rng(7)
    spread = rng.integers(min(warm, n_bins), n_bins + 1, 5)
    yield from sorted(
        {n for n in (1, warm, warm + 1, warm + 2, n_bins // 2, n_bins - 1, *spread.tolist()) if 0 < n < n_bins}
    )


def check_prefix(subject: Subject) -> None:
    """The values on the first part of the data are the first part of the values, byte for byte."""
    values = subject.values
    for n in cuts(subject):
        part = subject.compute(subject.data.prefix(n))
        _require_same(
            part,
            values[:n],
            f"looks ahead: bin {{at}} is {{a}} when the data ends at bin {n - 1} but {{b}} when it ends at bin "
            f"{subject.data.n_bins - 1}{{by}}.",
            f"when the data end at bin {n - 1} instead of {subject.data.n_bins - 1}",
        )


def check_future(subject: Subject) -> None:
    """A change of the data from some bin on keeps all earlier values."""
    values = subject.values
    for seed, n in enumerate(cuts(subject)):
        other = subject.compute(subject.data.disturbed(n, seed))
        _require_same(
            values[:n],
            other[:n],
            f"looks ahead: bin {{at}} goes from {{a}} to {{b}} when only bins from {n} on are changed{{by}}.",
            f"when only bins from {n} on are changed",
        )


def check_stream(subject: Subject) -> None:
    """Streaming gives the bytes of the batch."""
    _require_same(
        subject.stream(subject.data),
        subject.values,
        "streams another value than it computes: bin {at} is {a} bin by bin but {b} in batch{by}. "
        "Drive both from one step.",
        "bin by bin and in batch",
    )


def moved_value(a: Values, b: Values) -> int | None:
    """Return the first bin in which two vectors differ by more than `SHIFT_TOLERANCE`, or in NaN; None without one."""
    largest = max(float(np.nanmax(np.abs(a), initial=0.0)), 1e-300)
    off = np.isnan(a) != np.isnan(b)
    off |= np.abs(np.nan_to_num(a) - np.nan_to_num(b)) > SHIFT_TOLERANCE * largest
    return int(np.argmax(off)) if off.any() else None


def check_shift(subject: Subject) -> None:
    """A session at another time and price has the same values, unless the signal declares that it uses them."""
    signal, data = subject.signal, subject.data
    for moved, what, declare in (
        (data.shifted(SHIFT_BINS, 0), "bins", "uses_clock"),
        (data.shifted(0, SHIFT_TICKS), "ticks", "uses_price_level"),
    ):
        other = subject.values if getattr(signal, declare) else subject.compute(moved)
        at = moved_value(subject.values, other)
        if at is not None:
            raise CheckFailed(
                f"has other values when the session moves by whole {what}: bin {at} goes from "
                f"{_shown(subject.values[at])} to {_shown(other[at])}{_by(other[at], subject.values[at])}. If that is "
                f"meant, declare {declare} = True in its class."
            )


def check_mirror(subject: Subject) -> None:
    """The mirrored market gives the negative value, to rounding. For statistical signals."""
    values, mirrored = subject.values, subject.compute(subject.data.mirrored())
    both = ~np.isnan(values) & ~np.isnan(mirrored)
    off = np.where(both, np.abs(values + mirrored), 0.0)
    off[np.isnan(values) != np.isnan(mirrored)] = np.inf
    largest = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-300)
    at = int(np.argmax(off)) if len(off) else 0
    if len(off) and off[at] > MIRROR_TOLERANCE * largest:
        raise CheckFailed(
            f"is not antisymmetric: bin {at} is {_shown(values[at])} but {_shown(mirrored[at])} in the mirrored "
            f"market, where it should be {_shown(-values[at])}{_by(mirrored[at], -values[at])}. "
            "Swapping bid and ask sides must negate the value."
        )


def check_warmup(subject: Subject) -> None:
    """NaN during the declared warm-up, and a value right after it."""
    n = subject.warmup
    if n < 0:
        raise CheckFailed(f"declares a warm-up of {n} bins; it must be at least 0.")
    valid = np.flatnonzero(subject.data.valid)
    values = subject.values[valid]
    early = np.flatnonzero(~np.isnan(values[:n]))
    if len(early):
        at = int(valid[early[0]])
        raise CheckFailed(
            f"has the value {_shown(subject.values[at])} at bin {at}, the valid bin number {int(early[0]) + 1}, "
            f"inside its declared warm-up of {n} bins. Return NaN until then, or correct warmup_bins."
        )
    if isinstance(subject.signal, StatisticalSignal) and n < len(valid) and np.isnan(values[n]):
        later = np.flatnonzero(~np.isnan(values))
        when = f"its first value comes after {int(later[0])} valid bins" if len(later) else "it never has one"
        raise CheckFailed(f"has no value at bin {int(valid[n])}, after its declared warm-up of {n} valid bins: {when}.")


def check_degenerate(subject: Subject) -> None:
    """Empty data, data without a valid bin, and a constant market work."""
    for label, data in (
        ("no bins", subject.data.prefix(0)),
        ("one bin", subject.data.prefix(1)),
        ("no valid bin", subject.data.invalid()),
        ("a constant market", subject.data.constant()),
    ):
        for way, run in (("batch", subject.compute), ("streaming", subject.stream)):
            try:
                values = run(data)
            except VpError:
                raise
            except Exception as error:
                raise CheckFailed(f"fails on {label} ({way}): {type(error).__name__}: {error}") from error
            constant = label == "a constant market" and isinstance(subject.signal, StatisticalSignal)
            late = values[subject.warmup :]
            if constant and np.isnan(late).any():
                at = subject.warmup + int(np.argmax(np.isnan(late)))
                raise CheckFailed(
                    f"has no value on {label} at bin {at} ({way}), after its warm-up. Guard the division by 0."
                )


def check_parameters(subject: Subject) -> None:
    """Every parameter changes the output somewhere in its range."""
    for name in type(subject.signal.params).model_fields:
        tried: list[str] = []
        for signal in variations(subject.signal, name):
            try:
                base, other = _base(subject, signal, name), subject.compute(subject.data, signal)
            except ConfigError:  # a value in the range that does not fit this grid
                continue
            tried.append(repr(getattr(signal.params, name)))
            if first_difference(base, other) is not None:
                break
        else:
            default = getattr(subject.signal.params, name)
            raise CheckFailed(
                f"has a parameter that does nothing: '{name}' gives the same bytes at {default!r} and at "
                f"{', '.join(tried)}. Remove it: it would only add trials."
                if tried
                else f"has the parameter '{name}', of which no second value could be found. "
                "Give its Field examples=[...] with values that are allowed."
            )


def _base(subject: Subject, varied: Signal, name: str) -> Values:
    """Return the values with every parameter as in `varied`, except for `name`."""
    params = varied.params.model_copy(update={name: getattr(subject.signal.params, name)})
    if params == subject.signal.params:
        return subject.values
    return subject.compute(subject.data, type(varied)(params))


def check_round_trip(subject: Subject) -> None:
    """Parameters survive JSON, have a schema, and refuse unknown names."""
    signal = subject.signal
    params = signal.params
    again = type(params).parse(params.plain())
    if again != params or canonical_json(again.plain()) != canonical_json(params.plain()):
        raise CheckFailed(f"has parameters that JSON changes: {params!r} becomes {again!r}.")
    if not isinstance(params.json_schema().get("properties", {}), dict):
        raise CheckFailed("has parameters without a JSON schema.")
    try:
        type(params).parse({"no_such_parameter": 1})
    except ConfigError:
        return
    raise CheckFailed(
        "accepts the parameter 'no_such_parameter'. Derive Params from SignalParams and keep extra='forbid'."
    )


def check_pickle(subject: Subject) -> None:
    """The signal can be sent to another process and computes the same there."""
    try:
        copy = pickle.loads(pickle.dumps(subject.signal))
    except Exception as error:
        raise CheckFailed(f"cannot be pickled: {type(error).__name__}: {error}") from error
    again = subject.compute(subject.data, copy)
    _require_same(
        subject.values,
        again,
        "computes something else after pickling: bin {at} is {a} before and {b} after{by}. "
        "Keep every setting in Params.",
    )


def check_model(subject: Subject) -> None:
    """A learning signal's model survives saving and loading; other signals refuse it."""
    problem = model_problem(subject)
    if problem:
        raise CheckFailed(problem)


CHECKS: dict[str, Callable[[Subject], None]] = {
    "shape": check_shape,
    "declared-columns": check_declared_columns,
    "read-only": check_read_only,
    "determinism": check_determinism,
    "prefix": check_prefix,
    "future": check_future,
    "stream": check_stream,
    "shift": check_shift,
    "mirror": check_mirror,
    "warm-up": check_warmup,
    "degenerate": check_degenerate,
    "parameters": check_parameters,
    "round-trip": check_round_trip,
    "pickle": check_pickle,
    "model": check_model,
}
"""Every check by name, in the order in which they run."""

GATE = ("shape", "declared-columns", "read-only", "determinism", "prefix", "future", "stream")
"""Checks before a signal's results are stored or promoted: causality and streaming parity."""

CAUSAL = ("prefix", "future", "stream")
"""Checks whose failure is a `CausalityError`."""


def applies(name: str, signal: Signal) -> bool:
    """Return True if a check applies: ``mirror`` to statistical, ``model`` to learning signals, others to all."""
    return {"mirror": isinstance(signal, StatisticalSignal), "model": isinstance(signal, MLSignal)}.get(name, True)


def run_check(name: str, subject: Subject) -> str:
    """Run one check; return the problem as a clause that follows the signal's name, empty for a pass."""
    try:
        CHECKS[name](subject)
    except CheckFailed as failure:
        return str(failure)
    except SignalError as error:
        return f"breaks its contract: {error}"
    except ConfigError as error:
        return f"refuses its parameters here: {error}"
    except Exception as error:  # a signal's own code can raise anything
        text = " ".join(str(error).split())
        if "read-only" in text or "readonly" in text:
            return f"writes to its input: {text[:200]}. Copy what you change."
        return f"raises {type(error).__name__}: {text[:300]}"
    return ""
