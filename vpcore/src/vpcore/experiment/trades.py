"""The trades of one row, computed anew from its dataset, and the row with other costs and delays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from vpcore.backtest.config import EvalConfig
from vpcore.backtest.entries import Detections
from vpcore.backtest.evaluate import Evaluation, evaluate_trial
from vpcore.backtest.metrics import NO_DRAWS, Draws, Signals, trial_figures
from vpcore.backtest.performance import OpenBins
from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.dataset import Dataset
from vpcore.errors import SignalError
from vpcore.inference.blocks import datasets_of
from vpcore.scoring import ScoringConfig
from vpcore.signal import MLSignal, batch, code_digest, core_digest

if TYPE_CHECKING:
    from vpcore.experiment.leaderboard import RankedRow
    from vpcore.workspace import Workspace

UNKNOWN_FEES = (0.5, 1.0)
"""Fees in ticks per round trip beside 0 for a row without a fee; for others, 0 and twice their fee."""

LATENCIES = (0, 1, 10, 50)
"""Bins from the decision's bin to the entry, beside the row's own."""

_DRAWS = 999


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The row with another delay and another fee: net PnL per trade in ticks, with its 95 % interval."""

    latency_bins: int
    fee_ticks: float
    n_trades: int
    net: float
    lo: float
    hi: float


class Leader:
    """One row of the results, ready for inspection.

    Parameters
    ----------
    workspace : Workspace
        Where the signal and the dataset are.
    row : mapping
        A row of `ResultsDB.query_runs`.
    dataset : Dataset, optional
        By default the dataset of the row, as far as it was evaluated; of several sessions the latest.

    Raises
    ------
    SignalError
        If other signal code than the installed made the row.
    DatasetError
        If the dataset is gone.
    """

    def __init__(self, workspace: Workspace, row: Mapping[str, Any], dataset: Dataset | None = None) -> None:
        cls = workspace.plugins.load("signal", row["signal_name"])
        if (code_digest(cls), core_digest()) != (row["code_digest"], row["core_digest"]):
            changed = f"'{row['signal_name']}'" if code_digest(cls) != row["code_digest"] else "vpcore"
            raise SignalError(
                f"Run {row['run_id']} was made by other code of {changed} than what is installed, so its values are "
                "gone. Run the experiment again: its runs get new ids."
            )
        self.row = dict(row)
        self.trial = Trial(row["threshold"], row["cooldown_bins"], row["tp_ticks"], row["sl_ticks"])
        config = EvalConfig.of_row(row["eval_json"])
        self.rules = config.rules(self.trial.tp_ticks, self.trial.sl_ticks)
        name = datasets_of(row["dataset_id"])[-1]
        stored = workspace.datasets.open(name, cache_dir=workspace.cache_dir) if dataset is None else dataset
        self.dataset = stored.until(row["end_bin"]) if dataset is None else stored
        fills = None
        if self.rules.entry == "maker":
            from vpcore.generation.fills import fill_table  # imports the engine, which takers do without

            fills = fill_table(workspace, self.dataset)
        self.session = Session(self.dataset, fills=fills)
        self.draws = self.session.draws(config)
        self.signal = cls(cls.Params.parse(json.loads(row["signal_params_json"]), row["signal_name"]))
        self.mode = self.signal.prediction_mode
        self.scoring = ScoringConfig.model_validate(json.loads(row["scoring_json"])) if row["scoring_json"] else None
        self.labels = self.rules if isinstance(self.signal, MLSignal) else None
        self.values = batch(self.signal, self.data, self.labels).values

    @property
    def data(self) -> Dataset:
        """The dataset as the signal reads it: with scores, if the run had any."""
        return self.dataset if self.scoring is None else self.session.scored(self.scoring)

    def detections(self) -> Detections:
        """Return the accepted signals of the row."""
        market, trial = self.session.market, self.trial
        return Signals(market, self.values, self.rules, self.mode).of(trial.threshold, trial.cooldown_bins)

    @property
    def open_bins(self) -> OpenBins:
        """The open bins after the warm-up."""
        market = self.session.market
        inside = np.arange(market.n_bins) >= self.rules.warmup_bins
        return OpenBins(int(market.bin_seq[0]), market.opened(self.rules) & inside)

    def evaluate(self, draws: Draws = NO_DRAWS) -> Evaluation:
        """Return the trades and figures of the row, computed anew; with `draws` of the row, all figures are equal."""
        return evaluate_trial(self.session, self.values, self.trial, self.rules, mode=self.mode, draws=draws)

    def trades(self) -> pl.DataFrame:
        """Return the trades of the row, as `vpcore.backtest.evaluate.Evaluation` has them."""
        return self.evaluate().trades

    def sensitivity(self) -> list[Sensitivity]:
        """Return the row with other delays and fees; a learning signal's values stay as they were learnt."""
        own, fee = self.rules.latency_bins, self.rules.fee_ticks
        found = []
        for latency in sorted({*LATENCIES, own}):
            for other in sorted({0.0, fee, 2 * fee} if fee > 0.0 else {0.0, *UNKNOWN_FEES}):
                rules = self.rules.model_copy(update={"latency_bins": latency, "fee_ticks": other})
                figures = trial_figures(
                    self.session.market,
                    self.values,
                    [self.trial],
                    rules,
                    mode=self.mode,
                    table_of=self.session.table,
                    draws=replace(self.draws, rotations=0, resamples=_DRAWS),
                )
                found.append(
                    Sensitivity(
                        latency,
                        other,
                        int(figures["n_signals"][0] - figures["n_dropped"][0]),
                        *(float(figures[name][0]) for name in ("net_pnl_ticks", "net_pnl_lo", "net_pnl_hi")),
                    )
                )
        return found


def leaders_of(workspace: Workspace, row: str | RankedRow) -> list[Leader]:
    """Return a stored row ready for inspection; of a combination its row on every session, in order of time."""
    from vpcore.experiment.leaderboard import row_of

    ranked = row_of(workspace, row) if isinstance(row, str) else row
    names = list(ranked.figures.get("session_rows") or [ranked.row])
    return [Leader(workspace, each) for each in workspace.results.find_rows(names)]


def trades_of(leader: Leader) -> pl.DataFrame:
    """Return the trades of a row on one session, as `vpcore.trades` has them."""
    from vpcore.experiment.tables import session_of

    name = leader.dataset.dataset_id
    about = (pl.lit(name).alias("dataset_id"), pl.lit(session_of(name)).alias("session"))
    return leader.trades().select(*about, pl.all(), pl.lit(leader.rules.fee_ticks).alias("fee_ticks"))
