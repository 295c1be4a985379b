"""Thresholds from quantiles: known before anything is evaluated, from bins that are not evaluated."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vpcore import Workspace
from vpcore.backtest.config import EvalConfig
from vpcore.config import ExperimentConfig
from vpcore.errors import ConfigError
from vpcore.experiment.run import harness_config, run_experiment
from vpcore.experiment.runs import expand
from vpcore.scoring import ScoringConfig, score_arrays
from vpcore.signal import batch

FIRST = 500


def quantiles(edit, text: str = f"threshold_quantiles: [0.5, 0.9], calibration_bins: {FIRST}") -> None:
    edit(("eval: {", f"eval: {{{text}, "))


def runs_of(workspace: Workspace, config: ExperimentConfig):
    dataset = workspace.datasets.open(config.dataset_id)
    return dataset, expand(config, workspace.plugins, dataset.source_digests, dataset)


def test_thresholds_are_quantiles_of_the_magnitude_in_the_first_bins(workspace: Workspace, edit) -> None:
    quantiles(edit)
    dataset, runs = runs_of(workspace, harness_config(workspace, "sweep"))
    for run in runs:
        data = dataset
        if run.scoring is not None:
            d1, d2, d3 = (dataset.grid(f"composite_d{i}") for i in (1, 2, 3))
            score, state = score_arrays(d1, d2, d3, dataset.valid, ScoringConfig.model_validate(run.scoring))
            data = dataset.with_grid({"flow_score": score, "flow_state_code": state})
        whole = batch(run.signal, data).values  # the value of a bin does not know how long the session is
        expected = np.nanquantile(np.abs(whole[:FIRST]), (0.5, 0.9))
        assert sorted({trial.threshold for trial in run.trials}) == expected.tolist()
        assert run.eval.first_bin == FIRST


def test_what_is_calibrated_on_is_not_evaluated(workspace: Workspace, edit) -> None:
    quantiles(edit)
    report = run_experiment(workspace, "sweep")
    assert report.n_failed == 0
    assert report.n_computed == report.n_trials == 40
    rows = workspace.results.query_runs(blocks=True)
    dataset = workspace.datasets.open(report.dataset_id)
    hours = np.count_nonzero(dataset.valid[FIRST:]) * dataset.cell_width_ns / 3.6e12
    assert rows["events_per_hour"].to_list() == pytest.approx((rows["n_signals"] / hours).to_list())
    assert {json.loads(text)["warmup_bins"] for text in workspace.results.query_meta()["eval_json"]} == {FIRST}
    again = run_experiment(workspace, "sweep")
    assert (again.n_computed, again.n_reused) == (0, 40)  # the thresholds are the same numbers


def test_other_bins_than_the_first_change_no_threshold(workspace: Workspace, edit) -> None:
    quantiles(edit)
    config = harness_config(workspace, "sweep")
    dataset, runs = runs_of(workspace, config)
    shorter = dataset.slice(0, FIRST + 50)
    cut = expand(config, workspace.plugins, dataset.source_digests, shorter)
    assert [run.trials for run in cut] == [run.trials for run in runs]


def test_a_calibration_that_leaves_nothing_to_evaluate_is_refused(workspace: Workspace, edit) -> None:
    quantiles(edit, "threshold_quantiles: [0.9], calibration_bins: 2000")
    with pytest.raises(ConfigError, match=r"calibration_bins must be less than the 2000 bins of .*, was 2000"):
        runs_of(workspace, harness_config(workspace, "sweep"))


def test_a_signal_that_has_not_begun_to_speak_is_refused(workspace: Workspace, edit) -> None:
    quantiles(edit, "threshold_quantiles: [0.9], calibration_bins: 1")
    with pytest.raises(ConfigError, match=r"has no value in the first 1 bins|is 0, which is no threshold"):
        runs_of(workspace, harness_config(workspace, "sweep"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold_quantiles": [0.9]}, "belong together: calibration_bins is missing"),
        ({"calibration_bins": 100}, "belong together: threshold_quantiles is missing"),
        ({"threshold_quantiles": [0.9], "calibration_bins": 9, "thresholds": [1.0]}, "exclude each other"),
        ({"threshold_quantiles": [95], "calibration_bins": 9}, "between 0 and 1, was 95"),
        ({"threshold_quantiles": [0.9], "calibration_bins": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_fit(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvalConfig.model_validate(values)
