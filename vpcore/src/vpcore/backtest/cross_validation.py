"""In-sample and out-of-sample parts of the time: training parts to choose a row, test parts to evaluate it.

Signals are causal, so a split leaves their values alone and cuts the *trades*. Purging removes trades with labels in a
test part from the training part; an embargo removes the trades of a further span of time.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vpcore.errors import ConfigError

_Bools = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]

MOST_FOLDS = 1000

IN_SAMPLE_METRICS = ("net_pnl_ticks", "mean_pnl_ticks", "tp_rate", "tp_rate_lo")
"""Figures with a value for each part of the time, on which a choice can be based."""

_GROUPS = {"walk_forward": 6, "kfold": 5, "combinatorial": 6}
_TEST_SHARE, _TEST_GROUPS = 0.3, 2


class SplitSpec(BaseModel):
    """How time is cut into training and test parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["holdout", "walk_forward", "kfold", "combinatorial"] = Field(
        description="holdout: the end is kept; walk_forward: each group after those before it; kfold: each group in "
        "turn; combinatorial: every choice of test_groups groups"
    )
    by: Literal["time", "session"] = Field(
        "time", description="time: groups are equal parts of every session; session: every session is a group"
    )
    test_share: float | None = Field(
        None, gt=0.0, lt=1.0, description="Part of the time, or of the sessions, that is kept; only holdout, there 0.3"
    )
    groups: int | None = Field(
        None, strict=True, ge=2, le=100, description="Parts of each session; not holdout; default 6, kfold 5"
    )
    train_groups: int | None = Field(
        None, strict=True, ge=1, le=100, description="Groups to choose on; only walk_forward; default: all before"
    )
    test_groups: int | None = Field(
        None, strict=True, ge=1, le=50, description="Groups to judge on at once; only combinatorial, there 2"
    )
    embargo_bins: int = Field(
        0,
        strict=True,
        ge=0,
        le=100_000_000,
        description="Bins after a test part and its labels that nothing is chosen on",
    )

    @model_validator(mode="after")
    def _fits_the_method(self) -> Self:
        owners = {
            "test_share": ("holdout",),
            "groups": ("walk_forward", "kfold", "combinatorial"),
            "train_groups": ("walk_forward",),
            "test_groups": ("combinatorial",),
        }
        for name, methods in owners.items():
            if getattr(self, name) is not None and self.method not in methods:
                raise ValueError(f"{name} belongs to {' and '.join(methods)}, method was {self.method}: leave it out.")
        if self.by == "session":
            if self.groups is not None:
                raise ValueError(f"groups must be left out by session, where every session is one, was {self.groups}.")
            if self.embargo_bins:
                raise ValueError(
                    f"embargo_bins must be left out by session: no label reaches into another, was {self.embargo_bins}."
                )
        elif self.method == "combinatorial":
            self.folds(self.n_groups)
        return self

    @property
    def n_groups(self) -> int:
        """Number of groups of a session with splits by time."""
        return 2 if self.method == "holdout" else self.groups or _GROUPS[self.method]

    def folds(self, n_groups: int) -> tuple[_Bools, _Bools]:
        """Return the training and test groups of each fold, bool[n_folds, n_groups] each.

        Raises
        ------
        ValueError
            If there are too few groups for the method, or too many folds.
        """
        if n_groups < 2:
            raise ValueError(f"needs at least 2 groups to choose on one and judge on another, was {n_groups}.")
        if self.method == "holdout":
            kept = 1 if self.by == "time" else min(n_groups - 1, max(1, round(self.share * n_groups)))
            tests = [tuple(range(n_groups - kept, n_groups))]
        elif self.method == "walk_forward":
            tests = [(group,) for group in range(1, n_groups)]
        elif self.method == "kfold":
            tests = [(group,) for group in range(n_groups)]
        else:
            size = self.test_groups or _TEST_GROUPS
            if size >= n_groups:
                raise ValueError(f"test_groups must be less than the {n_groups} groups, was {size}.")
            count = math.comb(n_groups, size)
            if count > MOST_FOLDS:
                raise ValueError(f"{size} of {n_groups} groups are {count} folds, at most {MOST_FOLDS} are possible.")
            tests = list(itertools.combinations(range(n_groups), size))
        test = np.zeros((len(tests), n_groups), dtype=np.bool_)
        for fold, groups in enumerate(tests):
            test[fold, list(groups)] = True
        train = ~test
        if self.method in ("holdout", "walk_forward"):
            for fold, (first, *_) in enumerate(tests):
                train[fold, first:] = False
                if self.train_groups is not None:
                    train[fold, : max(0, first - self.train_groups)] = False
        return train, test

    @property
    def keeps_a_part_to_choose_on(self) -> bool:
        """True if the training part of the first fold is in no test part: a search may use that part only."""
        return self.method in ("holdout", "walk_forward")

    @property
    def share(self) -> float:
        """Test share of a holdout."""
        return self.test_share if self.test_share is not None else _TEST_SHARE


