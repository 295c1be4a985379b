"""Confirm a row: evaluate it once on the reserve of its experiment, data that nobody has looked at."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vpcore.backtest.metrics import NO_DRAWS, ring_of
from vpcore.canonical import digest
from vpcore.config import ExperimentConfig, ExperimentSpec
from vpcore.dataset import Dataset
from vpcore.dataset.reserve import Reserve
from vpcore.errors import ConfigError, RefusedError, ResultsError
from vpcore.experiment.leaderboard import leaderboard
from vpcore.experiment.reserve import reserve_of
from vpcore.experiment.trades import Leader
from vpcore.generation.generate import generate_dataset
from vpcore.inference.blocks import datasets_of
from vpcore.inference.evidence import passes
from vpcore.results import COMBINATION
from vpcore.signal.conformance.evaluated import require_causal
from vpcore.statistics.permutation import exact_p, p_random, rotated
from vpcore_serving.selection import asked_for, choose

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

ROTATIONS = 99_999
"""Rotations of a row on a reserve of several sessions; on one session all rotations are enumerated."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Result of a row on the reserve of its experiment.

    Attributes
    ----------
    experiment, run_id, row, signal : str
        The row.
    n_trades : int
        Trades on the reserve.
    n_eff : float
        Effective number of these trades.
    net_pnl_ticks : float or None
        Mean net PnL of these trades, ticks; None without a trade.
    price : str
        Price of the trades.
    fee_ticks : float
        Fee per round trip, ticks.
    p_random : float
        Share of random entries on the reserve that pay as much; 1 without a trade.
    p_confirm : float
        `p_random` times the budget of the reserve, at most 1.
    cold_start : bool
        A dataset of the reserve began without a book.
    budget, left : int
        Confirmations of the reserve, and how many are left.
    confirmed_utc : str
        Time of the confirmation.
    repeated : bool
        The row was confirmed before; these are the figures of then.
    """

    experiment: str
    run_id: str
    row: str
    signal: str
    n_trades: int
    n_eff: float
    net_pnl_ticks: float | None
    price: str
    fee_ticks: float
    p_random: float
    p_confirm: float
    cold_start: bool
    budget: int
    left: int
    confirmed_utc: str
    repeated: bool = False

    @property
    def passed(self) -> bool:
        """True if the row beats random entry on the reserve, and earns money there."""
        return passes(self.p_confirm, self.net_pnl_ticks)


def confirm(
    workspace: Workspace, experiment: str | Path | ExperimentSpec, row: str | None = None, *, run_id: str | None = None
) -> Confirmation:
    """Evaluate a row once on the reserve of its experiment, and write the result to the ledger.

    The threshold, the parameters and the rules are those of the row. The values on the reserve come from the whole
    session, so every window is full where the reserve begins. A row that was confirmed before keeps its first result.

    Parameters
    ----------
    workspace : Workspace
        Holds specs, results and datasets.
    experiment : str, Path or ExperimentSpec
        The experiment, with `reserve`. The short name of a row stands for its experiment and `row`.
    row : str, optional
        Short name of a row, or a prefix; by default the best row by the experiment's `select`.
    run_id : str, optional
        Only rows of this run.

    Raises
    ------
    ConfigError
        If the experiment keeps nothing back.
    ResultsError
        If the experiment was never run with its reserve, or the row is unknown or did not trade.
    RefusedError
        If the confirmations of the reserve are spent.
    CausalityError
        If the signal looks ahead on the reserve.
    SignalError, DatasetError, SourceError
        If the code of the row has changed, or a dataset is gone and cannot be made.
    """
    _, config, row = asked_for(workspace, experiment, row)
    reserve = _declared(workspace, config)
    board = leaderboard(workspace, config)
    chosen, _ = choose(board, config.name, run_id, row)
    if not chosen.figures["trades"]:
        raise ResultsError(f"Row {chosen.row} did not trade: there is nothing to confirm", fix="Choose another: --row")
    known = confirmation_of(workspace, config, chosen.figures)
    if known is not None:
        return known
    if not workspace.reserves.left(reserve):
        raise _spent(reserve)
    about = {"experiment": config.name, "run_id": chosen.run_id, "row": chosen.row, "signal": chosen.signal}
    found = {**about, **_on_reserve(workspace, config, chosen.figures, reserve), "budget": reserve.budget}
    found["p_confirm"] = min(1.0, found["p_random"] * reserve.budget)
    found["confirmed_utc"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if not workspace.reserves.record(reserve, {**found, "combination": combination_id(config, chosen.figures)}):
        raise _spent(reserve)
    return Confirmation(**found, left=workspace.reserves.left(reserve))


def confirmation_of(workspace: Workspace, config: ExperimentConfig, row: Mapping[str, Any]) -> Confirmation | None:
    """Return the confirmation of a row on the reserve of its experiment; None if there is none."""
    reserve = reserve_of(workspace, config)
    if reserve is None:
        return None
    combination = combination_id(config, row)
    for kept in workspace.reserves.confirmations(reserve):
        if kept["combination"] == combination:
            figures = {name: value for name, value in kept.items() if name != "combination"}
            return Confirmation(**figures, left=workspace.reserves.left(reserve), repeated=True)
    return None


def combination_id(config: ExperimentConfig, row: Mapping[str, Any]) -> str:
    """Return 16 hex digits that name what a row is on whatever session of its instrument and engine."""
    engine = [_of_engine(config, row).pipeline.params.model_dump(mode="json")] if config.engines else []
    root = config.pipeline.instrument.root
    other = [root] if config.market is not None and config.market.root != root else []
    return digest([*(row[name] for name in COMBINATION), *engine, *other])[:16]


def _of_engine(config: ExperimentConfig, row: Mapping[str, Any]) -> ExperimentConfig:
    return config.on_engine_of(datasets_of(row["dataset_id"])[-1])


def _declared(workspace: Workspace, config: ExperimentConfig) -> Reserve:
    reserve = reserve_of(workspace, config)
    if reserve is None:
        raise ConfigError(
            f"Experiment '{config.name}' keeps nothing back: there is nothing to confirm on",
            fix="Add `reserve: {share: 0.3}` to an experiment before its first run.",
        )
    if reserve.id not in {known.id for known in workspace.reserves.all()}:
        raise ResultsError(
            f"Experiment '{config.name}' was not run with its reserve", fix=f"Run it first: vp run {config.name}"
        )
    return reserve


def _spent(reserve: Reserve) -> RefusedError:
    return RefusedError(
        f"No confirmation is left on the reserve of '{reserve.experiment}', of {reserve.budget}",
        fix="What was looked at so often proves nothing more. Keep back other sessions in a new experiment.",
    )


def _on_reserve(
    workspace: Workspace, config: ExperimentConfig, row: Mapping[str, Any], reserve: Reserve
) -> dict[str, Any]:
    """Return the figures of a row on the reserve."""
    sums: list[npt.NDArray[np.int64]] = []
    exact: float | None = None
    trades, n_eff, net = 0, 0.0, 0.0
    cold = False
    for one, dataset, first in _parts(workspace, config, row, reserve):
        leader = Leader(workspace, one, dataset)
        values, name, key = leader.values, one["signal_name"], one["run_id"]
        require_causal(leader.signal, leader.data, values, leader.labels, name=name, key=key, future=True)
        leader.rules = leader.rules.model_copy(update={"warmup_bins": max(first, leader.rules.warmup_bins)})
        figures = leader.evaluate(NO_DRAWS).figures
        if figures.n_trades:
            trades += figures.n_trades
            n_eff += figures.n_eff
            net += figures.n_trades * figures.net_pnl_ticks
        ring = ring_of(leader.session.table(leader.rules), leader.rules)
        signals = leader.detections()
        decided = (signals.bins + leader.rules.latency_bins, signals.sides, leader.draws.market_key)
        sums.append(rotated(ring, *decided[:2], ROTATIONS, decided[2]))
        exact = exact_p(ring, *decided) if sums[-1].any() else None
        cold |= dataset.cold_start
    chance = p_random(np.sum(sums, axis=0)) if len(sums) > 1 or exact is None else exact
    return {
        "n_trades": trades,
        "n_eff": n_eff,
        "net_pnl_ticks": net / trades if trades else None,
        "price": leader.rules.price,
        "fee_ticks": leader.rules.fee_ticks,
        "p_random": 1.0 if np.isnan(chance) else chance,
        "cold_start": cold,
    }


def _parts(
    workspace: Workspace, config: ExperimentConfig, row: Mapping[str, Any], reserve: Reserve
) -> Iterator[tuple[Mapping[str, Any], Dataset, int]]:
    """Yield the row, the dataset and the first reserved bin of each session of the reserve."""
    config = _of_engine(config, row)
    assert config.kept_back is not None
    for session in config.kept_back.sessions:
        generate_dataset(workspace, session)
        yield row, _whole(workspace, session.dataset_id()), 0
    names = row.get("session_rows") or [row["row"]]
    rows = {one["dataset_id"]: one for one in map(workspace.results.find_row, names)}
    for session in config.sessions:
        if config.end_bin(session) is None:
            continue
        name = session.dataset_id()
        start_ns = next(start for start, end in reserve.windows if start >= session.start_ns and end == session.end_ns)
        yield rows[name], _whole(workspace, name), -(-(start_ns - session.start_ns) // session.width_ns)


def _whole(workspace: Workspace, dataset_id: str) -> Dataset:
    return workspace.datasets.open_whole(dataset_id, cache_dir=workspace.cache_dir)


def plain(confirmation: Confirmation) -> dict[str, Any]:
    """Return a confirmation as JSON values."""
    return {**asdict(confirmation), "passed": confirmation.passed}
