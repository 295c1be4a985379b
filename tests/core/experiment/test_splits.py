"""Experiments with in-sample and out-of-sample parts, from the spec to the gate."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vpcore import Workspace
from vpcore.backtest.cross_validation import SPLIT_COLUMNS
from vpcore.errors import ConfigError
from vpcore.experiment.run import harness_config, run_experiment
from vpcore.experiment.runs import experiment_block
from vpcore.experiment.trades import Leader

Edit = Callable[..., None]


def splits(edit: Edit, text: str, name: str = "cut") -> None:
    edit(("eval: {", f"eval: {{splits: {{{text}}}, "), name=name)


@pytest.fixture
def proven(make_proven: Callable[[str], Workspace]) -> Workspace:
    return make_proven("ws")


def test_the_figures_are_those_of_the_trades(proven: Workspace, edit: Edit) -> None:
    """Each row's trades, found anew, one by one, in the group where they were decided."""
    splits(edit, "method: kfold, groups: 4, embargo_bins: 7")
    report = run_experiment(proven, "cut")
    assert report.n_failed == 0
    rows = proven.results.query_runs(blocks=True)
    bounds = [60 + (2000 - 60) * g // 4 for g in range(5)]
    checked = 0
    for row in rows.to_dicts()[::5]:
        leader = Leader(proven, row)
        trades = leader.trades()
        decided, left, net = (trades[name].to_numpy() for name in ("bin", "exit_bin", "net_pnl_ticks"))
        took = (trades["reason"] == "take-profit").to_numpy()
        for g in range(4):
            a, b = bounds[g], bounds[g + 1]
            inside = (decided >= a) & (decided < b)
            assert row["group_trades"][g] == int(inside.sum())
            assert row["group_tp"][g] == int(took[inside].sum())
            assert row["group_net_ticks"][g] == pytest.approx(float(net[inside].sum()))
            assert row["group_net_ticks2"][g] == pytest.approx(float((net[inside] ** 2).sum()))
            reach = b + 1 + 50  # latency and the longest hold
            kept = ~inside & ~((left >= a) & (decided < reach + 7))
            assert row["train_trades"][g] == int(kept.sum())
            assert row["train_net_ticks"][g] == pytest.approx(float(net[kept].sum()))
            checked += int((~inside & ~kept).sum())
        assert sum(row["group_trades"]) == row["n_signals"] - row["n_dropped"]
    assert checked > 10  # purging had something to do


@pytest.mark.slow
def test_rows_without_splits_are_as_they_were(proven: Workspace, edit: Edit) -> None:
    edit(name="sweep")
    before = run_experiment(proven, "sweep")
    splits(edit, "method: holdout")
    after = run_experiment(proven, "cut")
    assert not set(before.run_ids) & set(after.run_ids)
    plain = proven.results.query_runs(run_id=before.run_ids, blocks=True)
    assert all(plain[name].null_count() == plain.height for name in SPLIT_COLUMNS)
    assert "splits" not in experiment_block(harness_config(proven, "sweep"))["eval"]
    assert "splits" in experiment_block(harness_config(proven, "cut"))["eval"]
    same = [name for name in plain.columns if name.startswith(("n_", "tp_rate", "net_pnl_t", "mean"))]
    key = ["signal_name", "signal_params_json", "scoring_json", "threshold", "cooldown_bins", "tp_ticks"]
    cut = proven.results.query_runs(run_id=after.run_ids).sort(key)
    assert cut.select(same).equals(plain.sort(key).select(same))


@pytest.mark.slow
def test_any_executor_stores_the_same(make_proven: Callable[[str], Workspace], edit: Edit) -> None:
    first, second = make_proven("ws"), make_proven("other")
    splits(edit, "method: walk_forward, groups: 4, embargo_bins: 5")
    (second.configs / "experiments" / "cut.yaml").write_text((first.configs / "experiments" / "cut.yaml").read_text())
    run_experiment(first, "cut")
    run_experiment(second, "cut", executor="local", max_workers=2)
    assert first.results.canonical_bytes() == second.results.canonical_bytes()


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("eval: {", "select: {metric: n_eff}\neval: {splits: {method: holdout}, "), r"select.metric must be one that is known of a part of the time, with eval.splits, was n_eff: net_pnl_ticks"),
        (("eval: {", "eval: {splits: {method: kfold, by: session}, "), r"eval.splits by session needs at least 2 groups .*, was 1\. \(configs/experiments/cut.yaml:4\) See pipelines and dates"),
        (("eval: {", "eval: {splits: {method: kfold, grups: 3}, "), r"'grups' is not a field of eval.splits .*cut.yaml:4.*Did you mean 'groups'"),
        (("eval: {", "eval: {splits: {groups: 3}, "), r"splits.method"),
    ],
)  # fmt: skip
def test_specs_that_are_refused(proven: Workspace, edit: Edit, pair: tuple[str, str], message: str) -> None:
    edit(pair, name="cut")
    with pytest.raises(ConfigError, match=message):
        harness_config(proven, "cut")


def test_a_session_that_cannot_be_cut_fails_with_the_reason(proven: Workspace, edit: Edit) -> None:
    edit(("warmup_bins: 60", "warmup_bins: 1998, splits: {method: kfold}"), name="cut")
    report = run_experiment(proven, "cut")
    assert report.n_failed == report.n_trials
    assert "eval.splits cuts 2 bins (after the warm-up of 1998) into 5 groups" in report.failures[0][2]
