"""What a worker does: portions of runs over one dataset. Whatever two runs share is computed once per worker."""

from __future__ import annotations

import platform
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.cache import KEEP_MB, Shared
from vpcore.backtest.cross_validation import Cuts, SplitSpec, make_cuts
from vpcore.backtest.metrics import Resampling, evaluate
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import MARKET_COLUMNS, BarrierSpec, Market, OutcomeTable, outcome_table
from vpcore.canonical import canonical_json
from vpcore.dataset import Dataset, DatasetRegistry
from vpcore.errors import DatasetError, VpError
from vpcore.plugins.component import Component
from vpcore.scoring import CHANNELS, ScoringConfig, ZNode, score_arrays, score_from_z, z_nodes, zscore_arrays
from vpcore.signal import (
    Extent,
    LabelSpec,
    MLSignal,
    Signal,
    batch,
    keep_diagnostics,
    keep_model,
    model_folder,
    require_core,
    require_loaded_as,
    share_in,
)

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One run as it is sent to a worker. Fields as in `vpcore.experiment.runs.Run`; `target` is where its class is."""

    run_id: str
    signal_name: str
    target: str
    code_digest: str
    core_digest: str
    params: dict[str, Any]
    scoring: dict[str, Any] | None
    settings: dict[str, Any]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """Runs over one dataset that a worker does one after the other; it gets the dataset from `datasets`.

    Of learning signals the fitted models are kept below `models`, if given, and what they say of their runs below
    `diagnostics`.
    """

    datasets: DatasetRegistry | None
    dataset_id: str
    cache: str
    items: tuple[WorkItem, ...]
    models: str = ""
    diagnostics: str = ""
    extent: Extent = "none"
    keep_mb: int = KEEP_MB


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run.

    Attributes
    ----------
    run_id : str
    columns : dict of arrays
        As from `vpcore.backtest.metrics.evaluate`; of a run that failed only the key columns.
    error, traceback : str or None
        Of a run that failed.
    started : float
        Seconds since the epoch.
    elapsed : float
        Seconds.
    """

    run_id: str
    columns: Columns = field(repr=False)
    error: str | None
    traceback: str | None
    started: float
    elapsed: float


class DatasetUnseen(DatasetError):
    """A worker cannot open the dataset: no failure of a run, but of all of them."""


_ONE_AT_A_TIME = threading.Lock()
"""What runs share is not made for threads, and a worker of a cluster may have several."""


def run_task(task: Task) -> list[Outcome]:
    """Do the runs of a task. A run that raises is an outcome with its error; the others go on.

    Raises
    ------
    DatasetUnseen
        If the dataset cannot be opened here.
    """
    with _ONE_AT_A_TIME:
        return _run_task(task)


def _run_task(task: Task) -> list[Outcome]:
    try:
        assert task.datasets is not None
        session = _session(task.datasets.path(task.dataset_id), task.cache, task.keep_mb)
    except VpError as unseen:
        raise DatasetUnseen(f"A worker on {platform.node()} cannot open the dataset. {unseen}") from None
    outcomes = []
    for item in task.items:
        started, clock = time.time(), time.perf_counter()
        columns, error, trace = key_columns(item.trials), None, None
        try:
            columns = session.evaluate(item, task)
        except Exception as failure:
            error, trace = describe(failure), traceback.format_exc()
        outcomes.append(Outcome(item.run_id, columns, error, trace, started, time.perf_counter() - clock))
    return outcomes


def key_columns(trials: tuple[Trial, ...]) -> Columns:
    """Return the key columns of trials, without figures."""
    names = Trial._fields
    return {name: np.array([trial[i] for trial in trials]) for i, name in enumerate(names)}


