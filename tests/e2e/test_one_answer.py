"""A row has one `p_adj`, one `dsr` and one `pbo`, whichever command, filter or function shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from learning_world import make_learning_workspace

import vpcore
import vpcore.experiment.run as run_module
import vpcore_serving.promote as promote_module
from vpcore import Workspace
from vpcore.dataset import DatasetWriter
from vpcore.engine import FrameBlock
from vpcore.experiment.audit import audit
from vpcore.experiment.run import harness_config, run_experiment
from vpcore.testing import synthetic_dataset
from vpcore_cli import app as cli
from vpcore_cli.tracking import track_experiment
from vpcore_report.facts import gather
from vpcore_serving.promote import promote

FIGURES = (
    "p_adj", "q_random", "dsr", "pbo", "n_trials", "p_random", "net_pnl_ticks", "net_pnl_lo", "net_pnl_hi",
)  # fmt: skip
"""Every answer has these."""

INTERVALS = ("tp_rate_lo", "tp_rate_hi", "tp_resolved_lo", "tp_resolved_hi", "n_eff")
"""Tables have these too."""

EVERY_ROW = ("--min-signals", "0")

VIEWS: tuple[tuple[str, ...], ...] = (
    (), EVERY_ROW, ("--min-signals", "20"), ("--sort", "tp_rate"), ("--sort", "evidence", "--limit", "3"),
)  # fmt: skip

Answers = dict[str, dict[str, dict[str, Any]]]
"""By row, then by who answers."""


@pytest.fixture(autouse=True)
def _without_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Causality has tests of its own, and a proof per set of parameters takes seconds."""
    monkeypatch.setattr(run_module, "pass_gate", lambda *_: {})
    monkeypatch.setattr(promote_module, "prove", lambda *_, **__: None)


class Asker:
    """Asks for the figures of rows in every way there is."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.workspace, self._capsys = workspace, capsys
        monkeypatch.setattr(cli, "Plugins", lambda: workspace.plugins)
        monkeypatch.setenv("VP_ROOT", str(workspace.root))

    def vp(self, *arguments: str) -> Any:
        self._capsys.readouterr()
        assert cli.run([*arguments, "--json"]) == 0
        return json.loads(self._capsys.readouterr().out)

    def tables(self, *arguments: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Answers of `vp compare` under every filter."""
        plain = self.vp("compare", *arguments, *EVERY_ROW, "--limit", "10000")["rows"]
        more = [("--signal", plain[0]["signal"]), *(("--dataset-id", row["dataset_id"]) for row in plain[:1])]
        if " + " in plain[0]["dataset_id"]:  # which a single dataset would leave no combination of
            more.pop()
        for view in (*VIEWS, *more):
            limit = () if "--limit" in view else ("--limit", "10000")
            # The view that asks for every row was asked for above.
            seen = plain if view == EVERY_ROW else self.vp("compare", *arguments, *view, *limit)["rows"]
            for row in seen:
                yield f"compare {' '.join((*arguments, *view))}", row

    @cached_property
    def _of_all(self) -> list[tuple[str, dict[str, Any]]]:
        """Tables of all experiments: the same whichever of them is asked about."""
        return list(self.tables())

    def answers(self, experiment: str, *, pooled: bool = False) -> Answers:
        """Return the figures of every row of an experiment, by row and by who answers."""
        found: Answers = {}

        def add(who: str, row: dict[str, Any]) -> None:
            found.setdefault(row["row"], {})[who] = {name: row[name] for name in (*FIGURES, *INTERVALS) if name in row}

        board = vpcore.leaderboard(self.workspace, experiment)
        for row in board.frame.to_dicts():
            add("leaderboard", row)
        for who, row in self.tables(experiment):
            add(who, row)
        for row in gather(self.workspace, experiment).rows.to_dicts():
            add("report", row)
        traded = board.rows(min_signals=1)["row"].to_list()
        for name in (traded[0], traded[-1]):
            done = promote(self.workspace, experiment, row=name, alias="a", force=True, why="to see")
            add("promote", {"row": name, **done.spec.evidence.figures})
        checked = audit(self.workspace, experiment, row=traded[-1])
        add("audit", {"row": checked.row, **checked.evidence})
        if not pooled:
            self._of_single_rows(experiment, add)
        return {name: answers for name, answers in found.items() if name in set(board.frame["row"])}

    def _of_single_rows(self, experiment: str, add: Callable[[str, dict[str, Any]], None]) -> None:
        for who, row in self._of_all:
            add(who, row)
        for run_id in vpcore.leaderboard(self.workspace, experiment).frame["run_id"].unique():
            for row in vpcore.leaderboard(self.workspace, run_id).frame.to_dicts():
                add("leaderboard of the run", row)
        best = vpcore.leaderboard(self.workspace, experiment).best
        assert best is not None
        for row in gather(self.workspace, best.run_id).rows.to_dicts():
            add("report of the run", row)
        checked = audit(self.workspace, best.run_id, row=best.row)
        add("audit of the run", {"row": best.row, **checked.evidence})
        done = promote(self.workspace, experiment, best.run_id, alias="a", force=True, why="to see")
        add("promote the run", {"row": done.spec.evidence.row, **done.spec.evidence.figures})
        for row in vpcore.leaderboard(self.workspace).frame.to_dicts():
            add("leaderboard of all", row)
        track_experiment(self.workspace, experiment, tracker="jsonl")
        (path,) = (self.workspace.harness_dir / "tracking").glob(f"*{experiment}.jsonl")
        for line in map(json.loads, path.read_text().splitlines()):
            if line["best_row"] is not None:
                add("tracker", {"row": line["best_row"], **dict.fromkeys(FIGURES), **line["best"]})
        assert len(path.read_text().splitlines()) > 0


