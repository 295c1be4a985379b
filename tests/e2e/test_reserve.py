"""A reserve: no way leads to a trade in it, and a confirmation is one counted look."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import vpcore as vp
import vpcore.experiment.run as run_module
import vpcore_serving.promote as promote_module
from vpcore.dataset import DatasetWriter
from vpcore.dataset.dataset import open_whole
from vpcore.engine import FrameBlock
from vpcore.errors import ConfigError, RefusedError, ResultsError, StorageError
from vpcore.experiment.run import harness_config
from vpcore.schema import GRID_SUMS
from vpcore_cli.app import run as vp_command
from vpcore_serving.confirm import combination_id

SERVING = "name: market\npipeline: market\nsignal: {name: ofi}\nprojection: {horizons_ms: [500]}\n"
EXPERIMENT = """\
name: {name}
serving: market
signals: [ofi, microprice]
eval: {{tp_ticks: [2], sl_ticks: [2], cooldown_bins: [20], max_hold_bins: 50, bootstrap_draws: 99{eval}}}
select: {{min_signals: 1}}
parallel: {{executor: serial}}
tracking: {{backend: jsonl}}
{more}
"""
RESERVE = "reserve: {share: 0.4, confirmations: 2}"
N_BINS, CUT = 2400, 1440


@pytest.fixture(autouse=True)
def _without_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Causality has tests of its own."""
    monkeypatch.setattr(run_module, "pass_gate", lambda *_: {})
    monkeypatch.setattr(promote_module, "prove", lambda *_, **__: None)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> vp.Workspace:
    root = tmp_path_factory.mktemp("reserve")
    vp.Workspace.create(root)
    assert vp_command(["synth", "--minutes", "4", "--seed", "3", "--pipeline", "market", "--root", str(root)]) == 0
    ws = vp.Workspace(root)
    vp.generate(ws, "market")
    return ws


def build(market: vp.Workspace, root: Path, *, other_reserve: bool = False) -> vp.Workspace:
    """Make a workspace with the dataset, or with one whose bins from `CUT` on are others."""
    ws, _ = vp.Workspace.create(root)
    (ws.configs / "pipelines" / "market.yaml").write_text((market.configs / "pipelines" / "market.yaml").read_text())
    (ws.configs / "serving" / "market.yaml").write_text(SERVING)
    (ws.raw).rmdir()
    (ws.raw).symlink_to(market.raw)
    (dataset_id,) = market.datasets.ids()
    if not other_reserve:
        shutil.copytree(market.datasets.path(dataset_id), ws.datasets.path(dataset_id), copy_function=os.link)
        return ws
    whole = market.datasets.open(dataset_id)
    order = np.arange(whole.n_bins)
    order[CUT:] = np.random.default_rng(0).permutation(order[CUT:])
    bins = {name: whole.bin(name)[order] for name in whole.bin_columns}
    bins |= {name: whole.bin(name) for name in ("bin_seq", "bin_start_ns", "bin_end_ns")}
    grid = {name: whole.grid(name)[order] for name in whole.grid_columns if name not in GRID_SUMS}
    form: dict[str, Any] = {
        "n_cells": whole.n_cells, "cell_width_ns": whole.cell_width_ns, "tick_int": whole.tick_int,
    }  # fmt: skip
    with DatasetWriter(ws.storage, dataset_id, columns=tuple(grid), **form) as writer:
        writer.append(FrameBlock(bins, grid))
        writer.commit(whole.manifest)
    return ws


@pytest.fixture
def make(market: vp.Workspace, tmp_path: Path) -> Callable[..., vp.Workspace]:
    """Make a workspace by its name."""
    return lambda name, **options: build(market, tmp_path / name, **options)


@pytest.fixture(scope="module")
def finished(market: vp.Workspace, tmp_path_factory: pytest.TempPathFactory) -> vp.Workspace:
    """A workspace in which the experiment ran."""
    ws = build(market, tmp_path_factory.mktemp("finished") / "ws")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "pass_gate", lambda *_: {})
        vp.run(ws, write(ws, "kept"))
    return ws


@pytest.fixture
def ran(finished: vp.Workspace, tmp_path: Path) -> vp.Workspace:
    """A copy of the workspace in which the experiment ran."""
    shutil.copytree(finished.root, tmp_path / "ws", symlinks=True)
    return vp.Workspace(tmp_path / "ws")


def write(ws: vp.Workspace, name: str, more: str = RESERVE, rules: str = "") -> str:
    path = ws.configs / "experiments" / f"{name}.yaml"
    path.write_text(EXPERIMENT.format(name=name, more=more, eval=rules))
    return name


