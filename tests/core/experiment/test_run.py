"""Running experiments: what is expanded, computed, reused, refused and reported."""

from __future__ import annotations

import json
import math
import signal as signal_module
import sys
from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from trade_rules import rules_of

import vpcore as vp
import vpcore.experiment.run as run_module
from vpcore import Workspace, hookimpl
from vpcore.backtest.evaluate import Figures
from vpcore.backtest.metrics import Draws, trial_figures
from vpcore.backtest.session import Session
from vpcore.backtest.trial import Trial
from vpcore.backtest.triple_barrier import Market
from vpcore.errors import CausalityError, ConfigError, PluginError, SignalError
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.run import harness_config, plan_experiment, run_experiment
from vpcore.experiment.runs import expand
from vpcore.experiment.trades import Leader
from vpcore.results import RUNS, VECTORS
from vpcore.scoring import CHANNELS, ScoringConfig, score_arrays
from vpcore.signal import batch
from vpcore.tracker import Tracker

Edit = Callable[..., None]
MAKER = Callable[[str], Workspace]


def test_axes_become_runs_and_trials(workspace: Workspace) -> None:
    runs = expand(harness_config(workspace, "sweep"), workspace.plugins, ["ab" * 32])
    assert sorted((run.signal_name, run.params["gain"], (run.scoring or {}).get("tanh_scale")) for run in runs) == [
        ("plain", 1, None),
        ("plain", 2, None),
        ("plain", 3, None),
        ("scored", 1, 2.0),
        ("scored", 1, 3.0),
    ]
    want = {Trial(t, c, tp, 6) for t in (0.2, 0.4) for c in (5, 20) for tp in (2, 4)}
    assert all(set(run.trials) == want for run in runs)
    assert len({run.run_id for run in runs}) == 5


def test_a_run_id_holds_what_decides_and_nothing_else(workspace: Workspace, edit: Edit) -> None:
    def ids(*pairs: tuple[str, str], sources: str = "ab" * 32) -> set[str]:
        edit(*pairs)
        return {run.run_id for run in expand(harness_config(workspace, "sweep"), workspace.plugins, [sources])}

    first = ids()
    assert ids(("tp_ticks: [2, 4]", "tp_ticks: [3]"), ("cooldown_bins: [5, 20]", "cooldown_bins: [7]")) == first
    assert ids(("executor: serial", "executor: local")) == first
    assert ids(("gain: [1, 2, 3]", "gain: [1.0, 2, 3]")) == first
    for change in (("max_hold_bins: 50", "max_hold_bins: 51"), ("fee_ticks: 0", "fee_ticks: 0.5")):
        assert not ids(change) & first
    assert not ids(sources="cd" * 32) & first
    plain_only = ids(("tanh_scale: [2.0, 3.0]", "tanh_scale: [4.0]")) & first
    assert len(plain_only) == 3  # the scoring is not part of a signal that does not read it


def test_results_are_those_of_the_parts_called_by_hand(workspace: Workspace) -> None:
    report = run_experiment(workspace, "sweep")
    assert (report.n_trials, report.n_computed, report.n_reused, report.n_failed) == (40, 40, 0, 0)
    dataset = workspace.datasets.open(report.dataset_id)
    market = Market.from_bins({name: dataset.bin(name) for name in dataset.bin_columns}, dataset.tick_int)
    config = harness_config(workspace, "sweep")
    for run in expand(config, workspace.plugins, dataset.source_digests):
        data = dataset
        if run.scoring is not None:
            d1, d2, d3 = (dataset.grid(name) for name in CHANNELS)
            score, state = score_arrays(d1, d2, d3, dataset.valid, ScoringConfig.model_validate(run.scoring))
            data = dataset.with_grid({"flow_score": score, "flow_state_code": state})
        values = batch(run.signal, data).values
        want = trial_figures(
            market,
            values,
            run.trials,
            rules_of(1, 1, 50, warmup_bins=60),
            draws=Draws(999, 999, Session(dataset).market_key(run.eval.seed)),
        )
        assert np.isfinite(want["p_random"]).any()
        got = workspace.results.query_runs(run_id=[run.run_id], blocks=True)
        assert got.height == 8
        assert want["n_signals"].sum() > 50
        assert got["trades_digest"].to_list() == want["trades_digest"].tolist()
        for name in RUNS:
            if name in want and name not in (*VECTORS, "trades_digest"):
                np.testing.assert_array_equal(got[name].cast(float).fill_null(np.nan).to_numpy(), want[name], name)
        for name in VECTORS:
            if name in want:  # those of splits are not, without splits
                assert got[name].to_list() == want[name].tolist()
        assert want["rotated_net"].shape == (8, 500)


