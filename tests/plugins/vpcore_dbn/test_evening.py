"""The traps of an evening as a file: what a reader of real files meets, written and read by this project."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import evening
import numpy as np
import pytest
from markets import INSTRUMENT, START_NS, flagged_alike

from vpcore.dataset import verify_files
from vpcore.engine import Engine
from vpcore.generation import sources
from vpcore.generation.generate import generate_dataset
from vpcore.workspace import Workspace
from vpcore_cli.app import run
from vpcore_dbn.header import Mapping
from vpcore_dbn.writer import DbnWriter, encode_metadata

DAY_NS = 86_400 * 10**9
PIPELINE = """\
name: evening
capture: {symbol: ESZ3, date: 2023-11-14, start_time: "22:13:20", end_time: "22:13:23", timezone: UTC}
pipeline: {grid_radius_ticks: 6, band_margin_ticks: 3, flow_windows: [2, 3, 7]}
"""


@pytest.fixture(params=[".dbn", ".dbn.zst"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    made, _ = Workspace.create(tmp_path / "ws")
    (made.configs / "pipelines" / "evening.yaml").write_text(PIPELINE)
    _put(made.raw / f"evening{request.param}", evening.evening())
    return made


def _put(path: Path, records: np.ndarray) -> None:
    start, end = START_NS - 21 * 3600 * 10**9, evening.END_NS + 10**9
    mapping = Mapping("ESZ3", INSTRUMENT, start // DAY_NS * DAY_NS, (end // DAY_NS + 1) * DAY_NS)
    metadata = encode_metadata(dataset="GLBX.MDP3", start_ns=start, end_ns=end, mappings=[mapping])
    path.unlink(missing_ok=True)
    with DbnWriter(path, metadata) as writer:
        writer.write(records)


def test_the_file_gives_the_bins_of_its_records(workspace: Workspace) -> None:
    result = generate_dataset(workspace, "evening")
    dataset, params = result.dataset, workspace.pipeline("evening").resolve().params
    engine = Engine(params, tick_int=250_000_000, start_ns=START_NS, end_ns=evening.END_NS)
    block = engine.feed(evening.evening(), INSTRUMENT)
    assert dataset.n_bins == len(block) == 30
    assert (~dataset.valid).nonzero()[0].tolist() == [0]
    for name, column in block.bins.items():
        assert dataset.bin(name).tobytes() == column.tobytes(), name
    for name, cells in block.grid.items():
        assert dataset.grid(name).tobytes() == cells.tobytes(), name
    quality = dataset.manifest["data_quality"]
    assert (quality["unattributed_fill_contracts"], quality["hidden_contracts"]) == (14, 4)


def test_unchanged_files_are_hashed_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made, calls = generate_dataset(workspace, "evening"), []
    assert made.dataset.manifest["packages"]["databento-dbn"] == version("databento-dbn")
    monkeypatch.setattr(sources, "verify_files", lambda path: calls.append(path) or verify_files(path))
    for _ in range(3):
        assert generate_dataset(workspace, "evening").warnings == ()
    assert len(calls) == 1


def test_a_feed_that_flags_every_record_of_an_event(workspace: Workspace) -> None:
    right = generate_dataset(workspace, "evening").dataset
    (file,) = workspace.raw.glob("evening*")
    _put(file, flagged_alike(evening.evening()))
    spec = workspace.configs / "pipelines" / "evening.yaml"
    spec.write_text(PIPELINE.replace("name: evening", "name: alike"))
    spec = spec.rename(spec.with_name("alike.yaml"))
    wrong = generate_dataset(workspace, "alike")
    assert any("the fills do not add up to the trades" in text for text in wrong.warnings)
    assert wrong.dataset.manifest["data_quality"]["hidden_contracts"] > 4
    spec.write_text(
        PIPELINE.replace("name: evening", "name: by-sequence").replace("{symbol", "{events: sequence, symbol")
    )
    spec.rename(spec.with_name("by-sequence.yaml"))
    mended = generate_dataset(workspace, "by-sequence").dataset
    assert mended.dataset_id != wrong.dataset.dataset_id
    for name in right.columns:
        assert np.asarray(mended[name]).tobytes() == np.asarray(right[name]).tobytes(), name
    assert mended.manifest["data_quality"] == right.manifest["data_quality"]


def test_inspect_counts_its_records(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = workspace.raw.glob("evening*")
    assert run(["inspect", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    records = evening.evening()
    assert found["records"] == len(records)
    assert found["actions"]["T"] == 3
    assert found["actions"]["F"] == (records["action"] == ord("F")).sum() == 10
