"""The trackers of the core."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpcore.errors import StorageError
from vpcore.testing import tracker_checks
from vpcore.tracker import NoTracker
from vpcore.tracker.conformance import META, ROWS, check_files
from vpcore.tracker.jsonl import JsonlTracker
from vpcore.tracker.summary import Asked


@tracker_checks(JsonlTracker)
def test_jsonl_conforms(check: Callable[[], None]) -> None:
    check()


@tracker_checks(NoTracker)
def test_no_tracker_conforms(check: Callable[[], None]) -> None:
    check()


class _Greedy(NoTracker):
    def log_files(self, experiment: str, run_id: str | None, files: Any) -> None:
        for path in files.values():
            path.write_bytes(b"mine")


def test_the_checks_can_fail(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="log_files must leave the files as they are"):
        check_files(_Greedy, tmp_path)
    with pytest.raises(AssertionError, match=r"must derive from vpcore\.tracker\.Tracker"):
        check_files(dict, tmp_path)  # type: ignore[arg-type]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return {"folder": tmp_path / "harness", "experiment_name": "vp/sweep", "tags": {"team": "quant"}}


def test_no_tracker_does_nothing(settings: dict[str, Any]) -> None:
    tracker = NoTracker(**settings)
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    tracker.close()
    assert not settings["folder"].exists()


def test_a_run_is_named_by_what_was_varied() -> None:
    block = {
        "select": {"min_signals": 8},
        "scorings": [{"tanh_scale": 2.0}, {"tanh_scale": 3.0}],
        "signals": [
            {"name": "ads", "reads_score": False, "params": [{"mode": "a", "n": 1}, {"mode": "b", "n": 1}]},
            {"name": "erd", "reads_score": True, "params": [{}]},
        ],
    }
    asked = Asked.of({"experiment": block})
    assert asked.named(META) == "ads mode=a 00112233"
    assert asked.named({**META, "signal_name": "erd", "scoring_json": '{"tanh_scale":3.0}'}) == (
        "erd tanh_scale=3.0 00112233"
    )
    sessions = Asked.of({"experiment": {**block, "dataset_ids": ["a", "b"]}})
    assert sessions.named({**META, "dataset_id": "ES_2024-01-02_0930_1000__x"}) == "ads mode=a ES 2024-01-02 00112233"


# -- lines of JSON -----------------------------------------------------------------------------------------------------


def test_one_line_per_run_and_one_more_when_more_is_known(settings: dict[str, Any]) -> None:
    tracker = JsonlTracker(**settings)
    assert tracker.path == settings["folder"] / "tracking" / "vp_sweep.jsonl"
    tracker.log_run(META, ROWS[:1], "net_pnl_ticks")
    tracker.log_run(META, ROWS[:1], "net_pnl_ticks")
    again = JsonlTracker(**settings)
    again.log_run(META, ROWS[:1], "net_pnl_ticks")
    again.log_run({**META, "run_id": "ff", "status": "failed", "error": "it broke"}, [], "net_pnl_ticks")
    again.log_run(META, ROWS, "net_pnl_ticks")
    first, failed, last = (json.loads(line) for line in tracker.path.read_text().splitlines())
    assert (first["n_rows"], first["best_row"], last["n_rows"], last["best_row"]) == (1, "aaaa", 3, "bbbb")
    assert last["by_threshold"] == [[0.4, -1], [0.6, 0.5]]
    assert last["settings"]["signal.slope_windows"] == [10, 25]
    assert last["best"] == {"net_pnl_ticks": 0.5, "tp_rate": 0.4, "n_signals": 7, "threshold": 0.6, "tp_ticks": 4}
    assert (last["tags"], last["experiment"]) == ({"team": "quant"}, "sweep")
    assert (failed["status"], failed["error"], failed["best"]) == ("failed", "it broke", {})


def test_a_torn_line_and_foreign_ones_are_left_alone(settings: dict[str, Any]) -> None:
    tracker = JsonlTracker(**settings)
    tracker.path.parent.mkdir(parents=True)
    tracker.path.write_bytes(b'[1]\nnot json\n{"run_id": "00112233aa')
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    JsonlTracker(**settings).log_run(META, ROWS, "net_pnl_ticks")
    lines = tracker.path.read_bytes().splitlines()
    assert lines[:3] == [b"[1]", b"not json", b'{"run_id": "00112233aa']
    assert [json.loads(line)["run_id"] for line in lines[3:]] == [META["run_id"]]


def test_a_line_that_is_not_written_whole_is_an_error(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = JsonlTracker(**settings)
    write = os.write
    monkeypatch.setattr("vpcore.tracker.jsonl.os.write", lambda handle, line: write(handle, line[:10]))
    with pytest.raises(StorageError, match=r"took 10 of the \d+ bytes of a line\. Is the disk full\?"):
        tracker.log_run(META, ROWS, "net_pnl_ticks")
    monkeypatch.undo()
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    assert json.loads(tracker.path.read_bytes().splitlines()[-1])["n_rows"] == 3


def test_rows_with_too_few_trades_are_not_the_best(settings: dict[str, Any]) -> None:
    tracker = JsonlTracker(**settings)
    block = {"name": "sweep", "select": {"min_signals": 8}, "scorings": [], "signals": []}
    tracker.log_experiment("sweep", {"experiment": block})
    tracker.log_run(META, ROWS, "net_pnl_ticks")  # 7 trades pay most, 9 are enough
    assert json.loads(tracker.path.read_text())["best_row"] == "aaaa"
