"""``vp audit``: a sound row is equal everywhere, and one that looks ahead, or was changed, is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vpcore import Workspace
from vpcore.errors import ResultsError
from vpcore.experiment.audit import audit
from vpcore.experiment.run import run_experiment
from vpcore.experiment.trades import Leader
from vpcore.signal import SignalResult


@pytest.fixture
def audited(make_proven: Callable[[str], Workspace]) -> Workspace:
    workspace = make_proven("ws")
    run_experiment(workspace, "sweep")
    return workspace


@pytest.mark.slow
def test_a_sound_row_is_equal_everywhere(audited: Workspace) -> None:
    found = audit(audited, "sweep")
    assert found.passed
    what = [finding.what for finding in found.findings]
    assert what[0] == "stored n_signals"
    assert "bin by bin" in what
    assert sum(text.startswith("with another future") for text in what) >= 4
    assert sum(text.startswith("on the first") for text in what) >= 4
    own = [item for item in found.figures if (item.latency_bins, item.fee_ticks) == (1, 0.0)]
    rows = audited.results.query_runs(run_id=[found.run_id], sort="net_pnl_ticks", blocks=True)
    stored = rows.filter(rows["row"] == found.row).row(0, named=True)
    assert own[0].net == stored["net_pnl_ticks"]
    assert {item.latency_bins for item in found.figures} == {0, 1, 10, 50}
    assert {item.fee_ticks for item in found.figures} == {0.0, 0.5, 1.0}
    other = audit(audited, found.run_id, row=rows["row"][3])
    assert (other.passed, other.row) == (True, rows["row"][3])


@pytest.mark.slow
def test_a_signal_that_looks_ahead_is_caught(audited: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gate did not see, because it shows on this data alone: the values of the bin after."""
    cls = audited.plugins.load("signal", "plain")

    def ahead(self: Any, dataset: Any) -> SignalResult:
        column = dataset.grid("pressure").astype(float)
        pulse = np.tanh(-self.params.gain * (column * np.sign(dataset.k)).sum(axis=1))
        return SignalResult(np.where(dataset.valid, np.append(pulse[1:], 0.0), np.nan))

    monkeypatch.setattr(cls, "compute", ahead)
    run = audited.results.query_runs(experiment_name="sweep", sort="net_pnl_ticks").filter(signal_name="plain")[
        "run_id"
    ][0]
    found = audit(audited, run)
    assert not found.passed
    wrong = {finding.what.split(" ")[0] for finding in found.findings if not finding.equal}
    assert {"on", "with", "bin"} <= wrong
    cut = next(f for f in found.findings if f.what.startswith("on the first") and not f.equal)
    assert cut.bin is not None
    assert (cut.was, cut.now) != (None, None)


def test_a_row_that_was_changed_is_caught(audited: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Leader.__init__

    def other(self: Leader, workspace: Workspace, row: Any) -> None:
        kept(self, workspace, row)
        row["net_pnl_ticks"] += 0.5

    monkeypatch.setattr(Leader, "__init__", other)
    found = audit(audited, "sweep")
    assert [f.what for f in found.findings if not f.equal] == ["stored net_pnl_ticks"]


def test_a_row_that_is_not_there(audited: Workspace) -> None:
    with pytest.raises(ResultsError, match="'sweep' has no row 'zzz'"):
        audit(audited, "sweep", row="zzz")