def test_evaluate_and_stored_rows_are_one_computation(workspace: Workspace) -> None:
    """Every figure of a stored row, bit for bit, by hand from the values; and its trades add up to it."""
    run_experiment(workspace, "sweep")
    rows = workspace.results.query_runs().filter(pl.col("n_signals") > pl.col("n_dropped"))
    dataset = workspace.datasets.open(rows["dataset_id"][0])
    names = [item.name for item in fields(Figures)]
    for row in rows.sort("n_signals", descending=True).head(6).iter_rows(named=True):
        leader = Leader(workspace, row)
        again = leader.evaluate(leader.draws).figures
        by_hand = vp.evaluate(
            dataset,
            leader.values,
            leader.rules,
            threshold=row["threshold"],
            cooldown_bins=row["cooldown_bins"],
            mode=leader.mode,
        )
        for name in names:
            stored = math.nan if row[name] is None else row[name]
            np.testing.assert_array_equal(getattr(again, name), stored, name)
            np.testing.assert_array_equal(getattr(by_hand.figures, name), stored, name)
        trades = by_hand.trades
        assert trades.height == row["n_signals"] - row["n_dropped"]
        assert trades["net_pnl_ticks"].sum() / trades.height == row["net_pnl_ticks"]  # the fee is 0
        assert trades["mid_pnl_ticks"].sum() / trades.height == row["mean_pnl_ticks"]
        for reason, rate in (("take-profit", "tp_rate"), ("stop", "sl_rate"), ("timeout", "timeout_rate")):
            assert (trades["reason"] == reason).sum() / trades.height == row[rate]
        assert np.median(trades["bins_held"]) * dataset.cell_width_ns / 1e6 == row["median_time_to_outcome_ms"]


def test_meta_says_what_made_a_run(workspace: Workspace) -> None:
    report = run_experiment(workspace, "sweep")
    meta = workspace.results.find_run(report.run_ids[-1])
    assert meta["signal_name"] == "scored"
    assert json.loads(meta["scoring_json"])["tanh_scale"] == 3
    assert json.loads(meta["eval_json"]) == {
        "price": "touch",
        "fee_ticks": 0,
        "daily_halt": ["17:00", "18:00", "America/New_York"],
        "latency_bins": 1,
        "max_hold_bins": 50,
        "warmup_bins": 60,
        "stale_after_ms": 60_000,
        "null_draws": 999,
        "bootstrap_draws": 999,
        "seed": 0,
    }
    assert json.loads(meta["sources_json"]) == ["ab" * 32]
    assert meta["signal_distribution"] == "vp_sweep_signals"
    assert set(json.loads(meta["packages_json"])) == {
        "numba", "numpy", "polars", "pydantic", "python", "vpcore",
    }  # fmt: skip
    assert (meta["status"], meta["experiment_name"]) == ("ok", "sweep")


@pytest.mark.slow
def test_only_what_is_missing_is_computed(workspace: Workspace, edit: Edit) -> None:
    run_experiment(workspace, "sweep")
    again = run_experiment(workspace, "sweep")
    assert (again.n_reused, again.n_computed) == (40, 0)
    before = workspace.results.canonical_bytes()
    edit(("cooldown_bins: [5, 20]", "cooldown_bins: [5, 9, 20]"))
    more = run_experiment(workspace, "sweep")
    assert (more.n_reused, more.n_computed) == (40, 20)
    edit(("gain: [1, 2, 3]", "gain: [1, 4]"), name="other")
    other = run_experiment(workspace, "other")
    assert (other.n_reused, other.n_computed) == (24, 8)  # 4 runs, of which 3 are those of the first experiment
    forced = run_experiment(workspace, "sweep", force=True)
    assert (forced.n_reused, forced.n_computed) == (0, 60)
    assert before != workspace.results.canonical_bytes()