@dataclass(frozen=True, slots=True)
class Cuts:
    """Groups and folds of one session.

    Attributes
    ----------
    bounds : int64[n_groups + 1]
        Group g holds the bins ``bounds[g]`` to ``bounds[g + 1] - 1``.
    train, test : bool[n_folds, n_groups]
        Training and test groups of each fold.
    longest : int
        Longest possible label, bins from the decision: the test part of a group ends `longest` bins after the group.
    embargo : int
        Bins of the embargo after a test part.
    """

    bounds: _Ints
    train: _Bools
    test: _Bools
    longest: int
    embargo: int


def make_cuts(spec: SplitSpec, *, first_bin: int, n_bins: int, longest: int) -> Cuts:
    """Cut the bins of a session into groups, from the first bin after the warm-up.

    Raises
    ------
    ConfigError
        If there are fewer bins than groups.
    """
    n_groups = spec.n_groups
    length = n_bins - first_bin
    if length < n_groups:
        raise ConfigError(
            f"eval.splits cuts {max(length, 0)} bins (after the warm-up of {first_bin}) into {n_groups} groups. "
            "Take a longer session or fewer groups."
        )
    inner = (
        [round(length * (1.0 - spec.share))]
        if spec.method == "holdout"
        else [length * group // n_groups for group in range(1, n_groups)]
    )
    bounds = first_bin + np.array([0, *inner, length], dtype=np.int64)
    train, test = spec.folds(n_groups)
    return Cuts(bounds, train, test, longest, spec.embargo_bins)


GROUP_COLUMNS = ("group_trades", "group_tp", "group_net_ticks", "group_net_ticks2", "group_gross_ticks")
TRAIN_COLUMNS = ("train_trades", "train_tp", "train_net_ticks", "train_gross_ticks")
SPLIT_COLUMNS = (*GROUP_COLUMNS, *TRAIN_COLUMNS)
"""Columns of a row with splits: of the trades decided in each group, and of those each fold is trained on. Counts, and
sums in ticks: net after the fee, its squares, gross from mid to mid."""


def cut_trades(
    cuts: Cuts, decided: _Ints, known: _Ints, values: dict[str, npt.NDArray[Any]], offsets: _Ints
) -> dict[str, npt.NDArray[Any]]:
    """Return the sums of trades by group and by training part.

    A trade belongs to the group of its decision bin. A label lasts from the decision to the known outcome. A test part
    is a test group and the `Cuts.longest` bins after it, because labels of the group may still be open there. The
    training part of a fold holds the trades of its training groups, except for trades with a label in a test part and
    trades with a decision in the `Cuts.embargo` bins after a test part.

    Parameters
    ----------
    cuts : Cuts
        Groups and folds.
    decided, known : int64[n_trades]
        Bin of the decision, and first bin with a known outcome; both at the end of the bin.
    values : dict of arrays of shape (n_trades,)
        Summands of each trade, by the end of the column's name: ``trades``, ``tp``, ...
    offsets : int64[n_rows + 1]
        Row r has the trades ``offsets[r]`` to ``offsets[r + 1] - 1``.

    Returns
    -------
    dict of arrays of shape (n_rows, n_groups) and (n_rows, n_folds)
        The `SPLIT_COLUMNS` with summands in `values`.

    Notes
    -----
    Source: Lopez de Prado (2018), "Advances in financial machine learning", chapters 7 and 12. The reach of a test part
    is the longest possible label: the last exit of one row would let its training part overlap with the test part of
    another row.
    """
    n_folds, n_groups = cuts.test.shape
    group = np.searchsorted(cuts.bounds, decided, side="right") - 1
    inside = (group >= 0) & (group < n_groups)
    reach = cuts.bounds[1:] + cuts.longest
    touches = np.empty((n_groups, decided.shape[0]), dtype=np.bool_)
    for g in range(n_groups):
        touches[g] = (known >= cuts.bounds[g]) & (decided < reach[g] + cuts.embargo)
    found: dict[str, npt.NDArray[Any]] = {}
    parts: list[tuple[str, int, _Bools]] = [("group", g, group == g) for g in range(n_groups)]
    for fold in range(n_folds):
        kept = inside & cuts.train[fold, np.clip(group, 0, n_groups - 1)]
        parts.append(("train", fold, kept & ~touches[cuts.test[fold]].any(axis=0)))
    widths = {"group": n_groups, "train": n_folds}
    for kind, at, mask in parts:
        for name, value in values.items():
            column = f"{kind}_{name}"
            if column not in SPLIT_COLUMNS:
                continue
            if column not in found:
                found[column] = np.zeros((offsets.shape[0] - 1, widths[kind]), dtype=value.dtype)
            total = np.concatenate([np.zeros(1, dtype=value.dtype), np.cumsum(np.where(mask, value, 0))])
            found[column][:, at] = total[offsets[1:]] - total[offsets[:-1]]
    return found
