"""The results store: what is read back, which row counts, and what a crash leaves."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import result_rows

from vpcore.backtest.trial import Trial
from vpcore.errors import ResultsError, StorageError
from vpcore.results import RESULTS_VERSION, ROW_KEY, ResultsDB, compact, frames, row_id, run_id
from vpcore.results.parts import part_id
from vpcore.results.schema import row_ids
from vpcore.results.writer import put_parts, table_folder
from vpcore.signal import InstalledCode
from vpcore.storage.atomic import write_atomic

A, B = (0.5, 20, 4, 4), (0.6, 20, 4, 4)


def test_an_empty_store_answers(db: ResultsDB) -> None:
    assert db.query_runs().is_empty()
    assert db.trials().count(["D"]) == 0
    assert db.stored(["r1"]) == {}
    assert compact(db).rows == 0
    assert not db.root.exists()


def test_a_batch_is_read_back(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write(
        [make.meta("r1"), make.meta("r2", signal_name="erd")],
        pl.concat([make.rows("r1", [B, A]), make.rows("r2", [A])]),
    )
    frame = db.query_runs()
    assert frame.select(ROW_KEY).rows() == [("r1", *A), ("r1", *B), ("r2", *A)]
    assert frame["signal_name"].to_list() == ["ads", "ads", "erd"]
    assert db.query_runs(blocks=True)["block_pnl_ticks"][0].to_list() == [1.0, 1.0]
    assert frame["row"][0] == row_id("r1", *A)
    assert db.find_run("r2")["signal_name"] == "erd"
    assert db.query_meta(signal_name="erd")["run_id"].to_list() == ["r2"]


def test_ids_are_those_of_the_document() -> None:
    assert row_id("r1", 0.5, 20, 4, 4) == "fd8f81e3"
    assert row_id("r1", 1, 20, 4, 4) == row_id("r1", 1.0, 20, 4, 4)
    keys = [A, B, (1.0, 0, 1, 2), (0.1 + 0.2, 5, 3, 3)]
    assert row_ids("r1", keys) == [row_id("r1", *key) for key in keys]
    assert len(run_id({"dataset_id": "D"})) == 16
    assert run_id({"fee": 2}) == run_id({"fee": 2.0}) != run_id({"fee": 2.5})


def stored_files(db: ResultsDB) -> list[Path]:
    """The files of the store, less the ledger, which may know of trials that were never stored."""
    return sorted(path for path in db.root.rglob("*") if path.is_file() and db.ledger.root not in path.parents)


def test_a_full_disk_stores_nothing(db: ResultsDB, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in ("r0", "r1"):
        db.write([make.meta(run)], make.rows(run, [A]))
    before = stored_files(db)

    def full(target: Path, *arguments: object, **options: object) -> bool:
        if "ledger" in target.parts:
            return write_atomic(target, *arguments, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vpcore.storage.folder.write_atomic", full)
    for act in (lambda: db.write([make.meta("r2")], make.rows("r2", [A])), lambda: compact(db)):
        with pytest.raises(StorageError, match=r"The disk is full: could not store results .* Make room and run"):
            act()
    assert stored_files(db) == before


def test_a_row_given_for_a_run_is_said(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1")], make.rows("r1", [A, B]))
    with pytest.raises(ResultsError, match=r"'fd8f81' is row fd8f81e3 of run r1, not a run\. Name the run: r1\."):
        db.find_run("fd8f81")
    assert db.find_row("fd8f81")["run_id"] == "r1"
    with pytest.raises(ResultsError, match=r"No stored row is called 'zz'"):
        db.find_row("zz")
    runs = [f"r{i}" for i in range(2, 10)]
    db.write([make.meta(run) for run in runs], pl.concat([make.rows(run, [A, B]) for run in runs]))
    digits = [row[0] for row in db.query_runs()["row"]]
    shared = max(digits, key=digits.count)  # 18 rows share 16 digits
    with pytest.raises(
        ResultsError, match=rf"More than one row is called '{shared}'\. Rows: {shared}\w+, .*Write more"
    ):
        db.find_row(shared)


def test_rows_are_found_by_name_in_the_order_of_the_names(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta(run) for run in ("r1", "r2")], pl.concat([make.rows(run, [A, B]) for run in ("r1", "r2")]))
    names = db.query_runs()["row"].to_list()[::-1]
    assert db.find_rows(names) == [db.find_row(name) for name in names]
    assert db.find_rows([]) == []
    with pytest.raises(ResultsError, match=r"No stored row is called 'zz'"):
        db.find_rows([names[0], "zz"])


def test_best_rows_have_the_filters_of_rows(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1")], make.rows("r1", [A, B]))
    assert db.query_best(signal_name="s", run_id=["r2"]).is_empty()
    with pytest.raises(ResultsError, match=r"A run has no column 'signal_nam'\. Did you mean 'signal_name'\? Columns:"):
        db.query_best(signal_nam="ads")


def test_a_rows_figures_without_trades_are_null(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1")], make.rows("r1", [A], net=float("nan")))
    assert db.query_runs()["tp_rate"].to_list() == [None]


def test_ok_beats_failed_and_then_the_latest_finish(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1", at=5, status="failed")], make.rows("r1", [A, B], net=None))
    db.write([make.meta("r1", at=1)], make.rows("r1", [A], net=1.0))
    db.write([make.meta("r1", at=2)], make.rows("r1", [A], net=2.0))
    assert db.query_runs(status=None).select("threshold", "status", "net_pnl_ticks").rows() == [
        (0.5, "ok", 2.0),
        (0.6, "failed", None),
    ]
    assert db.stored(["r1"])["r1"].ok == {Trial(*A)}
    assert db.stored(["r1"])["r1"].failed == {Trial(*B)}
    assert db.find_run("r1")["status"] == "ok"


def test_queries_filter_sort_and_limit(db: ResultsDB, make: SimpleNamespace) -> None:
    for i, run in enumerate(("r1", "r2", "r3")):
        db.write([make.meta(run, signal_name=f"s{i}", code_digest=f"c{i}")], make.rows(run, [A, B], net=float(i)))
    assert db.query_best("net_pnl_ticks", limit=1)["run_id"].to_list() == ["r3"]
    assert db.query_best("tie_rate", min_signals=0, limit=1)["run_id"].to_list() == ["r1"]
    assert db.query_runs(signal_name="s1")["run_id"].unique().to_list() == ["r2"]
    assert db.query_runs(run_id=["r1", "r3"]).select(ROW_KEY).rows() == [
        (run, *trial) for run in ("r1", "r3") for trial in (A, B)
    ]
    code = InstalledCode("k0", {"s0": "c0", "s1": "old"})
    assert db.query_runs(code=code)["run_id"].unique().to_list() == ["r1"]
    assert db.query_runs(code=InstalledCode("k0", {})).is_empty()
    assert db.query_runs(code=code, stale=True)["run_id"].unique().sort().to_list() == ["r2", "r3"]
    assert db.query_runs(code=InstalledCode("other core", code.signals)).is_empty()
    assert db.query_runs(code=InstalledCode("other core", code.signals), stale=True).height == 6
    assert db.query_runs(keys=[("r2", Trial(*B)), ("r3", Trial(*A))]).select(ROW_KEY).rows() == [("r2", *B), ("r3", *A)]
    assert db.query_runs(keys=[]).is_empty()
    assert db.query_runs(min_signals=10).is_empty()  # ten signals, but one of them did not trade
    assert db.query_runs(min_signals=9).height == 6
    assert db.query_runs(experiment_name="other").is_empty()


def test_wrong_questions_are_refused(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("aab1"), make.meta("aab2")], pl.concat([make.rows("aab1", [A]), make.rows("aab2", [A])]))
    db.write([make.meta("c0ffee11")], make.rows("c0ffee11", [A]))
    with pytest.raises(ResultsError, match=r"at least the first 6 digits of it, was 'c0ffe'"):
        db.find_run("c0ffe")
    assert {db.find_run(name)["run_id"] for name in ("c0ffee", "c0ffee11")} == {"c0ffee11"}
    assert db.find_run("aab1")["run_id"] == "aab1"
    with pytest.raises(ResultsError, match=r"cannot be sorted by 'tp_rat'. Did you mean 'tp_rate'"):
        db.query_runs(sort="tp_rat")
    with pytest.raises(ResultsError, match=r"'aab' begins 2 run ids: aab1, aab2. Write more digits"):
        db.find_run("aab")
    with pytest.raises(ResultsError, match=r"No run is called 'aac1'. Did you mean 'aab1'. 3 runs are stored"):
        db.find_run("aac1")
    with pytest.raises(ResultsError, match=r"A run has no column 'signal'. Did you mean 'signal_name'"):
        db.query_meta(signal="ads")
    with pytest.raises(
        ResultsError, match="A batch must be each run once, with rows of all its runs, was 1 runs and rows of 2"
    ):
        db.write([make.meta("r1")], pl.concat([make.rows("r1", [A]), make.rows("r2", [A])]))


def test_rows_without_their_commit_are_not_there(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1")], make.rows("r1", [A]))
    db.write([make.meta("r1", at=9)], make.rows("r1", [B]))
    newest = max(db.parts("runs_meta"), key=lambda path: pl.read_parquet(path)["finished_utc"][0])
    newest.unlink()  # as a crash between the two parts leaves it
    assert db.query_runs()["threshold"].to_list() == [0.5]
    assert db.stored(["r1"])["r1"].ok == {Trial(*A)}


def test_foreign_files_are_left_alone(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1")], make.rows("r1", [A]))
    folder = table_folder(db.root, "runs")
    for name in (".tmp-part-1.parquet", "part-2.parquet.crc", "_SUCCESS", "notes.parquet"):
        (folder / name).write_bytes(b"half")
    assert db.query_runs().height == 1
    compact(db)
    assert (folder / "notes.parquet").exists()


def test_results_of_a_newer_version_are_an_error(db: ResultsDB) -> None:
    table_folder(db.root, "runs", 99).mkdir(parents=True)
    with pytest.raises(
        ResultsError,
        match=rf"The version of the results must be at most {RESULTS_VERSION}, was 99 \(.*v99\). Install the vpcore",
    ):
        db.query_runs()


def test_the_canonical_read_knows_nothing_of_batches_hosts_and_times(tmp_path: Path, make: SimpleNamespace) -> None:
    one, two = ResultsDB(tmp_path / "1"), ResultsDB(tmp_path / "2")
    one.write([make.meta("r1"), make.meta("r2")], pl.concat([make.rows("r1", [A, B]), make.rows("r2", [A])]))
    two.write([make.meta("r2", at=7)], make.rows("r2", [A]))
    two.write([make.meta("r1", at=8)], make.rows("r1", [B]))
    two.write([make.meta("r1", at=9)], make.rows("r1", [A]))
    assert one.canonical_bytes() == two.canonical_bytes()
    two.write([make.meta("r1", at=10)], make.rows("r1", [A], net=3.0))
    assert one.canonical_bytes() != two.canonical_bytes()


def test_compaction_changes_nothing_that_is_read(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1", at=5, status="failed")], make.rows("r1", [A, B], net=None))
    db.write([make.meta("r1", at=6)], make.rows("r1", [A]))
    db.write([make.meta("r2", at=7)], make.rows("r2", [A, B]))
    put_parts(
        db.root, "orphan", make.rows("r3", [A]).with_columns(batch_id=pl.lit("orphan")), db.meta().collect().clear()
    )
    before = db.canonical_bytes()
    report = compact(db)
    assert db.canonical_bytes() == before
    assert (report.rows, report.duplicates) == (4, 1)
    assert len(db.parts("runs")) == 2  # the merged part, and the rows nobody has committed
    assert len(db.parts("runs_meta")) == 1
    assert compact(db).duplicates == 0
    assert db.canonical_bytes() == before


@pytest.mark.parametrize("table", ["runs", "runs_meta"])
@pytest.mark.parametrize("reader", ["short", "glob"])
def test_compaction_with_a_reader_that_loses_rows_deletes_nothing(
    tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, reader: str, table: str
) -> None:
    db = ResultsDB(tmp_path / "job[7]" / "results")
    for run in ("r1", "r2"):
        db.write([make.meta(run)], make.rows(run, [A, B]))
    before, rows = sorted(db.root.rglob("*.parquet")), db.canonical_bytes()
    honest = pl.read_parquet

    def read(path: Path, **options: Any) -> pl.DataFrame:
        if f"{table}.parquet" not in path.parts:
            return honest(path, **options)
        return honest(path, **options | {"glob": True}) if reader == "glob" else honest(path, **options).head(-1)

    monkeypatch.setattr(pl, "read_parquet", read)
    message = (
        r"Compaction deleted nothing: the number of rows must be [12], as its footer states, was [01] "
        r"\(.*/job\[7\]/.*part-\w+\.\w+\.parquet\)\. Run"
    )
    with pytest.raises(ResultsError, match=message):
        compact(db)
    assert sorted(db.root.rglob("*.parquet")) == before
    assert db.canonical_bytes() == rows
    monkeypatch.undo()
    assert compact(db).rows == 4
    assert db.canonical_bytes() == rows


def test_compactions_at_once_wait_for_each_other(db: ResultsDB, make: SimpleNamespace) -> None:
    for i in range(12):
        db.write([make.meta(f"r{i}")], make.rows(f"r{i}", [A, B]))
    before = db.canonical_bytes()
    with ThreadPoolExecutor(6) as pool:
        reports = list(pool.map(lambda _: compact(ResultsDB(db.root)), range(6)))
    assert [report.rows for report in reports] == [24] * 6
    assert sorted(report.parts_before for report in reports) == [2] * 5 + [24]
    assert db.canonical_bytes() == before
    assert [len(db.parts(table)) for table in ("runs", "runs_meta")] == [1, 1]


def test_rows_are_read_once_while_a_compaction_is_under_way(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1")], make.rows("r1", [A, B]))
    db.write([make.meta("r2")], make.rows("r2", [A]))
    before = db.canonical_bytes()
    kept = {path: path.read_bytes() for table in ("runs", "runs_meta") for path in db.parts(table)}
    compact(db)
    for path, data in kept.items():  # as they are until the compaction has removed them
        path.write_bytes(data)
    assert db.canonical_bytes() == before
    assert db.query_runs().height == 3


def test_rows_of_a_writer_that_died_do_not_hide_the_next_ones(db: ResultsDB, make: SimpleNamespace) -> None:
    orphan = make.rows("r1", [A]).with_columns(batch_id=pl.lit("0"))
    put_parts(db.root, "orphan", orphan, db.meta().collect().clear())
    db.write([make.meta("r1")], make.rows("r1", [A], net=2.0))
    assert db.query_runs()["net_pnl_ticks"].to_list() == [2.0]


def test_a_part_that_vanishes_under_a_reader_is_looked_for_again(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1")], make.rows("r1", [A]))
    db.write([make.meta("r2")], make.rows("r2", [A]))
    calls = []

    def query() -> pl.LazyFrame:
        frame = db.runs()
        if not calls:
            compact(db)
        calls.append(1)
        return frame

    assert db.read(query).height == 2
    assert len(calls) == 2


def test_a_full_or_forbidden_lake_is_said(db: ResultsDB, make: SimpleNamespace) -> None:
    db.root.parent.joinpath("results").write_bytes(b"")  # a file where the directory should be
    with pytest.raises(StorageError, match="store the ledger"):
        db.write([make.meta("r1")], make.rows("r1", [A]))


_WRITER = """
import sys, itertools
sys.path.insert(0, sys.argv[2])
import result_rows as make
from pathlib import Path
from vpcore.results import ResultsDB
db = ResultsDB(Path(sys.argv[1]))
print("ready", flush=True)
for i in itertools.count():
    run = f"{sys.argv[3]}{i:05d}"
    db.write([make.made_meta(run)], make.made_rows(run, [(0.5, 20, 4, 4), (0.6, 20, 4, 4)]))
