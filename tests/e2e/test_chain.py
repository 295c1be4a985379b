"""The whole chain through the command line: a planted market, and ten minutes of the real hour."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from real_data import ESH4, ESM4, needs_esh4, needs_esm4

from vpcore.workspace import Workspace
from vpcore_cli.app import run

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def vp(*arguments: str) -> None:
    assert run(list(arguments)) == 0, arguments


def real_workspace(folder: Path, *files: Path) -> list[str]:
    """Return ``--root`` of a workspace with the repository's specs and the given files."""
    Workspace.create(folder)
    for layer in ("pipelines", "serving", "experiments"):
        shutil.copytree(CONFIGS / layer, folder / "configs" / layer, dirs_exist_ok=True)
    for file in files:
        (folder / "lake" / "raw" / file.name).symlink_to(file)
    return ["--root", str(folder)]


@pytest.mark.slow
def test_the_demo_ends_with_a_published_version_and_a_picture(tmp_path, capfd) -> None:
    vp("demo", str(tmp_path / "demo"), "--minutes", "10", "--seed", "7")
    made = capfd.readouterr().out.splitlines()[-8:]
    kinds = [line.split()[0] for line in made]
    assert kinds == ["market", "specs", "specs", "specs", "dataset", "results", "published", "picture"]
    for line in made:
        assert (tmp_path / "demo" / line.split()[1]).exists(), line
    assert (tmp_path / "demo" / "demo.png").read_bytes().startswith(b"\x89PNG")

    vp("run", "demo", "--root", str(tmp_path / "demo"), "--json")
    again = json.loads(capfd.readouterr().out)
    assert again["n_computed"] == 0
    assert again["n_reused"] == again["n_trials"] > 100


@pytest.mark.slow
def test_a_workspace_whose_path_is_a_pattern_reads_its_own_files(tmp_path, capfd) -> None:
    """Job schedulers name folders like this one; as a pattern, its path is that of the folder beside it."""
    folder, decoy = tmp_path / "pbs.1234[7].host", tmp_path / "pbs.12347.host"
    workspace, _ = Workspace.create(folder)
    root = ["--root", str(folder)]

    def rows_of(experiment: str) -> list[dict[str, Any]]:
        capfd.readouterr()
        vp("compare", experiment, "--json", *root)
        return sorted(json.loads(capfd.readouterr().out)["rows"], key=lambda row: row["row"])

    vp("synth", "--minutes", "3", "--seed", "3", "--alpha", "0.6", "--pipeline", "market", *root)
    (workspace.configs / "serving" / "market.yaml").write_text(
        "name: market\npipeline: market\nsignal: {name: ofi}\nprojection: {horizons_ms: [500]}\n"
    )
    for name in ("first", "second"):
        (workspace.configs / "experiments" / f"{name}.yaml").write_text(
            f"name: {name}\nserving: market\nsignals: [ofi]\n"
            f"eval: {{tp_ticks: [{4 if name == 'first' else 8}], sl_ticks: [4], cooldown_bins: [20]}}\n"
            "select: {metric: net_pnl_ticks, min_signals: 1}\nparallel: {executor: serial}\n"
            "tracking: {backend: none}\n"
        )
    vp("generate", "market", *root)
    vp("run", "first", *root)
    vp("run", "second", *root)
    dataset = workspace.datasets.open(workspace.datasets.ids()[0])

    # The same files with other numbers, where the path leads if it is taken for a pattern.
    shutil.copytree(folder, decoy)
    for path in (decoy / "lake").rglob("*.parquet"):
        if path.is_dir():
            continue
        frame = pl.read_parquet(path)
        frame.with_columns(pl.col(pl.Float64, pl.Float32, pl.Int32) * 0 - 1).cast(frame.schema).write_parquet(path)

    for name, column in dataset.bins_frame().collect().to_dict().items():
        assert column.to_numpy().tobytes() == dataset.bin(name).tobytes(), name
    grid = dataset.grid_frame().select("v_add", "composite").collect()
    for name in grid.columns:
        assert grid[name].to_numpy().tobytes() == dataset.grid(name).tobytes(), name
    before = {name: rows_of(name) for name in ("first", "second")}
    assert all(row["n_signals"] > 0 for rows in before.values() for row in rows)
    vp("results", "compact", "--json", *root)
    report = json.loads(capfd.readouterr().out)
    assert report["rows"] == sum(map(len, before.values())) >= 4
    assert {name: rows_of(name) for name in before} == before

    best = max(before["second"], key=lambda row: row["net_pnl_ticks"])
    vp("promote", "second", "--run-id", best["run_id"], "--row", best["row"], "--alias", "champion", "--force",
       "--why", "end-to-end test", *root)  # fmt: skip
    capfd.readouterr()
    vp("online-sim", "--serving", "champion", "--from-raw", "--bin-budget-ms", "1000", "--json", *root)
    assert json.loads(capfd.readouterr().out)["stream_equals_batch"]


