"""Instruments with the same prices are one market: of the ledger, of reserves, of trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from vpcore import ConfigError, Workspace
from vpcore.config.serialize import pipeline_block
from vpcore.dataset.reserve import Reserve, Reserves
from vpcore.experiment.reserve import declare_reserve, reserve_of
from vpcore.results import MarketWindow, Trials
from vpcore.results.ledger import LEDGER

Write = Callable[[str, str], Path]

MICRO = "name: {name}\nserving: {name}\n{more}"


def experiment(workspace: Workspace, write: Write, symbol: str, more: str = "reserve: {share: 0.5}\n") -> str:
    name = symbol.lower()
    capture = f"{{symbol: {symbol}, date: 2023-12-25, start_time: '18:00', end_time: '18:59'}}"
    write(f"pipelines/{name}", f"name: {name}\ncapture: {capture}\n")
    write(f"serving/{name}", f"name: {name}\npipeline: {name}\nsignal: {{name: plain}}\n")
    write(f"experiments/{name}", MICRO.format(name=name, more=more))
    return name


def test_packaged_micros_belong_to_the_market_of_their_prices(workspace: Workspace) -> None:
    markets = workspace.specs.markets()
    others = {root: market.root for root, market in markets.items() if root != market.root}
    assert others == {
        "M2K": "RTY", "MBT": "BTC", "MCL": "CL", "MES": "ES", "MET": "ETH", "MGC": "GC", "MNQ": "NQ", "MYM": "YM",
    }  # fmt: skip
    assert markets["ES"] == markets["MES"]
    assert markets["ZN"] == ("ZN", workspace.instrument("ZNH4").symbols)


def test_a_file_of_the_workspace_inherits_the_group_and_may_leave_it(workspace: Workspace, write: Write) -> None:
    own = "root: MES\ntick_size: 0.25\nmultiplier: 5\n"
    write("instruments/MES", own)
    assert workspace.specs.markets()["MES"].root == "ES"
    write("instruments/MES", own + "price_group: MES\n")
    assert workspace.specs.markets()["MES"].root == "MES"
    write("instruments/MES", own + "price_group: MNQ\n")
    with pytest.raises(ConfigError, match=r"price_group of instrument MES is MNQ, whose own price_group is NQ"):
        workspace.specs.markets()


def test_no_manifest_and_no_id_knows_the_group(workspace: Workspace, write: Write) -> None:
    name = experiment(workspace, write, "MESH4")
    session = workspace.experiment(name).to_harness_config().sessions[0]
    assert session.instrument.price_group == "ES"
    assert "price_group" not in pipeline_block(session)["instrument"]


def test_trials_of_both_instruments_are_of_one_market(workspace: Workspace) -> None:
    rows = [
        dict.fromkeys(LEDGER) | {"dataset_id": f"{root}_1", "root": root, "start_ns": 0, "end_ns": 9, "sources_json": "[]"}
        for root in ("ES", "MES", "NQ")
    ]  # fmt: skip
    workspace.results.ledger.append("aa", pl.DataFrame(rows, schema=LEDGER))
    trials = workspace.results.trials()
    assert trials.market("MES_1") == ["ES_1", "MES_1"]
    assert trials.market("NQ_1") == ["NQ_1"]
    stored = workspace.results.ledger.rows().collect()
    assert sorted(stored["root"]) == ["ES", "MES", "NQ"]  # as they were written
    assert Trials(stored.lazy()).market("MES_1") == ["MES_1"]


def test_a_reserve_holds_for_every_instrument_of_its_prices(workspace: Workspace, write: Write) -> None:
    big, micro = (
        workspace.experiment(experiment(workspace, write, symbol)).to_harness_config() for symbol in ("ESH4", "MESH4")
    )
    assert declare_reserve(workspace, big) == []
    (reserve,) = workspace.reserves.all()
    session = micro.sessions[0]
    window = (session.start_ns, session.n_bins, session.width_ns)
    assert workspace.reserves.open_bins("MESH4", *window) == session.n_bins // 2
    assert workspace.reserves.open_bins("NQH4", *window) == session.n_bins
    # The same data and budget are one reserve, and its confirmations are shared.
    assert micro.reserve is not None
    assert micro.reserve.id == reserve.id
    assert declare_reserve(workspace, micro) == []
    assert len(workspace.reserves.all()) == 1
    other = workspace.experiment(experiment(workspace, write, "MESH4", "reserve: {share: 0.4}\n")).to_harness_config()
    with pytest.raises(ConfigError, match=r"The reserve of 'mesh4' overlaps the reserve of 'esh4'"):
        declare_reserve(workspace, other)
    none = workspace.experiment(experiment(workspace, write, "MESH4", "")).to_harness_config()
    (said,) = declare_reserve(workspace, none)
    assert "the rest is the reserve of experiment 'esh4'" in said


def test_data_that_one_instrument_looked_at_are_no_reserve_of_another(workspace: Workspace, write: Write) -> None:
    micro = workspace.experiment(experiment(workspace, write, "MESH4")).to_harness_config()
    session = micro.sessions[0]
    seen = MarketWindow("ES", session.start_ns, session.end_ns)
    row = dict.fromkeys(LEDGER) | seen._asdict() | {"experiment_name": "looked", "sources_json": "[]"}
    workspace.results.ledger.append("aa", pl.DataFrame([row], schema=LEDGER))
    with pytest.raises(ConfigError, match=r"was evaluated before: the ledger has 1 trials there, of 'looked'"):
        declare_reserve(workspace, micro)


def test_reserves_from_before_price_groups_hold_and_stay_the_same(workspace: Workspace, write: Write) -> None:
    micro = workspace.experiment(experiment(workspace, write, "MESH4")).to_harness_config()
    assert micro.reserve is not None
    windows, session = micro.reserve.windows, micro.sessions[0]
    old = Reserve("MES", workspace.instrument("MESH4").symbols, windows, micro.reserve.budget, "before")
    Reserves(workspace.ledger_dir).declare(old)
    again = Workspace(workspace.root, plugins=workspace.plugins)
    found = reserve_of(again, micro)
    assert found is not None
    assert found.id == old.id != micro.reserve.id
    assert declare_reserve(again, micro) == []
    assert len(again.reserves.all()) == 1
    assert again.reserves.open_bins("ESH4", session.start_ns, session.n_bins, session.width_ns) == session.n_bins // 2
