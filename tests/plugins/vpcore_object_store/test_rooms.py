"""Every room of the lake on an S3 server: results, ledger, notes, reserves, proofs, models, registry, source files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from markets import INSTRUMENT, START_NS, random_tape
from result_rows import made_meta, made_rows
from s3_server import faulty_proxy

from vpcore import StorageError, Workspace, generate
from vpcore.dataset.reserve import Reserve, Reserves
from vpcore.errors import RegistryError, ResultsError
from vpcore.experiment.run import run_experiment
from vpcore.experiment.sessions import _generate
from vpcore.results import ResultsDB, compact
from vpcore.signal import keep_model, model_folder, read_diagnostics
from vpcore.storage import Folder
from vpcore_cli.archive import export_archive, import_archive
from vpcore_cli.examination import examine
from vpcore_cli.notes import Notes
from vpcore_dbn.header import Mapping
from vpcore_dbn.writer import DbnWriter, encode_metadata
from vpcore_serving.registry import ServingRegistry, serving_id_of

TRIAL = (0.5, 5, 2, 6)


def db_of(storage) -> ResultsDB:
    return ResultsDB(Folder(storage, "results"), Folder(storage, "ledger"))


def write(db: ResultsDB, *runs: str) -> None:
    for run in runs:
        db.write([made_meta(run)], made_rows(run, [TRIAL]))


# -- results and ledger ------------------------------------------------------------------------------------------------


def test_results_are_those_of_a_disk_on_every_machine(machine, tmp_path: Path) -> None:
    one, two, near = db_of(machine("one")), db_of(machine("two")), ResultsDB(tmp_path / "near")
    assert one.query_runs(status=None).is_empty()
    for db in (one, near):
        write(db, "r1", "r2")
    write(two, "r3")
    write(near, "r3")
    assert one.canonical_bytes() == two.canonical_bytes() == near.canonical_bytes()
    assert one.ledger.rows().collect().height == two.ledger.rows().collect().height == 3
    report = compact(one)
    assert (report.parts_before, report.parts_after, report.rows) == (6, 2, 3)
    assert two.canonical_bytes() == near.canonical_bytes()
    assert len(two.parts("runs")) == len(list(two.root.rglob("runs.parquet/*/*.parquet"))) == 1
    archive = tmp_path / "all.zip"
    archive.write_bytes(export_archive(two))
    fresh = db_of(machine("three"))
    assert import_archive(fresh, archive).present == 5  # two parts of results, three of the ledger
    elsewhere = ResultsDB(tmp_path / "elsewhere")
    assert import_archive(elsewhere, archive).present == 0
    assert elsewhere.canonical_bytes() == near.canonical_bytes()


def test_a_changed_part_is_refused(machine) -> None:
    db, storage = db_of(machine("one")), machine("one")
    write(db, "r1")
    (key,) = (key for key in storage.list("results") if "/runs.parquet/" in key)
    storage.put_atomic(key, storage.read(key)[:-1] + b"x")
    with pytest.raises(ResultsError, match="1 file of the results changed since they were written"):
        db_of(machine("two")).query_runs(status=None)


def test_readers_during_writers_see_whole_batches(machine) -> None:
    writers = [db_of(machine(f"writer-{i}")) for i in range(3)]
    reader, seen, done = db_of(machine("reader")), [0], threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(reader.query_runs(status=None).height)

    with ThreadPoolExecutor(4) as pool:
        reading = pool.submit(read)
        writing = [pool.submit(write, db, *(f"{i}-{k}" for k in range(6))) for i, db in enumerate(writers)]
        for future in writing:
            future.result()
        done.set()
        reading.result()
    assert seen == sorted(seen)
    assert reader.query_runs(status=None).height == 18
    assert reader.ledger.rows().collect().height == 18


@pytest.mark.parametrize("fault", ["unavailable", "dropped"])
def test_a_store_that_falters_is_waited_for_and_one_that_stays_away_is_named(machine, server: str, fault: str) -> None:
    with faulty_proxy(server) as (address, faults):
        db = db_of(machine("one", address))
        setattr(faults, fault, 3)
        write(db, "r1")
        setattr(faults, fault, 2)
        assert db.query_runs(status=None).height == 1
        away = db_of(machine("two", address, retry_s=0.3))
        faults.unavailable = 10**6
        for action in (lambda: write(away, "r2"), lambda: away.query_runs(status=None)):
            with pytest.raises(StorageError, match="Could not .* in s3://lake/.*run the command again"):
                action()
        faults.unavailable = 0
        assert db.query_runs(status=None).height == 1


def test_wrong_credentials_and_a_bucket_that_is_not_there(machine, server: str) -> None:
    with faulty_proxy(server) as (address, faults):
        faults.denied = "InvalidAccessKeyId"
        with pytest.raises(StorageError, match="refuses to .*Look at the credentials"):
            write(db_of(machine("one", address)), "r1")
    gone = machine("two", bucket="nowhere")
    for action in (
        lambda: write(db_of(gone), "r1"),
        lambda: db_of(gone).query_runs(status=None),
        lambda: Notes(Folder(gone, "notes")).all(),
        lambda: Reserves(Folder(gone, "ledger")).all(),
    ):
        with pytest.raises(StorageError, match="s3://nowhere/.*The bucket must exist: vp makes none"):
            action()


@pytest.mark.slow
def test_kill_9_between_the_parts_of_a_batch_loses_that_batch_alone(machine) -> None:
    storage = machine("one")
    write(db_of(storage), "r1")
    code = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(made_rows.__code__.co_filename).parent)!r})
        from pathlib import Path
        from result_rows import made_meta, made_rows
        from vpcore.results import ResultsDB
        from vpcore.storage import Folder
        from vpcore_object_store.storage import ObjectStorage
        storage = ObjectStorage(*{(str(storage._made[0]), *storage._made[1:])!r})
        real = storage.put_atomic
        def put(key, data, *, exclusive=False):
            if "runs_meta" in key:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(key, data, exclusive=exclusive)
        storage.put_atomic = put
        db = ResultsDB(Folder(storage, "results"), Folder(storage, "ledger"))
        db.write([made_meta("r2")], made_rows("r2", [{TRIAL!r}]))
    """)
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        env={**os.environ, "XDG_CACHE_HOME": str(storage.home)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    other = db_of(machine("two"))
    assert len(other.parts("runs")) == 2
    assert other.query_runs(status=None)["run_id"].to_list() == ["r1"]
    write(other, "r2")
    assert other.query_runs(status=None)["run_id"].to_list() == ["r1", "r2"]


# -- notes, reserves, models, registry ---------------------------------------------------------------------------------


def test_notes_of_one_machine_are_seen_by_the_other(machine) -> None:
    row = dict.fromkeys(("dataset_id", "signal_name", "signal_params_json", "scoring_json", "eval_json"), "x")
    row |= {"threshold": 0.5, "cooldown_bins": 1, "tp_ticks": 2, "sl_ticks": 2, "row": "ab"}
    one, two = (Notes(Folder(machine(name), "notes")) for name in ("one", "two"))
    one.add(row, tags=["good"], text="first")
    two.add(row, tags=["later"])
    assert one.of(row) == two.of(row)
    assert (one.of(row).tags, one.of(row).texts) == (("good", "later"), ("first",))


def test_of_many_machines_one_gets_the_last_confirmation(machine) -> None:
    reserve = Reserve("ES", "ES.*", ((0, 10**12),), 2, "sweep")
    ledgers = [Reserves(Folder(machine(f"m{i}"), "ledger")) for i in range(6)]
    for ledger in ledgers:
        ledger.declare(reserve)
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda pair: pair[1].record(reserve, {"of": pair[0]}), enumerate(ledgers)))
    assert sum(won) == 2
    assert {told["of"] for told in ledgers[0].confirmations(reserve)} == {i for i, ok in enumerate(won) if ok}
    assert all(ledger.left(reserve) == 0 and ledger.all() == [reserve] for ledger in ledgers)


