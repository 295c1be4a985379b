"""``vp run``, ``vp compare`` and ``vp results``."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from vpcore_cli.compare import cautions_on_trades

Vp = Callable[..., int]


def test_run_then_compare(vp: Vp, capsys: pytest.CaptureFixture[str]) -> None:
    assert vp("run", "sweep", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["n_runs"], plan["n_trials"], plan["n_stored"], plan["n_to_compute"]) == (5, 40, 0, 40)
    assert vp("run", "sweep") == 0
    out, err = capsys.readouterr()
    assert "40 rows of 5 runs; 0 were stored already, 40 computed" in err
    assert "trials on ESH4_" in err
    assert "Columns: --explain, --wide, --columns row,net,dsr, or docs/reference/results.md." in err
    assert vp("compare", "sweep", "--explain") == 0
    explained = capsys.readouterr().err
    assert "p_random: share of random entries (the same trades shifted in time)" in explained
    assert "luck? (p_adj is above 0.05)" in explained
    assert vp("compare", "sweep", "--legend") == 2
    assert "--legend is now --explain." in capsys.readouterr().err
    verdict = r"^{} [0-9a-f]{{8}}: .*(random entry|did not trade).*\.$"
    assert re.search(verdict.format("plain"), err, re.MULTILINE)
    assert re.search(verdict.format("scored"), err, re.MULTILINE)
    assert re.sub(" +", " ", out.splitlines()[0]) == "row signal thr/cd/tp trades net [95 %] p_adj verdict"
    assert re.fullmatch(r"[0-9a-f]{8} +\w+ +[\d.]+/(5|20)/(2|4) .*", out.splitlines()[1])
    assert len(out.splitlines()) == 11
    assert max(map(len, out.splitlines())) < 80
    with pytest.MonkeyPatch.context() as terminal:  # with room, the settings of runs that vary stand at the end
        terminal.setenv("COLUMNS", "140")
        assert vp("compare", "sweep") == 0
    wider = capsys.readouterr().out.splitlines()
    assert wider[0].split()[-1] == "varied"
    assert any("signal.gain=" in line for line in wider)
    assert vp("compare", "sweep", "--wide") == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert all(name in header for name in ("p_random", "net 95 %", "p_adj", "n_trials", "dsr"))
    assert header.split()[:4] == ["row", "run", "signal", "threshold"]
    assert vp("compare", "sweep", "--columns", "row, tp, net_pnl_sd", "--limit", "2") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["row", "tp", "net_pnl_sd"]
    assert vp("compare", "sweep", "--columns", "row,tp", "--limit", "2", "--csv") == 0
    assert capsys.readouterr().out.splitlines()[0] == "row,tp_ticks"
    assert vp("compare", "sweep", "--columns", "row,tpp") == 2
    assert "There is no column 'tpp'. Did you mean 'tp'?" in capsys.readouterr().err
    assert vp("run", "sweep", "--dry-run") == 0
    assert "0 of 40 rows are left to compute" in capsys.readouterr().err

    assert vp("compare", "sweep", "--sort", "tp_rate", "--min-signals", "20", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    rates = [row["tp_rate"] for row in answer["rows"]]
    assert rates == sorted(rates, reverse=True)
    assert all(
        row["trades"] >= 20 and row["tp_rate_lo"] <= row["tp_rate"] <= row["tp_rate_hi"] for row in answer["rows"]
    )
    assert answer["n_rows"] + answer["n_too_few_trades"] == 40
    assert list(answer["n_trials"].values()) == [36]  # rows with the same trades are one trial
    assert answer["evidence"][0]["n_rows"] == 40
    assert [found["signal"] for found in answer["verdicts"]] in (["plain", "scored"], ["scored", "plain"])
    assert all(
        {"p_random", "net_pnl_lo", "net_pnl_hi", "p_adj", "dsr", "n_trials"} <= set(row) for row in answer["rows"]
    )
    assert {row["varied"] for row in answer["rows"]} <= {
        "signal.gain=1", "signal.gain=2", "signal.gain=3", "scoring.tanh_scale=2", "scoring.tanh_scale=3",
    }  # fmt: skip

    assert vp("compare", "--signal", "scored", "--limit", "3", "--csv", "--min-signals", "0") == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["signal"] for row in table] == ["scored"] * 3
    assert {row["n_trials"] for row in table} == {"36"}
    assert vp("compare", "sweep", "--sort", "evidence", "--limit", "99", "--json") == 0
    by_evidence = json.loads(capsys.readouterr().out)["rows"]
    assert [row["p_adj"] for row in by_evidence] == sorted(row["p_adj"] for row in by_evidence)
    assert vp("compare", "sweep", "--sort", "dsr", "--json") == 0
    sure = [row["dsr"] for row in json.loads(capsys.readouterr().out)["rows"] if row["dsr"] is not None]
    assert sure == sorted(sure, reverse=True)
    # Looking at one signal alone makes it no less lucky: its rows are adjusted for all of the experiment.
    assert vp("compare", "sweep", "--signal", "scored", "--sort", "evidence", "--json") == 0
    alone = {row["row"]: row["p_adj"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert alone
    assert alone.items() <= {row["row"]: row["p_adj"] for row in by_evidence}.items()
    assert vp("compare", "--stale") == 0
    assert capsys.readouterr().out == ""
    assert vp("compare", "--sort", "tp_rat") == 2
    assert "Rows cannot be sorted by 'tp_rat'. Did you mean 'tp_rate'?" in capsys.readouterr().err
    assert vp("compare", "--dataset-id", "nothing") == 2
    assert "No dataset is called 'nothing'" in capsys.readouterr().err


def test_a_dry_run_says_what_is_shared(vp: Vp, capsys: pytest.CaptureFixture[str]) -> None:
    assert vp("run", "sweep", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert {level["name"]: (level["made"], level["unshared"]) for level in plan["shared"]} == {
        "datasets": (1, 5),
        "z-scores": (3, 6),  # tanh_scale is no setting of theirs
        "scores": (2, 2),
        "signal values": (5, 40),
        "outcome tables": (2, 40),
        "rows": (40, 40),
    }
    assert vp("run", "sweep", "--json") == 0  # the dry run stored nothing
    assert json.loads(capsys.readouterr().out)["n_computed"] == 40
    assert vp("run", "sweep", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["shared"] == []


def test_the_projection_is_held_against_the_scores_that_came(vp: Vp, capsys: pytest.CaptureFixture[str]) -> None:
    assert vp("inspect", "base", "--projection", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["horizons_ms"] == [200, 500, 1000, 2500]
    assert {len(row) for row in found["correlation"]} == {len(found["k"])} == {9}
    assert all(-1 <= value <= 1 for row in found["change"] for value in row if value is not None)
    assert vp("inspect", "base", "--projection") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:4] == ["horizon_ms", "cells", "correlation", "persistence"]
    assert "By cell: --json" in err
    assert vp("inspect", "bace", "--projection") == 2
    assert "Did you mean 'base'?" in capsys.readouterr().err


def test_compare_before_anything_was_run(vp: Vp, capsys: pytest.CaptureFixture[str]) -> None:
    assert vp("compare", "sweep") == 0
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", "No stored row matches. Make rows with: vp run sweep")


def test_rows_of_other_code_are_named(
    vp: Vp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vp("run", "sweep") == 0
    monkeypatch.setattr("vpcore.experiment.leaderboard.core_digest", lambda: "other code")
    capsys.readouterr()
    assert vp("compare", "sweep") == 0
    out, err = capsys.readouterr()
    assert (out, err.strip()) == (
        "", "40 rows of other code are stored: see --stale. Compute them anew with: vp run sweep"
    )  # fmt: skip
    assert vp("compare", "sweep", "--stale", "--limit", "3") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_run_as_json(vp: Vp, capsys: pytest.CaptureFixture[str]) -> None:
    assert vp("run", "sweep", "--json", "--workers", "1") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_computed"], report["n_failed"], len(report["best"])) == (40, 0, 10)
    assert report["best"][0]["net_pnl_ticks"] >= report["best"][1]["net_pnl_ticks"]


def test_failures_are_shown_and_exit_with_1(vp: Vp, edit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    edit(
        ("signals: [plain, scored]", "signals: [breaks]"),
        ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""),
        ("per_signal: {plain: {gain: [1, 2, 3]}}", "per_signal: {breaks: {gain: [0.5, 2]}}"),
    )
    assert vp("run", "sweep") == 1
    err = capsys.readouterr().err
    assert "of breaks: ZeroDivisionError: no gain at bin 1501" in err
    assert "  vp run sweep --retry-failed" in err
    assert vp("run", "sweep") == 1  # still: some of its rows are failures
    assert "8 of the stored rows are of runs that failed earlier, and were left so: vp results show" in (
        capsys.readouterr().err
    )
    assert vp("run", "sweep", "--retry-failed") == 1
    err = capsys.readouterr().err
    assert "8 were stored already, 8 computed" in err
    run_id = err.partition("vp results show ")[2][:16]
    assert vp("results", "show", run_id) == 0
    out, err = capsys.readouterr()
    assert "ZeroDivisionError: no gain at bin 1501" in err
    assert len(out.splitlines()) == 9
    assert vp("results", "show", "zz") == 2
    assert "No run is called 'zz'" in capsys.readouterr().err


def test_results_show_export_and_compact(vp: Vp, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vp("run", "sweep", "--json")
    run_id = json.loads(capsys.readouterr().out)["run_ids"][0]
    assert vp("results", "show", run_id[:12], "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["run"]["signal_params"] == {"gain": 1}
    assert len(shown["rows"]) == 8
    assert len(shown["rows"][0]["block_pnl_ticks"]) == 1
    for name in ("rows.parquet", "rows.csv", "rows.ndjson"):
        assert vp("results", "export", "--out", str(tmp_path / name)) == 0
    assert pl.read_parquet(tmp_path / "rows.parquet").height == 40
    assert pl.read_csv(tmp_path / "rows.csv").height == 40
    assert vp("results", "export", "--out", str(tmp_path / "rows.csv")) == 2
    assert "exists already. Choose another name, or replace it with --force" in capsys.readouterr().err
    assert vp("results", "export", "--out", str(tmp_path / "rows.csv"), "--force", "--signal", "scored") == 0
    assert pl.read_csv(tmp_path / "rows.csv").height == 16
    assert vp("results", "export", "--out", "rows.txt") == 2
    assert "--out must be a file that ends in .parquet, .csv, .ndjson, .zip, was rows.txt" in capsys.readouterr().err
    vp("run", "sweep", "--force")
    capsys.readouterr()
    assert vp("results", "compact", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["parts_after"], report["rows"], report["duplicates"]) == (2, 40, 40)


def test_cautions_on_the_trades_of_leaders() -> None:
    row = {"signal_name": "s", "row": "r", "timeout_rate": 0.5, "eval_json": '{"fee_ticks":0.25}'}
    assert cautions_on_trades([row]) == []
    mid = {**row, "eval_json": '{"price":"mid","fee_ticks":0.0}', "timeout_rate": 0.98}
    assert [text.split(" (")[0].split(":")[0] for text in cautions_on_trades([row, mid])] == [
        "Trades are on the mid", "Trades are without a fee", "98% of the trades of s r time out",
    ]  # fmt: skip
