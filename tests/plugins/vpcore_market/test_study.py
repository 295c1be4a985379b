"""The study of size and power: its arithmetic against slow and obvious answers, and that it notices a broken test."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vpcore import Component, hookimpl
from vpcore.backtest.session import Session
from vpcore.engine import EngineParams
from vpcore.errors import PluginError, StorageError
from vpcore.plugins.manager import Plugins
from vpcore.rules import TradeRules
from vpcore.statistics.permutation import EXACT_BELOW
from vpcore_cli.app import run
from vpcore_market.datasets import simulated_dataset
from vpcore_market.params import SyntheticParams
from vpcore_market.study import Study, run_study, worlds
from vpcore_market.study.plan import ALPHA, LENGTH, NULL, engine_params, load_signals, world_key
from vpcore_market.study.run import MARKETS, plain_json, run_scenarios
from vpcore_market.study.scenarios import SCENARIOS, Case, summarise_cases, with_halt
from vpcore_market.study.summary import (
    POOLED,
    clustered_share,
    coverages,
    false_winners,
    kolmogorov,
    naive,
    one_of_each,
    reference,
    sizes,
    summarise,
)
from vpcore_market.study.write import write_study

PLUGIN = Path(__file__).parent / "plugin"
SMALL: dict[str, Any] = {
    "seeds": 4, "power_seeds": 2, "scenario_seeds": 0, "minutes": 20.0, "alphas": (1.0,), "lengths": (10.0,), "signals": ("tilt",),
    "tp_sl_ticks": ((4, 4), (8, 4)), "cell_width_ms": 500, "grid_radius_ticks": 8, "draws": 99,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(PLUGIN))
    yield
    sys.modules.pop("vp_study_signals", None)


@pytest.fixture
def plugins() -> Plugins:
    module = ModuleType("study_test_plugin")
    module.vp_signals = hookimpl(  # type: ignore[attr-defined]
        lambda: [Component(name.lower(), f"vp_study_signals:{name}", "For tests.") for name in ("Tilt", "Ahead")]
    )
    found = Plugins([], disable=[])
    found.register(module, "tests")
    return found


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_which_markets() -> None:
    study = Study(**{**SMALL, "alphas": (0.6, 1.0), "lengths": (10.0, 20.0)})
    found = worlds(study)
    assert [world.part for world in found] == [NULL] * 4 + [ALPHA] * 4 + [LENGTH] * 2  # 0.6 at 20 minutes once
    assert len(set(found)) == len(found)
    assert {world.prices for world in found if world.part == NULL} == {("mid",)}
    assert all(world.alpha == 0.0 for world in found if world.part == NULL)
    assert found[0].market.duration_s == 1200


def test_only_the_columns_that_signals_read(plugins: Plugins) -> None:
    study = Study(**SMALL)
    signals = load_signals(plugins, study.signals)
    assert engine_params(study, signals).grid_columns == ("v_add", "v_pull", "v_fill", "pressure")


def test_a_market_is_named_by_all_that_decides_its_rows(plugins: Plugins) -> None:
    study = Study(**SMALL)
    signals = load_signals(plugins, study.signals)
    first = worlds(study)[0]
    key = world_key(study, first, signals)
    assert world_key(study.model_copy(update={"seeds": 9, "alphas": (0.1,)}), first, signals) == key
    for changed in ({"draws": 199}, {"cell_width_ms": 250}, {"hold_s": 60.0}, {"tp_sl_ticks": ((4, 4),)}):
        assert world_key(study.model_copy(update=changed), first, signals) != key
    assert world_key(study, worlds(study)[1], signals) != key
    assert world_key(study, first, load_signals(plugins, ("tilt", "ahead"))) != key


# -- running -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped_and_gives_the_same_bytes(tmp_path: Path, plugins: Plugins) -> None:
    study = Study(**SMALL)
    seen: list[float] = []

    def stop(now: Any) -> None:
        seen.append(now.done)
        if now.done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "a", plugins=plugins, on_progress=stop)
    there = sorted((tmp_path / "a" / MARKETS).iterdir())
    assert len(there) == 2
    before = {path: path.stat().st_mtime_ns for path in there}
    one = write_study(study, tmp_path / "a", command="again", plugins=plugins)
    assert {path: path.stat().st_mtime_ns for path in there} == before
    two = write_study(study, tmp_path / "b", command="again", workers=2, plugins=plugins)
    for a, b in ((one.results, two.results), (one.page, two.page), *zip(one.pictures, two.pictures, strict=True)):
        assert a.read_bytes() == b.read_bytes()
    assert one.pictures[0].read_bytes().startswith(b"\x89PNG")
    text = one.page.read_text()
    assert "4 markets without any effect" in text
    assert "](images/calibration-size.png)" in text
    assert "{" not in text
    answers = json.loads(one.results.read_text())
    assert answers["null"]["markets"] == 4
    assert [point["alpha"] for point in answers["power"]["alpha"]] == [1.0]
    assert [point["minutes"] for point in answers["power"]["length"]] == [10.0]

    next(iter((tmp_path / "b" / MARKETS).iterdir())).write_bytes(b"PK broken")
    with pytest.raises(StorageError, match="cannot be read: .* Delete it and run the study again"):
        run_study(study, tmp_path / "b", plugins=plugins)


@pytest.mark.slow
def test_the_effect_is_found_and_looking_ahead_is_noticed(tmp_path: Path, plugins: Plugins) -> None:
    asked = {"seeds": 6, "power_seeds": 4, "minutes": 60.0, "signals": ("ahead", "tilt"), "lengths": ()}
    study = Study(**{**SMALL, **asked})
    found = run_study(study, tmp_path, plugins=plugins)
    answers = summarise(study, found)
    by_signal = {(item["signal"], item["size"]): item for item in answers["null"]["size"]}
    assert by_signal["tilt", 0.05]["share"] < 0.25  # six markets say no more
    assert not by_signal["ahead", 0.05]["kept"]
    assert by_signal["ahead", 0.05]["share"] > 0.6
    assert answers["null"]["false_winners"]["p_adj"]["share"] > 0.5
    (point,) = answers["power"]["alpha"]
    assert point["mid"]["signals"]["tilt"]["share"] >= 0.75
    assert point["touch"]["net"]["tilt"] < point["mid"]["net"]["tilt"]
    for world, columns in found.items():
        known = (
            columns["p_random"] > EXACT_BELOW
        )  # below, all rotations are counted, and ties are broken among the drawn
        assert (columns["p_uniform"][known] <= columns["p_random"][known]).all()
        assert (columns["p_uniform"][known] > 0).all()
        if world.part == NULL:
            assert (np.abs(columns["fair_ticks"]) < 0.5).all()  # nothing to be had without knowledge
    # With one draw in a hundred tied, breaking ties moves a p-value by far less than the p-value itself can be.
    assert np.nanmax(np.abs(columns["p_random"] - columns["p_uniform"])) < 0.2


# -- arithmetic --------------------------------------------------------------------------------------------------------


def test_a_market_is_one_observation_however_many_rows_it_has() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random(200) < 0.3
    share, error, n = clustered_share(hits, np.arange(200))
    assert (share, n) == (hits.mean(), 200)
    assert error == pytest.approx(math.sqrt(hits.var(ddof=1) / 200))
    again, same, n = clustered_share(np.repeat(hits, 50), np.repeat(np.arange(200), 50))
    assert (again, n) == (pytest.approx(share), 10_000)
    assert same == pytest.approx(error)
    assert math.isnan(clustered_share(np.zeros(0, bool), np.zeros(0, int))[0])


def test_the_error_of_a_share_is_what_repetition_shows() -> None:
    shares, errors = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        common = np.repeat(rng.normal(size=60), 20)
        hits = common + rng.normal(size=1200) > 1.5
        share, error, _ = clustered_share(hits, np.repeat(np.arange(60), 20))
        shares.append(share)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.12)


def test_kolmogorov_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    for n in (20, 100, 400):
        for power in (1.0, 1.2):
            p = rng.random(n) ** power
            expected = stats.kstest(p, "uniform")
            distance, by_chance = kolmogorov(p)
            assert distance == pytest.approx(expected.statistic)
            assert by_chance == pytest.approx(expected.pvalue, abs=0.012)


def made_up(p: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of as many markets as `p` has rows and as many rows each as it has columns, of the signal ``tilt``."""
    n_markets, n_rows = p.shape
    n = p.size
    ones = np.ones(n)
    rows = {
        "market": np.repeat(np.arange(n_markets), n_rows),
        "signal": np.full(n, "tilt"),
        "p_random": p.ravel(), "p_uniform": p.ravel(), "p_adj": ones, "dsr": 0 * ones,
        "n_signals": np.full(n, 100), "n_dropped": np.zeros(n, int),
        "net_pnl_ticks": ones, "net_pnl_lo": -ones, "net_pnl_hi": ones, "fair_ticks": 0 * ones,
        "tp_rate": 0.5 * ones, "timeout_rate": 0 * ones, "breakeven_rate": 0.5 * ones,
        "tp_ticks": np.full(n, 4), "sl_ticks": np.full(n, 4), "level": np.tile(np.arange(n_rows), n_markets),
        "cooldown_bins": np.full(n, 12),
    }  # fmt: skip
    return rows | {name: column.ravel() for name, column in more.items()}


