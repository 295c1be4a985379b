"""Parity of streamed and batch values, with the reason for each difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vpcore.dataset import Dataset
from vpcore.errors import CausalityError
from vpcore.scoring import score_arrays
from vpcore.signal import BackgroundFit, batch
from vpcore_serving.bin_pipeline import SCORED, BinStages

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LateFit:
    """A fit in the background, and its effect: bins with other values than the batch.

    Attributes
    ----------
    due_bin : int
        Bin of its due time; batch values use its model from here on.
    ready_bin : int or None
        The first bin that its model predicted; None if the data ended earlier.
    settled_bin : int or None
        First bin of renewed agreement between streamed and batch values. It is later than `ready_bin` for a model that
        learns between its fits and catches up at its next update.
    fit_us : float or None
        Duration of the fit.
    had_model : bool
        True if an older model served meanwhile; else the values were missing.
    n_differ : int
        Different bins from `due_bin` up to `settled_bin`, end excluded.
    first_differs, last_differs : int or None
        The first and the last different bin.
    """

    due_bin: int
    ready_bin: int | None
    settled_bin: int | None
    fit_us: float | None
    had_model: bool
    n_differ: int
    first_differs: int | None
    last_differs: int | None


def compare(
    dataset: Dataset,
    stages: BinStages,
    values: Values,
    scores: Values,
    background: Sequence[BackgroundFit] = (),
) -> tuple[LateFit, ...]:
    """Compare streamed values with the batch path, byte for byte, and report the bins that late fits have changed.

    Parameters
    ----------
    dataset : Dataset
        The session that was streamed.
    stages : BinStages
        Scorer and signal of the stream. Only their configuration is used.
    values : float64[n_bins]
        The streamed values.
    scores : float64[n_bins, n_cells]
        The streamed scores.
    background : sequence of BackgroundFit
        Fits that ran beside the bins, oldest first.

    Raises
    ------
    CausalityError
        If a score differs, or a value in a bin outside the effect of such fits.
    """
    d1, d2, d3 = (dataset.grid(name) for name in SCORED)
    whole, state = score_arrays(d1, d2, d3, dataset.valid, stages.scoring)
    differs = np.flatnonzero((whole.view(np.int64) != scores.view(np.int64)).any(axis=1))
    if len(differs):
        raise CausalityError(
            f"The streamed score of bin {differs[0]} differs from the batch score",
            where=f"dataset {dataset.dataset_id}, {len(differs)} of {dataset.n_bins} bins differ",
            fix="The dataset or the scorer is damaged: run vp verify --rebuild.",
        )
    signal, scored = stages.signal, dataset.with_grid({"flow_score": whole, "flow_state_code": state})
    expected = batch(signal, scored, stages.stream.context.rules).values
    both_nan = np.isnan(expected) & np.isnan(values)
    differ = (expected.view(np.int64) != values.view(np.int64)) & ~both_nan
    late, accounted = _late(dataset, values, differ, background)
    differs = np.flatnonzero(differ & ~accounted)
    if len(differs):
        at = int(differs[0])
        raise CausalityError(
            f"Signal '{type(signal).__name__}' streams {float(values[at])!r} at bin {at}, but its batch value is "
            f"{float(expected[at])!r}",
            where=f"dataset {dataset.dataset_id}, {len(differs)} of {dataset.n_bins} bins differ",
            fix="A live server would not trade what research evaluated. Find the cause: vp check SIGNAL",
        )
    return late


def _late(
    dataset: Dataset, values: Values, differ: npt.NDArray[np.bool_], background: Sequence[BackgroundFit]
) -> tuple[tuple[LateFit, ...], npt.NDArray[np.bool_]]:
    """Return the fits with the bins that they explain, and which bins are explained at all."""
    seq = dataset.bin("bin_seq")
    accounted = np.zeros(len(seq), dtype=bool)
    found = []
    for fit in background:
        first = int(np.searchsorted(seq, fit.due_bin))
        stop = len(seq) if fit.settled_bin is None else int(np.searchsorted(seq, fit.settled_bin))
        accounted[first:stop] = True
        bins = first + np.flatnonzero(differ[first:stop])
        found.append(
            LateFit(
                due_bin=fit.due_bin,
                ready_bin=fit.ready_bin,
                settled_bin=fit.settled_bin,
                fit_us=None if fit.ns is None else fit.ns / 1000.0,
                had_model=bool(np.isfinite(values[:first]).any()),
                n_differ=len(bins),
                first_differs=int(seq[bins[0]]) if len(bins) else None,
                last_differs=int(seq[bins[-1]]) if len(bins) else None,
            )
        )
    return tuple(found), accounted