def test_an_edited_signal_is_a_new_run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_experiment(workspace, "sweep")
    monkeypatch.setattr(sys.modules["vpcore.experiment.runs"], "code_digest", lambda cls: "f" * 64)
    plan = plan_experiment(workspace, "sweep")
    assert plan is not None
    assert plan.n_missing == 40
    assert not {run.run_id for run in plan.runs} & set(first.run_ids)


def test_a_signal_edited_while_it_runs_is_noticed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["vpcore.experiment.runs"], "code_digest", lambda cls: "f" * 64)
    report = run_experiment(workspace, "sweep")
    assert report.n_failed == 40
    assert (
        "The sources of vp_sweep_signals:Plain were changed while the experiment was running" in report.failures[0][2]
    )


def test_a_failing_run_is_a_row_with_its_error_and_is_tried_again_when_asked(workspace: Workspace, edit: Edit) -> None:
    edit(
        ("signals: [plain, scored]", "signals: [plain, breaks]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", "per_signal: {breaks: {gain: [0.5, 2]}}"),
    )
    report = run_experiment(workspace, "sweep")
    assert (report.n_computed, report.n_failed) == (24, 8)
    (run_id, name, error) = report.failures[0]
    assert (name, error) == ("breaks", "ZeroDivisionError: no gain at bin 1501")
    meta = workspace.results.find_run(run_id)
    assert (meta["status"], meta["error"]) == ("failed", error)
    assert "no gain at bin" in meta["traceback"]
    failed = workspace.results.query_runs(status="failed")
    assert failed.height == 8
    assert failed["tp_rate"].null_count() == 8
    assert workspace.results.query_runs(status=None).height == 24
    again = run_experiment(workspace, "sweep")
    assert (again.n_reused, again.n_computed, again.n_failed) == (24, 0, 0)
    assert (again.n_failed_before, again.failed_before) == (8, [run_id])
    once_more = run_experiment(workspace, "sweep", retry_failed=True)
    assert (once_more.n_reused, once_more.n_computed, once_more.n_failed, once_more.n_failed_before) == (16, 8, 8, 0)
    edit(
        ("signals: [plain, scored]", "signals: [plain, breaks]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", "per_signal: {breaks: {gain: [0.5, 2]}}"),
        ("cooldown_bins: [5, 20]", "cooldown_bins: [5, 9, 20]"),
    )
    wider = run_experiment(
        workspace, "sweep"
    )  # what was never tried of a run that failed is missing like anything else
    assert (wider.n_reused, wider.n_computed, wider.n_failed, wider.n_failed_before) == (24, 12, 4, 8)


def test_a_run_that_lacked_memory_is_computed_again(workspace: Workspace, edit: Edit) -> None:
    edit(
        ("signals: [plain, scored]", "signals: [plain, greedy]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", "per_signal: {greedy: {gain: [0.5, 2]}}"),
    )
    report = run_experiment(workspace, "sweep")
    assert (report.n_computed, report.n_failed) == (24, 8)
    assert "MemoryError: Unable to allocate" in report.failures[0][2]
    again = run_experiment(workspace, "sweep")
    assert (again.n_reused, again.n_computed, again.n_failed, again.n_failed_before) == (16, 8, 8, 0)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "local"])
def test_a_run_that_never_ends_fails_at_its_time_limit(workspace: Workspace, edit: Edit, executor: str) -> None:
    edit(
        ("signals: [plain, scored]", "signals: [endless]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", "per_signal: {endless: {gain: [2]}}"),
        ("parallel: {executor: serial}", f"parallel: {{executor: {executor}, max_workers: 1, timeout_seconds: 2}}"),
    )
    report = run_experiment(workspace, "sweep")
    assert (report.n_computed, report.n_failed) == (8, 8)
    assert [error for _, _, error in report.failures] == [
        "The run took longer than 2 s. Raise parallel.timeout_seconds."
    ]