def test_a_test_that_is_not_of_its_size_is_called_out() -> None:
    study = Study(**SMALL)
    honest = np.random.default_rng(0).random((400, 4))
    assert all(item["kept"] for item in sizes(made_up(honest), study))
    too_small = sizes(made_up(honest**1.4), study)
    assert [item["kept"] for item in too_small if item["signal"] == POOLED] == [False, False, False]
    # The same p-value in every row of a market is one p-value: what a naive error would condemn is chance.
    copied = np.repeat(np.random.default_rng(3).random((60, 1)), 50, axis=1)
    for item in sizes(made_up(copied), study):
        assert item["error"] > 0.6 * math.sqrt(item["size"] * (1 - item["size"]) / 60) * (item["share"] > 0)


def test_one_row_of_each_market_is_drawn() -> None:
    p = np.arange(40).reshape(10, 4) / 40.0
    p[3] = np.nan
    drawn = one_of_each(made_up(p))
    assert len(drawn) == 9
    assert [int(value * 10) for value in drawn] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert len({int(value * 40) % 4 for value in drawn}) > 1
    assert reference(made_up(p), Study(**SMALL)).sum() == 10


def test_winners_are_counted_by_experiment() -> None:
    p = np.full((10, 4), 0.5)
    p_adj, lo = np.ones((10, 4)), np.full((10, 4), -1.0)
    p_adj[2, 1] = p_adj[2, 3] = p_adj[5, 0] = 0.04
    lo[5, 0] = lo[7, 0] = 0.1
    found = false_winners(made_up(p, p_adj=p_adj, net_pnl_lo=lo))
    assert (found["p_adj"]["share"], found["screen"]["share"], found["p_random"]["share"]) == (0.2, 0.1, 0.0)
    few = np.full((10, 4), 29)
    assert false_winners(made_up(p, p_adj=p_adj, net_pnl_lo=lo, n_signals=few))["screen"]["share"] == 0.0


