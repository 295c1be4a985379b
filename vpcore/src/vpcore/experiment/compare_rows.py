"""Two rows side by side: settings that differ, shared trades, and the paired difference of their PnL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.canonical import digest
from vpcore.experiment.leaderboard import RankedRow, row_of
from vpcore.experiment.trades import Leader, leaders_of, trades_of
from vpcore.statistics.bootstrap import mean_interval
from vpcore.tracker.summary import settings_of
from vpcore.units import NS_PER_S

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

PAIR_NS = 60 * NS_PER_S
"""Width of the stretches of time in which the PnL of two rows is paired."""

_PER_HOUR = 3600 * NS_PER_S // PAIR_NS
_DRAWS = 999
_SCALE = 1024
"""Steps per tick of the paired differences: the bootstrap adds whole numbers, so that sums are exact."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that two rows do not share; None where a row lacks it."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class RowComparison:
    """Two rows side by side. Undefined figures are NaN.

    Attributes
    ----------
    a, b : RankedRow
        The rows with their verdicts.
    settings : tuple of Setting
        What differs, by name.
    n_shared, n_only_a, n_only_b : int
        Trades with the same entry time and side in both rows, and the others.
    net_shared_a, net_shared_b, net_only_a, net_only_b : float
        Their mean net PnL, ticks. Shared trades may leave differently.
    minutes : int
        Minutes that both rows were evaluated on.
    difference, difference_lo, difference_hi : float
        Net PnL of `a` less that of `b` in these minutes, by the time of entry, ticks per hour, with a 95 % interval of
        the stationary bootstrap of the minutes. The interval is that of two rows named beforehand: the best of many
        rows is partly luck.
    correlation : float
        Correlation of the net PnL per minute.
    trades_a, trades_b : DataFrame
        As of `vpcore.trades`.
    """

    a: RankedRow
    b: RankedRow
    settings: tuple[Setting, ...]
    n_shared: int
    n_only_a: int
    n_only_b: int
    net_shared_a: float
    net_shared_b: float
    net_only_a: float
    net_only_b: float
    minutes: int
    difference: float
    difference_lo: float
    difference_hi: float
    correlation: float
    trades_a: pl.DataFrame = field(repr=False)
    trades_b: pl.DataFrame = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it, without trades."""
        frames = ("a", "b", "settings", "trades_a", "trades_b")
        figures = {name: getattr(self, name) for name in self.__slots__ if name not in frames}
        return {
            "a": {"row": self.a.row, "verdict": self.a.verdict},
            "b": {"row": self.b.row, "verdict": self.b.verdict},
            "settings": [asdict(setting) for setting in self.settings],
            **figures,
        }


def compare_rows(workspace: Workspace, a: str | RankedRow, b: str | RankedRow) -> RowComparison:
    """Compare two stored rows: settings that differ, shared and own trades, paired difference of the net PnL.

    Parameters
    ----------
    workspace : Workspace
        Holds both rows, their datasets and their signals.
    a, b : str or RankedRow
        Short names of rows, or rows of a leaderboard. A row of an experiment on several sessions stands for its
        combination.

    Raises
    ------
    ResultsError
        If a name is unknown or ambiguous.
    SignalError, DatasetError
        If the code of a row has changed, or its dataset is gone.
    """
    rows = [row_of(workspace, row) if isinstance(row, str) else row for row in (a, b)]
    return compare_leaders((rows[0], rows[1]), [leaders_of(workspace, row) for row in rows])


def compare_leaders(rows: tuple[RankedRow, RankedRow], leaders: Sequence[Sequence[Leader]]) -> RowComparison:
    """Compare two rows whose values are there; `leaders` has those of each row, as of `leaders_of`."""
    one, two = (pl.concat([trades_of(leader) for leader in each], how="diagonal_relaxed") for each in leaders)
    key = ["entry_time", "side"]
    shared_a, shared_b = one.join(two, on=key, how="semi"), two.join(one, on=key, how="semi")
    only_a, only_b = one.join(two, on=key, how="anti"), two.join(one, on=key, how="anti")
    spans = _common(leaders[0], leaders[1])
    paired = [_per_minute(trades, spans) for trades in (one, two)]
    apart = paired[0] - paired[1]
    seed = int(digest([rows[0].row, rows[1].row])[:16], 16)
    lo, hi, _ = mean_interval(np.rint(apart * _SCALE).astype(np.int64), _DRAWS, seed)
    return RowComparison(
        a=rows[0],
        b=rows[1],
        settings=_settings(rows[0].figures, rows[1].figures),
        n_shared=shared_a.height,
        n_only_a=only_a.height,
        n_only_b=only_b.height,
        net_shared_a=_mean(shared_a),
        net_shared_b=_mean(shared_b),
        net_only_a=_mean(only_a),
        net_only_b=_mean(only_b),
        minutes=len(apart),
        difference=float(apart.mean()) * _PER_HOUR if len(apart) else math.nan,
        difference_lo=lo / _SCALE * _PER_HOUR,
        difference_hi=hi / _SCALE * _PER_HOUR,
        correlation=_correlation(*paired),
        trades_a=one,
        trades_b=two,
    )


def _settings(a: dict[str, Any], b: dict[str, Any]) -> tuple[Setting, ...]:
    one, two = (
        {
            "signal": row["signal_name"],
            "dataset_id": row["dataset_id"],
            **{name: row[name] for name in ("threshold", "cooldown_bins", "tp_ticks", "sl_ticks")},
            **settings_of(row),
        }
        for row in (a, b)
    )
    names = dict.fromkeys((*one, *two))
    return tuple(Setting(name, one.get(name), two.get(name)) for name in names if one.get(name) != two.get(name))


def _mean(trades: pl.DataFrame) -> float:
    return float(trades["net_pnl_ticks"].to_numpy().mean()) if trades.height else math.nan


def _common(a: Sequence[Leader], b: Sequence[Leader]) -> list[tuple[int, int]]:
    """Return the stretches of time that both rows were evaluated on, in ns, in order."""
    one, two = ([_span(leader) for leader in each] for each in (a, b))
    both = [(max(x[0], y[0]), min(x[1], y[1])) for x in one for y in two]
    return sorted({(start, stop) for start, stop in both if start < stop})


def _span(leader: Leader) -> tuple[int, int]:
    market = leader.session.market
    first = int(market.bin_start_ns[0])
    return first, first + market.n_bins * market.cell_width_ns


def _per_minute(trades: pl.DataFrame, spans: Sequence[tuple[int, int]]) -> npt.NDArray[np.float64]:
    """Return the net PnL of trades by the minute of their entry, for every minute of the spans, in ticks."""
    entered, net = trades["entry_time"].to_physical().to_numpy(), trades["net_pnl_ticks"].to_numpy()
    parts: list[npt.NDArray[np.float64]] = [np.empty(0)]
    for start, stop in spans:
        inside = (entered > start) & (entered <= stop)  # a bin ends at its time of entry
        minute = (entered[inside] - start - 1) // PAIR_NS
        parts.append(np.bincount(minute, net[inside], -(-(stop - start) // PAIR_NS)).astype(np.float64))
    return np.concatenate(parts)


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    if len(a) < 2 or a.std() == 0.0 or b.std() == 0.0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])
