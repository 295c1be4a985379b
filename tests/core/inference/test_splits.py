"""What a choice in-sample is worth outside: against a slow reading of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from vpcore.backtest.cross_validation import SPLIT_COLUMNS, SplitSpec
from vpcore.inference.out_of_sample import out_of_sample, split_summary, split_vectors
from vpcore.results import RUNS, TRIAL_KEY

SPECS: list[dict[str, Any]] = [
    {"method": "holdout"},
    {"method": "walk_forward", "groups": 5},
    {"method": "walk_forward", "groups": 5, "train_groups": 2},
    {"method": "kfold", "groups": 5},
    {"method": "combinatorial", "groups": 6},
]


def made(spec: SplitSpec, n_rows: int = 7, seed: int = 0) -> pl.DataFrame:
    """Rows whose training parts lack some trades of the groups, as purged ones do."""
    rng = np.random.default_rng(seed)
    n_groups = spec.n_groups
    train, _ = spec.folds(n_groups)
    trades = rng.integers(0, 30, (n_rows, n_groups))
    trades[0] = 0
    net = np.round(rng.normal(0, 4, (n_rows, n_groups)) * trades) / 2
    columns: dict[str, Any] = {
        "run_id": [f"r{i % 3}" for i in range(n_rows)],
        "row": [f"row{i}" for i in range(n_rows)],
    }
    columns |= {name: [i] * n_rows for i, name in enumerate(TRIAL_KEY[1:])} | {
        "threshold": [i / 4 for i in range(n_rows)]
    }
    columns |= {"signal_name": ["ads"] * n_rows}
    lists: dict[str, np.ndarray] = {
        "group_trades": trades, "group_tp": trades // 3, "group_net_ticks": net, "group_net_ticks2": net**2,
        "group_gross_ticks": net + 0.5 * trades, "train_trades": np.maximum(trades @ train.T - 2, 0),
        "train_tp": (trades // 3) @ train.T, "train_net_ticks": net @ train.T - 1.0,
        "train_gross_ticks": net @ train.T,
    }  # fmt: skip
    frame = pl.DataFrame(columns)
    return frame.with_columns(pl.Series(name, lists[name].tolist(), dtype=RUNS[name]) for name in SPLIT_COLUMNS)


@pytest.mark.parametrize("values", SPECS)
@pytest.mark.parametrize("metric", ["net_pnl_ticks", "tp_rate"])
def test_the_choice_of_every_fold(values: dict[str, Any], metric: str) -> None:
    spec = SplitSpec.model_validate(values)
    rows = made(spec)
    least = 12
    found, summary = out_of_sample(rows, spec, metric=metric, min_trades=least)
    by_row = {row["row"]: row for row in rows.to_dicts()}
    train, test = spec.folds(spec.n_groups)
    path_of: dict[tuple[int, int], int] = {}
    for group in range(spec.n_groups):
        for path, fold in enumerate(f for f in range(len(test)) if test[f][group]):
            path_of[fold, group] = path
    paths: dict[int, list[tuple[float, int]]] = {path: [] for path in path_of.values()}
    choices = {choice.fold: choice for choice in summary.choices}
    for fold in range(len(train)):
        what = "train_net_ticks" if metric == "net_pnl_ticks" else "train_tp"
        scores = {
            name: row[what][fold] / row["train_trades"][fold]
            for name, row in by_row.items()
            if row["train_trades"][fold] >= least
        }
        if not scores:
            assert fold not in choices
            continue
        # Among equals the first by key: run, then threshold.
        best = min(scores, key=lambda name: (-scores[name], by_row[name]["run_id"], by_row[name]["threshold"]))
        choice, row = choices[fold], by_row[best]
        assert (choice.row, choice.in_sample) == (best, pytest.approx(scores[best]))
        groups = [g for g in range(spec.n_groups) if test[fold][g]]
        assert list(choice.tested) == groups
        n = sum(row["group_trades"][g] for g in groups)
        net = sum(row["group_net_ticks"][g] for g in groups)
        assert choice.trades_out == n
        assert choice.net_out == (pytest.approx(net / n) if n else None)
        rivals = [
            sum(other["group_net_ticks"][g] for g in groups) / sum(other["group_trades"][g] for g in groups)
            for name, other in by_row.items()
            if name != best and sum(other["group_trades"][g] for g in groups)
        ]
        if n:
            assert choice.rank_out == pytest.approx(np.mean([rival < net / n for rival in rivals]))
        for g in groups:
            paths[path_of[fold, g]].append((row["group_net_ticks"][g], row["group_trades"][g]))
    assert len(summary.paths) == (5 if values["method"] == "combinatorial" else 1)
    for path, (net, n) in enumerate(summary.paths):
        assert n == sum(trades for _, trades in paths[path])
        assert net == pytest.approx(sum(paid for paid, _ in paths[path]) / n)
    everything = [item for path in paths.values() for item in path]
    assert summary.net_out == pytest.approx(sum(paid for paid, _ in everything) / sum(n for _, n in everything))
    assert found["row"].to_list() == rows["row"].to_list()
    tested = [g for g in range(spec.n_groups) if any(test[f][g] for f in range(len(test)))]
    for name, row in zip(found["row"], found.to_dicts(), strict=True):
        n = sum(by_row[name]["group_trades"][g] for g in tested)
        assert row["trades_out_of_sample"] == n
        expected = sum(by_row[name]["group_net_ticks"][g] for g in tested) / n if n else None
        assert row["net_out_of_sample"] == (pytest.approx(expected) if n else None)


def test_the_order_of_rows_changes_nothing() -> None:
    spec = SplitSpec(method="combinatorial", groups=6)
    rows = made(spec, 20)
    one, two = (out_of_sample(r, spec, metric="net_pnl_ticks", min_trades=5)[1] for r in (rows, rows.reverse()))
    assert one == two
    assert one.plain()["below_median"] == one.below_median


def test_nothing_in_sample() -> None:
    spec = SplitSpec(method="kfold", groups=5)
    rows, summary = out_of_sample(made(spec), spec, metric="net_pnl_ticks", min_trades=10_000)
    assert (summary.choices, summary.net_in, summary.net_out) == ((), None, None)
    assert rows["in_sample"].null_count() == rows.height
    assert "no row has enough trades to be chosen" in split_summary(summary)
    empty, summary = out_of_sample(made(spec).clear(), spec, metric="net_pnl_ticks", min_trades=1)
    assert (empty.height, summary.n_rows) == (0, 0)
    assert {"in_sample", "net_out_of_sample"} <= set(empty.columns)


def test_what_the_splits_say() -> None:
    spec = SplitSpec(method="holdout")
    _, summary = out_of_sample(made(spec), spec, metric="net_pnl_ticks", min_trades=5)
    (choice,) = summary.choices
    assert f"In-sample, ads {choice.row} is the best by net_pnl_ticks of 7 rows" in split_summary(summary)
    spec = SplitSpec(method="combinatorial", groups=6)
    _, summary = out_of_sample(made(spec), spec, metric="net_pnl_ticks", min_trades=5)
    assert "Along 5 paths it pays " in split_summary(summary)


def test_sessions_as_groups() -> None:
    rng = np.random.default_rng(0)
    pnl = [[rng.integers(-4, 5, rng.integers(0, 9)) for _ in range(3)] for _ in range(4)]
    lines = []
    for combination, sessions in enumerate(pnl):
        for session, trades in enumerate(sessions):
            n = len(trades)
            figures = {
                "net_pnl_ticks": float(trades.mean()) if n else None,
                "net_pnl_sd": float(trades.std(ddof=1)) if n > 1 else None,
                "mean_pnl_ticks": float(trades.mean() + 1) if n else None,
                "tp_rate": float((trades > 0).mean()) if n else None,
            }
            lines.append({"combination": combination, "session": session, "trades": n, **figures})
    frame = pl.DataFrame(lines, schema_overrides={"net_pnl_sd": pl.Float64})
    found = {s.name: s.to_list() for s in split_vectors(frame, 3, SplitSpec(method="kfold", by="session"))}
    for combination, sessions in enumerate(pnl):
        assert found["group_trades"][combination] == [len(trades) for trades in sessions]
        assert found["group_tp"][combination] == [int((trades > 0).sum()) for trades in sessions]
        assert found["group_net_ticks"][combination] == pytest.approx([trades.sum() for trades in sessions])
        assert found["group_net_ticks2"][combination] == pytest.approx([(trades**2).sum() for trades in sessions])
        total = sum(trades.sum() for trades in sessions)
        assert found["train_net_ticks"][combination] == pytest.approx([total - trades.sum() for trades in sessions])
    assert all(value is None for s in split_vectors(frame, 3, None) for value in s.to_list())
