"""Combinations over sessions: what is added up is what all trades together give."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from families import evidence_by_dataset
from hypothesis import HealthCheck, given, settings, strategies as st

from vpcore.backtest.cross_validation import SPLIT_COLUMNS
from vpcore.inference.blocks import pnl_matrix
from vpcore.inference.moments import pooled_moments
from vpcore.inference.pooling import MemberTable, pool
from vpcore.kernels import resample
from vpcore.results import RUNS, TRIAL_KEY, VECTORS, ResultsDB, runs_frame
from vpcore.statistics.intervals import wilson
from vpcore.statistics.multiple_testing import standardised, step_down
from vpcore.statistics.permutation import EXACT_BELOW, JOINT_DRAWS, p_joint, p_random

NOW = datetime(2024, 1, 1, tzinfo=UTC)
IDS = ("ES_1", "ES_2", "ES_3")
SETTINGS = {"max_hold_bins": 1200, "warmup_bins": 100, "null_draws": 999}
WIDTH = 100_000_000


def meta(run_id: str, dataset_id: str, **other: Any) -> dict[str, Any]:
    return {
        "run_id": run_id, "experiment_name": "sweep", "dataset_id": dataset_id, "sources_json": f'["{dataset_id}"]',
        "signal_name": "ads", "signal_distribution": "pkg", "signal_version": 1, "code_digest": "c",
        "signal_params_json": "{}", "scoring_json": None, "eval_json": json.dumps(SETTINGS), "config_hash": "h",
        "packages_json": "{}", "host": "h", "started_utc": NOW, "finished_utc": NOW, "elapsed_seconds": 1.0,
        "status": "ok", "error": None, "traceback": None, **other,
    }  # fmt: skip


def rotations(trades: np.ndarray, draws: int = 299) -> np.ndarray:
    """What these trades pay and would have paid at other times; nothing but zeros without a trade."""
    rng = np.random.default_rng(int(np.abs(trades).sum()) + 97 * len(trades))
    other = rng.integers(-8, 9, (draws, len(trades))).sum(1)
    return np.concatenate([[trades.sum()], other]).astype(np.int32)


def figures_of(trades: np.ndarray, hits: int, blocks: np.ndarray) -> dict[str, Any]:
    """The figures of a row with these trades (whole numbers of half-ticks), as the evaluation gives them."""
    shape = np.empty(4)
    resample.moments(trades.astype(np.int64), shape)
    n = len(trades)
    se = shape[1] / 2 / np.sqrt(n) if n > 1 else np.nan
    mean = shape[0] / 2
    return {
        "n_signals": n, "n_up": n, "n_down": 0, "n_dropped": 0, "n_eff": 0.8 * n, "net_pnl_ticks": mean,
        "net_pnl_sd": shape[1] / 2, "net_pnl_skew": shape[2], "net_pnl_kurtosis": shape[3],
        "net_pnl_lo": mean - 2 * se, "net_pnl_hi": mean + 3 * se, "tp_rate": hits / n if n else np.nan,
        "mean_pnl_ticks": mean + 0.5, "block_pnl_ticks": blocks, "rotated_net": rotations(trades),
    }  # fmt: skip


def rows_of(run_id: str, several: list[dict[str, Any]]) -> pl.DataFrame:
    n = len(several)
    columns: dict[str, Any] = {name: np.full(n, 4) for name in TRIAL_KEY} | {"threshold": np.arange(n) / 4}
    for name, dtype in RUNS.items():
        if name in columns or name in ("run_id", "row", "batch_id", *SPLIT_COLUMNS):
            continue
        if dtype == pl.String:
            columns[name] = np.array([row.get(name, f"d{i}") for i, row in enumerate(several)])
            continue
        values = [row.get(name, np.nan if dtype == pl.Float64 else 0) for row in several]
        columns[name] = np.stack(values) if name in VECTORS else np.array(values)
    return runs_frame(run_id, columns)


def members(n_rows: int, ids: tuple[str, ...] = IDS, quantile: float | None = None) -> MemberTable:
    lines = [
        (i, session, f"run-{name}", i / 4, 4, 4, 4, quantile) for i in range(n_rows) for session, name in enumerate(ids)
    ]
    schema = {"combination": pl.Int64, "session": pl.Int64, "run_id": pl.String, "threshold": pl.Float64}
    schema |= dict.fromkeys(TRIAL_KEY[1:], pl.Int64) | {"threshold_quantile": pl.Float64}
    return MemberTable(ids, pl.DataFrame(lines, schema=schema, orient="row"))


@pytest.fixture
def db(tmp_path: Path) -> ResultsDB:
    return ResultsDB(tmp_path / "results")


def store(db: ResultsDB, sessions: dict[str, list[dict[str, Any]]], **other: Any) -> pl.DataFrame:
    for name, several in sessions.items():
        db.write([meta(f"run-{name}", name, **other)], rows_of(f"run-{name}", several))
    return db.query_runs(blocks=True)


trades = st.lists(st.integers(-12, 12), min_size=0, max_size=12)


@given(st.lists(trades, min_size=1, max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_moments_are_those_of_all_trades(sessions: list[list[int]]) -> None:
    lines = []
    for several in sessions:
        figures = figures_of(np.array(several), 0, np.zeros(1))
        lines.append(
            {"by": "x", "trades": len(several)}
            | {k: figures[k] for k in ("net_pnl_ticks", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis")}
        )
    found = pooled_moments(pl.DataFrame(lines).fill_nan(None), "by").row(0, named=True)
    want = np.empty(4)
    resample.moments(np.concatenate([np.array(s, dtype=np.int64) for s in sessions]), want)
    for name, value, scale in zip(
        ("net_pnl_ticks", "net_pnl_sd", "net_pnl_skew", "net_pnl_kurtosis"), want, (2, 2, 1, 1), strict=True
    ):
        if np.isnan(value):
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value / scale, rel=1e-6, abs=1e-9), name


def test_rows_of_three_sessions_are_one_row(db: ResultsDB) -> None:
    rng = np.random.default_rng(1)
    sizes = {"ES_1": (30, 4), "ES_2": (50, 0), "ES_3": (1, 20)}
    made = {
        name: [
            {
                **figures_of(rng.integers(-8, 9, n), n // 3, rng.normal(size=2)),
                "p_random": p,
                "max_concurrent": i,
                "open_bins": 3000,
            }
            for i, (n, p) in enumerate(zip(sizes[name], (0.03, 0.5), strict=True))
        ]
        for name in IDS
    }
    found, n_incomplete = pool(store(db, made), members(2), WIDTH)
    assert (found.height, n_incomplete) == (2, 0)
    first, second = found.to_dicts()
    assert (first["n_signals"], second["n_signals"]) == (81, 24)
    assert first["dataset_id"] == "ES_1 + ES_2 + ES_3"
    assert (first["run_id"], first["row"]) == ("run-ES_3", first["session_rows"][-1])
    assert first["session_runs"] == ["run-ES_1", "run-ES_2", "run-ES_3"]
    assert (first["sessions"], second["sessions"]) == (3, 3)
    nets = [made[name][0]["net_pnl_ticks"] for name in IDS]
    assert first["session_net_pnl_ticks"] == pytest.approx(nets)
    assert first["sessions_paid"] == sum(net > 0 for net in nets)
    assert first["worst_session_net"] == pytest.approx(min(nets))
    assert second["session_net_pnl_ticks"][1] is None
    assert first["net_pnl_ticks"] == pytest.approx(np.average(nets, weights=(30, 50, 1)))
    hits = 10 + 16 + 0
    assert first["tp_rate"] == pytest.approx(hits / 81)
    assert (first["tp_rate_lo"], first["tp_rate_hi"]) == pytest.approx(tuple(float(x) for x in wilson(hits, 81)))
    assert first["events_per_hour"] == pytest.approx(81 / ((3 * 3000) * 0.1 / 3600))
    assert second["max_concurrent"] == 1
    assert first["finished_utc"] == NOW
    # The interval: distances from the means add up as variances do; a session with one trade has that of a trade.
    share = np.array([30, 50, 1]) / 81
    one = 1.959963984540054 * first["net_pnl_sd"]
    below = [made[n][0]["net_pnl_ticks"] - made[n][0]["net_pnl_lo"] for n in IDS[:2]] + [one]
    above = [made[n][0]["net_pnl_hi"] - made[n][0]["net_pnl_ticks"] for n in IDS[:2]] + [one]
    assert first["net_pnl_ticks"] - first["net_pnl_lo"] == pytest.approx(np.sqrt(np.sum((share * below) ** 2)))
    assert first["net_pnl_hi"] - first["net_pnl_ticks"] == pytest.approx(np.sqrt(np.sum((share * above) ** 2)))
    for i, row in enumerate((first, second)):
        together = sum(made[name][i]["rotated_net"].astype(int) for name in IDS)
        assert row["rotated_net"] == together.tolist()
        assert row["p_random"] == (1 + (together[1:] >= together[0]).sum()) / 300
    vectors = pnl_matrix(found["block_pnl_ticks"])
    np.testing.assert_array_equal(
        vectors, [np.concatenate([made[name][i]["block_pnl_ticks"] for name in IDS]) for i in (0, 1)]
    )


def test_combinations_are_weighed_in_their_joint_draws(db: ResultsDB) -> None:
    rng = np.random.default_rng(2)
    made = {name: [figures_of(rng.integers(-8, 11, 30), 5, np.zeros(2)) for _ in range(5)] for name in IDS}
    rows, _ = pool(store(db, made), members(5), WIDTH)
    weighed, evidence = evidence_by_dataset(db, rows, min_trades=5)
    scores = standardised(sum(np.stack([row["rotated_net"] for row in made[name]]).astype(int) for name in IDS))
    np.testing.assert_array_equal(weighed["p_adj"], step_down(scores[:, 0], scores[:, 1:]))
    (about,) = evidence.values()
    assert about.dataset_id == "ES_1 + ES_2 + ES_3"
    assert about.n_rows == 5


def test_of_sessions_with_more_and_fewer_draws_those_count_that_all_have(db: ResultsDB) -> None:
    some = np.array([4, 5, -1])
    made = {
        name: [{**figures_of(some, 1, np.zeros(1)), "rotated_net": rotations(some, draws)}]
        for name, draws in zip(IDS, (299, 99, 199), strict=True)
    }
    row = pool(store(db, made), members(1), WIDTH)[0].row(0, named=True)
    together = sum(made[name][0]["rotated_net"][:100].astype(int) for name in IDS)
    assert row["rotated_net"] == together.tolist()
    assert row["p_random"] == p_random(together)


def test_a_trial_on_three_sessions_is_one_trial(db: ResultsDB) -> None:
    rng = np.random.default_rng(3)

    def some(n: int) -> list[dict[str, Any]]:
        return [{**figures_of(rng.integers(-8, 9, 30), 5, rng.normal(size=2)), "p_random": 0.1} for _ in range(n)]

    rows = store(db, {name: some(4) for name in IDS})
    pooled, _ = pool(rows, members(4), WIDTH)
    _, evidence = evidence_by_dataset(db, pooled, min_trades=5)
    assert evidence["ES_1 + ES_2 + ES_3"].n_trials == 4
    db.write(
        [meta("other", "ES_2", signal_params_json='{"a":1}')],
        rows_of("other", [row | {"trades_digest": f"x{i}"} for i, row in enumerate(some(3))]),
    )
    db.write([meta("more", "ES_4", sources_json='["ES_1"]')], rows_of("more", some(2)))  # of the same market
    _, evidence = evidence_by_dataset(db, pooled, min_trades=5)
    assert evidence["ES_1 + ES_2 + ES_3"].n_trials == 4 + 3 + 2
    _, single = evidence_by_dataset(db, rows.filter(pl.col("dataset_id") == "ES_2"), min_trades=5)
    assert single["ES_2"].n_trials == 4 + 3


def test_combinations_that_lack_a_session_are_left_out_and_counted(db: ResultsDB) -> None:
    rng = np.random.default_rng(4)
    made = {
        name: [figures_of(rng.integers(-8, 9, 9), 2, rng.normal(size=2)) for _ in range(n)]
        for name, n in (("ES_1", 3), ("ES_2", 2), ("ES_3", 3))
    }
    found, n_incomplete = pool(store(db, made), members(3), WIDTH)
    assert (found.height, n_incomplete) == (2, 1)
    nothing, n_incomplete = pool(db.query_runs(run_id=["none"], blocks=True), members(3), WIDTH)
    assert (nothing.height, n_incomplete) == (0, 3)
    assert nothing.columns == found.columns
    weighed, evidence = evidence_by_dataset(db, nothing, min_trades=5)
    assert (weighed.height, evidence) == (0, {})


def test_without_draws_there_is_no_interval_and_no_p(db: ResultsDB) -> None:
    none = {"net_pnl_lo": np.nan, "net_pnl_hi": np.nan, "rotated_net": np.zeros(0, int)}
    made = {name: [{**figures_of(np.array([2, -1, 4]), 1, np.ones(2)), **none}] for name in IDS}
    row = pool(store(db, made), members(1), WIDTH)[0].row(0, named=True)
    assert (row["net_pnl_lo"], row["net_pnl_hi"], row["p_random"]) == (None, None, None)
    assert row["net_pnl_sd"] is not None


@pytest.mark.slow
def test_the_combined_p_is_uniform_on_noise(db: ResultsDB) -> None:
    """On sessions of different sizes and skewness the sums reject as often as they say."""
    rng = np.random.default_rng(5)
    n = 2000
    made = {
        name: [
            {**figures_of(np.array([1, -1] * size), 1, np.zeros(1)), "rotated_net": pay(rng, (200, size)).sum(1)}
            for _ in range(n)
        ]
        for name, size, pay in zip(
            IDS,
            (10, 20, 5),
            (
                lambda r, s: r.integers(-8, 9, s),
                lambda r, s: r.choice([2, 2, 2, -6], s),
                lambda r, s: r.integers(0, 2, s),
            ),
            strict=True,
        )
    }
    p = pool(store(db, made), members(n), WIDTH)[0]["p_random"].to_numpy()
    for level in (0.01, 0.05, 0.1, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / n) + 0.005)
    assert 0.0 < p.min() < p.max() <= 1.0


def test_a_joint_p_value_counts_combinations_of_draws() -> None:
    rng = np.random.default_rng(3)
    sums = rng.normal(size=(3, 100)).round(2) * 100
    sums[:, 0] += 250
    sums = sums.astype(np.int32)
    pairs = sums[0][:, None] + sums[1][None, :]
    assert p_random(sums[:2].sum(axis=0)) == 0.01
    assert p_joint(sums[:2]) == np.mean(pairs >= pairs[0, 0]) < 0.002
    triples = pairs[:, :, None] + sums[2]
    exact = np.mean(triples >= triples[0, 0, 0])
    assert p_joint(sums) == pytest.approx(exact, abs=1e-5 + 5 * np.sqrt(exact / JOINT_DRAWS))
    assert p_joint(sums[:1]) == p_random(sums[0])
    assert p_joint(-sums) == p_random(-sums.sum(axis=0)) > EXACT_BELOW


@pytest.mark.slow
@pytest.mark.parametrize("n_sessions", [2, 3])
def test_the_joint_p_value_of_noise_is_as_small_as_it_says(n_sessions: int) -> None:
    """Down to a hundredth of what as many draws can tell one by one."""
    rng = np.random.default_rng(n_sessions)
    n = 40_000
    skewed = rng.exponential(1000.0, size=(n, n_sessions, 100)).astype(np.int32)
    p = np.array([p_joint(row) for row in skewed])
    for level in (0.0003, 0.001, 0.005, 0.02, 0.1):
        assert 0.7 * level < np.mean(p <= level) < level + 3 * np.sqrt(level / n)


def test_the_digest_of_a_pooled_row_is_one_of_its_sessions_digests(db: ResultsDB) -> None:
    def pooled(*of_rows: tuple[str, str, str]) -> list[str]:
        own = ResultsDB(db.root / "-".join(sum(of_rows, ())))
        figures = figures_of(np.array([1, 2, 3]), 1, np.ones(2))
        made = {name: [{**figures, "trades_digest": digests[i]} for digests in of_rows] for i, name in enumerate(IDS)}
        return pool(store(own, made), members(len(of_rows)), WIDTH)[0]["trades_digest"].to_list()

    one, other, again, swapped = pooled(("a", "b", "c"), ("a", "b", "d"), ("a", "b", "c"), ("b", "a", "c"))
    assert one == again
    assert len({one, other, swapped}) == 3
    assert len(one) == 16
