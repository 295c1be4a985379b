"""The worker: portions of runs over one dataset. A worker computes shared work of its runs once."""

from __future__ import annotations

import platform
import signal as signal_module
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.cache import KEEP_MB
from vpcore.backtest.config import EvalConfig
from vpcore.backtest.maker import cached_fills
from vpcore.backtest.metrics import Columns
from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.canonical import canonical_json, digest
from vpcore.dataset import DatasetRegistry
from vpcore.errors import DatasetError, SignalError, VpError
from vpcore.plugins.component import Component
from vpcore.rules import TradeRules
from vpcore.scoring import ScoringConfig
from vpcore.signal import (
    Extent,
    MLSignal,
    Signal,
    SignalData,
    SignalResult,
    keep_diagnostics,
    keep_model,
    model_folder,
    require_core,
    require_loaded_as,
    share_in,
)
from vpcore.signal.conformance.evaluated import columns_of, require_causal, require_streamed, values_of
from vpcore.signal.drivers import shared_of
from vpcore.storage import Folder


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One run as it is sent to a worker.

    Attributes
    ----------
    run_id : str
    signal_name : str
    target : str
        Where its class is, ``"package.module:Class"``.
    code_digest, core_digest : str
        Of the code that the worker must have.
    params : dict
        Every parameter, as JSON holds them.
    scoring : dict or None
        Every scoring setting; None for a signal that ignores the score.
    eval : EvalConfig
        The rules of its trades, its draws and its splits.
    trials : tuple of Trial
        Sorted.
    """

    run_id: str
    signal_name: str
    target: str
    code_digest: str
    core_digest: str
    params: dict[str, Any]
    scoring: dict[str, Any] | None
    eval: EvalConfig
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """Runs over one dataset, for one worker, in order. The worker opens the dataset from `datasets`, up to `end_bin`.

    The worker writes fitted models of learning signals below `models`, if given, diagnostics below `diagnostics`, and
    below `proofs` which signal code has streamed the dataset. A run may take `timeout_seconds`. `fills_tag` names the
    fill table in the cache, for makers.
    """

    datasets: DatasetRegistry | None
    dataset_id: str
    items: tuple[WorkItem, ...]
    end_bin: int | None = None
    models: Folder | None = None
    diagnostics: Folder | None = None
    proofs: Folder | None = None
    extent: Extent = "none"
    keep_mb: int = KEEP_MB
    timeout_seconds: float | None = None
    fills_tag: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one run.

    Attributes
    ----------
    run_id : str
    columns : dict of arrays
        From `vpcore.backtest.metrics.trial_figures`; a failed run has the key columns only.
    error, traceback : str or None
        Error of a failed run.
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
    """A worker fails to open the dataset, which concerns all runs."""


_ONE_AT_A_TIME = threading.Lock()
"""Shared work of runs is not thread-safe, and a worker of a cluster may have several threads."""


def run_task(task: Task) -> list[Outcome]:
    """Do the runs of a task. A run that raises is an outcome with its error; the others go on.

    Raises
    ------
    DatasetUnseen
        If opening the dataset fails here.
    """
    with _ONE_AT_A_TIME:
        return _run_task(task)


def _run_task(task: Task) -> list[Outcome]:
    try:
        assert task.datasets is not None
        session = _session(task.datasets, task.dataset_id, task.keep_mb, task.end_bin, task.fills_tag)
    except VpError as unseen:
        raise DatasetUnseen(f"A worker on {platform.node()} cannot open the dataset. {unseen}") from None
    outcomes = []
    for item in task.items:
        started, clock = time.time(), time.perf_counter()
        columns, error, trace = key_columns(item.trials), None, None
        try:
            with time_limit(task.timeout_seconds):
                columns = rows_of(session, item, task)
        except Exception as failure:
            error, trace = describe(failure), traceback.format_exc()
        outcomes.append(Outcome(item.run_id, columns, error, trace, started, time.perf_counter() - clock))
    return outcomes


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `SignalError` in the main thread if what is inside takes longer; other threads have no limit.

    Compiled code is interrupted at its end.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: object) -> None:
        raise SignalError(f"The run took longer than {seconds:g} s", fix="Raise parallel.timeout_seconds.")

    before = signal_module.signal(signal_module.SIGALRM, late)
    signal_module.setitimer(signal_module.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal_module.setitimer(signal_module.ITIMER_REAL, 0.0)
        signal_module.signal(signal_module.SIGALRM, before)


def key_columns(trials: tuple[Trial, ...]) -> Columns:
    """Return the key columns of trials."""
    names = Trial._fields
    return {name: np.array([trial[i] for trial in trials]) for i, name in enumerate(names)}


def describe(error: BaseException) -> str:
    """Return an error as one line for the results: the message, with its type unless it is a `VpError`."""
    text = " ".join(str(error).split())
    return text if isinstance(error, VpError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def rows_of(session: Session, item: WorkItem, task: Task) -> Columns:
    """Return the rows of a run. Of a learning signal, keep the last fitted model and the diagnostics.

    Raises
    ------
    CausalityError
        If the signal looks ahead on the evaluated data, streams other values, or opens undeclared files.
    """
    signal = _signal(item)
    shared, config = session.shared, item.eval
    data = session.scored(ScoringConfig.model_validate(item.scoring)) if item.scoring is not None else session.dataset
    view = columns_of(data, signal)
    share_in(view, shared_of(data))

    def values(rules: TradeRules | None) -> SignalResult:
        make = lambda: values_of(signal, view, rules, item.signal_name)  # noqa: E731
        return shared.timed(f"values of {item.signal_name}", make)

    def rows(values: npt.NDArray[np.float64], trials: tuple[Trial, ...]) -> Columns:
        make = lambda: session.figures(values, trials, config, mode=signal.prediction_mode)  # noqa: E731
        return shared.timed(f"rows of {item.signal_name}", make)

    if not isinstance(signal, MLSignal):
        found = values(None).values
        _prove(signal, view, found, None, item, task)
        return rows(found, item.trials)
    # The labels of a learning signal depend on the barriers, and so do its values.
    parts: list[Columns] = []
    for tp, sl in sorted({(trial.tp_ticks, trial.sl_ticks) for trial in item.trials}):
        rules = config.rules(tp, sl)
        result = values(rules)
        if not parts:
            _prove(signal, view, result.values, rules, item, task)
        if task.models is not None:
            keep_model(signal, result.state, model_folder(task.models, item.run_id, tp, sl))
        if task.diagnostics is not None:
            keep_diagnostics(signal, data, rules, result, task.diagnostics / item.run_id, task.extent)
        parts.append(rows(result.values, tuple(t for t in item.trials if (t.tp_ticks, t.sl_ticks) == (tp, sl))))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _prove(
    signal: Signal,
    data: SignalData,
    values: npt.NDArray[np.float64],
    rules: TradeRules | None,
    item: WorkItem,
    task: Task,
) -> None:
    """Prove that the values are causal: every run on a prefix, each signal code once per dataset bin by bin."""
    name, learns = item.signal_name, isinstance(signal, MLSignal)
    require_causal(signal, data, values, rules, name=name, key=item.run_id, future=not learns)
    if task.proofs is None:
        return
    of = [item.target, item.code_digest, item.core_digest, task.dataset_id, task.end_bin]
    proof = f"{digest(of)}.streamed"
    if task.proofs.get(proof) is None:
        require_streamed(signal, data, values, rules, name=name)
        content = canonical_json({"signal": name, "dataset_id": task.dataset_id})
        task.proofs.put(proof, content, f"write the proof of signal '{name}'", durable=False)


@lru_cache(maxsize=1)
def _session(datasets: DatasetRegistry, dataset_id: str, keep_mb: int, end_bin: int | None, fills_tag: str) -> Session:
    cache = datasets.storage.cache
    dataset = datasets.open_whole(dataset_id, cache_dir=cache).until(end_bin)
    fills = cached_fills(cache, dataset, fills_tag) if fills_tag else None
    if fills_tag and fills is None:
        raise DatasetError(
            f"The fill table of dataset '{dataset.dataset_id}' is not in {cache}, or damaged",
            fix="Run the experiment again: it is made anew. Workers need the lake's cache folder of this machine.",
        )
    return Session(dataset, keep_mb, fills=fills)


@lru_cache(maxsize=64)
def load_class(target: str, expected: str) -> type[Signal]:
    """Import a signal's class; raise if its code differs from the expected code or was edited after loading."""
    cls: type[Signal] = Component("signal", target, "A signal.").load()
    require_loaded_as(cls, expected)
    return cls


def _signal(item: WorkItem) -> Signal:
    require_core(item.core_digest)
    cls = load_class(item.target, item.code_digest)
    return cls(cls.Params.parse(item.params, item.signal_name))
