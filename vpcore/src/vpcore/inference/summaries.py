"""Summaries of a family's rows: evidence of all rows together, and choices out of sample.

Published versions contain the summaries, and the processes that serve them need no tables.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence about the rows of a family together.

    Attributes
    ----------
    experiment, dataset_id : str
        As in `Family`.
    n_rows : int
        Rows of the family.
    n_trials : int
        Distinct trials ever evaluated on this market, those of other experiments included.
    first : bool
        True if nothing was evaluated on this market before these rows, and no search chose them.
    pbo : float or None
        Probability of backtest overfitting among the rows with enough trades.
    expected_best_sharpe : float or None
        Expected Sharpe ratio per trade of the best of `n_trials` worthless trials.
    n_choices : int
        As in `Family`.
    lost : bool
        True if the ledger has trials of this batch whose rows are gone: the step-down over the rest would flatter.
    """

    experiment: str
    dataset_id: str
    n_rows: int
    n_trials: int
    pbo: float | None
    expected_best_sharpe: float | None
    n_choices: int = 0
    first: bool = True
    lost: bool = False

    @property
    def later(self) -> bool:
        """True if other batches were evaluated on this market before these rows."""
        return not self.first and not self.n_choices and not self.lost

    @property
    def n_adjusted(self) -> int:
        """Number of trials in the adjustment of `p_adj`."""
        return self.n_rows if self.first else max(self.n_rows, self.n_trials, self.n_choices)

    def plain(self) -> dict[str, Any]:
        """Return the evidence as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Choice:
    """The best row of one training part, with its net PnL in-sample and out of sample.

    Attributes
    ----------
    fold : int
    tested : tuple of int
        Groups of the test part.
    row, run_id, signal : str
        The chosen row.
    in_sample : float
        Figure of the row in the training part.
    net_in, net_out : float
        Net PnL per trade in the training part and in the test part, ticks; `net_out` is None without test trades.
    trades_in, trades_out : int
    rank_out : float or None
        Share of the other rows with less net PnL per trade in the test part: 1 for the best row, 0.5 for the median.
    """

    fold: int
    tested: tuple[int, ...]
    row: str
    run_id: str
    signal: str
    in_sample: float
    net_in: float
    net_out: float | None
    trades_in: int
    trades_out: int
    rank_out: float | None


@dataclass(frozen=True, slots=True)
class OutOfSample:
    """Results of all in-sample choices.

    Attributes
    ----------
    method, by, metric : str
    n_rows : int
        Number of candidate rows.
    choices : tuple of Choice
        One per fold with a row that has enough trades.
    paths : tuple of (float or None, int)
        Net PnL per trade and number of trades of each path through all test groups. Combinatorial splits have
        several paths, other splits one.
    net_in, net_out : float or None
        Net PnL per trade of all choices together, in-sample and out of sample, ticks.
    """

    method: str
    by: str
    metric: str
    n_rows: int
    choices: tuple[Choice, ...]
    paths: tuple[tuple[float | None, int], ...]
    net_in: float | None
    net_out: float | None

    @property
    def trades_out(self) -> int:
        """Out-of-sample trades of the choices; a trade of a combinatorial split counts once per path."""
        return sum(trades for _, trades in self.paths)

    @property
    def below_median(self) -> float | None:
        """Share of the choices with an out-of-sample rank below the median row."""
        ranks = [choice.rank_out for choice in self.choices if choice.rank_out is not None]
        return sum(rank < 0.5 for rank in ranks) / len(ranks) if ranks else None

    def plain(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        more = {"trades_out": self.trades_out, "below_median": self.below_median}
        return {**asdict(self), "paths": [list(path) for path in self.paths], **more}
