from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from markets import INSTRUMENT, random_tape

from vpcore.api import generate
from vpcore.config.serialize import pipeline_block, pipeline_of
from vpcore.dataset import verify_files
from vpcore.engine import Engine
from vpcore.errors import DatasetError, EngineError, SourceError
from vpcore.generation import sources as provenance
from vpcore.generation.generate import generate_dataset
from vpcore.kernels.records import F_LAST, F_SNAPSHOT
from vpcore.schema import BIN_COLUMNS, GRID_VALUES


def dataset_folders(workspace):
    return sorted(path.name for path in workspace.datasets_dir.iterdir())


def test_the_dataset_is_what_the_engine_gives(workspace, put_tape, put_pipeline, heard):
    put_tape()
    result = generate_dataset(workspace, put_pipeline())
    pipeline = workspace.pipeline("p").resolve()
    engine = Engine(pipeline.params, tick_int=250_000_000, start_ns=pipeline.start_ns, end_ns=pipeline.end_ns)
    block = engine.feed(random_tape(1), INSTRUMENT)
    assert len(block) == 20
    assert result.created
    dataset = result.dataset
    for name in BIN_COLUMNS:
        np.testing.assert_array_equal(dataset.bin(name), block.bins[name])
    for name in GRID_VALUES:
        np.testing.assert_array_equal(dataset.grid(name), block.grid[name])
    assert dataset.dataset_id == pipeline.dataset_id()
    assert [name for name, _ in heard] == [dataset.dataset_id]
    assert heard[0][1] == dataset.manifest


def test_manifest(workspace, put_tape, put_pipeline):
    path = put_tape()
    dataset = generate(workspace, put_pipeline(columns=["v_add", "pressure"]))
    manifest = json.loads((dataset.path / "manifest.json").read_text())
    assert manifest == dataset.manifest
    assert manifest["sources"] == [
        {"path": "a.npy", "sha256": verify_digest(path), "size": path.stat().st_size},
    ]
    assert manifest["pipeline"]["resolved"]["engine"]["grid_radius_ticks"] == 5
    assert manifest["pipeline"]["resolved"]["tick_int"] == 250_000_000
    assert manifest["shape"]["grid_columns"] == ["v_add", "pressure"]
    assert manifest["packages"]["numpy"] == np.__version__
    assert manifest["packages"]["tapes"] == "1"
    assert manifest["data_quality"]["records"] > 100
    assert manifest["cold_start"] is False
    assert manifest["bins_of_window"] == manifest["shape"]["n_bins"] == 20
    assert str(workspace.root) not in json.dumps(manifest)


def verify_digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_existing_dataset_is_left_as_it_is(workspace, put_tape, put_pipeline, heard):
    put_tape()
    first = generate_dataset(workspace, put_pipeline())
    before = {path.name: path.stat().st_mtime_ns for path in first.dataset.path.iterdir()}
    again = generate_dataset(workspace, "p")
    assert not again.created
    assert again.warnings == ()
    assert {path.name: path.stat().st_mtime_ns for path in again.dataset.path.iterdir()} == before
    assert len(heard) == 1


def test_a_changed_source_is_an_error(workspace, put_tape, put_pipeline):
    old = verify_digest(put_tape())
    generate(workspace, put_pipeline())
    new = verify_digest(put_tape(seed=2))
    with pytest.raises(DatasetError, match=rf"was made from another a.npy: its sha256 was {old} then and is {new} now"):
        generate(workspace, "p")


def test_another_file_in_the_window_is_an_error(workspace, put_tape, put_pipeline):
    put_tape()
    generate(workspace, put_pipeline())
    put_tape("b.npy", seed=2)
    with pytest.raises(
        DatasetError, match=r"was made from a.npy \(sha256 \w+\); the window is now read from a.npy .*, b.npy"
    ):
        generate(workspace, "p")


def test_a_source_that_is_gone_is_said_but_is_not_a_change(workspace, put_tape, put_pipeline):
    path = put_tape()
    generate(workspace, put_pipeline())
    path.unlink()
    result = generate_dataset(workspace, "p")
    assert not result.created
    assert "could not be checked: a.npy is not in" in result.warnings[0]