def describe(error: BaseException) -> str:
    """Return an error as one line for the results: the message of what a user can act on, else with its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, VpError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def market_key(dataset: Dataset, settings: Mapping[str, Any]) -> str:
    """Return what the rotations of all rows on a dataset, and on others of the same prices, are seeded with."""
    symbol, first = dataset.dataset_id.partition("_")[0], dataset.bin("bin_start_ns")[:1].tolist()
    return canonical_json([symbol, *dataset.source_digests, *first, settings["seed"]]).decode()


def bootstrap_key(dataset_id: str, signal_name: str, *settings: Mapping[str, Any] | None) -> str:
    """Return the seed text of a run's bootstrap: its parameters, scoring and evaluation settings, but no code.

    A change of code that changes no trade leaves the intervals as they are.
    """
    return canonical_json([dataset_id, signal_name, *settings]).decode()


class Session:
    """A dataset with everything that runs over it share.

    Parameters
    ----------
    dataset : Dataset
        Kept in memory-mapped columns, if it can be.
    keep_mb : int
        How much is kept of what is made of it.
    """

    def __init__(self, dataset: Dataset, keep_mb: int = KEEP_MB) -> None:
        self.dataset = dataset
        self.market = Market.from_bins({name: dataset.bin(name) for name in MARKET_COLUMNS}, dataset.tick_int)
        self.shared = Shared(keep_mb << 20)
        share_in(dataset, self.shared.view("features", None))

    def evaluate(self, item: WorkItem, task: Task) -> Columns:
        """Return the rows of a run, and keep what a learning signal fitted last and says of its run."""
        signal = _signal(item)
        data = self.scored(ScoringConfig.model_validate(item.scoring)) if item.scoring is not None else self.dataset
        if not isinstance(signal, MLSignal):
            values = self.shared.timed(f"values of {item.signal_name}", lambda: batch(signal, data).values)
            return self._rows(item, signal, values, item.trials)
        # What a learning signal learns from depends on the barriers, so its values do.
        parts = []
        for tp, sl in sorted({(trial.tp_ticks, trial.sl_ticks) for trial in item.trials}):
            labels = self._labels(item, tp, sl)
            result = self.shared.timed(f"values of {item.signal_name}", lambda: batch(signal, data, labels))  # noqa: B023
            if task.models:
                keep_model(signal, result.state, model_folder(Path(task.models), item.run_id, tp, sl))
            keep_diagnostics(signal, data, labels, result, Path(task.diagnostics) / item.run_id, task.extent)
            trials = tuple(trial for trial in item.trials if (trial.tp_ticks, trial.sl_ticks) == (tp, sl))
            parts.append(self._rows(item, signal, result.values, trials))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _rows(
        self, item: WorkItem, signal: Signal, values: npt.NDArray[np.float64], trials: tuple[Trial, ...]
    ) -> Columns:
        settings = item.settings

        def table_of(tp: int, sl: int) -> OutcomeTable:
            return self.table(BarrierSpec(tp, sl, settings["max_hold_bins"], settings["price"]))

        key = bootstrap_key(self.dataset.dataset_id, item.signal_name, item.params, item.scoring, settings)
        resampling = Resampling(
            settings["null_draws"], settings["bootstrap_draws"], key, market_key(self.dataset, settings)
        )
        rows = lambda: evaluate(  # noqa: E731
            self.market,
            values,
            trials,
            table_of,
            mode=signal.prediction_mode,
            warmup_bins=settings["warmup_bins"],
            latency_bins=settings["latency_bins"],
            fee_ticks=settings["fee_ticks"],
            resampling=resampling,
            cuts=self._cuts(settings),
        )
        return self.shared.timed(f"rows of {item.signal_name}", rows)

    def _cuts(self, settings: Mapping[str, Any]) -> Cuts | None:
        if "splits" not in settings:
            return None
        return make_cuts(
            SplitSpec.model_validate(settings["splits"]),
            first_bin=settings["warmup_bins"],
            n_bins=self.market.n_bins,
            longest=settings["latency_bins"] + settings["max_hold_bins"],
        )

    def _labels(self, item: WorkItem, tp: int, sl: int) -> LabelSpec:
        settings = item.settings
        return LabelSpec(
            tp, sl, settings["max_hold_bins"], settings["latency_bins"], settings["price"], self.dataset.tick_int
        )

    def table(self, spec: BarrierSpec) -> OutcomeTable:
        """Return an outcome table."""
        make = lambda: outcome_table(self.market, spec)  # noqa: E731
        return self.shared.get("outcome tables", spec, make, lambda table: table.nbytes)

    def scored(self, config: ScoringConfig) -> Dataset:
        """Return the dataset with the score attached."""

        def make() -> Dataset:
            score, state = self._score(config)
            scored = self.dataset.with_grid({"flow_score": score, "flow_state_code": state})
            share_in(scored, self.shared.view("features", key))
            return scored

        key = canonical_json(config.model_dump(mode="json"))
        size = self.dataset.n_bins * self.dataset.n_cells * 9
        return self.shared.get("scores", key, make, lambda _: size)

    def _score(self, config: ScoringConfig) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
        channels = [self.dataset.grid(name) for name in CHANNELS]
        valid = self.dataset.valid
        if self.dataset.n_bins * self.dataset.n_cells * 8 * len(channels) > self.shared.limit // 2:
            # Too long a session to keep the z-scores of one setting: the scorer goes through it in pieces.
            return score_arrays(channels[0], channels[1], channels[2], valid, config)

        def z(channel: int, node: ZNode) -> npt.NDArray[np.float64]:
            make = lambda: zscore_arrays(channels[channel], valid, node)  # noqa: E731
            return self.shared.get("z-scores", (channel, node), make, lambda array: array.nbytes)

        first, second, third = (z(channel, node) for channel, node in enumerate(z_nodes(config)))
        return score_from_z(first, second, third, config)


@lru_cache(maxsize=1)
def _session(folder: Path, cache: str, keep_mb: int) -> Session:
    return Session(Dataset.open(folder, cache_dir=Path(cache)), keep_mb)


@lru_cache(maxsize=64)
def load_class(target: str, expected: str) -> type[Signal]:
    """Import a signal's class; an error if its code is not the expected one, or was edited after it was loaded."""
    cls: type[Signal] = Component("signal", target, "A signal.").load()
    require_loaded_as(cls, expected)
    return cls


def _signal(item: WorkItem) -> Signal:
    require_core(item.core_digest)
    cls = load_class(item.target, item.code_digest)
    return cls(cls.Params.parse(item.params, item.signal_name))
