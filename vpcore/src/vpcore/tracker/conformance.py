"""Conformance checks for trackers; `vpcore.testing.tracker_checks` runs them. A check raises `AssertionError`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vpcore.tracker.protocol import Tracker

META: dict[str, Any] = {
    "run_id": "00112233aabbccdd",
    "experiment_name": "sweep",
    "dataset_id": "ESH4_20231225_1800_1859__es__0123456789abcdef",
    "code_digest": "0" * 64,
    "sources_json": '["ab"]',
    "signal_name": "ads",
    "signal_params_json": '{"mode":"a","slope_windows":[10,25]}',
    "scoring_json": None,
    "eval_json": '{"fee_ticks":0,"price":"touch"}',
    "status": "ok",
    "error": None,
    "started_utc": datetime(2024, 1, 1, tzinfo=UTC),
    "finished_utc": datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC),
}
"""The columns of `runs_meta` that a tracker may rely on."""

ROWS: list[dict[str, Any]] = [
    {"row": "aaaa", "threshold": 0.4, "net_pnl_ticks": -1.0, "tp_rate": 0.5, "n_signals": 9, "tp_ticks": 4},
    {"row": "bbbb", "threshold": 0.6, "net_pnl_ticks": 0.5, "tp_rate": 0.4, "n_signals": 7, "tp_ticks": 4},
    {"row": "cccc", "threshold": 0.8, "net_pnl_ticks": None, "tp_rate": None, "n_signals": 0, "tp_ticks": 4},
]

LOOK: dict[str, Any] = {
    "tp_ticks": 4,
    "sl_ticks": 8,
    "n": 90,
    "auc": [0.5, 0.4, 0.6],
    "retrains": [
        {"bin_seq": 300, "n_train": 80, "n_valid": 20, "importance": [["touch", 0.7]], "drift": [["ads(a=1)", 0.1]]},
        {"bin_seq": 600, "n_train": 160, "n_valid": 40, "importance": [["spot_3", 0.6]], "drift": [["touch", 0.2]]},
    ],
    "circumstances": {"fit_ms": [3.0, 4.0]},
}
"""Diagnostics of a learning signal for one take-profit and stop."""

_FAILED = {**META, "run_id": "ffff2233aabbccdd", "status": "failed", "error": "ValueError: no"}
_SPECS = {
    "experiment": {
        "name": "sweep",
        "dataset_id": META["dataset_id"],
        "scorings": [{"tanh_scale": 3.0}],
        "signals": [{"name": "ads", "reads_score": False, "params": [{"slope_windows": [10, 25], "mode": "a"}]}],
        "eval": {"price": "touch", "fee_ticks": 0},
        "select": {"metric": "net_pnl_ticks", "min_signals": 5},
    },
    "serving": {"name": "sweep"},
    "pipeline": {"symbol": "ESH4"},
}


def _tracker(make: Callable[..., Tracker], folder: Path) -> Tracker:
    tracker = make(folder=folder / "harness", experiment_name="vp/größe 1", tags={"team": "quant"})
    assert isinstance(tracker, Tracker), f"{type(tracker).__name__} must derive from vpcore.tracker.Tracker"
    return tracker


def _report(tracker: Tracker) -> None:
    tracker.log_experiment("sweep", _SPECS)
    tracker.log_run(META, ROWS, "net_pnl_ticks")
    tracker.log_run(_FAILED, [], "net_pnl_ticks")


def check_reports(make: Callable[..., Tracker], folder: Path) -> None:
    """It takes runs: with figures, with a null figure, failed with zero rows."""
    tracker = _tracker(make, folder)
    _report(tracker)
    tracker.close()


def check_reports_again(make: Callable[..., Tracker], folder: Path) -> None:
    """It takes a run again: unchanged, with more rows, and from another process."""
    tracker = _tracker(make, folder)
    _report(tracker)
    _report(tracker)
    tracker.close()
    again = _tracker(make, folder)
    again.log_experiment("sweep", _SPECS)
    again.log_run(META, [*ROWS, {**ROWS[1], "row": "dddd", "threshold": 0.9, "net_pnl_ticks": 7.0}], "net_pnl_ticks")
    again.close()


def check_diagnostics(make: Callable[..., Tracker], folder: Path) -> None:
    """It takes the diagnostics of a learning signal, also again, and changed."""
    tracker = _tracker(make, folder)
    _report(tracker)
    for value in (0.5, 0.5, 0.6):
        tracker.log_diagnostics(
            META, [{**LOOK, "auc": [value, 0.4, None]}, {"tp_ticks": 9, "sl_ticks": 8, "error": "no"}]
        )
    tracker.close()


def check_files(make: Callable[..., Tracker], folder: Path) -> None:
    """It keeps copies of files of a run and of the experiment, and leaves the originals in place."""
    tracker = _tracker(make, folder)
    _report(tracker)
    for run_id, name in ((META["run_id"], "models/tp4_sl8/model.json"), (None, "report.html")):
        for content in (b"one", b"another"):
            path = folder / "made" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            tracker.log_files("sweep", run_id, {name: path})
            assert path.read_bytes() == content, "log_files must leave the files as they are"
            path.unlink()
    tracker.close()


def check_only_what_is_told(make: Callable[..., Tracker], folder: Path) -> None:
    """`close` works before any run, and `log_run` leaves its arguments unchanged."""
    _tracker(make, folder).close()
    tracker = _tracker(make, folder)
    meta, rows = dict(META), [dict(row) for row in ROWS]
    tracker.log_run(meta, rows, "net_pnl_ticks")
    tracker.close()
    assert (meta, rows) == (META, ROWS), "log_run must leave its arguments unchanged"


TRACKER_CHECKS: tuple[Callable[[Callable[..., Tracker], Path], None], ...] = (
    check_reports,
    check_reports_again,
    check_diagnostics,
    check_files,
    check_only_what_is_told,
)