"""


@pytest.mark.slow
def test_killed_writers_leave_whole_batches_and_no_litter(db: ResultsDB, make: SimpleNamespace) -> None:
    for attempt in range(2):
        command = [sys.executable, "-c", _WRITER, str(db.root), str(Path(result_rows.__file__).parent)]
        writers = [subprocess.Popen([*command, f"w{attempt}{i}-"], stdout=subprocess.PIPE) for i in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        while len(db.parts("runs_meta")) < 6 * (attempt + 1):
            time.sleep(0.01)
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
    counts = db.query_runs().group_by("run_id").len()
    assert counts.height > 10
    assert counts["len"].unique().to_list() == [2]
    db.write([make.meta("last")], make.rows("last", [A]))
    assert list((db.root / ".staging").iterdir()) == []
    before = db.canonical_bytes()
    compact(db)
    assert db.canonical_bytes() == before


def test_parts_of_the_first_version_are_read_for_ever(db: ResultsDB, make: SimpleNamespace) -> None:
    """The first version of the tables had fewer columns: what is in it comes back, and compaction keeps it."""
    db.write([make.meta("r1")], make.rows("r1", [A, B]))
    for table in ("runs", "runs_meta"):
        (part,) = db.parts(table)
        old = pl.read_parquet(part)
        first = old.select(name for name in old.columns if not name.startswith(("group_", "train_", "rotated_")))
        assert (first.width < old.width) == (table == "runs")
        target = table_folder(db.root, table, 1)
        target.mkdir(parents=True)
        first.write_parquet(target / f"part-{part_id(part)}.parquet")
        part.unlink()
    assert {path.parent.name for path in db.parts("runs")} == {"v1"}
    db.write([make.meta("r2")], make.rows("r2", [A]))
    assert {path.parent.name for path in db.parts("runs")} == {"v1", f"v{RESULTS_VERSION}"}
    frame = db.query_runs(blocks=True)
    assert frame.select(ROW_KEY).rows() == [("r1", *A), ("r1", *B), ("r2", *A)]
    assert frame["block_pnl_ticks"].null_count() == 0
    assert frame["train_trades"].null_count() == frame["rotated_net"].null_count() == 2
    before = db.canonical_bytes()
    compact(db)
    assert {path.parent.name for path in db.parts("runs")} == {f"v{RESULTS_VERSION}"}
    assert db.canonical_bytes() == before


@pytest.mark.slow
def test_some_columns_of_rows_are_those_of_whole_rows(
    db: ResultsDB, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeated runs, a failed one, and slices that end within a run."""
    db.write([make.meta(run) for run in ("r2", "r1")], pl.concat([make.rows(run, [B, A]) for run in ("r2", "r1")]))
    db.write([make.meta("r3", at=1, scoring_json=None)], make.rows("r3", [A, B], net=2.0))
    db.write([make.meta("r3", at=5, status="failed", scoring_json=None)], make.rows("r3", [A], net=None))
    db.write([make.meta("r1", at=9)], make.rows("r1", [A], net=7.0))
    names = ("net_pnl_ticks", "signal_name", "eval_json", "scoring_json", "n_eff")
    for status in ("ok", None):
        for sort in (None, "net_pnl_ticks", "sl_rate"):
            want = db.query_runs(status=status, sort=sort)
            rotated = db.with_vectors(want)["rotated_net"]
            for at_once in (1, 3):
                monkeypatch.setattr(frames, "ROWS_AT_ONCE", at_once)
                found = db.query_runs(status=status, sort=sort, columns=names)
                assert found.schema["run_id"] == pl.Enum(["r1", "r2", "r3"])
                assert found.columns == [*ROW_KEY, "batch_id", *names]
                texts = {name: want.schema[name] for name in found.columns}
                assert found.cast(texts).equals(want.select(found.columns))
                assert db.query_runs(status=status, sort=sort).equals(want)
                assert db.whole(found).equals(want)
                assert db.whole(found[::-2]).equals(want[::-2])
                assert db.with_vectors(found)["rotated_net"].equals(rotated)
    with pytest.raises(ResultsError, match="1 rows were removed while they were read"):
        db.whole(
            want.with_columns(batch_id=pl.when(pl.int_range(pl.len()) > 0).then("batch_id").otherwise(pl.lit("x")))
        )
