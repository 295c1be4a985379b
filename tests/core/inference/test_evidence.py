"""What rows are worth together: counted over the lake, adjusted, put in words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from families import evidence_by_dataset

from vpcore.experiment.tables import session_of
from vpcore.inference import blocks, ranking
from vpcore.inference.blocks import pnl_matrix
from vpcore.inference.evidence import MARKS, mark, overfitting, too_few, verdict
from vpcore.inference.ranking import Family, adjusted, by_evidence, with_evidence
from vpcore.inference.summaries import Evidence
from vpcore.results import RUNS, TRIAL_KEY, ResultsDB, runs_frame
from vpcore.results.compact import compact
from vpcore.statistics.multiple_testing import standardised, step_down
from vpcore.statistics.sharpe import deflated_sharpes

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def meta(run_id: str, **other: Any) -> dict[str, Any]:
    return {
        "run_id": run_id, "experiment_name": "sweep", "dataset_id": "ES_1", "sources_json": '["aa"]',
        "signal_name": "ads", "signal_distribution": "pkg", "signal_version": 1, "code_digest": "c",
        "signal_params_json": f'{{"of":"{run_id}"}}', "scoring_json": None, "eval_json": '{"max_hold_bins":1200}', "config_hash": "h",
        "packages_json": "{}", "host": "h", "started_utc": NOW, "finished_utc": NOW, "elapsed_seconds": 1.0,
        "status": "ok", "error": None, "traceback": None, **other,
    }  # fmt: skip


def rotations(blocks: np.ndarray) -> np.ndarray:
    """What rows pay and have paid in 199 draws, made of their blocks so that rows differ."""
    own = np.rint(2 * blocks.sum(axis=1, keepdims=True)).astype(int)
    return np.concatenate([own, np.random.default_rng(own.size).integers(-30, 30, (len(own), 199))], axis=1)


def rows(run_id: str, blocks: np.ndarray, **figures: Any) -> pl.DataFrame:
    n = blocks.shape[0]
    columns: dict[str, Any] = {name: np.full(n, 4) for name in TRIAL_KEY} | {"threshold": np.arange(n) / 4}
    columns |= {name: np.zeros(n) for name, kind in RUNS.items() if kind == pl.Float64 and name not in columns}
    columns |= {name: np.full(n, 20) for name in ("n_signals", "n_up")} | {"n_dropped": np.zeros(n, int)}
    columns |= {"net_pnl_ticks": blocks.sum(1) / 20, "net_pnl_sd": np.full(n, 2.0), "net_pnl_kurtosis": np.full(n, 3.0)}
    columns |= {"n_eff": np.full(n, 15.0), "block_pnl_ticks": blocks, "rotated_net": rotations(blocks), **figures}
    return runs_frame(run_id, columns)


@pytest.fixture
def db(tmp_path: Path) -> ResultsDB:
    return ResultsDB(tmp_path / "results")


def test_trials_are_counted_over_all_datasets_of_the_market(db: ResultsDB) -> None:
    block = np.zeros((2, 3))
    db.write([meta("r1")], rows("r1", block))
    db.write([meta("r1")], rows("r1", block))  # again
    db.write([meta("r2", status="failed", error="x")], rows("r2", block))
    db.write([meta("r3", dataset_id="ES_2", sources_json='["bb","aa"]')], rows("r3", block))
    db.write([meta("r4", dataset_id="NQ_1")], rows("r4", block))  # another symbol of the same file
    db.write([meta("r5", dataset_id="ES_3", sources_json='["cc"]')], rows("r5", block))
    trials = db.trials()
    assert trials.market("ES_1") == trials.market("ES_2") == ["ES_1", "ES_2"]
    assert trials.market("ES_3") == ["ES_3"]
    assert trials.market("nothing") == ["nothing"]
    assert trials.count(["ES_1"]) == trials.count(["ES_2"]) == 6
    assert trials.count(["ES_1", "NQ_1"]) == 8


def test_the_figures_are_those_of_the_parts(db: ResultsDB) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 2, (3, 12)), rng.normal(0, 2, (2, 12))
    db.write([meta("r1"), meta("r2")], pl.concat([rows("r1", first), rows("r2", second)]))
    db.write([meta("r9", dataset_id="ES_2")], rows("r9", rng.normal(0, 2, (4, 12))))
    found = db.query_runs(dataset_id="ES_1", sort="net_pnl_ticks", blocks=True)
    weighed, evidence = evidence_by_dataset(db, found, min_trades=5)
    assert weighed["row"].to_list() == found["row"].to_list()
    assert "block_pnl_ticks" not in weighed.columns
    about = evidence["ES_1"]
    assert (about.n_rows, about.n_trials) == (5, 9)
    assert about.pbo is not None
    assert about.expected_best_sharpe is not None
    in_order = weighed.sort("run_id", "threshold")
    scores = standardised(np.concatenate([rotations(first), rotations(second)]))
    among_five = step_down(scores[:, 0], scores[:, 1:])
    np.testing.assert_array_equal(in_order["p_adj"], among_five)  # nothing was seen before these were asked for
    assert 0 < in_order["p_adj"].min() < in_order["p_adj"].max()
    assert about.first
    assert about.n_adjusted == 5
    everything = db.query_runs()
    variance = float(np.var(everything["net_pnl_ticks"].to_numpy() / 2.0, ddof=1))
    sharpe = first[0].sum() / 20 / 2.0
    assert in_order["dsr"][0] == pytest.approx(
        deflated_sharpes([sharpe], [15.0], [0.0], [3.0], variance=variance, n_trials=9)[0]
    )
    assert weighed["n_trials"].to_list() == [9] * 5
    again, _ = evidence_by_dataset(db, found, min_trades=5)
    assert again.equals(weighed)


def test_a_later_batch_pays_for_every_trial_of_the_market(db: ResultsDB) -> None:
    """A second experiment of near-copies around a winner: its rows are no family of their own in the dark."""
    rng = np.random.default_rng(0)
    db.write([meta("r1")], rows("r1", rng.normal(1, 2, (3, 12)), p_random=[0.001, 0.2, 0.5]))
    later = NOW.replace(hour=1)
    copies = rows("r2", rng.normal(1, 2, (2, 12)), p_random=[0.001, 0.3])
    db.write([meta("r2", config_hash="other", started_utc=later)], copies)
    found = db.query_runs(blocks=True).with_columns(family=pl.col("run_id"))
    families = {
        "r1": Family("sweep", "ES_1", 5, config_hash="h"),
        "r2": Family("sweep", "ES_1", 5, config_hash="other"),
    }
    weighed, evidence = with_evidence(db, found, families)
    assert (evidence["r1"].first, evidence["r2"].first) == (True, False)
    assert (evidence["r1"].n_adjusted, evidence["r2"].n_adjusted) == (3, 5)
    p = weighed.filter(family="r2").sort("threshold")["p_adj"]
    np.testing.assert_allclose(p, 1 - (1 - np.array([0.001, 0.3])) ** 5)
    # A search looks at every round, so its rows pay for all that it could have chosen, also where nothing was before.
    searched = {name: replace(family, n_choices=40) for name, family in families.items()}
    weighed, evidence = with_evidence(db, found, searched)
    assert not any(about.first for about in evidence.values())
    np.testing.assert_allclose(weighed.filter(family="r1").sort("threshold")["p_adj"][0], 1 - (1 - 0.001) ** 40)


def test_rows_without_draws_have_no_p_adj_and_of_others_the_common_draws_count() -> None:
    sums = np.random.default_rng(1).integers(-9, 9, (3, 500)).astype(np.int32)
    lists = pl.Series([sums[0].tolist(), None, sums[1].tolist()[:200], [], sums[2].tolist()], dtype=pl.List(pl.Int32))
    scores = standardised(sums[:, :200])
    expected = step_down(scores[:, 0], scores[:, 1:])
    np.testing.assert_array_equal(adjusted(lists), [expected[0], np.nan, expected[1], np.nan, expected[2]])
    assert adjusted(lists.head(0)).tolist() == []


def test_what_is_kept_is_what_would_be_computed(db: ResultsDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    drawn = rng.integers(-50, 50, (6, 40))
    for i in range(3):
        db.write([meta(f"r{i}")], rows(f"r{i}", rng.normal(0, 2, (2, 12)), rotated_net=drawn[2 * i : 2 * i + 2]))
    db.write([meta("r9")], rows("r9", np.zeros((1, 12)), rotated_net=np.zeros((1, 0))))  # without draws
    plain, evidence = evidence_by_dataset(db, db.query_runs(blocks=True, sort="net_pnl_ticks"), min_trades=5)
    assert plain["p_adj"].null_count() == 1
    found = db.query_runs(sort="net_pnl_ticks")
    cache = tmp_path / "cache"
    for attempt in range(2):
        weighed, about = evidence_by_dataset(db, found, min_trades=5, cache_dir=cache)
        assert weighed.equals(plain)
        assert about == evidence
        if attempt == 0:
            monkeypatch.setattr(ResultsDB, "with_vectors", None)  # the second time they are not read
    monkeypatch.undo()
    (kept,) = (cache / "evidence").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")  # damaged: made anew
    assert evidence_by_dataset(db, found, min_trades=5, cache_dir=cache)[0].equals(plain)
    # Other rows, or another number of trades, are something else.
    assert evidence_by_dataset(db, found, min_trades=1000, cache_dir=cache)[1]["ES_1"].pbo is None
    db.write([meta("r1", finished_utc=datetime(2025, 1, 1, tzinfo=UTC))], rows("r1", np.ones((2, 12))))
    again = db.query_runs(sort="net_pnl_ticks")
    other, _ = evidence_by_dataset(db, again, min_trades=5, cache_dir=cache)
    assert other.equals(evidence_by_dataset(db, db.with_vectors(again), min_trades=5)[0])
    assert len(list((cache / "evidence").iterdir())) == 3
    ranking.prune(cache / "evidence")
    assert len(list((cache / "evidence").iterdir())) == 3
    monkeypatch.setattr(ranking, "_MOST_CACHED", 1)
    ranking.prune(cache / "evidence")
    assert len(list((cache / "evidence").iterdir())) == 1


def test_nothing_to_evidence_by_dataset(db: ResultsDB) -> None:
    weighed, evidence = evidence_by_dataset(db, db.query_runs(blocks=True), min_trades=5)
    assert (weighed.height, evidence) == (0, {})
    assert {"p_adj", "dsr", "n_trials"} <= set(weighed.columns)
    db.write(
        [meta("r1")], rows("r1", np.zeros((2, 0)), net_pnl_sd=np.full(2, np.nan), rotated_net=np.zeros((2, 0), int))
    )
    weighed, evidence = evidence_by_dataset(db, db.query_runs(blocks=True), min_trades=5)
    assert weighed["p_adj"].to_list() == [None, None]
    assert weighed["dsr"].to_list() == [None, None]
    assert evidence["ES_1"].pbo is None


def test_vectors_of_several_lengths() -> None:
    series = pl.Series([[1.0, 2.0], None, [3.0]], dtype=pl.List(pl.Float64))
    assert pnl_matrix(series).tolist() == [[1, 2], [0, 0], [3, 0]]


def test_the_order_of_evidence() -> None:
    frame = pl.DataFrame(
        {
            "run_id": ["a", "b", "c", "d"],
            **{name: [1] * 4 for name in TRIAL_KEY},
            "p_adj": [0.2, 0.01, 0.01, 0.01],
            "p_random": [0.001, 0.01, None, 0.01],
            "net_pnl_lo": [9.0, 0.1, 9.0, 0.2],
        }
    )
    assert by_evidence(frame)["run_id"].to_list() == ["d", "b", "c", "a"]


def test_overfitting_says_what_it_means_where_nothing_pays() -> None:
    paying, losing = (pl.DataFrame({"net_pnl_ticks": values}) for values in ([0.5, -1.0, None], [-0.5, 0.0, None]))
    assert overfitting(Evidence("sweep", "D", 2, 2, 0.25, 0.1), paying) == "Probability of backtest overfitting: 25%."
    assert overfitting(Evidence("sweep", "D", 2, 2, 0.0, 0.1), losing) == (
        "Probability of backtest overfitting: 0%. Every row loses money; this is the stability of the least bad one."
    )
    assert overfitting(Evidence("sweep", "D", 1, 1, None, None), paying) == ""


def test_why_no_row_has_enough_trades() -> None:
    form = {
        "n_signals": pl.Int64, "n_dropped": pl.Int64, "threshold": pl.Float64, "open_bins": pl.Int64, "n_values": pl.Int64,
        "largest_value": pl.Float64,
    }  # fmt: skip

    def rows(*lines: tuple[Any, ...]) -> pl.DataFrame:
        return pl.DataFrame(lines, form, orient="row")

    silent = rows((0, 0, 0.9, 800, 700, 0.25), (0, 0, -0.4, 800, 700, 0.25))
    assert "the lowest is 0.4 (the largest value is 0.25). Lower eval.thresholds" in too_few(silent, 5)
    assert "the lowest is 0.4. Lower eval.thresholds" in too_few(rows((0, 0, 0.4, None, None, None)), 5)
    assert "Values reach the lowest threshold, 0.4, but never cross it" in too_few(rows((0, 0, 0.4, 9, 9, 0.8)), 5)
    assert "No bin after the warm-up is open: the session is shorter" in too_few(rows((0, 0, 0.4, 0, 0, None)), 5)
    assert "have no value in 1,200 open bins: a window is longer" in too_few(rows((0, 0, 0.4, 1200, 0, None)), 5)
    assert too_few(rows((7, 4, 0.9, 9, 9, 1.0), (4, 0, 0.4, 9, 9, 1.0)), 5) == "No row has 5 trades: the most is 4."
    assert too_few(rows((None, None, 0.1, None, None, None)), 5) == "No row has 5 trades."  # it failed


ABOUT = Evidence("sweep", "D", 512, 2048, 0.4, 0.1, first=False)
GOOD: dict[str, Any] = {
    "net_pnl_ticks": 0.8, "p_random": 0.002, "p_adj": 0.01, "net_pnl_lo": 0.3, "net_pnl_hi": 1.4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "beats random entry, survives 2,048 trials"),
        ({"p_adj": 0.31}, "beats random entry, and may be the best of 2,048 lucky draws: 31 % of experiments this size on pure noise do better"),
        ({"p_random": 0.4, "p_adj": 0.061}, "is no better than random entry (40 % of random entries pay as much), and may be the best of 2,048 lucky draws: 6.1 % of"),
        ({"p_random": 0.4}, "survives 2,048 trials, but is no better than random entry (40 % of random entries pay as much): what pays may be the market's drift"),
        ({"p_random": None, "p_adj": None}, "was not held against random entry: what it pays may be luck"),
        ({"net_pnl_ticks": -0.25}, "beats random entry, but loses 0.25 ticks a trade after costs"),
        ({"net_pnl_ticks": -0.25, "p_adj": 0.45}, "beats random entry, as some of 2,048 trials do by luck (45 % of experiments this size), but loses 0.25"),
        ({"net_pnl_ticks": -0.25, "p_random": 0.7}, "is no better than random entry (70 % of random entries pay as much) and loses 0.25"),
        ({"net_pnl_lo": -0.1}, "beats random entry, survives 2,048 trials, but its mean may be 0 (95 %: -0.10 to 1.40 ticks)"),
        ({"net_pnl_ticks": None}, "did not trade"),
    ],
)  # fmt: skip
def test_verdicts(change: dict[str, Any], words: str) -> None:
    assert verdict({**GOOD, **change}, ABOUT).startswith(words)


def test_rows_of_several_sessions_name_theirs() -> None:
    assert session_of("ESH4_2023-12-25_1800_1859__open__a1d403e9") == "2023-12-25 1800-1859"
    assert session_of("tape") == "tape"


def test_words_count_what_a_search_chose_from() -> None:
    searched = Evidence("sweep", "D", 512, 2048, None, None, 4096, first=False)
    assert verdict(GOOD, searched) == "beats random entry, survives 4,096 trials"


def test_the_verdict_on_a_single_trial() -> None:
    alone = Evidence("sweep", "D", 1, 1, None, None)
    assert verdict(GOOD, alone) == "beats random entry, survives 1 row"
    assert "may be a lucky draw: 31 % of such trials on pure noise do better" in verdict({**GOOD, "p_adj": 0.31}, alone)


def test_evidence_as_json() -> None:
    assert json.loads(json.dumps(ABOUT.plain()))["n_trials"] == 2048


def test_a_mark_is_the_verdict_in_a_word() -> None:
    alone = Evidence("sweep", "D", 1, 1, None, None)
    marks = {
        "holds": GOOD,
        "mean 0?": {**GOOD, "net_pnl_lo": -0.1},
        "drift?": {**GOOD, "p_random": 0.2},
        "untested": {**GOOD, "p_random": None, "p_adj": None},
        "luck?": {**GOOD, "p_adj": 0.06},
        "loses": {**GOOD, "net_pnl_ticks": -0.1, "p_adj": 0.9},
        "no trade": dict.fromkeys(GOOD, None),
    }
    for word, row in marks.items():
        assert mark(row) == word
    assert set(marks) == set(MARKS)
    assert verdict(marks["holds"], alone) == "beats random entry, survives 1 row"
    assert "may be 0" in verdict(marks["mean 0?"], alone)
    assert "drift" in verdict(marks["drift?"], alone)
    assert "may be luck" in verdict(marks["untested"], alone)
    assert "lucky draw" in verdict(marks["luck?"], alone)
    assert "loses" in verdict(marks["loses"], alone)
    assert "did not trade" in verdict(marks["no trade"], alone)


@pytest.mark.slow
@pytest.mark.parametrize("most", [0, 1 << 26])
def test_vectors_on_disk_and_in_memory_give_the_same(most: int, db: ResultsDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and merged parts, vectors of two lengths, rows without vectors."""
    monkeypatch.setattr(blocks, "MOST_IN_MEMORY", most)
    rng = np.random.default_rng(8)
    for i, n_blocks in enumerate((12, 12, 30)):
        about = meta(f"r{i}", dataset_id="ES_1" if i < 2 else "ES_2")
        db.write([about], rows(f"r{i}", rng.normal(size=(3, n_blocks))))
    db.write([meta("none")], rows("none", np.zeros((1, 0)), rotated_net=np.zeros((1, 0), int)))
    for _ in range(2):
        found = db.query_runs()
        small, _ = evidence_by_dataset(db, found, min_trades=5)
        assert small.equals(evidence_by_dataset(db, db.with_vectors(found), min_trades=5)[0])
        assert small["p_adj"].null_count() == 1
        assert small["pbo"].n_unique() == 2
        compact(db)
