"""The hash of a batch stays when the product gains a field with a default."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from vpcore import Workspace
from vpcore.backtest.config import EvalConfig
from vpcore.canonical import digest
from vpcore.config import ExperimentConfig
from vpcore.config.instruments import InstrumentSpec
from vpcore.engine import EngineParams
from vpcore.experiment.runs import experiment_block
from vpcore.results import Trials
from vpcore.results.ledger import LEDGER
from vpcore.scoring import ScoringConfig

Write = Callable[[str, str], Path]

THREE_WINDOWS = "per_signal: {scored: {window: [10, 20, 30]}}"
WRITTEN = {
    "plain": ("", "173f73c882c93a00d910e049d3c5d5c13a0d3ca90aad67dd3ee0019d3edf0a0e"),
    "rules": (
        "eval: {price: mid, positions: one, entry_rule: level, fee_ticks: 1, splits: {method: holdout}}\n",
        "17c46fcdaabb854c43fcb4cdef089f562d072b7090df136e0510b98a207c2c03",
    ),
    "several": (
        "dates: [2023-12-25, 2023-12-26]\nreserve: {dates: [2023-12-26], confirmations: 3}\n",
        "5593c78c5a2550c3a4189ab704208ac2e3df8fb8917779f00d603a624031ac4e",
    ),
    "share": (
        "reserve: {share: 0.3}\nsweep: {per_signal: {scored: {window: [10, 20]}}, sample: {method: lhs, n: 2}}\n",
        "c5035192008575fe12686f377acbd4816aef2f3520063efb4be1519b344de182",
    ),
    "search": (
        f"eval: {{splits: {{method: holdout}}}}\nsweep: {{{THREE_WINDOWS}, sample: {{method: guided, n: 2}}}}\n",
        "9a44d3981fd818975151a15f9c8adb9f7f187eafb07d56a3e87c32b5430663a9",
    ),
}
"""Experiments, and the hashes of their batches as ledgers had them before later fields were left out."""


class Rules(EvalConfig):
    """Rules with a field that a later product has."""

    patience_of_tomorrow: int = 7


class Scoring(ScoringConfig):
    smoothing: float | None = None


class Engine(EngineParams):
    tau_snap: float = 20.0


class Instrument(InstrumentSpec):
    sector: str = "index"


def hash_of(config: ExperimentConfig) -> str:
    return digest(experiment_block(config))


def config_of(workspace: Workspace, write: Write, name: str) -> ExperimentConfig:
    write(f"experiments/{name}", f"name: {name}\nserving: base\n{WRITTEN[name][0]}")
    return workspace.experiment(name).to_harness_config()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_batch_of_an_older_ledger_stays_the_same_batch(workspace: Workspace, write: Write, name: str) -> None:
    config = config_of(workspace, write, name)
    assert hash_of(config) == WRITTEN[name][1]
    row = dict.fromkeys(LEDGER) | {
        "experiment_name": name, "config_hash": WRITTEN[name][1], "dataset_id": config.dataset_ids[0],
        "started_utc": datetime(2024, 1, 1, tzinfo=UTC), "sources_json": "[]",
    }  # fmt: skip
    trials = Trials(pl.DataFrame([row], schema=LEDGER).lazy())
    assert trials.is_first(name, hash_of(config), config.dataset_ids)
    assert not trials.is_first(name, "another", config.dataset_ids)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_later_field_counts_only_where_it_is_set(workspace: Workspace, write: Write, name: str) -> None:
    config = config_of(workspace, write, name)

    def later(**fields: int) -> ExperimentConfig:
        rules = Rules(**config.eval.model_dump(exclude_unset=True), **fields)
        scorings = tuple(Scoring(**scoring.model_dump()) for scoring in config.scorings)
        return config.model_copy(update={"eval": rules, "scorings": scorings})

    assert hash_of(later()) == WRITTEN[name][1]
    assert hash_of(later(patience_of_tomorrow=8)) != WRITTEN[name][1]


def test_a_later_field_of_engine_or_instrument_leaves_ids_and_reserves(workspace: Workspace, write: Write) -> None:
    config = config_of(workspace, write, "several")
    assert config.kept_back is not None
    (session,) = config.kept_back.sessions
    engine, instrument = Engine(**session.params.model_dump()), Instrument(**session.instrument.model_dump())
    later = session.model_copy(update={"params": engine, "instrument": instrument})
    assert later.dataset_id() == session.dataset_id()
    kept = config.kept_back.model_copy(update={"sessions": (later,)})
    assert hash_of(config.model_copy(update={"kept_back": kept})) == WRITTEN["several"][1]
    other = session.model_copy(update={"params": engine.model_copy(update={"tau_snap": 21.0})})
    assert other.dataset_id() != session.dataset_id()
