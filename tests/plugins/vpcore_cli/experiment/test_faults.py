"""Damage: what is stored says so before a number is printed, and `vp doctor` names the file and what mends it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sweep_workspace import build, edited, importable_signals, make_plugins

from vpcore import Workspace
from vpcore.dataset.reserve import Reserve, Reserves
from vpcore.engine import FrameBlock
from vpcore.errors import DatasetError, ResultsError, StorageError
from vpcore.experiment.leaderboard import leaderboard
from vpcore.experiment.run import run_experiment
from vpcore.results import ResultsDB, compact
from vpcore.results.parts import part_id
from vpcore.results.writer import write_batch
from vpcore_cli import app as cli
from vpcore_cli.archive import export_archive, import_archive
from vpcore_cli.examination import Finding, examine
from vpcore_serving.promote import promote


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, frames: FrameBlock, proofs: Path) -> Path:
    """A workspace with two stored batches, made once; tests get copies."""
    root = tmp_path_factory.mktemp("template") / "ws"
    with importable_signals():
        workspace = build(root, frames)
        shutil.copytree(proofs, workspace.results_dir / "proofs")
        edited(root, ("signals: [plain, scored]", "signals: [plain]"), ("  scoring: {tanh_scale: [2.0, 3.0]}\n", ""))
        run_experiment(workspace, "sweep")
        only_scored = ("  per_signal: {plain: {gain: [1, 2, 3]}}\n", "")
        edited(root, ("signals: [plain, scored]", "signals: [scored]"), only_scored, name="next")
        run_experiment(workspace, "next")
    return root


@pytest.fixture
def done(template: Path, tmp_path: Path) -> Workspace:
    """A workspace with two stored batches."""
    return Workspace(shutil.copytree(template, tmp_path / "ws"), plugins=make_plugins())


def flip(path: Path, share: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(share * (len(data) - 1))] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(data)


def fresh(workspace: Workspace) -> Workspace:
    """The same workspace, as another process sees it."""
    from vpcore import canonical

    canonical._whole.clear()
    return Workspace(workspace.root, plugins=workspace.plugins)


def kinds(workspace: Workspace) -> list[tuple[str, str]]:
    return [(finding.kind, Path(finding.file).name) for finding in examine(fresh(workspace))]


def test_a_whole_workspace_has_no_finding(done: Workspace) -> None:
    assert examine(done) == []


@pytest.mark.parametrize("table", ["runs", "runs_meta"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_flipped_bit_in_the_results_is_found_before_a_number_is_printed(
    done: Workspace, table: str, share: float
) -> None:
    part = done.results.parts(table)[0]
    flip(part, share)
    for read in (
        lambda ws: leaderboard(ws, "sweep"),
        lambda ws: run_experiment(ws, "next"),
        lambda ws: compact(ws.results),
    ):
        with pytest.raises(ResultsError, match=rf"1 file of the results changed since .*{part.name}.* See: vp doctor"):
            read(fresh(done))
    (found,) = (finding for finding in examine(fresh(done)) if finding.kind == "damaged")
    assert found.file.endswith(part.name)
    assert f"mv {part}" in found.fix


def test_an_empty_part_and_swapped_parts_are_found(done: Workspace) -> None:
    one, other, *_ = done.results.parts("runs")
    whole = one.read_bytes(), other.read_bytes()
    one.write_bytes(whole[1])
    other.write_bytes(whole[0])
    with pytest.raises(ResultsError, match="2 files of the results changed"):
        leaderboard(fresh(done), "sweep")
    one.write_bytes(b"")
    other.write_bytes(whole[1])
    with pytest.raises(ResultsError, match="1 file of the results changed"):
        leaderboard(fresh(done), "sweep")


def test_a_damaged_part_of_another_release_is_a_sentence(done: Workspace) -> None:
    folder = done.results.parts("runs")[0].parent.parent / "v3"
    folder.mkdir()
    (folder / "part-old.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ResultsError, match=r"The results cannot be read: .* See which file it is: vp doctor"):
        leaderboard(fresh(done), "sweep")
    assert ("damaged", "part-old.parquet") in kinds(done)


def test_deleted_rows_are_missed(done: Workspace) -> None:
    part = done.results.parts("runs")[0]
    part.unlink()
    with pytest.raises(ResultsError, match="The rows of 1 commits of the results are gone"):
        leaderboard(fresh(done), "sweep")
    assert (
        "lost",
        next(p.name for p in done.results.parts("runs_meta") if p.name.split(".")[0] == part.name.split(".")[0]),
    ) in kinds(done)


def test_a_deleted_batch_does_not_flatter_the_rest(done: Workspace) -> None:
    """The ledger misses its rows until they are computed again; then every figure is as before."""
    before = leaderboard(done, "sweep")
    (about,) = before.evidence.values()
    assert about.first
    ids = set(before.frame["batch_id"])
    for table in ("runs", "runs_meta"):
        for part in done.results.parts(table):
            if part_id(part) in ids:
                shutil.move(part, done.root / part.name)
    assert fresh(done).results.lost() == {("sweep", before.frame["config_hash"][0])}
    assert ("lost", "results") in kinds(done)
    run_experiment(fresh(done), "sweep")  # computed again, nothing is lost any more
    assert fresh(done).results.lost() == set()
    assert leaderboard(fresh(done), "sweep").frame["p_adj"].to_list() == before.frame["p_adj"].to_list()


def test_the_rest_of_a_batch_is_judged_by_all_trials(done: Workspace) -> None:
    """However many parts a slow machine has stored it in: of three runs two are left."""
    ids = set(done.results.query_runs(experiment_name="sweep")["batch_id"])
    frames: dict[str, list[pl.DataFrame]] = {}
    for table in ("runs", "runs_meta"):
        for part in done.results.parts(table):
            if part_id(part) in ids:
                frames.setdefault(table, []).append(pl.read_parquet(part, glob=False))
                part.unlink()
    rows, meta = (pl.concat(frames[table]) for table in ("runs", "runs_meta"))
    runs = meta["run_id"].unique().sort().to_list()
    assert len(runs) == 3
    keep = pl.col("run_id").is_in(runs[:2])
    write_batch(done.results.root, meta.filter(keep).drop("batch_id"), rows.filter(keep).drop("batch_id"), "b" * 32)
    board = leaderboard(fresh(done), "sweep")
    (about,) = board.evidence.values()
    assert (about.lost, about.first) == (True, False)
    n = board.frame["n_trials"][0]
    p = board.frame["p_random"].to_numpy()
    assert board.frame["p_adj"].to_numpy() == pytest.approx(1 - (1 - p) ** n)


def test_a_changed_dataset_is_refused_by_every_reader(done: Workspace) -> None:
    (path,) = done.datasets_dir.glob("*/bins.parquet")
    flip(path)
    board = leaderboard(done, "sweep")
    best = board.best
    assert best is not None
    dataset = fresh(done).datasets.open(best.dataset_id)
    for read in (lambda: dataset.valid, lambda: dataset.bins(), lambda: dataset.bins_frame().collect()):
        with pytest.raises(
            DatasetError, match=r"bins\.parquet was changed since it was written: its checksum is another"
        ):
            read()
    assert ("damaged", "bins.parquet") in kinds(done)


def test_a_changed_manifest_is_refused_by_every_reader(done: Workspace, monkeypatch: Any, capsys: Any) -> None:
    (path,) = done.datasets_dir.glob("*/manifest.json")
    text = path.read_text()
    path.chmod(0o644)
    path.write_text(text.replace('"tick_int": 250000000', '"tick_int": 350000000'))
    assert path.read_text() != text
    (name,) = done.datasets.ids()
    for read in (lambda ws: ws.datasets.open(name), lambda ws: ws.datasets.manifest(name)):
        with pytest.raises(DatasetError, match=r"manifest\.json was changed since it was written"):
            read(fresh(done))
    monkeypatch.setattr(cli, "Plugins", lambda: done.plugins)
    assert cli.run(["list-datasets", "--root", str(done.root), "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["dataset_id"] == name
    assert "was changed since it was written" in listed["error"]


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9])
def test_a_flipped_bit_in_a_confirmation_or_reserve_is_refused(tmp_path: Path, share: float) -> None:
    reserves = Reserves(tmp_path)
    reserve = Reserve("ES", "ES..", ((0, 10), (20, 30)), 2, "sweep")
    reserves.declare(reserve)
    assert reserves.record(reserve, {"row": "ab", "p_random": 0.04, "n_trades": 200})
    assert reserves.all() == [reserve]
    for path in reserves.folder.path.iterdir():
        whole = path.read_bytes()
        flip(path, share)
        with pytest.raises(StorageError, match=f"The ledger's file {path.name} is damaged"):
            [reserves.confirmations(one) for one in reserves.all()]
        path.write_bytes(whole)
    assert reserves.left(reserve) == 1
    for path in reserves.folder.path.iterdir():  # as they were before they had a digest
        content = json.loads(path.read_bytes())
        del content["sha256"]
        path.chmod(0o644)
        path.write_text(json.dumps(content))
    assert Reserves(tmp_path).all() == [reserve]
    assert Reserves(tmp_path).left(reserve) == 1


def test_a_cached_column_under_another_name_is_not_believed(done: Workspace) -> None:
    (dataset_id,) = done.datasets.ids()
    dataset = done.datasets.open(dataset_id, cache_dir=done.cache_dir)
    names = ("v_add", "v_pull")
    want = {name: dataset.grid(name).copy() for name in names}
    paths = {name: next((done.cache_dir / dataset_id).glob(f"{name}.*.npy")) for name in names}
    paths["v_add"].unlink()
    shutil.copy(paths["v_pull"], str(paths["v_pull"]).replace("v_pull.", "v_add."))
    again = done.datasets.open(dataset_id, cache_dir=done.cache_dir)
    for name in names:
        assert (again.grid(name) == want[name]).all()


def test_the_ledger_is_checked(done: Workspace) -> None:
    part = sorted((done.ledger_dir).glob("v*/part-*.parquet"))[0]
    flip(part)
    with pytest.raises(ResultsError, match="1 file of the results changed"):
        leaderboard(fresh(done), "sweep")
    (found,) = examine(fresh(done))
    assert (found.kind, found.fix) == ("damaged", "Restore it from a backup: the ledger cannot be made again.")


def test_the_doctor_names_each_kind(done: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    promote(done, "sweep", alias="live")
    (version,) = done.serving_versions_dir.glob("*.yaml")
    version.chmod(0o644)
    flip(version)
    (done.serving_versions_dir / "nobody__x__0123456789ab.yaml").write_text("a: 1\n")
    (done.cache_dir / "ES_gone").mkdir(parents=True)
    (done.datasets_dir / "half").mkdir()
    (done.lake / ".tmp-vp-x").touch()
    done.harness_dir.chmod(0o777)
    orphan = done.results.parts("runs")[0].parent / "part-abc.parquet"
    shutil.copy(done.results.parts("runs")[0], orphan)
    found = kinds(done)
    assert ("damaged", version.name) in found
    assert ("orphaned", "nobody__x__0123456789ab.yaml") in found
    assert ("orphaned", "part-abc.parquet") in found
    assert ("stale", "ES_gone") in found
    assert ("left over", "half") in found
    assert ("exposed", "vp_harness") in found
    monkeypatch.setattr(cli, "Plugins", lambda: done.plugins)
    assert cli.run(["doctor", "--root", str(done.root), "--json"]) == 1
    assert '"kind": "damaged"' in capsys.readouterr().out
    assert all(isinstance(finding, Finding) and finding.fix for finding in examine(done))


# -- results and ledger in another workspace


@pytest.fixture
def archive(done: Workspace, tmp_path: Path) -> Path:
    path = tmp_path / "results.zip"
    path.write_bytes(export_archive(done.results))
    return path


def test_an_archive_carries_rows_and_ledger(
    done: Workspace, archive: Path, make_workspace: Callable[[str], Workspace], monkeypatch: Any, capsys: Any
) -> None:
    reserve = Reserve("ES", "ES..", ((0, 10),), 2, "sweep")
    done.reserves.declare(reserve)
    done.reserves.record(reserve, {"row": "ab"})
    monkeypatch.setattr(cli, "Plugins", lambda: done.plugins)
    assert cli.run(["results", "export", "--out", str(archive), "--root", str(done.root)]) == 2  # it exists
    assert cli.run(["results", "export", "--out", str(archive), "--force", "--root", str(done.root)]) == 0
    assert "vp results import results.zip" in capsys.readouterr().err
    assert archive.read_bytes() == export_archive(done.results)
    other = make_workspace("other")
    for added in (True, False):
        assert cli.run(["results", "import", str(archive), "--json", "--root", str(other.root)]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["runs"] > 0, report["ledger"] > 0, report["reserves"] == 2) == (added,) * 3
    assert other.results.canonical_bytes() == done.results.canonical_bytes()
    assert sorted(other.results.ledger.rows().collect().rows()) == sorted(done.results.ledger.rows().collect().rows())
    assert other.reserves.left(reserve) == 1
    assert examine(other) == []
    assert cli.run(["results", "export", "--out", "x.zip", "--signal", "plain", "--root", str(done.root)]) == 2
    assert "A .zip file holds all results and their ledger" in capsys.readouterr().err


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1), bit=st.integers(0, 7), cut=st.booleans())
def test_a_changed_archive_imports_nothing(archive: Path, tmp_path: Path, share: float, bit: int, cut: bool) -> None:
    data = bytearray(archive.read_bytes())
    at = int(share * (len(data) - 1))
    data[at] ^= 1 << bit
    changed, db = tmp_path / "changed.zip", ResultsDB(tmp_path / "fresh")
    changed.write_bytes(data[:at] if cut else data)
    refused = None
    try:
        import_archive(db, changed)
    except ResultsError as error:
        refused = str(error)
    if refused is not None:
        assert "archive" in refused
        assert not db.root.exists()
        return
    # A bit that says nothing: of a time, or of a hint for other systems.
    right = {path.read_bytes() for path in zip_files(archive, tmp_path / "all") if path.name.startswith("part-")}
    assert {path.read_bytes() for path in db.root.rglob("part-*")} == right
    shutil.rmtree(db.root)


def zip_files(path: Path, folder: Path) -> list[Path]:
    zipfile.ZipFile(path).extractall(folder)
    return [file for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vp_results.json": b"{}"}, "no archive of results, or was changed: 'version'"),
        ({"vp_results.json": b'{"version": 9, "files": {}}'}, "The version of the archive must be 1, was 9"),
        ({"../../evil.json": b"{}"}, r"1 files of the archive were changed .*\.\./\.\./evil"),
    ],
)
def test_what_is_no_archive(archive: Path, tmp_path: Path, change: dict[str, bytes], message: str) -> None:
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(changed, "w") as new:
        for name, data in {**{name: old.read(name) for name in old.namelist()}, **change}.items():
            new.writestr(name, data)
    with pytest.raises(ResultsError, match=message):
        import_archive(ResultsDB(tmp_path / "fresh"), changed)
    with pytest.raises(ResultsError, match="The archive cannot be read: No such file"):
        import_archive(ResultsDB(tmp_path / "fresh"), tmp_path / "none.zip")


def test_another_confirmation_is_not_replaced(done: Workspace, tmp_path: Path) -> None:
    reserve = Reserve("ES", "ES..", ((0, 10),), 1, "sweep")
    other = ResultsDB(tmp_path / "other")
    for place, row in ((done.reserves, "ab"), (Reserves(other.ledger.root), "cd")):
        place.declare(reserve)
        place.record(reserve, {"row": row})
    path = tmp_path / "results.zip"
    path.write_bytes(export_archive(done.results))
    with pytest.raises(ResultsError, match="This workspace has another .*confirmation-0.json"):
        import_archive(other, path)
    assert not (other.root / "runs.parquet").exists()
