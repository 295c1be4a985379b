"""The examples of a fit: resolved labels alone, purged before the validation part, weighted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vpcore_signals_ml.labels import DOWN, NONE, UP, Floats, Ints

if TYPE_CHECKING:
    from vpcore_signals_ml.schedule import ScheduleParams
    from vpcore_signals_ml.state import LearningState

MIN_PER_CLASS = 10
"""Fewest examples of each class for a fit."""

TARGET = np.array([0.0, 1.0, 0.5])
"""`y` of an example by its label: `DOWN`, `UP`, `NONE`."""


@dataclass(frozen=True, slots=True)
class Training:
    """Examples of one fit.

    Attributes
    ----------
    x : float64[n, n_features]
        Training part, in order of time.
    y : float64[n]
        1 where the long paid, 0 where the short did; 1/2 where neither did, for a signal with `neutral_examples`.
    weight : float64[n]
        Mean 1; both classes weigh the same.
    x_valid, y_valid, weight_valid : arrays
        The validation part, which comes after the training part; every label of the training part was resolved before.
        Empty without a validation part.
    """

    x: Floats
    y: Floats
    weight: Floats
    x_valid: Floats
    y_valid: Floats
    weight_valid: Floats

    @property
    def n_train(self) -> int:
        """Examples in the training part."""
        return len(self.y)

    @property
    def n_valid(self) -> int:
        """Examples in the validation part."""
        return len(self.y_valid)

    @property
    def counts(self) -> tuple[int, int]:
        """Training examples in which the long paid, and in which the short did."""
        return int((self.y == 1.0).sum()), int((self.y == 0.0).sum())


def uniqueness(first: Ints, last: Ints) -> Floats:
    """Return the average uniqueness of overlapping labels.

    Parameters
    ----------
    first, last : int64[n]
        The bins in which each label's trades are open, both included; ``last >= first``. `first` ascends.

    Returns
    -------
    float64[n]
        Mean over the label's bins of 1 / (labels open in that bin), in (0, 1].

    References
    ----------
    M. Lopez de Prado, "Advances in Financial Machine Learning" (2018), chapter 4.
    """
    if not len(first):
        return np.ones(0)
    begins, ends = first - first[0], last + 1 - first[0]
    n = int(ends.max()) + 1
    running = np.cumsum(np.bincount(begins, minlength=n) - np.bincount(ends, minlength=n))
    share = np.append(0.0, np.cumsum(np.where(running > 0, 1.0 / np.maximum(running, 1), 0.0)))
    found: Floats = (share[ends] - share[begins]) / (ends - begins)
    return found


def balanced(weight: Floats, y: Floats) -> Floats:
    """Return weights of mean 1, equal in sum for both classes; a lone class keeps its weights.

    Examples without a class (y of 1/2) keep their share of the whole.
    """
    up = float(weight[y == 1.0].sum())
    down = float(weight[y == 0.0].sum())
    if up > 0.0 and down > 0.0:
        weight = np.where(y == 1.0, weight / up, np.where(y == 0.0, weight / down, weight * (2.0 / (up + down))))
    total = float(weight.sum())
    return weight * (len(weight) / total) if total > 0.0 else weight


def choose(state: LearningState, row: int, params: ScheduleParams, *, neutral: bool) -> Training:
    """Return the examples for a fit at the end of a row, among the labels resolved by then.

    With `neutral` also the examples in which neither side paid, or both at once.
    """
    x, now = state.x, int(state.seq[row])
    seq, y, resolved = state.seq[: row + 1], state.y[: row + 1], state.resolved[: row + 1]
    labelled = (y == UP) | (y == DOWN) | (neutral & (y == NONE))
    chosen = state.ready[: row + 1] & labelled & (resolved <= now) & ((seq - seq[0]) % params.stride_bins == 0)
    if params.train_window_bins:
        chosen &= seq > now - params.train_window_bins
    rows = np.flatnonzero(chosen)
    n_valid = int(len(rows) * getattr(params, "validation_share", 0.0))
    train, valid = rows[: len(rows) - n_valid], rows[len(rows) - n_valid :]
    if n_valid:
        train = train[resolved[train] < seq[valid[0]]]

    def weights(rows: Ints) -> Floats:
        weight: Floats = np.ones(len(rows))
        if getattr(params, "uniqueness", False):
            first = seq[rows] + state.rules.latency_bins + 1
            weight = uniqueness(first, np.maximum(resolved[rows], first))
        if half_life := getattr(params, "half_life_bins", 0):
            weight = weight * np.exp2(-(now - seq[rows]) / half_life)
        return balanced(weight, TARGET[y[rows]])

    parts = [(np.ascontiguousarray(x[rows]), TARGET[y[rows]], weights(rows)) for rows in (train, valid)]
    return Training(*parts[0], *parts[1])


def fresh(state: LearningState, row: int, stride: int) -> Ints:
    """Return the rows of the labels resolved since the model last learned, by resolution and then by time."""
    seq, y, resolved = state.seq[: row + 1], state.y[: row + 1], state.resolved[: row + 1]
    known = (resolved > state.learned) & (resolved <= seq[row]) & state.ready[: row + 1]
    rows = np.flatnonzero(known & ((y == UP) | (y == DOWN)) & ((seq - seq[0]) % stride == 0))
    ordered: Ints = rows[np.argsort(resolved[rows], kind="stable")]
    return ordered
