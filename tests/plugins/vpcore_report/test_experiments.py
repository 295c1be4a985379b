"""Reports of experiments with parts in-sample, with several sessions, and with a search."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sweep_workspace import THREE, add_dataset

from vpcore import Workspace, performance
from vpcore.experiment.run import harness_config, run_experiment

Call = Callable[..., tuple[str, str]]
Edit = Callable[..., None]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["method: holdout", "method: combinatorial, groups: 4"])
def test_the_report_leads_with_the_choice(
    proven: Workspace, edit: Edit, call: Call, tmp_path: Path, method: str
) -> None:
    edit(("eval: {", f"eval: {{splits: {{{method}}}, "), name="cut")
    run_experiment(proven, "cut")
    answer = json.loads(call("compare", "cut", "--json", "--limit", "1")[0])
    out = tmp_path / "r.html"
    call("report", "cut", "--out", str(out))
    text = out.read_text()
    assert ">Out of sample</h2>" in text
    assert ">Sessions</h2>" not in text
    assert f"{answer['rows'][0]['row']} of run {answer['rows'][0]['run_id']}" in text  # the leader is that of compare
    for choice in answer["splits"]["choices"]:
        assert choice["row"] in text
        assert f"{choice['net_in']:+.2f}" in text


@pytest.mark.slow
def test_the_report_of_a_row_is_that_of_its_experiment(swept: Workspace, call: Call, tmp_path: Path) -> None:
    rows = json.loads(call("compare", "sweep", "--json")[0])["rows"]
    out = tmp_path / "r.html"
    call("report", rows[2]["row"], "--out", str(out))
    text = out.read_text()
    assert f"Row {rows[2]['row']}, {rows[2]['signal']} at threshold" in text
    assert ">Experiment</td>" in text
    assert f"{rows[2]['row']} of run {rows[2]['run_id']}" in text
    figures = performance(swept, rows[2]["row"]).row(0, named=True)
    assert f">{figures['sharpe']:.3f}</td>" in text
    assert f">{figures['max_drawdown_ticks']:,.2f}</td>" in text
    assert "Returns by quantile" not in text
    call("report", rows[2]["row"], "--tearsheet", "--out", str(out))
    assert all(f">{title}</h2>" in out.read_text() for title in ("Information coefficient", "Returns by quantile"))
    assert call("audit", rows[2]["row"], "--json")[0].count(f'"row": "{rows[2]["row"]}"') == 1
    call("report", rows[0]["row"], "--out", str(out))
    best = out.read_text()
    call("report", "sweep", "--out", str(out))
    assert out.read_text() == best


@pytest.mark.slow
def test_the_report_of_several_sessions(proven: Workspace, edit: Edit, call: Call, tmp_path: Path) -> None:
    edit(THREE, name="three")
    names = harness_config(proven, "three").dataset_ids
    for seed, (name, n_bins) in enumerate(zip(names[1:], (4000, 1000), strict=True), 11):
        add_dataset(proven, name, seed, n_bins)
    run_experiment(proven, "three")
    out = tmp_path / "r.html"
    call("report", "three", "--out", str(out))
    text = out.read_text()
    assert "of 3 sessions" in text
    assert ">Sessions</h2>" in text
    assert "Out of sample" not in text
    best = json.loads(call("compare", "three", "--json", "--limit", "1")[0])["rows"][0]
    for name, row in zip(names, best["session_rows"], strict=True):
        assert name in text
        assert row in text


@pytest.mark.slow
def test_the_report_of_a_search(proven: Workspace, edit: Edit, call: Call, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    edit(
        ("signals: [plain, scored]", "signals: [plain]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", "  sample: {method: optuna, n: 2, seed: 0, round: 2}\n"),
        name="wave",
    )
    assert "Nothing of experiment 'wave' is stored" in call("report", "wave", code=2)[1]
    run_experiment(proven, "wave")
    call("report", "wave", "--out", str(tmp_path / "r.html"))
    text = (tmp_path / "r.html").read_text()
    assert "p_adj counts all combinations on the axes, tried or not" in text
    assert "plain (2 runs of 2 that optuna proposes)" in text
