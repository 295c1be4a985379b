"""The figures of a market against slow and obvious ones, and what they say of the two modes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from naive_replay import replay

from vpcore_cli.app import run
from vpcore_market.source import Simulation, SyntheticParams, write_synthetic
from vpcore_market.stylised_facts import facts_of_market


@pytest.fixture(scope="module")
def params() -> SyntheticParams:
    return SyntheticParams(duration_s=600, seed=3, mode="natural")


@pytest.mark.slow
def test_figures_are_those_of_an_independent_book(params: SyntheticParams) -> None:
    found = facts_of_market(params)
    records = np.concatenate([part.copy() for part in Simulation(params)])
    seen = replay(records)
    assert found["events_per_second"] == pytest.approx(seen.events / 600)
    live = records[records["flags"] & 32 == 0]
    assert found["records_per_event"] == pytest.approx(len(live) / seen.events)
    assert found["add_share"] == pytest.approx(np.mean(live["action"] == ord("A")))
    assert found["trade_size_p90"] == np.percentile(live["size"][live["action"] == ord("T")], 90)
    times = np.array(seen.times)
    assert found["gap_ms_p50"] == pytest.approx(np.median(np.diff(times)) / 1e6)
    ends = params.start_ns + np.arange(1, 6001) * 10**8
    at = np.searchsorted(times, ends) - 1
    after = at >= 0
    touches = np.array(seen.touches)[at[after]]
    spread = np.concatenate([np.ones((~after).sum()), touches[:, 1] - touches[:, 0]])
    assert found["spread_1"] == pytest.approx(np.mean(spread == 1))
    sizes = np.array(seen.sizes_at_touch)[at[after]][touches[:, 1] - touches[:, 0] == 1]
    assert found["depth_0"] == pytest.approx(sizes.mean(), rel=0.02)


@pytest.mark.slow
def test_the_natural_market_is_bursty_and_predicts_itself(params: SyntheticParams) -> None:
    natural = facts_of_market(params.model_copy(update={"duration_s": 3600.0}))
    even = facts_of_market(SyntheticParams(duration_s=3600, seed=3))
    assert natural["fano_1s"] > 10 > 2 > even["fano_1s"]
    assert natural["gap_ms_p50"] < 1 < even["gap_ms_p50"]
    assert natural["imbalance_auc"] > 0.52


@pytest.mark.slow
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vpcore_report")
    path = tmp_path / "a.dbn.zst"
    write_synthetic(path, SyntheticParams(duration_s=60))
    assert run(["inspect-market", str(path), "--png", str(tmp_path / "a.png")]) == 0
    out = capsys.readouterr().out
    assert "ESU5" in out
    assert "spread_1" in out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert run(["inspect-market", str(path), "--from", "noon"]) == 2
    assert "--from must be a UTC time such as" in capsys.readouterr().err
