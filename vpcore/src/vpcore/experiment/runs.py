"""From the axes of an experiment to runs and trials, each with its id."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from vpcore.backtest.entries import band
from vpcore.backtest.trial import Trial
from vpcore.canonical import canonical_json, digest
from vpcore.config import ExperimentConfig, ResolvedPipeline
from vpcore.config.lasting import lasting_settings
from vpcore.dataset import Dataset
from vpcore.experiment.quantile_thresholds import Calibration
from vpcore.experiment.worker import WorkItem
from vpcore.experiment.workers import LIBRARIES
from vpcore.plugins.manager import Plugins
from vpcore.results import run_id
from vpcore.signal import Signal, code_digest, core_digest, distribution_of, imported_distributions


@dataclass(frozen=True, slots=True)
class Run(WorkItem):
    """One (dataset, scoring, signal with parameters) and its trials.

    Attributes
    ----------
    meta : dict
        The columns of `runs_meta` that are known before the run.
    signal : Signal
    thresholds : tuple of float
        In the experiment's order: sorted, or one per quantile.
    """

    meta: dict[str, Any]
    signal: Signal
    thresholds: tuple[float, ...]

    @property
    def item(self) -> WorkItem:
        """What is sent to a worker."""
        return WorkItem(*(getattr(self, field.name) for field in fields(WorkItem)))


def expand(
    config: ExperimentConfig,
    plugins: Plugins,
    sources: Sequence[str],
    dataset: Dataset | None = None,
    *,
    session: ResolvedPipeline | None = None,
    signals: Collection[str] | None = None,
) -> tuple[Run, ...]:
    """Return the runs of an experiment on one session, sorted so that neighbours share the most work.

    Signals x scoring x parameters are runs; thresholds x cooldown x take-profit x stop are the trials of each. A signal
    that ignores the score runs once for all scorings.

    Parameters
    ----------
    config : ExperimentConfig
        Experiment to expand.
    plugins : Plugins
        Where the signals are.
    sources : sequence of str
        sha256 of the source files of the dataset, in order.
    dataset : Dataset, optional
        Thresholds given as quantiles are taken from its first bins. By default the quantiles themselves stand in, so
        that trials can be counted.
    session : ResolvedPipeline, optional
        One of the experiment's sessions; by default its only one.
    signals : collection of str, optional
        Only the runs of these.

    Raises
    ------
    ConfigError
        If a parameter, threshold or quantile is out of range.
    PluginError
        If a signal fails to load.
    """
    experiment_hash = digest(experiment_block(config))
    dataset_id = config.dataset_id if session is None else session.dataset_id()
    end_bin = dataset.end_bin if dataset is not None else None
    settings = config.eval.run_settings()
    settings_json, sources_json = _text(settings), _text(list(sources))
    runs: list[Run] = []
    quantiles = config.eval.threshold_quantiles
    calibration = Calibration(dataset, config.eval) if quantiles is not None and dataset is not None else None
    for plan in config.signals:
        if signals is not None and plan.name not in signals:
            continue
        cls: type[Signal] = plugins.load("signal", plan.name)
        target = plugins.get("signal", plan.name).component.target
        code = signal_code(plan.name, cls)
        packages = _packages(cls)
        for params, scoring in config.points_of(plan):
            signal = cls(cls.Params.parse(params, plan.name))
            thresholds = config.eval.thresholds or quantiles or signal.thresholds()
            if calibration is not None:
                thresholds = calibration.thresholds(signal, plan.name, scoring)
            for threshold in thresholds if calibration is not None or quantiles is None else ():
                band(threshold, signal.prediction_mode)
            values = signal.params.plain()
            scored = None if scoring is None else scoring.model_dump(mode="json")
            identity = {
                "dataset_id": dataset_id,
                "sources": list(sources),
                "signal": {**code, "params": values},
                "scoring": scored,
                "eval": settings,
                **({"end_bin": end_bin} if end_bin is not None else {}),
            }
            meta: dict[str, Any] = {
                "run_id": run_id(identity),
                "experiment_name": config.name,
                "dataset_id": dataset_id,
                "sources_json": sources_json,
                "end_bin": end_bin,
                "signal_name": plan.name,
                "signal_distribution": code["distribution"],
                "signal_version": cls.version,
                "code_digest": code["code_digest"],
                "core_digest": code["core_digest"],
                "signal_params_json": _text(values),
                "scoring_json": None if scored is None else _text(scored),
                "eval_json": settings_json,
                "config_hash": experiment_hash,
                "packages_json": packages,
            }
            trials = tuple(_trials(thresholds, config))
            asked = tuple(float(threshold) + 0.0 for threshold in thresholds)
            runs.append(
                Run(
                    run_id=meta["run_id"],
                    signal_name=plan.name,
                    target=target,
                    code_digest=code["code_digest"],
                    core_digest=code["core_digest"],
                    params=values,
                    scoring=scored,
                    eval=config.eval,
                    trials=trials,
                    meta=meta,
                    signal=signal,
                    thresholds=asked,
                )
            )
    return tuple(sorted(_unique(runs), key=_nearness))


def experiment_block(config: ExperimentConfig) -> dict[str, Any]:
    """Return the question of an experiment: its settings less executor, tracking and local paths.

    Its digest and its name identify a batch of the ledger. Fields that the product gained later are left out at their
    defaults, see `vpcore.config.lasting`.
    """
    ids = config.dataset_ids
    return {
        "name": config.name,
        # On one session as before there were several: the same experiment keeps its hash.
        **({"dataset_id": ids[0]} if len(ids) == 1 else {"dataset_ids": list(ids)}),
        "scorings": [lasting_settings(scoring) for scoring in config.scorings],
        # The hash stays also while combinations are proposed.
        "signals": [lasting_settings(plan.model_copy(update={"proposed": ()})) for plan in config.signals],
        **({"reserve": lasting_settings(config.kept_back)} if config.kept_back is not None else {}),
        "eval": lasting_settings(config.eval),
        "select": {"metric": config.select_metric, "min_signals": config.min_signals},
    }


def signal_code(name: str, cls: type[Signal]) -> dict[str, Any]:
    """Return the digests of the code behind a signal's rows: its own and the core's."""
    return {
        "name": name,
        "distribution": distribution_of(cls)[0],
        "version": cls.version,
        "code_digest": code_digest(cls),
        "core_digest": core_digest(),
    }


def _trials(thresholds: Sequence[float], config: ExperimentConfig) -> list[Trial]:
    return sorted(
        {
            Trial(float(threshold) + 0.0, cooldown, tp, sl)
            for threshold in thresholds
            for cooldown in config.eval.cooldown_bins
            for tp in config.eval.tp_ticks
            for sl in config.eval.sl_ticks
        }
    )


def _unique(runs: list[Run]) -> list[Run]:
    """Two parameter sets that mean the same are one run."""
    return list({run.run_id: run for run in runs}.values())


def _nearness(run: Run) -> tuple[str, ...]:
    if run.scoring is None:
        return ("", "", run.signal_name, _text(run.params))
    windows = {name: value for name, value in run.scoring.items() if name.startswith("zscore_")}
    return (_text(windows), _text(run.scoring), run.signal_name, _text(run.params))


def _text(value: Any) -> str:
    return canonical_json(value).decode()


@lru_cache(maxsize=64)
def _packages(cls: type[Signal]) -> str:
    """Return the versions recorded with a run: Python, `LIBRARIES`, the signal's distribution and those it imports."""
    distribution, version = distribution_of(cls)
    found = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in LIBRARIES}}
    found |= {distribution: version} if version else {}
    return _text(found | imported_distributions(cls))