def answers(ws: vp.Workspace, capsys: Any) -> dict[str, Any]:
    """Return what every way to look at an experiment says, less what two runs never share."""

    def ask(*arguments: str) -> Any:
        capsys.readouterr()
        code = vp_command([*arguments, "--root", str(ws.root)])
        assert code in (0, 1), (arguments, capsys.readouterr().err)
        out = capsys.readouterr().out
        return re.sub(r'"(batch_id|finished_utc|started_utc)": "[^"]*"', "", out)

    name = write(ws, "kept")
    ask("run", name)
    best = vp.leaderboard(ws, name).best
    assert best is not None
    page, picture, pivot = ws.root / "report.html", ws.root / "plot.png", ws.root / "pivot.png"
    ask("report", best.run_id, "--out", str(page))
    ask("plot", best.row, "--out", str(picture))
    ask("plot-pivot", name, "tp_ticks", "threshold", "--out", str(pivot))
    lines = [
        json.loads(line) for path in sorted(ws.harness_dir.rglob("*.jsonl")) for line in path.read_text().splitlines()
    ]
    promoted = json.loads(ask("promote", name, "--row", best.row, "--alias", "live", "--json"))
    simulated = json.loads(ask("online-sim", "--serving", "live", "--json"))
    replayed = json.loads(ask("online-sim", "--serving", "live", "--from-raw", "--json"))
    (dataset_id,) = ws.datasets.ids()
    opened = vp.Dataset.open(ws.datasets.path(dataset_id))
    return {
        "rows": ws.results.canonical_bytes(),
        "compare": ask("compare", name, "--json"),
        "table": ask("compare", name, "--by", "threshold"),
        "export": ask("results", "show", best.run_id),
        "audit": vp.audit(ws, name).plain(),
        "trades": vp.trades(ws, best).write_csv(),
        "report": re.sub(r"[0-9-]{10} [0-9:]{8} UTC", "", page.read_text()),
        "plot": picture.read_bytes(),
        "pivot": pivot.read_bytes(),
        "tracked": [{k: v for k, v in line.items() if "time" not in k and "utc" not in k} for line in lines],
        "promoted": {k: promoted[k] for k in ("figures", "reasons", "summary", "serving_id")},
        "simulated": (simulated["n_bins"], replayed["n_bins"]),
        "opened": opened.bins().write_csv(),
        "grid": int(opened.grid()["bin_seq"].max()),  # type: ignore[arg-type]
    }


@pytest.mark.slow
def test_nothing_depends_on_the_reserve(make: Callable[..., vp.Workspace], capsys: Any) -> None:
    one, other = (answers(make(name, other_reserve=name == "b"), capsys) for name in ("a", "b"))
    for name, answer in one.items():
        assert answer == other[name], name
    assert one["simulated"] == (CUT, CUT)
    assert one["grid"] == CUT - 1


def test_every_dataset_ends_where_the_reserve_begins(make: Callable[..., vp.Workspace]) -> None:
    ws = make("ws")
    (dataset_id,) = ws.datasets.ids()
    assert ws.datasets.open(dataset_id).n_bins == N_BINS
    vp.run(ws, write(ws, "kept"))
    folder = ws.datasets.path(dataset_id)
    for dataset in (ws.datasets.open(dataset_id), vp.Dataset.open(folder), vp.generate(ws, "market")):
        assert (dataset.n_bins, dataset.dataset_id) == (CUT, dataset_id)
        assert dataset.slice(0, CUT).dataset_id == dataset_id
    assert open_whole(folder).n_bins == N_BINS
    best = vp.leaderboard(ws, "kept").best
    assert best is not None
    assert vp.trades(ws, best)["exit_bin"].max() < CUT  # type: ignore[operator]
    assert best.figures["end_bin"] == CUT


def test_the_reserve_belongs_to_the_market(ran: vp.Workspace) -> None:
    ws = ran
    report = vp.run(ws, write(ws, "other", more="", rules=", latency_bins: 2"))
    assert any(
        "ends after 1,440 bins: the rest is the reserve of experiment 'kept'" in text for text in report.warnings
    )
    assert set(ws.results.query_runs(experiment_name="other")["end_bin"]) == {CUT}
    with pytest.raises(ConfigError, match="overlaps the reserve of 'kept'"):
        vp.run(ws, write(ws, "wider", more="reserve: {share: 0.3}"))


