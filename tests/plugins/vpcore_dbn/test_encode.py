"""Writing DBN files, and reading them back with Databento's own package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpcore.errors import SourceError
from vpcore_dbn.header import Mapping, read_header
from vpcore_dbn.writer import DbnWriter


@pytest.mark.parametrize("name", ["a.dbn", "a.dbn.zst"])
def test_round_trip(tmp_path, made, read, name):
    records = made.records(5000)
    path = tmp_path / "new" / name
    with DbnWriter(path, made.metadata()) as writer:
        for part in np.array_split(records, 7):
            writer.write(part)
    assert writer.n_records == 5000
    assert read(path)[0].tobytes() == records.tobytes()
    assert [item.name for item in path.parent.iterdir()] == [name]


def test_mappings_are_whole_days(tmp_path, made):
    noon = made.DAY0 + made.DAY // 2
    mappings = [
        Mapping("A", 1, noon, noon + 60 * made.NS),
        Mapping("B", 2, noon, noon + made.DAY),
        Mapping("C", 3, made.DAY0, made.DAY0 + made.DAY),
    ]
    path = made.put(tmp_path / "a.dbn", made.metadata(mappings))
    found = {
        m.symbol: (m.instrument_id, (m.start_ns - made.DAY0) / made.DAY, (m.end_ns - made.DAY0) / made.DAY)
        for m in read_header(path).mappings
    }
    assert found == {"A": (1, 0, 1), "B": (2, 0, 2), "C": (3, 0, 1)}


def test_an_abandoned_file_leaves_nothing(tmp_path, made):
    def half_way():
        with DbnWriter(tmp_path / "a.dbn.zst", made.metadata()) as writer:
            writer.write(made.records(10))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        half_way()
    assert list(tmp_path.iterdir()) == []


def test_other_arrays_are_refused(tmp_path, made):
    with (
        pytest.raises(TypeError, match="must have the dtype MBO_DTYPE, was float64"),
        DbnWriter(tmp_path / "a.dbn", made.metadata()) as writer,
    ):
        writer.write(np.zeros(3))


def test_a_full_disk(tmp_path, made):
    writer = DbnWriter(tmp_path / "a.dbn", made.metadata())
    writer._file.close()
    writer._file = writer._stream = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with pytest.raises(SourceError, match=r"a\.dbn could not be written: .*No space left"), writer:
        writer.write(made.records(10))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path, made):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"file/a\.dbn could not be written: .*(Not a directory|File exists)"):
        DbnWriter(tmp_path / "file" / "a.dbn", made.metadata())


@pytest.mark.filterwarnings("ignore")  # databento's own use of pandas is not ours to mend
@pytest.mark.parametrize("name", ["a.dbn", "a.dbn.zst"])
def test_databento_reads_it_back_equal(tmp_path, made, name):
    databento = pytest.importorskip("databento", reason="needs the package databento, a development dependency")
    records = made.records(500)
    records["flags"] = 130
    path = tmp_path / name
    with DbnWriter(path, made.metadata()) as writer:
        writer.write(records)
    store = databento.DBNStore.from_bytes(path.read_bytes())  # from_file leaves the file open
    assert (store.schema, store.dataset, store.symbols) == ("mbo", "TEST", ["SYM"])
    assert (store.metadata.start, store.metadata.end) == (made.DAY0, made.DAY0 + made.DAY)
    assert store.mappings["SYM"][0]["symbol"] == "7"
    got = store.to_ndarray()
    for field in records.dtype.names:
        theirs = got[field]
        if theirs.dtype.kind == "S":
            theirs = theirs.view(np.uint8)
        assert np.array_equal(theirs, records[field]), field
    frame = store.to_df(map_symbols=True)
    assert set(frame["symbol"]) == {"SYM"}