def test_the_naive_winner_is_the_best_row_with_enough_trades() -> None:
    net = np.array([[1.0, 5.0, -1.0], [-3.0, -2.0, -9.0]])
    trades = np.array([[100, 20, 100], [100, 100, 100]])
    found = naive(made_up(np.full((2, 3), 0.5), net_pnl_ticks=net, n_signals=trades))
    assert found["net_pnl_ticks"]["values"] == [1.0, -2.0]
    assert found["net_pnl_ticks"]["profitable"]["share"] == 0.5


def test_coverage_is_of_what_a_trade_is_worth_and_not_of_0() -> None:
    lo, hi = np.full((6, 2), -0.1), np.full((6, 2), 0.1)
    rows = made_up(np.full((6, 2), 0.5), net_pnl_lo=lo, net_pnl_hi=hi, fair_ticks=np.full((6, 2), -0.2))
    by_group = {item["rows_of"]: item for item in coverages(rows, Study(**SMALL))}
    assert by_group[POOLED]["share"] == 0.0
    rows["fair_ticks"] = rows["fair_ticks"] * 0.0
    assert {item["rows_of"]: item for item in coverages(rows, Study(**SMALL))}[POOLED]["share"] == 1.0


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--signal", "tilt"], "No signal is called 'tilt'"),
        (["--seeds", "1"], "The study cannot be run: seeds: Input should be greater than or equal to 2, was 1"),
        (["--minutes", "5"], "minutes: Input should be greater than or equal to 10, was 5"),
        (["--draws", "9"], "draws: Input should be greater than or equal to 99, was 9"),
    ],
)
def test_what_the_command_refuses(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert run(["calibrate", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_what_does_not_keep_its_word_is_said() -> None:
    from vpcore_market.commands.calibrate import broken_promises

    def answers(kept: bool, share: float, one: float = 0.05, planted: float = 0.95) -> dict[str, Any]:
        size = [
            {"signal": "tilt", "size": 0.05, "share": 0.5, "error": 0.01, "kept": False},
            {"signal": POOLED, "size": 0.05, "share": 0.09, "error": 0.01, "kept": kept},
        ]
        scenarios = [
            {"scenario": "ten", "market": "bursty", "share": 0.3, "of": 200, "required": None},
            {"scenario": "one", "market": "bursty", "share": one, "of": 200, "required": 0.08},
            {"scenario": "planted", "market": "bursty", "share": planted, "of": 200, "required": 0.9},
        ]
        return {"null": {"size": size, "false_winners": {"p_adj": {"share": share, "of": 200}}}, "scenarios": scenarios}

    assert broken_promises(answers(True, 0.08)) == []
    assert broken_promises(answers(False, 0.02)) == ["p_random <= 0.05 too often: in 0.0900 of the rows, error 0.0100."]
    assert "0.0900 of the experiments have a winner" in broken_promises(answers(True, 0.09))[0]
    assert broken_promises(answers(True, 0.08, one=0.1, planted=0.8)) == [
        "Scenario one in the bursty market: 10.0% of 200, at most 8.0% required.",
        "Scenario planted in the bursty market: 80.0% of 200, at least 90.0% required.",
    ]


def test_without_the_package_that_draws_nothing_is_simulated(
    tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vpcore_report.style", None)
    monkeypatch.delitem(sys.modules, "vpcore_market.study.figures", raising=False)
    message = "Pictures of simulated markets need vpcore-report, which is not installed. Run: pip install vpcore-report"
    with pytest.raises(PluginError, match=message):
        write_study(Study(**SMALL), tmp_path, command="x", plugins=plugins)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_scenarios_of_one_market(plugins: Plugins, tmp_path: Path) -> None:
    """Every figure is a p-value; foresight is found in all of them, and a stored market is read and not computed."""
    study = Study(**{**SMALL, "scenario_seeds": 1, "minutes": 20.0, "signals": ("ahead",)})
    found = run_scenarios(study, tmp_path, plugins=plugins)
    assert sorted((case.mode, case.seed) for case in found) == [("bursty", 1), ("exogenous", 1)]
    for p in found.values():
        assert set(p) == set(SCENARIOS)
        assert all(0.0 < value <= 1.0 for value in p.values())
        assert max(p["one"], p["closed"], p["planted"]) <= 0.1  # a signal that looks ahead
    (path,) = (p for p in (tmp_path / MARKETS).glob("*.json") if json.loads(p.read_bytes()) == found[Case("bursty", 1)])
    path.write_bytes(plain_json(dict.fromkeys(SCENARIOS, 0.5)))
    assert set(run_scenarios(study, tmp_path, plugins=plugins)[Case("bursty", 1)].values()) == {0.5}
    lines = {(line["scenario"], line["market"]): line for line in summarise_cases(found)}
    assert lines["planted", "bursty"]["hits"] == 1
    assert lines["ten", "bursty"]["required"] is None


def test_a_halt_takes_a_third_of_a_session() -> None:
    dataset = simulated_dataset(SyntheticParams(seed=3, duration_s=600.0), EngineParams(cell_width_ms=200))
    closed = with_halt(dataset)
    assert closed.n_bins == 1.5 * dataset.n_bins
    market = Session(closed).market
    opened = market.opened(TradeRules(tp_ticks=4, sl_ticks=4))
    assert (~opened).sum() == pytest.approx(closed.n_bins / 3 - 300, abs=5)  # closed after a minute
    still = slice(dataset.n_bins // 2, dataset.n_bins)
    assert len(set(market.mid2[still])) == 1
    assert not market.event_counts[still].any()


@pytest.mark.slow
def test_the_bursty_market_is_the_exogenous_one_on_another_clock() -> None:
    """The same walk and flow, so the same mids in the same order; the clock alone is another."""
    narrow = EngineParams(cell_width_ms=10, grid_radius_ticks=4)
    calm, bursty = (
        simulated_dataset(SyntheticParams(seed=5, duration_s=900.0, events_per_second=14.0, mode=mode), narrow)
        for mode in ("exogenous", "bursty")
    )
    mids = [dataset.bin("best_bid_price_int") + dataset.bin("best_ask_price_int") for dataset in (calm, bursty)]
    counts = [dataset.bin("bin_event_count").reshape(-1, 100).sum(1) for dataset in (calm, bursty)]
    fano = [count.var() / count.mean() for count in counts]
    assert fano[0] < 1.3
    assert fano[1] > 10
    assert all(mid[0] == mids[0][0] for mid in mids)
