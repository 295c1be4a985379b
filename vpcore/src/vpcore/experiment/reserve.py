"""The reserve of an experiment: declared before the first run, and left out of every evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from vpcore.config import ExperimentConfig, ResolvedPipeline
from vpcore.dataset import Dataset
from vpcore.dataset.reserve import Reserve
from vpcore.errors import ConfigError
from vpcore.inference.evidence import passes
from vpcore.units import NS_PER_S

if TYPE_CHECKING:
    from vpcore.workspace import Workspace


def open_session(workspace: Workspace, config: ExperimentConfig, session: ResolvedPipeline) -> Dataset:
    """Open the dataset of a session up to the experiment's own reserve, and up to any other in force."""
    return workspace.datasets.open(session.dataset_id()).until(config.end_bin(session))


def open_sessions(workspace: Workspace, config: ExperimentConfig) -> list[Dataset]:
    """Open the sessions whose datasets have been generated; see `open_session`."""
    there = (session for session in config.sessions if workspace.datasets.exists(session.dataset_id()))
    return [open_session(workspace, config, session) for session in there]


def declare_reserve(workspace: Workspace, config: ExperimentConfig) -> list[str]:
    """Store the reserve of an experiment, and return what other reserves take from its sessions, as sentences.

    Raises
    ------
    ConfigError
        If the data were evaluated before, another reserve, in force or spent, holds some of them, or another reserve
        leaves nothing of a session.
    """
    asked = reserve_of(workspace, config)
    declared = {reserve.id: reserve for reserve in workspace.reserves.all()}
    if asked is not None and asked.id not in declared:
        for other in declared.values():
            if any(other.overlaps(config.pipeline.symbol, *window) for window in asked.windows):
                spent = "" if workspace.reserves.left(other) else ", which is spent"
                raise ConfigError(
                    f"The reserve of '{config.name}' overlaps the reserve of '{other.experiment}'{spent}",
                    fix="Keep back other sessions: data that were looked at prove nothing."
                    if spent
                    else f"Write the sessions, reserve and confirmations of '{other.experiment}' in "
                    "both: they share it.",
                )
        _require_unseen(workspace, config, asked)
        workspace.reserves.declare(asked)
    return _taken(workspace, config, asked)


def reserve_of(workspace: Workspace, config: ExperimentConfig) -> Reserve | None:
    """Return the reserve of an experiment, in the form in which it was declared: market, time and budget make one."""
    asked = config.reserve
    if asked is None:
        return None
    for declared in workspace.reserves.all():
        same = (declared.windows, declared.budget) == (asked.windows, asked.budget)
        if same and declared.holds(config.pipeline.symbol):
            return declared
    return asked


def describe_reserve(workspace: Workspace, config: ExperimentConfig) -> str:
    """Return what the experiment keeps back, the confirmations that are left and those that were made, in words."""
    reserve = reserve_of(workspace, config)
    if reserve is None:
        return ""
    made = workspace.reserves.confirmations(reserve)
    rows = (f"row {one['row']}, p_confirm {one['p_confirm']:.3g}: {_answer(one)}" for one in made)
    held = f" Held against the reserve: {'; '.join(rows)}." if made else ""
    left = workspace.reserves.left(reserve)
    seconds = sum(end - start for start, end in reserve.windows) / NS_PER_S
    return (
        f"{seconds / 60:.0f} minutes are kept back as a reserve. Confirmations left: {left} of {reserve.budget}.{held}"
    )


def _answer(confirmation: Mapping[str, Any]) -> str:
    return "confirmed" if passes(confirmation["p_confirm"], confirmation["net_pnl_ticks"]) else "not confirmed"


def _require_unseen(workspace: Workspace, config: ExperimentConfig, asked: Reserve) -> None:
    inside = pl.any_horizontal(
        (pl.col("root") == asked.root) & (pl.col("start_ns") < end) & (pl.col("end_ns") > start)
        for start, end in asked.windows
    )
    sessions = (*config.sessions, *(config.kept_back.sessions if config.kept_back is not None else ()))
    named = pl.col("root").is_null() & pl.col("dataset_id").is_in([session.dataset_id() for session in sessions])
    seen = workspace.results.trial_rows().filter(inside.fill_null(False) | named)
    found = seen.group_by("experiment_name").len().sort("experiment_name")
    if found.height:
        n_rows, names = int(found["len"].sum()), ", ".join(f"'{name}'" for name in found["experiment_name"].head(5))
        raise ConfigError(
            f"The reserve of '{config.name}' was evaluated before: the ledger has {n_rows} trials there, of {names}",
            where="reserve",
            fix="Data that were looked at prove nothing. Declare a reserve before the first run, on other sessions.",
        )


def _taken(workspace: Workspace, config: ExperimentConfig, asked: Reserve | None) -> list[str]:
    found = []
    others = [reserve for reserve in workspace.reserves.in_force() if asked is None or reserve.id != asked.id]
    for session in config.sessions:
        n_bins = config.end_bin(session) or session.n_bins
        left = workspace.reserves.open_bins(session.symbol, session.start_ns, n_bins, session.width_ns)
        if left == n_bins:
            continue
        of = _names(others, session)
        if not left:
            raise ConfigError(
                f"Session {session.dataset_id()} lies in the reserve of {of}",
                fix="Leave it out: it opens when the reserve's confirmations are spent.",
            )
        found.append(f"Session {config.label_of(session)} ends after {left:,} bins: the rest is the reserve of {of}.")
    return found


def _names(reserves: Sequence[Reserve], session: ResolvedPipeline) -> str:
    window = (session.start_ns, session.end_ns)
    there = (reserve for reserve in reserves if reserve.overlaps(session.symbol, *window))
    return ", ".join(f"experiment '{reserve.experiment}'" for reserve in there)