def test_changed_engine_code_is_said(workspace, put_tape, put_pipeline, monkeypatch):
    put_tape()
    dataset = generate(workspace, put_pipeline())
    assert len(dataset.manifest["engine_code"]) == 64
    monkeypatch.setattr(provenance, "engine_code", lambda: "0" * 64)
    result = generate_dataset(workspace, "p")
    assert not result.created
    assert f"vp verify {dataset.dataset_id} --rebuild" in result.warnings[0]


def test_several_files_are_one_stream(workspace, put_tape, put_pipeline):
    put_tape("1.npy", part=slice(0, 250))
    put_tape("2.npy", part=slice(250, None))
    dataset = generate(workspace, put_pipeline())
    quality = dataset.manifest["data_quality"]
    assert [item["path"] for item in dataset.manifest["sources"]] == ["1.npy", "2.npy"]
    for path in workspace.raw.glob("*.npy"):
        path.unlink()
    put_tape("whole.npy")
    whole = generate(workspace, put_pipeline("q"))
    np.testing.assert_array_equal(whole.grid("composite"), dataset.grid("composite"))
    assert quality["records"] == whole.manifest["data_quality"]["records"]


def test_a_file_that_ends_early(workspace, put_tape, put_pipeline):
    put_tape(seconds=1.0)
    result = generate_dataset(workspace, put_pipeline(end="22:13:40", capture={"options": {}}))
    n = result.dataset.n_bins
    assert 0 < n < 200
    assert f"{200 - n:,} of its 200 bins, the last ones, are not there" in " ".join(result.warnings)
    assert "the tape does not say where it ends" in result.warnings
    assert result.dataset.manifest["warnings"] == list(result.warnings)
    covered = generate_dataset(workspace, put_pipeline("q", end="22:13:40"))
    assert covered.dataset.n_bins == 200
    np.testing.assert_array_equal(covered.dataset.grid("v_add")[:n], result.dataset.grid("v_add"))


def test_records_that_end_within_an_event(workspace, put_tape, put_pipeline):
    open_ends = np.flatnonzero(random_tape(1, seconds=1.0)["flags"] & (F_LAST | F_SNAPSHOT) == 0)
    put_tape(seconds=1.0, part=slice(None, int(open_ends[-1]) + 1))
    result = generate_dataset(workspace, put_pipeline(end="22:13:40"))
    assert "The records end within an event: the last file may be cut" in " ".join(result.warnings)
    put_tape(seconds=1.0)
    whole = generate_dataset(workspace, put_pipeline("q", end="22:13:40"))
    assert "end within an event" not in " ".join(whole.warnings)


def test_cold_start(workspace, put_tape, put_pipeline):
    put_tape(snapshot=False, oddities=False)
    refused = generate_dataset(workspace, put_pipeline())
    assert not refused.dataset.cold_start
    assert not refused.dataset.valid.any()
    assert "began without a snapshot" in " ".join(refused.warnings)
    built = generate_dataset(workspace, put_pipeline("q", capture={"cold_book": "build"}))
    assert built.dataset.cold_start
    assert built.dataset.valid.any()


def test_an_engine_error_names_the_file_and_leaves_nothing(workspace, put_tape, put_pipeline):
    path = put_tape(oddities=False)
    records = np.load(path)
    orders = np.flatnonzero((records["action"] == ord("A")) & (records["instrument_id"] == INSTRUMENT))
    records["price"][orders[50]] += 1
    np.save(path, records)
    with pytest.raises(EngineError, match=r"not a multiple of the tick size .* File: a.npy"):
        generate(workspace, put_pipeline())
    assert dataset_folders(workspace) == []


def test_no_source(workspace, put_pipeline):
    with pytest.raises(SourceError, match="There is no tape"):
        generate(workspace, put_pipeline())


def test_progress(workspace, put_tape, put_pipeline):
    put_tape()
    seen = []
    generate_dataset(workspace, put_pipeline(), on_progress=seen.append)
    assert [item.bins_done for item in seen] == sorted(item.bins_done for item in seen)
    assert seen[-1].bins_total == 20
    assert all(0 <= item.share <= 1 for item in seen)


