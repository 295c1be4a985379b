"""The trades of one row, computed anew from its dataset, and what they become with other costs and delays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.entries import Detections, detect
from vpcore.backtest.metrics import Resampling, evaluate
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import BarrierSpec
from vpcore.dataset import Dataset
from vpcore.errors import SignalError
from vpcore.experiment.worker import Session, bootstrap_key
from vpcore.inference.blocks import datasets_of
from vpcore.kernels import barrier
from vpcore.scoring import ScoringConfig
from vpcore.signal import LabelSpec, MLSignal, batch, code_digest, core_digest
from vpcore.units import HALF_TICKS_PER_TICK, NS_PER_S

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

FEES = (-1.0, 0.0, 1.0)
"""Added to the row's own fee, in ticks per round trip."""

LATENCIES = (0, 1, 2, 5)
"""Bins from the decision's bin to the entry, beside the row's own."""

_DRAWS = 999


@dataclass(frozen=True, slots=True)
class Trades:
    """What became of every trade of a row, in the order of the entries.

    Attributes
    ----------
    decided, entered, left : int64[n_trades]
        Bins.
    sides : int8[n_trades]
        +1 long, -1 short.
    outcome : int8[n_trades]
        +1 take-profit, -1 stop, 0 timeout.
    net : float64[n_trades]
        Ticks after costs.
    seconds : float64[n_trades]
        From entry to exit.
    """

    decided: npt.NDArray[np.int64]
    entered: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    sides: npt.NDArray[np.int8]
    outcome: npt.NDArray[np.int8]
    net: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.net.shape[0])


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
    """One row of the results, ready to be looked at.

    Parameters
    ----------
    workspace : Workspace
        Where the signal and the dataset are.
    row : mapping
        A row of `ResultsDB.query_runs`.

    Raises
    ------
    SignalError
        If the installed code of the signal or of the core differs from the code that made the row.
    DatasetError
        If the dataset is gone.
    """

    def __init__(self, workspace: Workspace, row: Mapping[str, Any]) -> None:
        cls = workspace.plugins.load("signal", row["signal_name"])
        if (code_digest(cls), core_digest()) != (row["code_digest"], row["core_digest"]):
            changed = f"'{row['signal_name']}'" if code_digest(cls) != row["code_digest"] else "vpcore"
            raise SignalError(
                f"Run {row['run_id']} was made by other code of {changed} than what is installed, so its values are "
                "gone. Run the experiment again: its runs get new ids."
            )
        self.row = dict(row)
        self.trial = Trial(row["threshold"], row["cooldown_bins"], row["tp_ticks"], row["sl_ticks"])
        self.settings: dict[str, Any] = json.loads(row["eval_json"])
        stored = workspace.datasets.open(datasets_of(row["dataset_id"])[-1])
        path = stored.path
        self.dataset = stored if path is None else Dataset.open(path, cache_dir=workspace.cache_dir)
        self.session = Session(self.dataset)
        signal = cls(cls.Params.parse(json.loads(row["signal_params_json"]), row["signal_name"]))
        self.mode = signal.prediction_mode
        self.signal = signal
        self.scoring = ScoringConfig.model_validate(json.loads(row["scoring_json"])) if row["scoring_json"] else None
        self.labels: LabelSpec | None = None
        if isinstance(signal, MLSignal):
            settings = self.settings
            self.labels = LabelSpec(
                self.trial.tp_ticks, self.trial.sl_ticks, settings["max_hold_bins"], settings["latency_bins"],
                settings["price"], self.dataset.tick_int,
            )  # fmt: skip
        data = self.session.scored(self.scoring) if self.scoring is not None else self.dataset
        self.values = batch(signal, data, self.labels).values

    def barriers(self) -> BarrierSpec:
        """Return what closes the row's trades."""
        return BarrierSpec(
            self.trial.tp_ticks, self.trial.sl_ticks, self.settings["max_hold_bins"], self.settings["price"]
        )

    def detections(self) -> Detections:
        """Return where the row trades."""
        return detect(
            self.values,
            self.dataset.valid,
            self.dataset.bin("bin_seq"),
            self.trial.threshold,
            cooldown_bins=self.trial.cooldown_bins,
            warmup_bins=self.settings["warmup_bins"],
            mode=self.mode,
        )

    def trades(self) -> Trades:
        """Return what became of its trades; those that could not be entered are left out."""
        found = self.detections()
        table = self.session.table(self.barriers())
        entered = found.bins + self.settings["latency_bins"]
        inside = entered < self.dataset.n_bins
        decided, entered, sides = found.bins[inside], entered[inside], found.sides[inside]
        side = np.where(sides > 0, 0, 1)
        outcome = table.outcome[side, entered]
        traded = outcome != barrier.NO_TRADE
        decided, entered, sides, side = decided[traded], entered[traded], sides[traded], side[traded]
        left = table.exit_bin[side, entered].astype(np.int64)
        return Trades(
            decided,
            entered,
            left,
            sides,
            outcome[traded],
            table.net[side, entered] / HALF_TICKS_PER_TICK - self.settings["fee_ticks"],
            (left - entered) * (self.dataset.cell_width_ns / NS_PER_S),
        )

    def sensitivity(self) -> list[Sensitivity]:
        """Return the row with other delays and fees; a learning signal's values stay as they were learnt."""
        own, fee = self.settings["latency_bins"], self.settings["fee_ticks"]
        scoring = self.scoring.model_dump(mode="json") if self.scoring is not None else None
        key = bootstrap_key(
            self.dataset.dataset_id, self.row["signal_name"], self.signal.params.plain(), scoring, self.settings
        )
        found = []
        for latency in sorted({*LATENCIES, own}):
            for extra in FEES:
                figures = evaluate(
                    self.session.market,
                    self.values,
                    [self.trial],
                    lambda tp, sl: self.session.table(self.barriers()),
                    mode=self.mode,
                    warmup_bins=self.settings["warmup_bins"],
                    latency_bins=latency,
                    fee_ticks=fee + extra,
                    resampling=Resampling(0, _DRAWS, key),
                )
                found.append(
                    Sensitivity(
                        latency,
                        fee + extra,
                        int(figures["n_signals"][0] - figures["n_dropped"][0]),
                        *(float(figures[name][0]) for name in ("net_pnl_ticks", "net_pnl_lo", "net_pnl_hi")),
                    )
                )
        return found