def test_a_run_within_its_time_limit_is_left_alone(workspace: Workspace, edit: Edit) -> None:
    edit(("parallel: {executor: serial}", "parallel: {executor: serial, timeout_seconds: 600}"))
    before = signal_module.getsignal(signal_module.SIGALRM)
    assert run_experiment(workspace, "sweep").n_failed == 0
    assert signal_module.getitimer(signal_module.ITIMER_REAL) == (0.0, 0.0)
    assert signal_module.getsignal(signal_module.SIGALRM) is before


@pytest.mark.slow
def test_fail_fast_stops_and_keeps_what_was_done(workspace: Workspace, edit: Edit) -> None:
    edit(
        ("signals: [plain, scored]", "signals: [breaks, scored]"),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", "per_signal: {breaks: {gain: [0.5, 2, 3]}}"),
    )
    report = run_experiment(workspace, "sweep", fail_fast=True)
    assert report.stopped
    assert (report.n_computed, report.n_failed) == (16, 8)
    assert workspace.results.query_runs(status=None).height == 16


def test_a_signal_that_looks_ahead_is_refused_before_anything_runs(workspace: Workspace, edit: Edit) -> None:
    edit(("signals: [plain, scored]", "signals: [plain, scored, ahead]"))
    with pytest.raises(CausalityError, match=r"Nothing was evaluated\. Signal 'ahead' .* Reproduce: vp check ahead$"):
        run_experiment(workspace, "sweep")
    assert workspace.results.query_runs(status=None).height == 0


