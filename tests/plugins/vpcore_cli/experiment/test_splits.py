"""``vp compare`` of an experiment with in-sample and out-of-sample parts."""

from __future__ import annotations

import json
from collections.abc import Callable

from vpcore import Workspace
from vpcore.experiment.run import run_experiment

Edit = Callable[..., None]
Call = Callable[..., tuple[str, str]]


def splits(edit: Edit, text: str, name: str = "cut") -> None:
    edit(("eval: {", f"eval: {{splits: {{{text}}}, "), name=name)


def test_compare_shows_both_figures(ws: Workspace, edit: Edit, call: Call) -> None:
    splits(edit, "method: holdout, test_share: 0.4")
    run_experiment(ws, "cut")
    answer = json.loads(call("compare", "cut", "--json", "--limit", "100")[0])
    assert answer["sort"] == "in_sample"
    in_sample = [row["in_sample"] for row in answer["rows"] if row["in_sample"] is not None]
    assert in_sample == sorted(in_sample, reverse=True)
    (choice,) = answer["splits"]["choices"]
    best = answer["rows"][0]
    assert (choice["row"], choice["net_in"]) == (best["row"], best["net_in_sample"])
    assert (choice["net_out"], choice["trades_out"]) == (best["net_out_of_sample"], best["trades_out_of_sample"])
    out, err = call("compare", "cut")
    assert "net in" in out
    assert "net out" in out
    assert f"{best['row']} is the best by net_pnl_ticks of 40 rows" in err
    assert json.loads(call("compare", "cut", "--sort", "net_out_of_sample", "--json")[0])["sort"] == "net_out_of_sample"
    assert "in_sample" in call("compare", "cut", "--csv")[0].splitlines()[0]


def test_combinatorial_paths_in_the_verdict(ws: Workspace, edit: Edit, call: Call) -> None:
    splits(edit, "method: combinatorial, groups: 4")
    run_experiment(ws, "cut")
    answer = json.loads(call("compare", "cut", "--json")[0])
    assert answer["sort"] == "net_pnl_ticks"
    assert len(answer["splits"]["paths"]) == 3
    assert "Along 3 paths it pays" in call("compare", "cut")[1]