def test_a_larger_share_is_refused_with_the_share_that_works(ran: vp.Workspace) -> None:
    """Its beginning was evaluated, but the answer is to share the reserve that is there."""
    ws = ran
    with pytest.raises(
        ConfigError, match="Write the sessions, reserve and confirmations of 'kept' in both: they share"
    ):
        vp.run(ws, write(ws, "larger", more="reserve: {share: 0.6}"))


def test_data_that_were_looked_at_are_no_reserve(make: Callable[..., vp.Workspace]) -> None:
    ws = make("ws")
    vp.run(ws, write(ws, "looked", more=""))
    with pytest.raises(ConfigError, match=r"evaluated before: the ledger has \d+ trials there, of 'looked'"):
        vp.run(ws, write(ws, "kept"))
    assert not ws.reserves.all()


def test_a_confirmation_is_one_counted_look(make: Callable[..., vp.Workspace], capsys: Any) -> None:
    ws = make("ws")
    with pytest.raises(ResultsError, match="was not run with its reserve"):
        vp.confirm(ws, write(ws, "kept"))
    vp.run(ws, "kept")
    rows = vp.leaderboard(ws, "kept").frame.filter(pl.col("trades") > 0).unique("trades_digest", maintain_order=True)
    first, second, third = rows["row"].head(3)
    found = vp.confirm(ws, "kept", first)
    assert (found.left, found.repeated, found.p_confirm) == (1, False, min(1.0, 2 * found.p_random))
    again = vp.confirm(ws, "kept", first)
    assert (again.left, again.repeated, again.p_random) == (1, True, found.p_random)
    assert ws.datasets.open(ws.datasets.ids()[0]).n_bins == CUT
    assert vp_command(["confirm", "kept", "--row", second, "--json", "--root", str(ws.root)]) in (0, 1)
    last = json.loads(capsys.readouterr().out)
    assert last["left"] == 0
    assert vp_command(["confirm", "kept", "--row", first, "--root", str(ws.root)]) == (0 if found.passed else 1)
    said = capsys.readouterr().err
    assert f"p_confirm is p_random, {found.p_random:.3g}, times the 2 confirmations that the experiment plans" in said
    answers = [f"{'' if passed else 'not '}confirmed" for passed in (found.passed, last["passed"])]
    assert f"Row {first} is {answers[0]}." in said
    assert vp.leaderboard(ws, "kept").reserve.endswith(
        f"Confirmations left: 0 of 2. Held against the reserve: row {first}, p_confirm {found.p_confirm:.3g}: "
        f"{answers[0]}; row {second}, p_confirm {last['p_confirm']:.3g}: {answers[1]}."
    )
    with pytest.raises(RefusedError, match="No confirmation is left on the reserve of 'kept', of 2"):
        vp.confirm(ws, "kept", third)
    # Spent, the reserve is open data, and never a reserve again; the rows of the experiment stay as they are.
    with pytest.raises(ConfigError, match="overlaps the reserve of 'kept', which is spent. Keep back other sessions"):
        vp.run(ws, write(ws, "once_more", more="reserve: {share: 0.2}"))
    assert ws.datasets.open(ws.datasets.ids()[0]).n_bins == N_BINS
    assert vp.run(ws, "kept").n_computed == 0
    assert vp.confirm(ws, "kept", first).p_random == found.p_random


def test_a_confirmation_is_the_row_on_the_reserve(ran: vp.Workspace) -> None:
    """Against an evaluation of the whole session in which nothing is accepted before the reserve."""
    ws = ran
    best = vp.leaderboard(ws, "kept").best
    assert best is not None
    found = vp.confirm(ws, "kept", best.row)
    whole = open_whole(ws.datasets.path(ws.datasets.ids()[0]))
    signal = ws.plugins.load("signal", best.signal)
    params = signal.Params.parse(json.loads(best.figures["signal_params_json"]), best.signal)
    values = signal(params).compute(whole)
    config = harness_config(ws, "kept").eval
    rules = config.rules(best.figures["tp_ticks"], best.figures["sl_ticks"]).model_copy(update={"warmup_bins": CUT})
    want = vp.evaluate(whole, values, rules, threshold=best.figures["threshold"], cooldown_bins=20, draws=9999).figures
    assert (found.n_trades, found.n_eff, found.net_pnl_ticks) == (want.n_trades, want.n_eff, want.net_pnl_ticks)
    assert found.p_random == pytest.approx(want.p_random, abs=0.03)
    assert found.fee_ticks == pytest.approx(2 * 1.38 / 12.5, abs=1e-4)


