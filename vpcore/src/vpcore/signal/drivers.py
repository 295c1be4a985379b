"""Drivers of signals: bin by bin as in a live stream, or over a whole dataset."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.errors import SignalError
from vpcore.rules import TradeRules
from vpcore.schema import BIN_COLUMNS
from vpcore.signal.base import MLSignal, Signal, SignalContext, SignalData, SignalResult
from vpcore.signal.frame import SignalFrame, undeclared


class SignalStream:
    """One signal and its state, fed bin by bin.

    Parameters
    ----------
    signal : Signal
        The signal, with its parameters.
    context : SignalContext
        Grid, bin width and trade rules, for `Signal.start`.

    Attributes
    ----------
    state : object
        Result of `signal.start`, advanced by every valid bin.
    """

    def __init__(self, signal: Signal, context: SignalContext) -> None:
        self.signal = signal
        self.context = context
        self.state = signal.start(context)

    def frame(
        self,
        grid: Mapping[str, npt.NDArray[Any]],
        bins: Mapping[str, Any],
        score: npt.NDArray[np.float64] | None = None,
        state_code: npt.NDArray[np.int8] | None = None,
    ) -> SignalFrame:
        """Return the view of the signal on one bin.

        Parameters
        ----------
        grid : mapping of str to array[n_cells]
            The engine's grid columns of the bin.
        bins : mapping of str to number
            The bin columns, including ``bin_seq`` and ``book_valid``.
        score : float64[n_cells], optional
            Score of the bin, from the scorer.
        state_code : int8[n_cells], optional
            State of the bin, from the scorer.
        """
        cells = dict(grid)
        if score is not None:
            cells["flow_score"] = score
        if state_code is not None:
            cells["flow_state_code"] = state_code
        return SignalFrame(
            self.signal.columns,
            cells,
            bins,
            owner=type(self.signal).__name__,
            bin_seq=int(bins["bin_seq"]),
            valid=bool(bins["book_valid"]),
        )

    def push(self, frame: SignalFrame) -> float:
        """Return the value of the next bin. An invalid bin gives NaN, and the signal skips it (`Signal.skip`).

        Raises
        ------
        SignalError
            If the signal's step returns an infinity or another type than a number.
        """
        if not frame.valid:
            self.signal.skip(self.state, frame)
            return math.nan
        value = self.signal.step(self.state, frame)
        if not isinstance(value, (float, int, np.floating, np.integer)) or math.isinf(value):
            raise SignalError(
                f"step of signal '{type(self.signal).__name__}' must return a finite number or NaN, "
                f"was {value!r} at bin {frame.bin_seq}."
            )
        return float(value)


def frames(signal: Signal, dataset: SignalData) -> Iterator[SignalFrame]:
    """Yield the frame of every bin of a dataset, equal to the live frame."""
    owner = type(signal).__name__
    # Plain arrays: a row of a memory-mapped one costs thrice as much.
    grid = {name: np.asarray(dataset.grid(name)) for name in signal.columns if name not in BIN_COLUMNS}
    bins = {name: np.asarray(dataset.bin(name)) for name in signal.columns if name in BIN_COLUMNS}
    valid = np.asarray(dataset.valid).tolist()
    for i, bin_seq in enumerate(np.asarray(dataset.bin("bin_seq")).tolist()):
        yield SignalFrame(
            signal.columns,
            {name: column[i] for name, column in grid.items()},
            {name: column[i] for name, column in bins.items()},
            owner=owner,
            bin_seq=bin_seq,
            valid=valid[i],
        )


def stream(signal: Signal, dataset: SignalData, rules: TradeRules | None = None) -> SignalResult:
    """Return a signal's values over a dataset by its step, one bin at a time."""
    driver = SignalStream(signal, SignalContext.of(dataset, rules))
    values = np.full(dataset.n_bins, math.nan)
    for i, frame in enumerate(frames(signal, dataset)):
        values[i] = driver.push(frame)
    return SignalResult(values, signal.prediction_mode, driver.state if isinstance(signal, MLSignal) else None)


_SHARED: dict[int, MutableMapping[str, Any]] = {}
"""Shared values of each living dataset, by its identity: a dataset may be unhashable."""


def shared_of(dataset: SignalData) -> MutableMapping[str, Any]:
    """Return a mapping that lives as long as a dataset in this process.

    It shares intermediate results, such as features, between signals and trials. A key begins with the name of the
    package of the signal. A value must depend on declared columns only and stay unchanged. The mapping may evict any
    value except for the latest.
    """
    known = _SHARED.get(id(dataset))
    return share_in(dataset, {}) if known is None else known


def share_in(dataset: SignalData, kept: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make `shared_of` of a dataset return `kept`, for instance a mapping with a limit."""
    if id(dataset) not in _SHARED:
        weakref.finalize(dataset, _SHARED.pop, id(dataset), None)
    _SHARED[id(dataset)] = kept
    return kept


class DeclaredData:
    """A dataset restricted to the declared columns of a signal, as read-only arrays.

    ``bin_seq`` is always readable, as in a frame. `shared` is the mapping of `shared_of`.
    """

    def __init__(self, dataset: SignalData, signal: Signal) -> None:
        self._dataset = dataset
        self._columns = signal.columns
        self._owner = type(signal).__name__
        self.n_bins = dataset.n_bins
        self.n_cells = dataset.n_cells
        self.k = _read_only(dataset.k)
        self.cell_width_ns = dataset.cell_width_ns
        self.tick_int = dataset.tick_int
        self.valid = _read_only(dataset.valid)
        self.shared = shared_of(dataset)

    def bin(self, name: str) -> npt.NDArray[Any]:
        """Return a declared bin column, shape (n_bins,)."""
        if name not in self._columns and name != "bin_seq":
            raise undeclared(name, self._columns, self._owner)
        return _read_only(self._dataset.bin(name))

    def grid(self, name: str) -> npt.NDArray[Any]:
        """Return a declared grid column, shape (n_bins, n_cells)."""
        if name not in self._columns:
            raise undeclared(name, self._columns, self._owner)
        return _read_only(self._dataset.grid(name))


def batch(signal: Signal, dataset: SignalData, rules: TradeRules | None = None) -> SignalResult:
    """Return a signal's values over a dataset by its `compute`, with checks of its contract.

    Raises
    ------
    SignalError
        If `compute` reads an undeclared column, or returns another shape, another mode, an infinity, or a value for an
        invalid bin.
    """
    data = DeclaredData(dataset, signal)
    result = signal.compute(data, rules) if isinstance(signal, MLSignal) else signal.compute(data)
    owner = type(signal).__name__
    if not isinstance(result, SignalResult):
        raise SignalError(f"compute of signal '{owner}' must return a SignalResult, was {type(result).__name__}.")
    if result.values.shape != (dataset.n_bins,):
        raise SignalError(
            f"compute of signal '{owner}' must return one value for each of {dataset.n_bins} bins, "
            f"the shape was {result.values.shape}."
        )
    if result.prediction_mode != signal.prediction_mode:
        raise SignalError(
            f"compute of signal '{owner}' must return the prediction mode {signal.prediction_mode!r}, "
            f"was {result.prediction_mode!r}."
        )
    bad = np.flatnonzero(np.isinf(result.values) | (~np.asarray(dataset.valid) & ~np.isnan(result.values)))
    if len(bad):
        first = int(bad[0])
        reason = (
            "must be finite or NaN" if np.isinf(result.values[first]) else "must be NaN, because the bin is invalid"
        )
        raise SignalError(f"The value of signal '{owner}' at bin {first} {reason}, was {result.values[first]}.")
    return result


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view