def test_a_lost_answer_does_not_spend_a_second_confirmation(machine, server: str) -> None:
    reserve = Reserve("ES", "ES.*", ((0, 10**12),), 2, "sweep")
    with faulty_proxy(server) as (address, faults):
        ledger = Reserves(Folder(machine("one", address), "ledger"))
        faults.lost, faults.only = 1, "PUT confirmation-0.json"
        assert ledger.record(reserve, {"of": 1})
        assert faults.lost == 0
        assert len(ledger.confirmations(reserve)) == 1


def test_a_model_is_replaced_whole_and_read_elsewhere(machine) -> None:
    class Fitted:
        def save_model(self, state, folder: Path) -> None:
            for name in ("a.json", "b.json"):
                (folder / name).write_text(state)

    for state in ("first", "second"):
        for name in ("one", "two"):
            storage = machine(name)
            folder = model_folder(Folder(storage, "results/models"), "run", 2, 6)
            if name == "one":
                assert keep_model(Fitted(), state, folder)  # type: ignore[arg-type]
            assert {path.name: path.read_text() for path in folder.here(anew=True).iterdir()} == {
                "a.json": state, "b.json": state,
            }  # fmt: skip


def test_the_registry_has_one_next_generation(machine, tmp_path: Path) -> None:
    def version(threshold: float) -> tuple[str, bytes]:
        runtime = {"threshold": threshold, "signal": {"name": "ads"}}
        return serving_id_of("es", runtime), yaml.safe_dump({"runtime": runtime, "evidence": {}}).encode()

    def registry(name: str) -> ServingRegistry:
        return ServingRegistry(Folder(machine(name), "registry.sqlite"), tmp_path / name / "versions")

    one, two = registry("one"), registry("two")
    assert two.aliases() == {}
    first, data = version(0.5)
    one.publish(first, data, "prod")
    assert two.resolve("prod").data == data  # its file is written here from the registry's copy
    assert (tmp_path / "two" / "versions" / f"{first}.yaml").read_bytes() == data

    def publish(i: int) -> bool:
        try:
            registry(f"m{i}").publish(*version(float(i)), f"alias-{i}")
        except RegistryError as error:
            lost.append(str(error))
            return False
        return True

    lost: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(publish, range(1, 5)))
    assert all("Another machine changed the serving registry meanwhile" in text for text in lost)
    assert any(won)
    assert {name for name in two.aliases() if name != "prod"} == {f"alias-{i}" for i, ok in enumerate(won, 1) if ok}
    assert len(two.history()) == 1 + sum(won)
    assert len(machine("one").list("registry.sqlite")) <= 3 + sum(won)