def test_a_proven_row_needs_a_confirmation(ran: vp.Workspace) -> None:
    ws = ran
    best = vp.leaderboard(ws, "kept").best
    assert best is not None
    done = vp.promote(ws, "kept", alias="plain", row=best.row)
    assert done.spec.evidence.verdict == "unproven"
    assert any(f"vp confirm kept --row {best.row}" in reason for reason in done.spec.evidence.reasons)
    (ws.configs / "workspace.yaml").write_text("promotion: {require: proven}\n")
    ws = vp.Workspace(ws.root)
    with pytest.raises(RefusedError, match="was not confirmed on the reserve"):
        vp.promote(ws, "kept", alias="strict", row=best.row)
    forced = vp.promote(ws, "kept", alias="strict", row=best.row, force=True, why="a test")
    assert forced.overridden == forced.spec.evidence.reasons
    _write_confirmation(ws, best.figures, p_confirm=0.04, net_pnl_ticks=0.5, n_eff=40.0)
    proven = vp.promote(ws, "kept", alias="strict", row=best.row)
    assert (proven.spec.evidence.verdict, proven.spec.evidence.reasons) == ("proven", ())


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"p_confirm": 0.06}, "p_confirm of row .* is 0.06"),
        ({"net_pnl_ticks": -0.1}, "earned -0.100 ticks a trade"),
        ({"net_pnl_ticks": None}, "earned nothing, without a trade"),
        ({"n_eff": -1000.0}, "effective trades in all"),
        ({"cold_start": True}, "is a cold start"),
    ],
)
def test_each_lack_is_a_reason(ran: vp.Workspace, figures: dict[str, Any], reason: str) -> None:
    ws = ran
    best = vp.leaderboard(ws, "kept").best
    assert best is not None
    _write_confirmation(ws, best.figures, **{"p_confirm": 0.04, "net_pnl_ticks": 0.5, "n_eff": 40.0, **figures})
    evidence = vp.promote(ws, "kept", alias="a", row=best.row).spec.evidence
    assert evidence.verdict == "unproven"
    assert re.search(reason, " ".join(evidence.reasons)), evidence.reasons


def test_costs_below_those_of_the_instrument_prove_nothing(make: Callable[..., vp.Workspace]) -> None:
    ws = make("ws")
    vp.run(ws, write(ws, "kept", rules=", fee_ticks: 0.1"))
    best = vp.leaderboard(ws, "kept").best
    assert best is not None
    _write_confirmation(ws, best.figures, p_confirm=0.01, net_pnl_ticks=0.5, n_eff=40.0)
    reasons = vp.promote(ws, "kept", alias="a", row=best.row).spec.evidence.reasons
    assert any("pays 0.1 ticks a round trip; eval.fee_ticks must be at least 0.2208" in text for text in reasons)


def test_a_damaged_reserve_opens_nothing(ran: vp.Workspace) -> None:
    ws = ran
    (path,) = ws.reserves.folder.path.glob("*.reserve.json")
    path.write_text("{")
    with pytest.raises(StorageError, match="is damaged: what it keeps back is unknown"):
        ws.datasets.open(ws.datasets.ids()[0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("reserve: {}", "must be a share or dates"),
        ("reserve: {share: 0.3, dates: [2025-07-01]}", "must be a share or dates"),
        ("reserve: {share: 0.95}", "share"),
        ("reserve: {dates: [2024-01-01]}", "of no session of the experiment"),
        ("reserve: {dates: [2025-07-01]}", "holds every session"),
        ("reserve: {share: 0.3, confirmations: 0}", "confirmations"),
    ],
)
def test_a_wrong_reserve_is_refused(make: Callable[..., vp.Workspace], more: str, message: str) -> None:
    ws = make("ws")
    with pytest.raises(ConfigError, match=message):
        vp.run(ws, write(ws, "kept", more=more))


def _write_confirmation(ws: vp.Workspace, row: dict[str, Any], **figures: Any) -> None:
    reserve = harness_config(ws, "kept").reserve
    assert reserve is not None
    about = {
        "experiment": "kept", "run_id": row["run_id"], "row": row["row"], "signal": row["signal_name"], "n_trades": 50,
        "price": "touch", "fee_ticks": 0.25, "p_random": 0.02, "cold_start": False, "budget": 2,
        "confirmed_utc": "2026-01-01T00:00:00+00:00", "combination": combination_id(harness_config(ws, "kept"), row),
    }  # fmt: skip
    assert ws.reserves.record(reserve, {**about, **figures})