def test_a_raising_hook_loses_nothing(workspace, put_tape, put_pipeline, heard):
    put_tape()
    heard.append(("raise", {}))
    result = generate_dataset(workspace, put_pipeline())
    assert result.created
    assert [failure.hook for failure in workspace.plugins.hook_failures] == ["vp_dataset_generated"]
    assert workspace.datasets.ids() == [result.dataset.dataset_id]


def test_generating_twice_at_once_one_wins_both_succeed(workspace, put_tape, put_pipeline):
    put_tape()
    name = put_pipeline()
    barrier = threading.Barrier(2)

    def run(_):
        barrier.wait()
        return generate_dataset(workspace, name)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(2)))
    assert sorted(result.created for result in results) in ([False, True],)
    assert dataset_folders(workspace) == [results[0].dataset.dataset_id]
    assert verify_files(results[0].dataset.path).ok


def test_the_loser_of_a_race_checks_the_winners_source(workspace, put_tape, put_pipeline, monkeypatch):
    put_tape()
    name = put_pipeline()
    generate(workspace, name)
    put_tape(seed=2)
    answers = iter([False])
    real = type(workspace.datasets).exists
    monkeypatch.setattr(
        type(workspace.datasets), "exists", lambda self, key: next(answers, None) is None and real(self, key)
    )
    with pytest.raises(DatasetError, match=r"was made from another a.npy"):
        generate(workspace, name)


def test_the_pipeline_of_a_manifest_round_trips(workspace, put_tape, put_pipeline):
    put_tape()
    put_pipeline(capture={"files": ["a.npy"]}, columns=["v_add"])
    pipeline = workspace.pipeline("p").resolve()
    again = pipeline_of(json.loads(json.dumps(pipeline_block(pipeline))), workspace.raw)
    assert again.model_dump() == pipeline.model_dump()
    assert again.dataset_id() == pipeline.dataset_id()
    with pytest.raises(DatasetError, match="The manifest's pipeline cannot be read"):
        pipeline_of({"resolved": {}}, workspace.raw)


def test_datasets_are_found_by_id_beginning_and_pipeline(workspace, put_tape, put_pipeline):
    put_tape()
    one = generate(workspace, put_pipeline()).dataset_id
    two = generate(workspace, put_pipeline("q")).dataset_id
    find = workspace.datasets.find
    assert [find(name) for name in (one, two[:-2], "q")] == [one, two, two]
    assert workspace.datasets.open(two[:-2]).dataset_id == two
    assert workspace.datasets.manifest("q") == workspace.datasets.manifest(two)
    with pytest.raises(DatasetError, match=r"'ESZ3' matches 2 datasets: ESZ3.*Write more of the id"):
        find("ESZ3")
    for name in ("nothing", ""):
        with pytest.raises(DatasetError, match=rf"No dataset is called '{name}'\. Datasets: ESZ3"):
            workspace.datasets.open(name)


KILLED = """
    import sys, os, signal
    sys.path[:0] = [sys.argv[2]]
    from pathlib import Path
    from tape_workspace import make_workspace
    from vpcore.dataset import writer
    from vpcore.generation.generate import generate_dataset
    writer.GROUP_ROWS = 11 * 4
    workspace = make_workspace(Path(sys.argv[1]), [])
    def progress(done):
        if done.bins_done >= 8:
            os.kill(os.getpid(), signal.SIGKILL)
    generate_dataset(workspace, "p", on_progress=progress)
"""


@pytest.mark.slow
def test_killed_half_way(workspace, put_tape, put_pipeline):
    put_tape()
    put_pipeline()
    support = Path(__file__).parents[2] / "support"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(workspace.root), str(support)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    (left,) = dataset_folders(workspace)
    assert left.startswith(".tmp-")
    assert workspace.datasets.ids() == []
    dataset = generate(workspace, "p")
    assert dataset_folders(workspace) == [dataset.dataset_id]


def test_interrupted(workspace, put_tape, put_pipeline):
    put_tape()

    def interrupt(done):
        if done.bins_done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_dataset(workspace, put_pipeline(), on_progress=interrupt)
    assert dataset_folders(workspace) == []