# -- workspaces --------------------------------------------------------------------------------------------------------


def on_s3(workspace: Workspace, storage) -> Workspace:
    workspace.storage = storage
    return workspace


def local_files(workspace: Workspace) -> list[str]:
    return sorted(path.relative_to(workspace.lake).as_posix() for path in workspace.lake.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_sweep_on_s3_is_the_sweep_on_a_disk_and_writes_nothing_beside_it(
    make_proven, make_workspace, machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = make_proven("near")
    run_experiment(near, "sweep")
    assert any(name.startswith("cache/") for name in local_files(near))
    here = make_workspace("here")
    dataset_id = here.datasets.ids()[0]
    dataset = here.datasets.path(dataset_id)
    on_s3(here, machine("here-cache"))
    for name in ("datasets", "results", "notes", "reserves", "registry"):
        here.__dict__.pop(name, None)
    before = local_files(here)
    stage = here.storage.stage(f"research/vp_immutable/{dataset_id}")
    for path in dataset.iterdir():
        (stage.path / path.name).write_bytes(path.read_bytes())
    assert here.storage.commit(f"research/vp_immutable/{dataset_id}", stage)
    report = run_experiment(here, "sweep")
    assert report.n_computed == 40
    assert here.results.canonical_bytes() == near.results.canonical_bytes()
    assert local_files(here) == before
    there = on_s3(make_workspace("there"), machine("there-cache"))
    for name in ("datasets", "results", "notes", "reserves", "registry"):
        there.__dict__.pop(name, None)
    assert there.datasets.ids() == [dataset_id]
    assert there.datasets.info(dataset_id).size_bytes == near.datasets.info(dataset_id).size_bytes
    assert run_experiment(there, "sweep").n_computed == 0
    assert there.results.canonical_bytes() == near.results.canonical_bytes()
    assert len([key for key in there.storage.list() if key.endswith(".streamed")]) > 0
    assert examine(there) == []


def tape(path: Path, seed: int, symbol: str, day: int = 0) -> None:
    start = (START_NS // (86_400 * 10**9) + day) * 86_400 * 10**9
    header = encode_metadata(
        dataset="TEST", start_ns=start, end_ns=start + 86_400 * 10**9,
        mappings=[Mapping(symbol, INSTRUMENT, start, start + 86_400 * 10**9)],
    )  # fmt: skip
    with DbnWriter(path, header) as out:
        out.write(random_tape(seed, 200, oddities=False))


PIPELINE = (
    "name: p\ncapture: {symbol: ESZ3, date: 2023-11-14, start_time: '22:13:20', end_time: '22:13:23', timezone: UTC}\n"
    "pipeline: {grid_radius_ticks: 4}\n"
)


def test_source_files_are_fetched_when_they_are_needed(machine, tmp_path: Path, server: str) -> None:
    near, _ = Workspace.create(tmp_path / "near")
    tape(near.raw / "es" / "a.dbn", 3, "ESZ3")
    tape(near.raw / "nq.dbn", 4, "NQZ3")
    (near.configs / "pipelines" / "p.yaml").write_text(PIPELINE)
    wanted = generate(near, "p")
    far, _ = Workspace.create(tmp_path / "far")
    (far.configs / "pipelines" / "p.yaml").write_text(PIPELINE)
    with faulty_proxy(server) as (address, faults):
        on_s3(far, machine("far-cache", address))
        with pytest.raises(Exception, match="There is no .dbn or .dbn.zst file below"):
            generate(far, "p")
        for path in ("es/a.dbn", "nq.dbn"):
            far.storage.put_atomic(f"raw/{path}", near.raw / path)
        made = generate(far, "p")
        assert made.manifest["sources"] == wanted.manifest["sources"]
        assert np.array_equal(made["pressure"], wanted["pressure"])
        files = {name: far.datasets.path(made.dataset_id) / name for name in ("bins.parquet", "grid_clean.parquet")}
        for name, path in files.items():
            assert path.read_bytes() == (near.datasets.path(made.dataset_id) / name).read_bytes()
        faults.seen.clear()
        generate(far, "p")
        assert not any("raw" in line for line in faults.seen)  # the dataset is there
        assert examine(far) == []
    assert local_files(far) == ["README.md"]
    # A worker has the storage and the session, and neither a workspace nor specs.
    (far.configs / "pipelines" / "wide.yaml").write_text(
        PIPELINE.replace("name: p", "name: wide").replace("grid_radius_ticks: 4", "grid_radius_ticks: 6")
    )
    wide = far.pipeline("wide").resolve()
    assert _generate(machine("worker-cache"), wide)[0]
    assert far.datasets.exists(wide.dataset_id())
    assert far.datasets.open(wide.dataset_id())["pressure"].shape[1] == 13
    # A file that replaces another is fetched again.
    tape(tmp_path / "other.dbn", 5, "ESZ3")
    far.storage.put_atomic("raw/es/a.dbn", tmp_path / "other.dbn")
    os.utime(far.raw / "es" / "a.dbn", ns=(0, 0))
    assert Folder(far.storage, "raw").fetch("es/a.dbn").read_bytes() == (tmp_path / "other.dbn").read_bytes()


def test_columns_are_read_once_by_ranges_checked_and_dropped_under_the_limit(
    machine, make_workspace, server: str
) -> None:
    near = make_workspace("near")
    (dataset_id,) = near.datasets.ids()
    key = f"research/vp_immutable/{dataset_id}"
    with faulty_proxy(server) as (address, faults):
        far = on_s3(make_workspace("far"), machine("far-cache", address))
        far.__dict__.pop("datasets", None)
        stage = far.storage.stage(key)
        for path in near.datasets.path(dataset_id).iterdir():
            (stage.path / path.name).write_bytes(path.read_bytes())
        assert far.storage.commit(key, stage)
        faults.seen.clear()
        for _ in range(2):
            dataset = far.datasets.open(dataset_id, cache_dir=far.cache_dir)
            for name in ("pressure", "vacuum"):
                assert np.array_equal(dataset[name], near.datasets.open(dataset_id)[name])
        grid = [line for line in faults.seen if line.startswith("GET") and line.endswith("grid_clean.parquet")]
        assert len(grid) == 3  # the footer, and each column once
        # Nothing of a damaged object is used.
        storage = machine("other", address)
        (path,) = (path for path, _ in storage._objects(f"{key}/") if path.endswith("grid_clean.parquet"))
        stored = storage._get(path)
        tail = 1 << 17  # the footer stays
        storage._put(path, bytes(len(stored) - tail) + stored[-tail:])
        other = on_s3(make_workspace("other"), storage)
        other.__dict__.pop("datasets", None)
        with pytest.raises(StorageError, match="was changed since it was written: bytes "):
            other.datasets.open(dataset_id, cache_dir=other.cache_dir).grid("pressure")
        storage._put(path, stored)
        small = on_s3(make_workspace("small"), machine("small-cache", address, cache_gb=2e-4))
        small.__dict__.pop("datasets", None)
        dataset = small.datasets.open(dataset_id, cache_dir=small.cache_dir)
        for name in ("pressure", "vacuum", "v_add", "v_pull"):
            assert np.array_equal(dataset[name], near.datasets.open(dataset_id)[name])
        kept = [path.stat().st_size for path in small.cache_dir.rglob("*.npy")]
        assert 0 < sum(kept) <= 2e5


def test_diagnostics_are_those_of_the_last_computation(machine) -> None:
    folder = Folder(machine("one"), "results/diagnostics") / "run"
    assert read_diagnostics(folder) == []
    for text in ('{"tp_ticks": 2, "sl_ticks": 6, "n": 1}', '{"tp_ticks": 2, "sl_ticks": 6, "n": 2}'):
        folder.put("tp2_sl6.json", text.encode(), "write")
    (found,) = read_diagnostics(Folder(machine("two"), folder.key))
    assert found["n"] == 2
