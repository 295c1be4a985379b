"""The examples of a fit: resolved labels alone, purged before the validation part, weighted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vpcore.kernels.jit import jit
from vpcore_signals_ml.labels import DOWN, NONE, UP, Codes, Floats, Ints

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


@dataclass(frozen=True, slots=True)
class Selection:
    """The choice of examples; fields as in `vpcore_signals_ml.schedule`, `neutral`: also examples without a side."""

    window_bins: int
    stride_bins: int
    half_life_bins: int
    uniqueness: bool
    validation_share: float
    latency_bins: int
    neutral: bool = False


@jit
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
    n = first.shape[0]
    out = np.ones(n)
    if n == 0:
        return out
    origin = first[0]
    stop = origin
    for i in range(n):
        stop = max(stop, last[i] + 1)
    concurrent = np.zeros(stop - origin + 1, dtype=np.int64)
    for i in range(n):
        concurrent[first[i] - origin] += 1
        concurrent[last[i] + 1 - origin] -= 1
    share = np.zeros(stop - origin + 1)
    running = 0
    for b in range(stop - origin):
        running += concurrent[b]
        share[b + 1] = share[b] + (1.0 / running if running > 0 else 0.0)
    for i in range(n):
        out[i] = (share[last[i] + 1 - origin] - share[first[i] - origin]) / (last[i] + 1 - first[i])
    return out


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


def choose(
    x: Floats, seq: Ints, y: Codes, resolved: Ints, *, ready: npt.NDArray[np.bool_], row: int, selection: Selection
) -> Training:
    """Return the examples for a fit at the end of a bin.

    Parameters
    ----------
    x : float64[>= row + 1, n_features]
        Features of the valid bins.
    seq, y, resolved : arrays
        Number, label and time of the label of the valid bins. Bins after `row`, and labels resolved after it, are left
        out.
    ready : bool[>= row + 1]
        Rows with every feature.
    row : int
        The row at whose end the fit happens.
    selection : Selection
        The choice of examples.
    """
    now = int(seq[row])
    part = slice(0, row + 1)
    labelled = (y[part] == UP) | (y[part] == DOWN) | (selection.neutral & (y[part] == NONE))
    chosen = ready[part] & labelled & (resolved[part] <= now) & ((seq[part] - seq[0]) % selection.stride_bins == 0)
    if selection.window_bins:
        chosen &= seq[part] > now - selection.window_bins
    rows = np.flatnonzero(chosen)
    n_valid = int(len(rows) * selection.validation_share)
    valid = rows[len(rows) - n_valid :]
    train = rows[: len(rows) - n_valid]
    if n_valid:
        train = train[resolved[train] < seq[valid[0]]]
    target, target_valid = TARGET[y[train]], TARGET[y[valid]]
    return Training(
        x=np.ascontiguousarray(x[train]),
        y=target,
        weight=_weights(seq[train], resolved[train], target, now, selection),
        x_valid=np.ascontiguousarray(x[valid]),
        y_valid=target_valid,
        weight_valid=_weights(seq[valid], resolved[valid], target_valid, now, selection),
    )


def _weights(seq: Ints, resolved: Ints, y: Floats, now: int, selection: Selection) -> Floats:
    weight: npt.NDArray[np.float64] = np.ones(len(seq))
    if selection.uniqueness:
        weight = uniqueness(seq + selection.latency_bins + 1, np.maximum(resolved, seq + selection.latency_bins + 1))
    if selection.half_life_bins:
        weight = weight * np.exp2(-(now - seq) / selection.half_life_bins)
    return balanced(weight, y)


def fresh(
    y: Codes, resolved: Ints, seq: Ints, *, ready: npt.NDArray[np.bool_], row: int, after: int, stride: int
) -> Ints:
    """Return the rows of the labels resolved after bin `after` and by the end of `row`: by resolution, then by time."""
    part = slice(0, row + 1)
    known = (resolved[part] > after) & (resolved[part] <= seq[row]) & ready[part]
    labelled = (y[part] == UP) | (y[part] == DOWN)
    rows = np.flatnonzero(known & labelled & ((seq[part] - seq[0]) % stride == 0))
    ordered: Ints = rows[np.argsort(resolved[rows], kind="stable")]
    return ordered