def test_a_proof_is_not_repeated(make_workspace: MAKER, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace("ws")
    run_experiment(workspace, "sweep")
    assert len(list((workspace.results_dir / "proofs").glob("*.json"))) == 4
    monkeypatch.setattr("vpcore.experiment.causality.prove", lambda *a, **k: pytest.fail("proved again"))
    assert run_experiment(workspace, "sweep", force=True).n_computed == 40


def test_a_dry_plan_touches_nothing(make_workspace: MAKER) -> None:
    workspace = make_workspace("ws")
    plan = plan_experiment(workspace, "sweep")
    assert plan is not None
    assert (plan.n_trials, plan.n_missing, len(plan.runs)) == (40, 40, 5)
    assert not workspace.results_dir.exists()
    (workspace.configs / "pipelines" / "open.yaml").write_text(
        (workspace.configs / "pipelines" / "open.yaml").read_text().replace("18:59", "18:58")
    )
    assert plan_experiment(workspace, "sweep") is None


def test_progress_is_told(workspace: Workspace, edit: Edit) -> None:
    seen: list[SweepProgress] = []
    run_experiment(workspace, "sweep", on_progress=seen.append)
    assert [item.stage for item in seen if item.done == item.total] == ["proof", "run"]
    last = seen[-1]
    assert last == SweepProgress("run", 40, 40, 0, 0, last.best)
    want = workspace.results.query_best(min_signals=5, limit=1).row(0, named=True)
    assert last.best is not None
    assert (last.best.metric, last.best.value) == ("net_pnl_ticks", want["net_pnl_ticks"])
    edit(("cooldown_bins: [5, 20]", "cooldown_bins: [5, 20, 4000]"))  # the best of what was stored counts
    run_experiment(workspace, "sweep", on_progress=seen.append)
    assert (seen[-1].done, seen[-1].reused, seen[-1].best) == (20, 40, last.best)


def _listener(calls: list[tuple[Any, ...]]) -> ModuleType:
    module = ModuleType("listener")

    @hookimpl
    def vp_run_started(run_id: str, meta: Any) -> None:
        calls.append(("started", run_id, meta["signal_name"]))

    @hookimpl
    def vp_run_stored(workspace: Workspace, run_id: str, rows: Any) -> None:
        stored = workspace.results.query_runs(run_id=[run_id]).height
        calls.append(("stored", run_id, len(rows), stored))

    @hookimpl
    def vp_run_finished(run_id: str, status: str, error: str | None) -> None:
        calls.append(("finished", run_id, status, error))
        if len([call for call in calls if call[0] == "finished"]) == 2:
            raise RuntimeError("a plugin's bug")

    for function in (vp_run_started, vp_run_stored, vp_run_finished):
        setattr(module, function.__name__, function)
    return module


def test_hooks_hear_of_runs_after_they_are_safe_and_cannot_stop_them(workspace: Workspace) -> None:
    calls: list[tuple[Any, ...]] = []
    workspace.plugins.register(_listener(calls), "listener")
    report = run_experiment(workspace, "sweep")
    first = report.run_ids[0]
    assert [call for call in calls if call[1] == first] == [
        ("started", first, "plain"),
        ("stored", first, 8, 8),
        ("finished", first, "ok", None),
    ]
    assert (report.hook_failures, report.n_computed) == (1, 40)


class _Down(Tracker):
    def __init__(self, **settings: Any) -> None:
        if settings["experiment_name"] == "refused":
            raise ConnectionError("no server")

    def log_run(self, meta: Any, rows: Any, select_metric: str) -> None:
        raise ConnectionError(f"no server for {len(rows)} rows")


@pytest.mark.parametrize("name", ["refused", "later"])
def test_a_tracker_that_is_down_loses_nothing(
    workspace: Workspace, edit: Edit, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    edit(("parallel:", f"tracking: {{backend: jsonl, experiment_name: {name}}}\nparallel:"))
    load = workspace.plugins.load
    monkeypatch.setattr(
        workspace.plugins, "load", lambda kind, *args: _Down if kind == "tracker" else load(kind, *args)
    )
    report = run_experiment(workspace, "sweep")
    assert workspace.results.query_runs().height == 40
    if name == "refused":
        assert report.tracker_failures == ["'jsonl' could not be opened: ConnectionError: no server"]
    else:
        assert len(report.tracker_failures) == 4  # three runs, and that it is left alone from there on
        assert report.tracker_failures[0].endswith("ConnectionError: no server for 8 rows")


def test_wrong_calls_are_refused(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="The number of workers must be at least 1, was 0"):
        run_experiment(workspace, "sweep", max_workers=0)
    with pytest.raises(PluginError, match="No executor is called 'locl'. Did you mean 'local'"):
        run_experiment(workspace, "sweep", executor="locl")


def test_a_signal_of_a_notebook_needs_the_serial_executor(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["vpcore.experiment.runs"], "code_digest", lambda cls: "f" * 64)
    monkeypatch.setattr(sys.modules["vpcore.experiment.runs"], "imported_distributions", lambda cls: {})
    cls = workspace.plugins.load("signal", "plain")
    sys.modules["vp_sweep_signals"].Plain = type("Plain", (cls,), {"__module__": "__main__"})  # type: ignore[attr-defined]
    with pytest.raises(SignalError, match=r"cannot import it\. Set parallel\.executor to serial"):
        run_experiment(workspace, "sweep", executor="local", max_workers=1)


def test_an_interruption_keeps_what_was_finished(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_module.run_task
    done: list[Any] = []

    def interrupted(task: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task)
        return whole(task)

    monkeypatch.setattr(run_module, "run_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(workspace, "sweep")
    kept = workspace.results.query_runs().height
    assert kept == 16
    monkeypatch.undo()
    sys.path.insert(0, str(workspace.root))  # monkeypatch.undo also took back the import path of the signals
    report = run_experiment(workspace, "sweep")
    assert (report.n_reused, report.n_computed) == (16, 24)


def test_a_sample_computes_only_its_runs(make_proven: Any, edit: Any) -> None:
    workspace = make_proven("ws")
    edit(("sweep:\n", "sweep:\n  sample: {method: random, n: 1, seed: 2}\n"))
    some = run_experiment(workspace, "sweep")
    assert (len(some.run_ids), some.n_trials, some.n_failed) == (2, some.n_computed, 0)
    edit()
    whole = run_experiment(workspace, "sweep")
    # The same points of the same experiment are the same runs.
    assert set(some.run_ids) < set(whole.run_ids)
    assert (len(whole.run_ids), whole.n_reused) == (5, some.n_computed)