@pytest.mark.slow
@needs_esh4
def test_ten_real_minutes_from_file_to_latency_report(tmp_path, capfd) -> None:
    root = real_workspace(tmp_path / "ws", ESH4)
    pipeline = tmp_path / "ws" / "configs" / "pipelines" / "es_xmas_open.yaml"
    hour = pipeline.read_text()
    assert 'end_time: "18:59"' in hour
    pipeline.write_text(hour.replace('end_time: "18:59"', 'end_time: "18:10"'))
    vp("generate", "es_xmas_open", *root, "--json")
    dataset = Workspace(tmp_path / "ws").datasets.open(json.loads(capfd.readouterr().out)["dataset_id"])
    assert dataset.n_bins == 6_000
    assert [int(i) for i in (~dataset.valid).nonzero()[0]] == [0]
    vp("verify", dataset.dataset_id, *root)

    experiment = tmp_path / "ws" / "configs" / "experiments" / "small.yaml"
    experiment.write_text(
        "name: small\nserving: erd_baseline\nsignals: [ads]\n"
        "eval: {tp_ticks: [4], sl_ticks: [4], cooldown_bins: [30]}\nselect: {metric: net_pnl_ticks, min_signals: 5}\n"
        "parallel: {executor: serial}\ntracking: {backend: none}\n"
    )
    vp("run", "small", *root)
    capfd.readouterr()
    vp("compare", "small", *root, "--json")
    rows = json.loads(capfd.readouterr().out)["rows"]
    assert len(rows) >= 2
    best = max(rows, key=lambda row: row["net_pnl_ticks"])
    # Nothing on this hour earns its spread; the gate would refuse it, and a forced promotion says why.
    vp("promote", "small", "--run-id", best["run_id"], "--row", best["row"], "--alias", "champion", "--force",
       "--why", "end-to-end test", *root)  # fmt: skip
    capfd.readouterr()
    vp("online-sim", "--serving", "champion", "--from-raw", "--bin-budget-ms", "1000", *root, "--json")
    report = json.loads(capfd.readouterr().out)
    assert report["stream_equals_batch"]
    assert report["n_bins"] == 6_000
    assert 0 < report["stages_us"]["latency"]["p50"] <= report["stages_us"]["latency"]["max"]


@needs_esm4
def test_two_seconds_after_a_snapshot_of_thirteen_thousand_orders(tmp_path, capfd) -> None:
    root = real_workspace(tmp_path / "ws", ESM4)
    vp("generate", "esm4_two_seconds", *root, "--json")
    dataset = Workspace(tmp_path / "ws").datasets.open(json.loads(capfd.readouterr().out)["dataset_id"])
    assert dataset.valid.all()
    assert set(dataset.bin("mid_price")) == {5214.125}
    quality = dataset.manifest["data_quality"]
    # 185 completed events with the snapshot, which is not one of the exchange's.
    assert (quality["snapshot_records"], quality["events"], quality["trade_events"]) == (13_601, 184, 5)


def test_an_error_names_the_fix_and_exits_2(tmp_path, capfd) -> None:
    Workspace.create(tmp_path / "ws")
    assert run(["run", "no_such", "--root", str(tmp_path / "ws")]) == 2
    message = capfd.readouterr().err
    assert message.startswith("Error: ")
    assert "no_such" in message
    assert "Traceback" not in message


@pytest.mark.parametrize("command", ["generate", "run", "promote", "online-sim", "plot", "synth", "inspect", "demo"])
def test_every_command_explains_itself(command: str, capfd) -> None:
    vp(command, "--help")
    text = capfd.readouterr().out
    assert "Usage: vp " + command in text
    assert "--help" in text