def require_one_answer(answers: Answers, *who: str) -> None:
    """Every row has the same figures everywhere, and those of `who` were asked."""
    asked = {name for each in answers.values() for name in each}
    assert asked >= set(who)
    for row, each in answers.items():
        first = each["leaderboard"]
        for name, figures in each.items():
            assert set(FIGURES) <= set(figures), name
            assert figures == {figure: first[figure] for figure in figures}, (row, name)


WAYS = ("compare {}", "compare ", "report", "report of the run", "audit", "audit of the run", "promote", "promote the run",
        "tracker", "leaderboard of all", "leaderboard of the run")  # fmt: skip


@pytest.fixture
def ask(
    make_proven: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Asker:
    return Asker(make_proven("ws"), monkeypatch, capsys)


@pytest.mark.slow
def test_one_session_and_rows_that_two_experiments_share(ask: Asker, edit: Callable[..., None]) -> None:
    another_day = "serving: base\ndates: [2023-12-26]\n"
    edit(("serving: base\n", another_day))
    add_dataset(ask.workspace, harness_config(ask.workspace, "sweep").dataset_id, 11, 2000)
    run_experiment(ask.workspace, "sweep")
    edit(
        ("serving: base\n", f"select: {{min_signals: 30}}\n{another_day}"),
        ("cooldown_bins: [5, 20]", "cooldown_bins: [20, 40]"),
        name="wide",
    )
    run_experiment(ask.workspace, "wide")
    first, second = ask.answers("sweep"), ask.answers("wide")
    require_one_answer(first, *(way.format("sweep") for way in WAYS))
    require_one_answer(second, *(way.format("wide") for way in WAYS))
    shared = set(first) & set(second)
    assert len(shared) == 20
    for row in shared:
        assert second[row]["leaderboard"] == first[row]["leaderboard"]
    # The experiment that computed a row decides, and with it how many trades its rows need.
    board = vpcore.leaderboard(ask.workspace, "wide")
    assert {about.experiment: about.n_rows for about in board.evidence.values()} == {"sweep": 40, "wide": 20}
    assert len({row["leaderboard"]["pbo"] for row in second.values()} - {None}) == 2


def test_a_change_of_the_evaluation_is_a_family_of_its_own(ask: Asker, edit: Callable[..., None]) -> None:
    edit()
    run_experiment(ask.workspace, "sweep")
    before = vpcore.leaderboard(ask.workspace, "sweep")
    edit(("fee_ticks: 0", "fee_ticks: 1.0"))
    run_experiment(ask.workspace, "sweep")
    after = vpcore.leaderboard(ask.workspace, "sweep")
    assert ([about.n_rows for about in after.evidence.values()], after.frame.height) == ([40], 40)
    every = vpcore.leaderboard(ask.workspace)
    assert (len(every.evidence), every.frame.height) == (2, 80)
    # A fee changes what a trade pays and no trade: the second experiment has the trials of the first.
    assert {about.n_trials for about in every.evidence.values()} == {36}
    assert sorted(about.first for about in every.evidence.values()) == [False, True]
    old = every.frame.filter(every.frame["run_id"].is_in(before.frame["run_id"].to_list()))
    joined = old.join(before.frame, on="row", suffix="_before")
    assert (joined["p_adj"] >= joined["p_adj_before"]).all()  # more was tried on the market since
    # A spec that is gone leaves the rows and their families.
    (ask.workspace.configs / "experiments" / "sweep.yaml").unlink()
    left = Workspace(ask.workspace.root, plugins=ask.workspace.plugins)
    assert vpcore.leaderboard(left).frame.equals(every.frame)


@pytest.mark.slow
def test_several_sessions(ask: Asker, edit: Callable[..., None]) -> None:
    workspace = ask.workspace
    edit(("serving: base\n", "serving: base\ndates: [2023-12-25, 2023-12-26]\n"), name="two")
    add_dataset(workspace, harness_config(workspace, "two").dataset_ids[1], 11, 1500)
    run_experiment(workspace, "two")
    require_one_answer(ask.answers("two", pooled=True), "compare two", "report", "audit", "promote")
    # The rows of a session by themselves are others than the combinations.
    single: Answers = {}
    for row in vpcore.leaderboard(workspace, "two", per_session=True).frame.to_dicts():
        single.setdefault(row["row"], {})["leaderboard"] = {name: row[name] for name in FIGURES}
    for arguments in (("two", "--per-session"), ()):
        for who, row in ask.tables(*arguments):
            single[row["row"]][who] = {name: row[name] for name in FIGURES}
    assert len(single) == 80
    require_one_answer(
        single, "compare ", "compare two --per-session", "compare two --per-session --sort evidence --limit 3"
    )


@pytest.mark.slow
def test_after_a_search(ask: Asker, edit: Callable[..., None]) -> None:
    pytest.importorskip("optuna")
    edit(
        ("gain: [1, 2, 3]", "gain: {from: 1, to: 20, step: 1}"),
        ("parallel:", "  sample: {method: optuna, n: 2, round: 2}\nparallel:"),
    )
    run_experiment(ask.workspace, "sweep")
    answers = ask.answers("sweep")
    require_one_answer(answers, *(way.format("sweep") for way in WAYS))
    (about,) = vpcore.leaderboard(ask.workspace).evidence.values()
    assert about.n_adjusted == about.n_choices == 8 * (20 + 2) > about.n_trials


@pytest.mark.slow
def test_a_learning_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ask = Asker(make_learning_workspace(tmp_path / "learn"), monkeypatch, capsys)
    run_experiment(ask.workspace, "learn")
    require_one_answer(ask.answers("learn"), *(way.format("learn") for way in WAYS))


def add_dataset(workspace: Workspace, dataset_id: str, seed: int, n_bins: int) -> None:
    """Add a session of bins of a second, so that it has blocks enough for `pbo`."""
    made = synthetic_dataset(seed=seed, n_bins=n_bins, radius=4)
    names = [name for name in made.grid_columns if not name.endswith("rest_depth")]
    bins = {name: made.bin(name) for name in made.bin_columns}
    begin = bins["bin_start_ns"][0]
    bins |= {name: begin + 10 * (bins[name] - begin) for name in ("bin_start_ns", "bin_end_ns")}
    frames = FrameBlock(bins, {name: made.grid(name) for name in names})
    form: dict[str, Any] = {"n_cells": 9, "cell_width_ns": 1_000_000_000, "tick_int": 250_000_000}
    with DatasetWriter(workspace.storage, dataset_id, columns=tuple(frames.grid), **form) as writer:
        writer.append(frames)
        writer.commit({"sources": [{"path": f"{seed}.dbn", "sha256": f"{seed:02d}" * 32, "size": 1}]})
