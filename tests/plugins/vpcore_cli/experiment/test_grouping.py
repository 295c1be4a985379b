"""``vp compare --by`` and ``--pivot``."""

from __future__ import annotations

import csv
import io
import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweep_workspace import build, importable_signals

from vpcore import Workspace
from vpcore.engine import FrameBlock
from vpcore.experiment.run import run_experiment
from vpcore_cli import app as cli
from vpcore_cli.pivot import print_pivot

Compare = Callable[..., Any]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, frames: FrameBlock, proofs: Path) -> Workspace:
    """A workspace with the rows of the experiment, which the tests only read."""
    with importable_signals():
        workspace = build(tmp_path_factory.mktemp("swept") / "ws", frames)
        shutil.copytree(proofs, workspace.results_dir / "proofs")
        run_experiment(workspace, "sweep")
    return workspace


@pytest.fixture
def compare(swept: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    monkeypatch.setattr(cli, "Plugins", lambda: swept.plugins)
    monkeypatch.setenv("VP_ROOT", str(swept.root))

    def call(*arguments: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert cli.run(["compare", "sweep", "--min-signals", "0", *arguments]) == code
        out, err = capsys.readouterr()
        return out, err

    return call


def test_groups_are_those_of_the_rows(compare: Compare) -> None:
    rows = json.loads(compare("--json", "--limit", "1000")[0])["rows"]
    for by, value in (("signal", lambda row: row["signal"]), ("tp_ticks", lambda row: row["tp_ticks"])):
        answer = json.loads(compare("--by", by, "--json")[0])
        assert answer["figure"] == "net_pnl_ticks"
        found = {group[by]: group for group in answer["groups"]}
        assert set(found) == {value(row) for row in rows}
        for key, group in found.items():
            mine = [row for row in rows if value(row) == key]
            known = [row["net_pnl_ticks"] for row in mine if row["net_pnl_ticks"] is not None]
            assert group["rows"] == len(mine)
            assert group["best"] == max(known)
            assert group["median"] == pytest.approx(statistics.median(known))
            assert next(row["net_pnl_ticks"] for row in mine if row["row"] == group["best_row"]) == group["best"]
        order = [group["best"] for group in answer["groups"]]
        assert order == sorted(order, reverse=True)


@pytest.mark.slow
def test_headings_of_the_table_are_names(compare: Compare) -> None:
    for heading, name in (("tp", "tp_ticks"), ("cooldown", "cooldown_bins")):
        assert compare("--by", heading) == compare("--by", name)
    assert compare("--pivot", "tp", "cooldown", "--json") == compare("--pivot", "tp_ticks", "cooldown_bins", "--json")
    assert compare("--sort", "net", "--json") == compare("--sort", "net_pnl_ticks", "--json")
    for heading, name in (("trades", "trades"), ("resolved", "tp_resolved"), ("timeouts", "timeout_rate")):
        rows = json.loads(compare("--sort", heading, "--json", "--limit", "1000")[0])["rows"]
        known = [row[name] for row in rows if row[name] is not None]
        assert known == sorted(known, reverse=name != "timeout_rate")
        assert len(set(known)) > 1
    assert "Did you mean 'cooldown'?" in compare("--by", "coldown", code=2)[1]
    assert "Did you mean 'timeouts'?" in compare("--sort", "timeout", code=2)[1]


def test_json_and_csv_exclude_each_other(compare: Compare) -> None:
    for order in (("--json", "--csv"), ("--csv", "--json")):
        out, _ = compare(*order, code=2)
        assert json.loads(out)["error"]["message"] == "--json and --csv exclude each other. Leave one of them out."


def test_low_is_best_where_it_is(compare: Compare) -> None:
    rows = json.loads(compare("--json", "--limit", "1000")[0])["rows"]
    groups = json.loads(compare("--by", "cooldown_bins", "--sort", "evidence", "--json")[0])
    assert groups["figure"] == "p_adj"
    for group in groups["groups"]:
        mine = [
            row["p_adj"] for row in rows if row["cooldown_bins"] == group["cooldown_bins"] and row["p_adj"] is not None
        ]
        assert group["best"] == min(mine)


def test_a_table_of_two_settings(compare: Compare) -> None:
    rows = json.loads(compare("--json", "--limit", "1000", "--signal", "plain")[0])["rows"]
    answer = json.loads(compare("--pivot", "gain", "tp_ticks", "--signal", "plain", "--json")[0])
    assert [line["gain"] for line in answer["rows"]] == [1, 2, 3]
    for line in answer["rows"]:
        for tp in (2, 4):
            known = [
                row["net_pnl_ticks"]
                for row in rows
                if (row["signal_params"]["gain"], row["tp_ticks"]) == (line["gain"], tp)
                and row["net_pnl_ticks"] is not None
            ]
            assert line[str(tp)] == pytest.approx(statistics.median(known))
    out, err = compare("--pivot", "gain", "tp_ticks", "--signal", "plain")
    assert out.splitlines()[0].split() == ["gain", "2", "4"]
    assert "rows have at least 0 trades" in err
    table = list(csv.reader(io.StringIO(compare("--pivot", "gain", "tp_ticks", "--signal", "plain", "--csv")[0])))
    assert (table[0], len(table)) == (["gain", "2", "4"], 4)


def test_a_setting_that_a_signal_lacks_is_none_of_its_settings(compare: Compare) -> None:
    out, _ = compare("--by", "tanh_scale")
    assert "(not a setting)" in out
    groups = json.loads(compare("--by", "tanh_scale", "--json")[0])["groups"]
    assert None in [group["tanh_scale"] for group in groups]
    assert "(not a setting)" in compare("--pivot", "tanh_scale", "tp")[0]


def test_marginals_are_the_medians_of_every_setting(compare: Compare) -> None:
    rows = json.loads(compare("--json", "--limit", "1000")[0])["rows"]
    lines = json.loads(compare("--marginals", "--json")[0])["marginals"]
    # A parameter is told within the signal that has it: another's of the same name, or its default, is something else.
    named = {line["setting"] for line in lines}
    assert {"signal", "plain: signal.gain", "scored: scoring.tanh_scale", "tp_ticks", "cooldown_bins"} <= named
    assert not {"signal.gain", "threshold", "plain: scoring.tanh_scale"} & named
    spreads = [line["spread"] for line in lines]
    assert spreads == sorted(spreads, reverse=True)
    for line in lines:
        if line["setting"] in ("tp_ticks", "cooldown_bins", "signal"):
            mine = [row["net_pnl_ticks"] for row in rows if row[line["setting"]] == line["value"]]
            known = [value for value in mine if value is not None]
            assert line["rows"] == len(mine)
            assert line["median"] == pytest.approx(statistics.median(known))
            assert (line["lowest"], line["highest"]) == (min(known), max(known))
    assert compare("--marginals", "--csv")[0].splitlines()[0] == "setting,value,median,lowest,highest,rows,spread"


def test_the_front_is_what_no_row_beats_in_both(compare: Compare) -> None:
    rows = json.loads(compare("--json", "--limit", "1000")[0])["rows"]
    front = json.loads(compare("--pareto", "--json", "--limit", "1000")[0])["rows"]
    points = {(row["events_per_hour"], row["net_pnl_ticks"]) for row in rows if row["net_pnl_ticks"] is not None}
    best = {
        (often, net)
        for often, net in points
        if not any((o >= often and n >= net) and (o, n) != (often, net) for o, n in points)
    }
    assert [(row["events_per_hour"], row["net_pnl_ticks"]) for row in front] == sorted(best, reverse=True)
    assert compare("--pareto", "--csv")[0].count("\n") == len(best) + 1


def test_on_a_terminal_it_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_pivot([{"a": 1.0, "2": 0.5, "4": None}, {"a": 2.0, "2": -1.0, "4": 0.25}], "a", ["2", "4"], "median")
    out = capsys.readouterr().out
    assert all(text in out for text in ("median", "0.500", "-1.000", "0.250"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--by", "gian"), "Rows cannot be grouped by 'gian'. Did you mean 'gain'? What varies among them: cooldown_bins, "),
        (("--pivot", "gain", "gain"), "--pivot takes two settings that differ, was 'gain' twice."),
        (("--marginals", "--pareto"), "--marginals and --pareto exclude each other. Leave one of them out."),
        (("--by", "gain", "--pivot", "gain", "tp_ticks"), "--by and --pivot exclude each other. Leave one of them out."),
    ],
)  # fmt: skip
def test_what_cannot_be_grouped(compare: Compare, arguments: tuple[str, ...], message: str) -> None:
    assert message in compare(*arguments, code=2)[1]
